import { readFileSync } from 'node:fs';
import t from 'tap';
import { mutated } from './hooks.js';
import { MUTATIONS } from './mutations.js';
import { runMutant } from './run.js';

// On a busy machine the worlds take their time; they are no test of speed.
t.setTimeout(280_000);

/** The simulation is tested by mistakes made on purpose; `make mutants` makes them all. */
const QUICK = [
  'an append is acknowledged before it is synced',
  'a commit is counted without a majority',
  'the log is truncated below the commit index',
  'a vote counts before it is durable',
];
/** Each of these takes one or two, and shows within a second of virtual time. */
const SEEDS_MAX = 20;

t.test('every mistake has its place in the code', async (t) => {
  for (const mutation of MUTATIONS) {
    const source = readFileSync(new URL(`../../../${mutation.file}`, import.meta.url), 'utf8');
    t.not(mutated(source, mutation), source, mutation.name);
  }
  t.equal(new Set(MUTATIONS.map(({ name }) => name)).size, MUTATIONS.length);
});

for (const mutation of MUTATIONS.filter(({ name }) => QUICK.includes(name))) {
  t.test(mutation.name, async (t) => {
    const { found, seeds } = await runMutant(mutation, { from: 1, seeds: SEEDS_MAX, jobs: 2 });
    t.not(found, null);
    t.comment(`${seeds} seeds: ${found?.problem}`);
  });
}
