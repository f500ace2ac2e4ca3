import t from 'tap';
import { runWorlds } from './runner.js';
import { World } from './world.js';

// On a busy machine the worlds take their time; they are no test of speed.
t.setTimeout(280_000);

/** Seeds that found something once, and what it was. */
const REGRESSIONS: readonly { readonly seed: number; readonly found: string }[] = [];

/** No world is begun after so long; on a busy machine there are fewer. */
const KNOWN_MS = 25_000;
const KNOWN_SEEDS = 20;
/** Every run of the tests also looks at worlds that nobody has seen. */
const FRESH_MS = 25_000;
const FRESH_SEEDS_MAX = 1_000;

for (const { seed, found } of REGRESSIONS) {
  t.test(`seed ${seed}: ${found}`, async (t) => {
    const { problem } = await new World({ seed }).run();
    t.equal(problem, null);
  });
}

t.test('the same seed is the same world', async (t) => {
  const faultsMs = 5_000;
  const first = await new World({ seed: 8, faultsMs }).run();
  const second = await new World({ seed: 8, faultsMs }).run();
  t.equal(first.trace, second.trace);
  t.same(first.counts, second.counts);
  const other = await new World({ seed: 9, faultsMs }).run();
  t.not(other.trace, first.trace);
});

t.test('known seeds', async (t) => {
  const { failed, seeds, counts } = await runWorlds(1, KNOWN_SEEDS, 2, KNOWN_MS);
  t.same(failed, []);
  t.ok(seeds > 0);
  t.comment(`${seeds} seeds: ${JSON.stringify(counts)}`);
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
