import type { Page } from 'playwright-core';
import t, { type Test } from 'tap';
import { SCENES } from '../../src/control/scenes/scenes.js';
import { faintTexts, findChromium, keepScreenshot, launch, openPage } from '../support/browser.js';
import { until } from '../support/until.js';
import { UpCluster } from '../support/up.js';

/** The others are played by the integration tests of the console; here is what the page makes of a scene. */
const PLAYED = new Set(['leader-dies', 'split', 'reunion']);

/** Slow machines need it for a whole scene; nothing waits longer than it must. */
const PATIENCE_MS = 240_000;

const executable = findChromium();
if (executable === null) {
  t.pass('the page', { skip: 'there is no Chromium: apt-get install chromium' });
} else {
  t.test('the page, in a browser', (t) => test(t, executable));
}

async function test(t: Test, executable: string): Promise<void> {
  const [cluster, browser] = await Promise.all([UpCluster.start(5, 4), launch(executable)]);
  t.teardown(async () => {
    await browser.close();
    await cluster.stop();
  });
  const { page, errors, hosts } = await openPage(browser, cluster.page(0));

  await t.test('the ring shows the true leader', async (t) => {
    // Another one may be elected between the two looks.
    await until('the ring to show the leader', async () => {
      const shown = await leaderOf(page);
      const response = await fetch(`${cluster.page(1)}api/status`);
      const { leader } = (await response.json()) as { leader: string };
      return shown === leader;
    });
    t.equal(await page.locator('[data-node]').count(), 5);
    await keepScreenshot(page, 'page');
  });

  await t.test('crash the leader by keyboard: another one leads', async (t) => {
    const old = await leaderOf(page);
    await page.locator(`[data-node=${old}]`).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: `crash ${old}` }).focus();
    await page.keyboard.press('Enter');
    await page.locator(`[data-node=${old}][data-role=dead]`).waitFor();
    const leader = await leaderOf(page, old);
    t.not(leader, old);
    await keepScreenshot(page, 'crashed');
    await page.getByRole('button', { name: `recover ${old}` }).click();
    await page.locator(`[data-node=${old}][data-role=follower]`).waitFor();
  });

  for (const { name, writeConcern } of SCENES) {
    if (writeConcern !== undefined) {
      const button = page.locator(`[data-scene=${name}]`);
      t.ok(await button.isDisabled(), `${name} is for other clusters`);
      t.match(await button.getAttribute('title'), /needs .* --write-concern all/);
      continue;
    }
    if (!PLAYED.has(name)) continue;
    await t.test(`the scene ${name}`, async (t) => {
      await page.locator('input[max="5000"]').fill('0');
      await page.locator(`[data-scene=${name}]`).click();
      const playing = page.locator(`[data-play=${name}]`);
      await playing.waitFor();
      const played = page.locator(`[data-play=${name}]:not([data-state=playing])`);
      await played.waitFor({ timeout: PATIENCE_MS });
      await keepScreenshot(page, `scene-${name}`);
      t.equal(
        await playing.getAttribute('data-state'),
        'done',
        (await playing.textContent()) ?? '',
      );
      if (name !== 'split') return;
      t.ok((await page.locator('.entry.open').count()) > 0, 'an entry that is not committed');
      const terms = await page
        .locator('[data-node]')
        .evaluateAll((nodes) => nodes.map((node) => node.getAttribute('data-term')));
      t.ok(new Set(terms).size > 1, `two terms: ${terms}`);
    });
  }

  let deadAtMs = 0;
  await t.test('the page survives the node that served it', async (t) => {
    await page.getByRole('button', { name: 'repair everything' }).click();
    await page.locator('[data-node=n1]:not([data-role=dead])').waitFor();
    await choose(page, 'n1');
    await page.getByRole('button', { name: 'crash n1' }).click();
    await page.locator('[data-node=n1][data-role=dead]').waitFor();
    deadAtMs = performance.now();
    const leader = await leaderOf(page, 'n1');
    t.not(leader, 'n1');
    const before = await page.locator('.words li').count();
    await choose(page, leader);
    await page.getByRole('button', { name: 'slow: 1 s' }).click();
    await page.locator('.words li', { hasText: 'is slowed by 1000 ms' }).first().waitFor();
    t.ok(before > 0);
    await page.getByRole('button', { name: 'repair everything' }).click();
    await page.locator('[data-node=n1]:not([data-role=dead])').waitFor();
  });

  await t.test('the slider shows what was', async (t) => {
    const n1 = page.locator('[data-node=n1]');
    t.not(await n1.getAttribute('data-role'), 'dead');
    const words = page.locator('.words li');
    const newest = await words.first().textContent();
    const points = page.locator('.charts [data-points]').first();
    const pointsNow = Number(await points.getAttribute('data-points'));
    // To when n1 was dead.
    const slider = page.locator('.slider input');
    await slider.fill(String(-200 * Math.floor((performance.now() - deadAtMs) / 200)));
    await page.locator('[data-node=n1][data-role=dead]').waitFor();
    t.not(await words.first().textContent(), newest, 'the words of then');
    t.ok(Number(await points.getAttribute('data-points')) < pointsNow, 'the charts of then');
    await slider.focus();
    const before = await slider.getAttribute('aria-valuetext');
    for (let i = 0; i < 10; i++) await page.keyboard.press('ArrowLeft');
    // The page draws when it has a frame to do so.
    await until('the keyboard to move it', async () => {
      return (await slider.getAttribute('aria-valuetext')) !== before;
    });
    await page.getByRole('button', { name: /back to now/ }).click();
    await page.locator('.slider b', { hasText: 'now' }).waitFor();
    await page.locator('[data-node=n1]:not([data-role=dead])').waitFor();
  });

  await t.test('small, dark and without motion, and what was before', async (t) => {
    const phone = await openPage(browser, cluster.page(1), { width: 375, dark: true, still: true });
    await leaderOf(phone.page);
    const past = phone.page.locator('.words li', { hasText: 'session' });
    await past.first().waitFor();
    const several = phone.page.locator('.words b', { hasText: /n\d, n\d/ });
    t.ok((await several.count()) > 0, 'what several nodes did is told once');
    await choose(phone.page, 'n2');
    await phone.page.getByRole('region', { name: 'figures of n2' }).waitFor();
    t.strictSame(await faintTexts(phone.page), [], 'all is readable in the dark');
    t.strictSame(await faintTexts(page), [], 'and in the light');
    const width = await phone.page.evaluate('document.documentElement.scrollWidth');
    t.equal(width, 375, 'nothing sticks out');
    await keepScreenshot(phone.page, 'phone');
    t.strictSame(unexpected(phone.errors), []);
  });

  t.strictSame([...hosts], ['127.0.0.1'], 'no request leaves the machine');
  t.strictSame(unexpected(errors), [], 'no errors on the console');
}

/**
 * The stream of a node that is dead, or has just started and knows no other node's page yet, is tried
 * again and again, which browsers log as an error of the network.
 */
function unexpected(errors: readonly string[]): string[] {
  return errors.filter((error) => !/WebSocket connection to .* failed/.test(error));
}

/** Chosen again, a node is chosen no longer. */
async function choose(page: Page, id: string): Promise<void> {
  const node = page.locator(`[data-node=${id}]`);
  if ((await node.getAttribute('aria-pressed')) !== 'true') await node.click();
}

/** The leader that the ring shows, when it shows one other than `old`. */
async function leaderOf(page: Page, old = ''): Promise<string> {
  const leader = page.locator(`[data-role=leader]:not([data-node="${old}"])`).first();
  await leader.waitFor();
  return (await leader.getAttribute('data-node')) ?? '';
}
