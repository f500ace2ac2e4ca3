import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { findChromium, launch } from '../test/support/browser.js';
import { MOOTFS, UpCluster } from '../test/support/up.js';

/**
 * Makes the README's pictures into docs/: the page while the scene of the split plays, and a session
 * of the console. Needs Chromium.
 */
const DOCS = fileURLToPath(new URL('../../docs', import.meta.url));

const SESSION = [
  'start 3',
  'load README.md',
  'append last a line more',
  'crash n1',
  'expect leader',
  'status',
  'recover n1',
  'log n1 4',
].map((line) => `${line}\n`);

async function main(): Promise<void> {
  const executable = findChromium();
  if (executable === null) throw new Error('there is no Chromium: apt-get install chromium');
  mkdirSync(DOCS, { recursive: true });
  const browser = await launch(executable);
  try {
    const page = await browser.newPage({ viewport: { width: 1200, height: 980 } });
    const cluster = await UpCluster.start(5, 4);
    try {
      await page.goto(cluster.page(0));
      await page.locator('input[max="5000"]').fill('0');
      await page.locator('[data-scene=split]').click();
      await page.locator('[data-play=split][data-state=done]').waitFor({ timeout: 60_000 });
      await page.screenshot({ path: `${DOCS}/page.png` });
    } finally {
      await cluster.stop();
    }
    await page.setViewportSize({ width: 1020, height: 300 });
    await page.setContent(terminalOf(await consoleSession()));
    await page.locator('pre').screenshot({ path: `${DOCS}/console.png` });
  } finally {
    await browser.close();
  }
}

/** What the console prints, with the prompts that a terminal would have. */
async function consoleSession(): Promise<string> {
  const child = spawn(MOOTFS, ['repl', '--no-mount', '--stretch', '2'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.on('data', (data: Buffer) => {
    said += data.toString();
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  let session = '';
  for (const line of SESSION) {
    said = '';
    child.stdin.write(`${line}wait 1ms\nhelp quit\n`);
    while (!said.includes('example: quit')) await new Promise((done) => setTimeout(done, 20));
    session += `moot> ${line}${said.slice(0, said.indexOf('quit\n  leave'))}`;
  }
  child.stdin.end();
  await ended;
  return session.trim();
}

function terminalOf(text: string): string {
  const escaped = text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  const bold = escaped.replace(/^moot&gt; .*|^moot> .*/gm, '<b>$&</b>');
  return `<body style="margin:0"><pre style="margin:0;padding:14px;background:#15181c;color:#d6dbe1;font:13px/1.45 'DejaVu Sans Mono',monospace;width:max-content">${bold}</pre>`;
}

await main();
