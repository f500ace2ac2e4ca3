import type { CDPSession } from 'playwright-core';
import { renderTable } from '../../src/cli/table.js';
import { findChromium, launch, openPage } from '../../test/support/browser.js';
import { type BenchCluster, quantile } from './cluster.js';
import { Load } from './commits.js';

const WARM_UP_MS = 5_000;
const MEASURE_SECONDS = 10;
const CLIENTS = 8;
/** At 60 frames a second each has so much time. */
const FRAME_MS = 1000 / 60;

/** What a frame of the page costs the browser's main thread, with all nodes at work. Needs Chromium. */
export async function benchPage(cluster: BenchCluster): Promise<string> {
  const executable = findChromium();
  if (executable === null) return 'the page: there is no Chromium: apt-get install chromium\n';
  const browser = await launch(executable);
  const load = await Load.start(cluster, CLIENTS);
  try {
    const { page } = await openPage(browser, `http://${cluster.controls[0]}/`);
    await page.locator('[data-role=leader]').waitFor();
    const cdp = await page.context().newCDPSession(page);
    await cdp.send('Performance.enable');
    await Promise.all([load.rate(WARM_UP_MS / 1000), page.waitForTimeout(WARM_UP_MS)]);
    const before = await secondsOf(cdp);
    const [rate, gaps] = await Promise.all([
      load.rate(MEASURE_SECONDS),
      page.evaluate(frames, MEASURE_SECONDS * 1000),
    ]);
    const after = await secondsOf(cdp);
    const msPerFrame = (name: string) =>
      (((after.get(name) ?? 0) - (before.get(name) ?? 0)) * 1000) / gaps.length;
    const task = msPerFrame('TaskDuration');
    const ms = (value: number) => `${value.toFixed(2)} ms`;
    return `${renderTable(
      [`PAGE, ${cluster.nodes.length} NODES`, 'VALUE'],
      [
        ['commits a second meanwhile', rate.toFixed(0)],
        ['main thread for one frame (60 a second: below 16.7 ms)', ms(task)],
        ['… of which scripts', ms(msPerFrame('ScriptDuration'))],
        [
          '… of which style and layout',
          ms(msPerFrame('RecalcStyleDuration') + msPerFrame('LayoutDuration')),
        ],
        ['frames a second that the main thread could make', (1000 / task).toFixed(0)],
        ['frames a second seen on this machine', (gaps.length / MEASURE_SECONDS).toFixed(0)],
        ['between two frames, median', ms(quantile(gaps, 0.5))],
        ['between two frames, p99', ms(quantile(gaps, 0.99))],
        [
          `frames later than ${ms(2 * FRAME_MS)}`,
          `${((100 * gaps.filter((gap) => gap > 2 * FRAME_MS).length) / gaps.length).toFixed(1)} %`,
        ],
      ],
    )}\n`;
  } finally {
    await load.end();
    await browser.close();
  }
}

/** The page's own; this program has none. */
declare function requestAnimationFrame(callback: (nowMs: number) => void): number;

/** In the page: the milliseconds between frames, for so long. */
function frames(forMs: number): Promise<number[]> {
  return new Promise((resolve) => {
    const gaps: number[] = [];
    const start = performance.now();
    let last = start;
    const next = (nowMs: number) => {
      if (nowMs > last) gaps.push(nowMs - last);
      last = nowMs;
      if (nowMs - start < forMs) requestAnimationFrame(next);
      else resolve(gaps);
    };
    requestAnimationFrame(next);
  });
}

async function secondsOf(cdp: CDPSession): Promise<ReadonlyMap<string, number>> {
  const { metrics } = await cdp.send('Performance.getMetrics');
  return new Map(metrics.map(({ name, value }) => [name, value]));
}
