import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { seededRandom } from '../../src/base/random.js';
import { buildSyscalls, SystemCalls } from '../support/syscalls.js';
import { serveTwoMounts } from '../support/two-mounts.js';
import { compareRun, type Place, processesOf, shrink } from './compare.js';
import { type Abilities, makeSteps, type Step } from './steps.js';

/**
 * Random sequences of system calls, on mounts and on a local directory side by side: every answer must
 * be the same. MOOTFS_DIFFERENTIAL_SECONDS is how long, MOOTFS_DIFFERENTIAL_SEED where to begin, and
 * MOOTFS_DIFFERENTIAL_MOUNTS the places, with a colon between, of a cluster that runs already.
 */
const SECONDS = Number(process.env.MOOTFS_DIFFERENTIAL_SECONDS ?? 60);
const SEED = Number(process.env.MOOTFS_DIFFERENTIAL_SEED ?? 1);
const MOUNTS = process.env.MOOTFS_DIFFERENTIAL_MOUNTS?.split(':');
/**
 * Without a time of its own a run makes as many sequences as have been made before, on any machine, and
 * on one mount: between two, what one removes goes away under the other when it goes away.
 */
const SHORT = process.env.MOOTFS_DIFFERENTIAL_SECONDS === undefined;
const SEQUENCES_MAX = SHORT ? 60 : Infinity;
const MOUNTS_MAX = SHORT ? 1 : 2;
const STEPS = 500;
const SHRINKING_TRIES_MAX = 400;
/** How often a long run says how far it is. */
const TOLD_SEQUENCES = 200;

/** Seeds that showed a difference once, each with how many mounts. */
const FOUND: readonly (readonly [seed: number, mounts: number])[] = [[220_084, 1]];

t.test('mounts and a local directory answer alike', { timeout: 0 }, async (t) => {
  const program = await buildSyscalls(t);
  if (program === null) {
    t.pass('system calls', { skip: 'needs a C compiler (cc)' });
    return;
  }
  const mounts = MOUNTS === undefined ? await serveTwoMounts(t) : { places: MOUNTS };
  if (mounts.places === null) {
    t.pass('two mounts', { skip: mounts.whyNot });
    return;
  }
  const { places } = mounts;
  const directory = await mkdtemp(join(tmpdir(), 'mootfs-local-'));
  t.teardown(() => rm(directory, { recursive: true }));
  await chmod(directory, 0o755);
  const localAbilities = await abilitiesOf(program, directory);

  const run = async (seed: number, mountCount: number): Promise<boolean> => {
    const mootfs: Place = { mounts: places.slice(0, mountCount) };
    const local: Place = { mounts: mootfs.mounts.map(() => directory) };
    const abilities: Abilities = { ...localAbilities, manyMounts: mountCount > 1 };
    const compare = (steps: readonly Step[]) =>
      compareRun(program, mootfs, local, steps, abilities);
    const steps = makeSteps(seededRandom(seed), STEPS, processesOf(mountCount), abilities);
    const found = await compare(steps);
    if (found === null) return true;
    t.comment(`seed ${seed}: ${JSON.stringify(found)}`);
    const shrunk = await shrink(steps, found, compare, SHRINKING_TRIES_MAX);
    const { mootfs: ours, local: theirs } = shrunk.difference;
    const script = shrunk.steps.map(({ process, call }) => `${process}: ${call}`);
    t.fail(`seed ${seed}, ${mountCount} mounts`, { script, ours, theirs });
    return false;
  };

  for (const [seed, mountCount] of FOUND) await run(seed, mountCount);
  const end = Date.now() + SECONDS * 1000;
  let sequences = 0;
  for (let seed = SEED; Date.now() < end && sequences < SEQUENCES_MAX; seed++, sequences++) {
    if (!(await run(seed, 1 + (seed % Math.min(MOUNTS_MAX, places.length))))) break;
    if (sequences % TOLD_SEQUENCES === TOLD_SEQUENCES - 1) t.comment(`so far up to seed ${seed}`);
  }
  t.ok(sequences > 0);
  t.comment(`${sequences} sequences of ${STEPS} calls from seed ${SEED}`);
});

/** What the local filesystem can do that not all can. */
async function abilitiesOf(program: string, directory: string) {
  const calls = new SystemCalls(program, directory);
  const can = async (call: string) => (await calls.call(call)).startsWith('=');
  await calls.call('open 0 f rw|creat 0644');
  const abilities = {
    acls: await can('setacl f access 1:6:0 2:5:12 4:4:0 16:7:0 32:0:0'),
    xattrs: await can('setxattr f user.a 1 1 0'),
    unnamedFiles: await can('open 1 . rw|tmpfile 0640'),
  };
  await calls.call('unlink f');
  await calls.end();
  return abilities;
}
