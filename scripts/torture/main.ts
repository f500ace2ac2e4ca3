import { type Random, randomBetween, seededRandom } from '../../src/base/random.js';
import { renderTable } from '../../src/cli/table.js';
import { live } from './live.js';
import { Storm } from './storm.js';
import { Tally } from './tally.js';
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
/** In so long a run every kind of fault comes; it says nothing otherwise. */
const ALL_KINDS_SECONDS = 300;

let current: World | null = null;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    say(`${signal}: unmounts, ends all, and removes what was made`);
    const removed = current === null ? Promise.resolve() : current.remove(false);
    void removed.finally(() => process.exit(130));
  });
}

const tally = new Tally();
const storm = new Storm(seededRandom(SEED), tally, FAULTS);
for (const [i, name] of WORLDS.entries()) {
  const violations = await torture(name, SECONDS / WORLDS.length, seededRandom(SEED + i));
  tally.worlds++;
  tally.violations += violations.length;
  for (const violation of violations) say(`VIOLATION: ${violation}`);
}
const failed = tally.violations > 0 || !haveAllCome(storm.missing);
say(renderTable(['FAULT', 'TIMES'], faultRows()));
say(renderTable(['IN ALL WORLDS', ''], tally.rows()));
say(failed ? `FAILED; MOOTFS_TORTURE_SEED=${SEED}` : 'no violation');
process.exit(failed ? 1 : 0);

async function torture(name: string, seconds: number, random: Random): Promise<string[]> {
  say(`== world ${name} for ${seconds.toFixed(0)} s; MOOTFS_TORTURE_SEED=${SEED}`);
  const flags = name.endsWith('-all') ? ['--write-concern', 'all'] : [];
  const beginMs = performance.now();
  const world = await World.make(Number.parseInt(name, 10), flags, () => clock(random), tally);
  current = world;
  const { violations } = world;
  try {
    await world.start();
    await live(world, storm, random, performance.now() + seconds * 1000, say);
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

/** Says which kinds never came; whether that is as it should be. */
function haveAllCome(missing: readonly string[]): boolean {
  if (missing.length === 0) return true;
  const isShort = SECONDS < ALL_KINDS_SECONDS;
  const why = isShort ? 'the run was short' : `in ${SECONDS} s every kind has to come`;
  say(`${isShort ? '' : 'FAILED: '}these faults never came, and ${why}: ${missing.join(', ')}`);
  return isShort;
}

function faultRows(): string[][] {
  const came = [...tally.faults].map(([fault, times]) => [fault, String(times)]);
  const impossible = [...tally.impossible].map((fault) => [fault, 'not possible on this machine']);
  return [...came, ...impossible].sort(([a = ''], [b = '']) => (a < b ? -1 : 1));
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
