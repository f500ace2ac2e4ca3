import { type ChildProcess, type ForkOptions, fork } from 'node:child_process';
import { World, type WorldOptions, type WorldResult } from './world.js';

/** What one process is to do: seeds from `from` on, `step` apart. */
export interface Job {
  readonly from: number;
  readonly step: number;
  /** No seed from here on. */
  readonly end: number;
  /** No seed is begun after so long. */
  readonly forMs: number;
}

export interface Totals {
  seeds: number;
  virtualMs: number;
  /** Of the processors, in all processes. */
  cpuMs: number;
  counts: Record<string, number>;
  readonly failed: { readonly seed: number; readonly trace: string; readonly problem: string }[];
}

/** Worlds make much that is soon forgotten: what outlives a collection of young objects costs most. */
const V8_FLAGS = ['--max-semi-space-size=32'];

/** Where an error comes from is seen when its world is run again, alone. */
const STACK_FRAMES = 0;

/** The answer of a process for each seed. */
type Report = Pick<WorldResult, 'seed' | 'trace' | 'virtualMs' | 'problem' | 'counts'> & {
  readonly cpuMs: number;
};

/** Runs worlds in `jobs` processes of this file's neighbour main.js; stops soon after the first problem. */
export async function runWorlds(
  from: number,
  count: number,
  jobs: number,
  forMs: number,
  options: ForkOptions = {},
): Promise<Totals> {
  const totals: Totals = { seeds: 0, virtualMs: 0, cpuMs: 0, counts: {}, failed: [] };
  const main = new URL('./main.js', import.meta.url);
  const children: ChildProcess[] = [];
  const ends = Array.from({ length: jobs }, (_, i) => {
    const job: Job = { from: from + i, step: jobs, end: from + count, forMs };
    const execArgv = [...V8_FLAGS, ...(options.execArgv ?? [])];
    const child = fork(main, ['--job', JSON.stringify(job)], { ...options, execArgv });
    children.push(child);
    let last = 'its first seed';
    return new Promise<void>((resolve, reject) => {
      child.on('message', (message) => {
        // Our own process says nothing else.
        const report = message as Report;
        last = `the seed after ${report.seed}`;
        take(totals, report);
        if (report.problem !== null) for (const one of children) one.kill();
      });
      child.on('exit', (code, signal) => {
        if (code === 0 || (signal !== null && totals.failed.length > 0)) resolve();
        else reject(new Error(`a process of worlds ended with ${code ?? signal} in ${last}`));
      });
    });
  });
  await Promise.all(ends);
  return totals;
}

/** In a process of its own: lives one world after the other and reports each. */
export async function work(job: Job): Promise<void> {
  const endMs = performance.now() + job.forMs;
  const alone = () => process.exit();
  process.on('disconnect', alone);
  // Nodes refuse much, and to note where each error comes from takes long.
  Error.stackTraceLimit = STACK_FRAMES;
  for (let seed = job.from; seed < job.end && performance.now() < endMs; seed += job.step) {
    const before = process.cpuUsage();
    const { trace, virtualMs, problem, counts } = await new World({ seed }).run();
    const { user, system } = process.cpuUsage(before);
    const cpuMs = (user + system) / 1_000;
    const report: Report = { seed, trace, virtualMs, problem, counts, cpuMs };
    process.send?.(report);
    if (problem !== null) break;
  }
  // Who listens for the end of the channel is kept alive by it.
  process.off('disconnect', alone);
}

/**
 * Takes away faults while the world still goes wrong, larger parts first (delta debugging, Zeller
 * and Hildebrandt 2002). The problem found at the end may be another one.
 */
export async function shrink(options: WorldOptions, forMs: number): Promise<WorldResult> {
  const endMs = performance.now() + forMs;
  let smallest = await new World(options).run();
  let kept = smallest.faults.map((_, i) => i);
  for (let parts = 2; kept.length > 0 && performance.now() < endMs; ) {
    const size = Math.ceil(kept.length / parts);
    let smaller: number[] | null = null;
    for (let at = 0; at < kept.length && performance.now() < endMs; at += size) {
      const rest = [...kept.slice(0, at), ...kept.slice(at + size)];
      const result = await new World({ ...options, only: new Set(rest) }).run();
      if (result.problem === null) continue;
      smallest = result;
      smaller = rest;
      break;
    }
    if (smaller !== null) {
      kept = smaller;
      parts = Math.max(2, parts - 1);
    } else if (size === 1) break;
    else parts = Math.min(kept.length, parts * 2);
  }
  return smallest;
}

function take(totals: Totals, { seed, trace, virtualMs, problem, counts, cpuMs }: Report): void {
  totals.seeds++;
  totals.virtualMs += virtualMs;
  totals.cpuMs += cpuMs;
  for (const [name, value] of Object.entries(counts)) {
    totals.counts[name] = (totals.counts[name] ?? 0) + value;
  }
  if (problem !== null) totals.failed.push({ seed, trace, problem });
}
