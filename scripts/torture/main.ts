import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Random, randomBetween, seededRandom } from '../../src/base/random.js';
import { verifyDirectory } from '../../src/cli/assemble/offline.js';
import { renderTable } from '../../src/cli/table.js';
import { checkHistories } from './checks.js';
import { torment } from './faults.js';
import { type Operation, readHistory } from './history.js';
import { runWorker } from './processes.js';
import { World } from './world.js';

/**
 * `make torture`: real nodes and mounts, everything that may go wrong, programs that write what
 * verifies itself, and afterwards: is every promise kept? MOOTFS_TORTURE_SECONDS in all, shared by
 * the worlds of MOOTFS_TORTURE_WORLDS: each a number of nodes, with -all those of a cluster with
 * write concern all. MOOTFS_TORTURE_SEED chooses the faults and what programs do, as far as real
 * processes repeat themselves;
 * MOOTFS_TORTURE_FAULTS, a regular expression, which kinds of faults.
 */
const SECONDS = Number(process.env.MOOTFS_TORTURE_SECONDS ?? 600);
const WORLDS = (process.env.MOOTFS_TORTURE_WORLDS ?? '3,5,3-all').split(',');
const SEED = Number(process.env.MOOTFS_TORTURE_SEED ?? Math.floor(Math.random() * 2 ** 31));
const FAULTS = new RegExp(process.env.MOOTFS_TORTURE_FAULTS ?? '');
/** A program that has not ended so long after all was healed hangs. */
const WORKER_END_MS = 120_000;

let current: World | null = null;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    say(`${signal}: unmounts, ends all, and removes what was made`);
    const removed = current === null ? Promise.resolve() : current.remove(false);
    void removed.finally(() => process.exit(130));
  });
}

let failed = false;
for (const [i, name] of WORLDS.entries()) {
  const violations = await torture(name, SECONDS / WORLDS.length, seededRandom(SEED + i));
  if (violations.length > 0) failed = true;
  for (const violation of violations) say(`VIOLATION: ${violation}`);
}
say(failed ? `FAILED; MOOTFS_TORTURE_SEED=${SEED}` : 'no violation');
process.exit(failed ? 1 : 0);

async function torture(name: string, seconds: number, random: Random): Promise<string[]> {
  say(`== world ${name} for ${seconds.toFixed(0)} s; MOOTFS_TORTURE_SEED=${SEED}`);
  const flags = name.endsWith('-all') ? ['--write-concern', 'all'] : [];
  const beginMs = performance.now();
  const world = await World.make(Number.parseInt(name, 10), flags, () => clock(random));
  current = world;
  const { violations } = world;
  try {
    await world.start();
    await live(world, random, performance.now() + seconds * 1000);
  } catch (error) {
    violations.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
  } finally {
    await world.remove(violations.length > 0);
    current = null;
  }
  if (violations.length > 0) say(`logs and histories are in ${world.root}`);
  say(`took ${((performance.now() - beginMs) / 1000).toFixed(0)} s`);
  return violations;
}

async function live(world: World, random: Random, endMs: number): Promise<void> {
  const { mounts, violations, root } = world;
  const stopFile = join(root, 'stop');
  const historyOf = (name: string) => join(root, 'histories', name);
  const seed = () => String(randomBetween(random, 0, 2 ** 31));
  for (const { name } of mounts) writeFileSync(historyOf(name), '');
  await runWorker(['prepare', mounts[0]?.directory ?? '']);
  const workers = mounts.map(({ name, directory }) =>
    runWorker(['work', directory, name, seed(), historyOf(name), stopFile], (child) =>
      world.workers.add(child),
    ),
  );
  // A program that ends early is reported where it is waited for.
  for (const worker of workers) worker.catch(() => {});
  const beginMs = performance.now();
  const counts = await torment(world, random, FAULTS, endMs, (fault) =>
    say(`${((performance.now() - beginMs) / 1000).toFixed(1).padStart(7)} s  ${fault}`),
  );
  world.heal();
  writeFileSync(stopFile, '');
  for (const [i, worker] of workers.entries()) {
    await inTime(worker, `the program on ${mounts[i]?.name} to end`);
  }
  await world.healthy();
  for (const { name, directory } of mounts) {
    await inTime(
      runWorker(['final', directory, name, '0', historyOf(`${name}-final`)]),
      `the last reads of ${name}`,
    );
  }
  const digests = await Promise.all(
    mounts.map(({ directory }) => runWorker(['digest', directory])),
  );
  if (new Set(digests).size !== 1) violations.push(`trees differ: ${digests.join(' ')}`);
  const records = await readRecords(mounts[0]?.directory ?? '');
  await world.healthy();
  await world.stop();
  for (const { name, disk } of world.nodes) {
    const { problems } = await verifyDirectory(disk.data);
    for (const problem of problems) violations.push(`${name}: ${problem}`);
  }
  const operations: Operation[] = mounts.flatMap(({ name }) =>
    [name, `${name}-final`].flatMap((part) => readHistory(name, historyOf(part))),
  );
  const findings = checkHistories(operations, records);
  violations.push(...findings.violations);
  const unanswered = operations.filter(({ answer }) => answer === null).length;
  say(
    renderTable(
      ['FAULT', 'TIMES'],
      [...counts].sort().map(([fault, times]) => [fault, String(times)]),
    ),
  );
  say(
    `${findings.operations} operations (${unanswered} without an answer), ` +
      `${findings.acknowledgedBytes} bytes acknowledged; ` +
      `${findings.objects} objects, ${findings.undecided} undecided; ` +
      `damage found ${world.damageFound} times; ${violations.length} violations`,
  );
}

/** A program may wait for ever in a call: then it is what hangs, and not this. */
async function inTime<T>(work: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), WORKER_END_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Read in a process of its own: nobody here may touch a mount and wait. */
async function readRecords(directory: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const name of ['records0', 'records1']) {
    found.set(name, await runWorker(['read', join(directory, name)]));
  }
  return found;
}

/** Clocks a little wrong: monotonic ones within 2 %, wall clocks by hours, with jumps. */
function clock(random: Random): string {
  const rate = 1 + (random.next() - 0.5) * 0.04;
  const offsetMs = randomBetween(random, -3_600_000, 3_600_000);
  const jumpMs = randomBetween(random, -60_000, 60_000);
  return `${rate.toFixed(4)},${offsetMs},${jumpMs}`;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
