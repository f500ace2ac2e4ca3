import { readFileSync } from 'node:fs';
import t from 'tap';
import { mutated } from './hooks.js';
import { MUTATIONS } from './mutations.js';
import { runMutant, tellOfMutant } from './run.js';

// On a busy machine the worlds take their time; they are no test of speed.
t.setTimeout(280_000);

/** The simulation is tested by mistakes made on purpose; `make mutants` makes them all. */
const QUICK = [
  'an append is acknowledged before it is synced',
  'a commit is counted without a majority',
  'the sessions are missing in a snapshot',
  'commands are applied twice after a crash',
  'the log is truncated below the commit index',
  'a vote counts before it is durable',
];
/** Each of these takes one or two. */
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

/** Shows only after a loss of power; and in worlds that are short, since many are lived. */
const SHRUNK = 'the applied index is written apart from the tree';
const SHORT = ['--faults-ms', '6000'];
/** There is something to take away. */
const FAULTS_MIN = 4;

t.test('a plan that fails is made smaller, and fails again in the same way', async (t) => {
  const mutation = MUTATIONS.find(({ name }) => name === SHRUNK);
  if (mutation === undefined) throw new Error(`there is no mutation '${SHRUNK}'`);
  const world = async (seed: number, ...args: string[]) =>
    told(await tellOfMutant(mutation, ['--seed', `${seed}`, ...SHORT, ...args]));
  let seed = 1;
  let whole = await world(seed);
  while ((whole?.faults.length ?? 0) < FAULTS_MIN && seed < SEEDS_MAX) whole = await world(++seed);
  const shrunk = await world(seed, '--shrink');
  const faults = shrunk?.faults ?? [];
  t.ok(faults.length > 0);
  t.ok(faults.length < (whole?.faults.length ?? 0));
  t.same(await world(seed, '--only', faults.join()), shrunk);
  t.comment(`seed ${seed}: of ${whole?.faults.length} faults ${faults.length}, ${shrunk?.problem}`);
});

interface Told {
  readonly trace: string;
  readonly problem: string;
  /** Which of the plan. */
  readonly faults: readonly string[];
}

/** The end of what the command line says of a world that went wrong; null: it did not. */
function told(text: string): Told | null {
  const end = /trace (\w+)\n(.*)\n(?:.*\n)*again: .* --only (\S*)\n$/.exec(text);
  if (end === null) return null;
  const [, trace = '', problem = '', only = ''] = end;
  return { trace, problem, faults: only.split(',').filter(Boolean) };
}
