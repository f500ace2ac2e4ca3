import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { MUTATIONS } from './mutations.js';
import { runMutant } from './run.js';

/** Makes one mistake after the other and tells how many worlds it took to find it. */
const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    jobs: { type: 'string', default: `${availableParallelism()}` },
    name: { type: 'string', default: '' },
  },
});

let missed = 0;
const chosen = MUTATIONS.filter(({ name }) => name.includes(values.name));
for (const mutation of chosen) {
  const startedMs = performance.now();
  const { found, seeds } = await runMutant(mutation, {
    from: Number(values.from),
    seeds: Number(values.seeds),
    jobs: Number(values.jobs),
  });
  if (found === null) missed++;
  const seconds = ((performance.now() - startedMs) / 1_000).toFixed(1);
  const how = found === null ? 'NOT FOUND' : `seed ${found.seed}, ${found.problem}`;
  process.stdout.write(`${mutation.name}: ${seeds} seeds, ${seconds} s: ${how.split('\n')[0]}\n`);
}
process.stdout.write(`${chosen.length - missed} of ${chosen.length} mistakes found\n`);
process.exitCode = missed === 0 ? 0 : 1;
