import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';

const CANDIDATES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
/** Slow machines need it; nothing waits longer than it must. */
const PATIENCE_MS = 120_000;
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
  options: { readonly width?: number; readonly dark?: boolean; readonly still?: boolean } = {},
): Promise<{ readonly page: Page; readonly errors: string[]; readonly hosts: Set<string> }> {
  const page = await browser.newPage({
    viewport: { width: options.width ?? 1200, height: 1000 },
    colorScheme: options.dark === true ? 'dark' : 'light',
    reducedMotion: options.still === true ? 'reduce' : 'no-preference',
  });
  const errors: string[] = [];
  const hosts = new Set<string>();
  page.on('pageerror', (error) => void errors.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') errors.push(message.text());
  });
  page.on('request', (request) => void hosts.add(new URL(request.url()).hostname));
  page.on('websocket', (socket) => void hosts.add(new URL(socket.url()).hostname));
  page.setDefaultTimeout(PATIENCE_MS);
  await page.goto(url);
  return { page, errors, hosts };
}

export async function keepScreenshot(page: Page, name: string): Promise<void> {
  mkdirSync(ARTIFACTS, { recursive: true });
  await page.screenshot({ path: join(ARTIFACTS, `${name}.png`), fullPage: true });
}

/** Texts on the page, without the legend's shapes, that stand out from their ground less than WCAG 2.2 asks of small text (1.4.3). */
export function faintTexts(page: Page): Promise<string[]> {
  return page.evaluate<string[]>(`(${FAINT_TEXTS})()`);
}

/** Runs in the page. */
const FAINT_TEXTS = `() => {
  const RATIO_MIN = 4.5;
  const pixel = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const channelsOf = (colour) => {
    pixel.clearRect(0, 0, 1, 1);
    pixel.fillStyle = colour;
    pixel.fillRect(0, 0, 1, 1);
    return [...pixel.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => {
    const linear = (c) => (c <= 10.31 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  };
  const groundOf = (element) => {
    const circle = element.closest('svg') && element.parentElement.querySelector('circle:not(.choice)');
    if (circle && !element.classList.contains('small')) return channelsOf(getComputedStyle(circle).fill);
    for (let one = element; one !== null; one = one.parentElement) {
      const channels = channelsOf(getComputedStyle(one).backgroundColor);
      if (channels[3] === 255) return channels;
    }
    return channelsOf('white');
  };
  const faint = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim() !== '');
    if (!own || element.matches('title, noscript, :disabled, [aria-hidden]') || element.getClientRects().length === 0) continue;
    const style = getComputedStyle(element);
    const ink = channelsOf(element.closest('svg') ? style.fill : style.color);
    const [light, dark] = [luminance(ink), luminance(groundOf(element))].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    if (ratio < RATIO_MIN) faint.push(element.textContent.trim().slice(0, 40) + ': ' + ratio.toFixed(1));
  }
  return faint;
}`;
