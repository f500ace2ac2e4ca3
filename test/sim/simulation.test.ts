import t from 'tap';
import { runWorlds } from './runner.js';
import { World } from './world.js';

/** Seeds that found something once, and what it was. */
const REGRESSIONS: readonly { readonly seed: number; readonly found: string }[] = [];

/** For fresh seeds, so that every run of the tests looks at worlds that nobody has seen. */
const FRESH_MS = 30_000;
const FRESH_SEEDS_MAX = 1_000;
const FIXED_SEEDS = 20;

for (const { seed, found } of REGRESSIONS) {
  t.test(`seed ${seed}: ${found}`, async (t) => {
    const { problem } = await new World({ seed }).run();
    t.equal(problem, null);
  });
}

t.test('the same seed is the same world', async (t) => {
  const first = await new World({ seed: 8 }).run();
  const second = await new World({ seed: 8 }).run();
  t.equal(first.trace, second.trace);
  t.same(first.counts, second.counts);
  const other = await new World({ seed: 9 }).run();
  t.not(other.trace, first.trace);
});

t.test(`${FIXED_SEEDS} known seeds`, async (t) => {
  const { failed, seeds, counts } = await runWorlds(1, FIXED_SEEDS, 2, Number.MAX_SAFE_INTEGER);
  t.same(failed, []);
  t.equal(seeds, FIXED_SEEDS);
  t.comment(JSON.stringify(counts));
});

t.test('fresh seeds', async (t) => {
  const from = Math.floor(Math.random() * 2 ** 30);
  const { failed, seeds, virtualMs } = await runWorlds(from, FRESH_SEEDS_MAX, 2, FRESH_MS);
  t.comment(`${seeds} seeds from ${from}, ${Math.round(virtualMs / 1_000)} virtual seconds`);
  for (const { seed, problem } of failed) {
    t.fail(`${problem}\nagain: node dist/test/sim/main.js --seed ${seed}`);
  }
  t.ok(seeds > 0);
});
