import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { type Job, runWorlds, shrink, work } from './runner.js';
import { World, type WorldResult } from './world.js';

const USAGE = `Simulated worlds: production nodes and clients on simulated time, network and disks.

  --seeds N     so many worlds (100)
  --from N      the first one's seed (random)
  --seconds N   begins no world after so long
  --jobs N      processes (as many as there are processors)
  --seed N      this world alone, with all that was done and said
  --only A,B,…  with --seed: only these faults of its plan
  --faults-ms N with --seed: a shorter world, with faults for so long
  --shrink      with --seed: looks for few faults with which it still goes wrong
`;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '100' },
    from: { type: 'string' },
    seconds: { type: 'string', default: '86400' },
    jobs: { type: 'string', default: `${availableParallelism()}` },
    seed: { type: 'string' },
    only: { type: 'string' },
    'faults-ms': { type: 'string' },
    shrink: { type: 'boolean', default: false },
    job: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

/** For finding few faults; a person waits. */
const SHRINK_MS = 60_000;

if (values.help) process.stdout.write(USAGE);
// Written by our own parent process.
else if (values.job !== undefined) await work(JSON.parse(values.job) as Job);
else if (values.seed !== undefined) await one(Number(values.seed));
else await many();

async function one(seed: number): Promise<void> {
  const only = values.only?.split(',').filter(Boolean).map(Number);
  const faultsMs = values['faults-ms'];
  const options = {
    seed,
    ...(only === undefined ? {} : { only: new Set(only) }),
    ...(faultsMs === undefined ? {} : { faultsMs: Number(faultsMs) }),
  };
  tell(values.shrink ? await shrink(options, SHRINK_MS) : await new World(options).run());
}

async function many(): Promise<void> {
  const from = Number(values.from ?? Math.floor(Math.random() * 2 ** 30));
  const startedMs = performance.now();
  const jobs = Number(values.jobs);
  const seconds = Number(values.seconds);
  say(`seeds from ${from}`);
  const wanted = Number(values.seeds);
  const totals = await runWorlds(from, wanted, jobs, seconds * 1_000);
  const realSeconds = (performance.now() - startedMs) / 1_000;
  const virtualSeconds = totals.virtualMs / 1_000;
  for (const [name, count] of Object.entries(totals.counts)) say(`  ${name}: ${count}`);
  say(
    `${totals.seeds} seeds, ${virtualSeconds.toFixed(0)} virtual seconds in ${realSeconds.toFixed(0)} s ` +
      `with ${jobs} processes: ${(totals.virtualMs / totals.cpuMs || 0).toFixed(1)} for a second of one processor`,
  );
  if (totals.seeds < wanted && totals.failed.length === 0) {
    say(`${wanted - totals.seeds} seeds fewer than wanted: ${seconds} s were over`);
  }
  for (const { seed, trace, problem } of totals.failed) {
    process.exitCode = 1;
    say(`seed ${seed}, trace ${trace}: ${problem}`);
    say(`again: node dist/test/sim/main.js --seed ${seed}`);
    tell(await shrink({ seed }, SHRINK_MS));
  }
}

function tell({ seed, trace, virtualMs, story, problem, happened }: WorldResult): void {
  say(story.join('\n'));
  say(`seed ${seed}: ${(virtualMs / 1_000).toFixed(1)} virtual seconds, trace ${trace}`);
  if (problem === null) return;
  say(problem);
  say(`again: node dist/test/sim/main.js --seed ${seed} --only ${happened.join()}`);
  process.exitCode = 1;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
