import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Random, randomBetween } from '../../src/base/random.js';
import { verifyDirectory } from '../../src/cli/assemble/offline.js';
import { checkHistories } from './checks.js';
import { type Operation, readHistory } from './history.js';
import { runWorker } from './processes.js';
import type { Storm } from './storm.js';
import { inTime } from './waiting.js';
import type { World } from './world.js';

/** The history of what was there before all others. */
const PREPARE = 'prepare';

/** A world's life: programs at work, a storm, and when all is over the judgement. */
export async function live(
  world: World,
  storm: Storm,
  random: Random,
  endMs: number,
  say: (text: string) => void,
): Promise<void> {
  const { mounts, violations, root } = world;
  const stopFile = join(root, 'stop');
  const historyOf = (name: string) => join(root, 'histories', name);
  const seed = () => String(randomBetween(random, 0, 2 ** 31));
  const everyMount = mounts.map(({ name }) => name);
  for (const name of [PREPARE, ...everyMount]) writeFileSync(historyOf(name), '');
  const first = mounts[0]?.directory ?? '';
  await inTime(
    runWorker(['prepare', first, PREPARE, '0', historyOf(PREPARE)]),
    'what programs begin with',
  );
  const workers = mounts.map(({ name, directory }) =>
    runWorker(['work', directory, name, seed(), historyOf(name), stopFile], (child) =>
      world.workers.add(child),
    ),
  );
  // A program that ends early is reported where it is waited for.
  for (const worker of workers) worker.catch(() => {});
  const beginMs = performance.now();
  await storm.torment(world, endMs, (fault) =>
    say(`${((performance.now() - beginMs) / 1000).toFixed(1).padStart(7)} s  ${fault}`),
  );
  world.heal();
  writeFileSync(stopFile, '');
  for (const [i, worker] of workers.entries()) {
    await inTime(worker, `the program on ${mounts[i]?.name} to end`);
  }
  await world.healthy();
  await Promise.all(mounts.map((mount) => world.writable(mount)));
  await Promise.all(
    mounts.map(({ name, directory }) =>
      inTime(
        runWorker(['final', directory, name, '0', historyOf(`${name}-final`)]),
        `the last reads of ${name}`,
      ),
    ),
  );
  const digests = await Promise.all(
    mounts.map(({ name, directory }) =>
      inTime(runWorker(['digest', directory]), `the digest of ${name}`),
    ),
  );
  if (new Set(digests).size !== 1) violations.push(`trees differ: ${digests.join(' ')}`);
  const records = await readRecords(first);
  await world.healthy();
  await world.stop();
  for (const { name, disk } of world.nodes) {
    const { problems } = await verifyDirectory(disk.data);
    for (const problem of problems) violations.push(`${name}: ${problem}`);
  }
  const operations = [PREPARE, ...everyMount].flatMap((name) => [
    ...readHistory(name, historyOf(name)),
    ...(name === PREPARE ? [] : readHistory(name, historyOf(`${name}-final`))),
  ]);
  say(judge(world, operations, records));
}

/** What was done and found, in one line. */
function judge(
  { violations, tally }: World,
  operations: readonly Operation[],
  records: ReadonlyMap<string, string>,
): string {
  const findings = checkHistories(operations, records);
  violations.push(...findings.violations);
  const unanswered = operations.filter(({ answer }) => answer === null).length;
  tally.operations += findings.operations;
  tally.unanswered += unanswered;
  tally.acknowledgedBytes += findings.acknowledgedBytes;
  tally.undecided += findings.undecided;
  return (
    `${findings.operations} operations (${unanswered} without an answer), ` +
    `${findings.acknowledgedBytes} bytes acknowledged; ` +
    `${findings.objects} objects, ${findings.undecided} undecided; ${violations.length} violations`
  );
}

/** Read in a process of its own: nobody here may touch a mount and wait. */
async function readRecords(directory: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const name of ['records0', 'records1']) {
    found.set(name, await runWorker(['read', join(directory, name)]));
  }
  return found;
}
