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
const SECONDS = Number(process.env.MOOTFS_DIFFERENTIAL_SECONDS ?? 120);
const SEED = Number(process.env.MOOTFS_DIFFERENTIAL_SEED ?? 1);
const MOUNTS = process.env.MOOTFS_DIFFERENTIAL_MOUNTS?.split(':');
/** Without a time of its own a run makes as many sequences as have been made before, on any machine. */
const SHORT = process.env.MOOTFS_DIFFERENTIAL_SECONDS === undefined;
const SEQUENCES_MAX = SHORT ? 240 : Infinity;
const MOUNTS_MAX = 2;
const STEPS = 500;
const SHRINKING_TRIES_MAX = 400;
/** How often a long run says how far it is. */
const TOLD_SEQUENCES = 200;

/** Seeds that showed a difference once, each with how many mounts. */
const FOUND: readonly (readonly [seed: number, mounts: number])[] = [
  [220_084, 1],
  [633, 2],
];

/** Calls on two mounts that were answered otherwise once. Processes 0 and 1 use the first mount. */
const SCRIPTS: readonly (readonly string[])[] = [
  // A rename that the kernel refuses, and one of what was moved to and fro meanwhile.
  [
    '3: mkdir d 0400',
    '2: open 0 d/e rw|creat|excl|nonblock 06777',
    '0: rename d a 0',
    '2: mkdir d 02755',
    '2: rename a e 0',
    '3: rename e d/b 1',
    '1: rename e b 0',
    '3: rename b d/b 0',
  ],
  // Both names were moved.
  [
    '1: open 1 e w|creat|trunc|nonblock 0400',
    '3: listxattr e/a',
    '2: mkdir d 0777',
    '0: rename e d/a 1',
    '2: mknod d/b 020644 250 17',
    '0: rename d/b a 1',
    '2: rename d/a a 2',
  ],
  // A name that means another inode by now.
  [
    '1: open 2 c rw|creat|nonblock 02755',
    '1: link c b',
    '2: stat b',
    '1: rename b d 0',
    '2: rename e d/e/a 0',
    '0: rename d a 0',
    '0: symlink a d',
    '2: rename a d/b 0',
  ],
  // The same call, but for its paths.
  [
    '0: open 0 b rw|creat|nonblock 0644',
    '0: mkdir d 0755',
    '2: rename b c 0',
    '0: rename c d 0',
    '2: rename c e 0',
    '0: rename e a 0',
  ],
];

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
  for (const script of places.length < 2 ? [] : SCRIPTS) {
    const steps = script.map((line) => {
      const [process = '', ...call] = line.split(': ');
      return { process: Number(process), call: call.join(': ') };
    });
    const local: Place = { mounts: [directory, directory] };
    const abilities = { ...localAbilities, manyMounts: true };
    t.equal(
      await compareRun(program, { mounts: places.slice(0, 2) }, local, steps, abilities),
      null,
    );
  }
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
    inodeFlags: await can('setflags f 0'),
  };
  await calls.call('unlink f');
  await calls.end();
  return abilities;
}
