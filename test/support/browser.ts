import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';

const CANDIDATES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
/** Where screenshots are kept for people to look at. */
const ARTIFACTS = fileURLToPath(new URL('../../../test-artifacts', import.meta.url));

/** null: there is none; `apt-get install chromium`, as scripts/test-packages.sh does. */
export function findChromium(): string | null {
  return CANDIDATES.find((path) => existsSync(path)) ?? null;
}

export function launch(executablePath: string): Promise<Browser> {
  return chromium.launch({
    executablePath,
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
  });
}

/** A page that keeps what went wrong on it, and where it went. */
export async function openPage(
  browser: Browser,
  url: string,
  options: { readonly width?: number; readonly dark?: boolean } = {},
): Promise<{ readonly page: Page; readonly errors: string[]; readonly hosts: Set<string> }> {
  const page = await browser.newPage({
    viewport: { width: options.width ?? 1200, height: 1000 },
    colorScheme: options.dark === true ? 'dark' : 'light',
  });
  const errors: string[] = [];
  const hosts = new Set<string>();
  page.on('pageerror', (error) => void errors.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') errors.push(message.text());
  });
  page.on('request', (request) => void hosts.add(new URL(request.url()).hostname));
  page.on('websocket', (socket) => void hosts.add(new URL(socket.url()).hostname));
  await page.goto(url);
  return { page, errors, hosts };
}

export async function keepScreenshot(page: Page, name: string): Promise<void> {
  mkdirSync(ARTIFACTS, { recursive: true });
  await page.screenshot({ path: join(ARTIFACTS, `${name}.png`), fullPage: true });
}
