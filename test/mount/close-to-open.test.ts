import t from 'tap';
import { type Random, randomBetween, seededRandom } from '../../src/base/random.js';
import { WRITE_DELAY_MS } from '../../src/mount/write-behind.js';
import { LocalCluster } from '../support/local-client.js';
import { APPEND, code, idle, newMount, put, READ, text, WRITE } from '../support/mount-world.js';
import { type Fd, TestKernel } from '../support/test-kernel.js';

/**
 * Two mounts with kernels that cache, programs on both that open, write, cut and close the same
 * files, commands and replies and changes that are late: whoever opens a file after all others
 * have flushed it reads what is in it, at any time; and in the end so does every open file.
 */

const SEEDS = 400;
const STEPS = 80;
const FILES = ['f', 'g'];
const FDS_MAX = 4;

class World {
  readonly cluster = new LocalCluster();
  readonly kernels: readonly [TestKernel, TestKernel];
  /** Whether the pages were of use: a test in which they never are proves nothing. */
  keptOpens = 0;
  readonly steps: string[] = [];

  constructor(readonly random: Random) {
    this.kernels = [
      new TestKernel(newMount(this.cluster, { name: 'a' })),
      new TestKernel(newMount(this.cluster, { name: 'b' })),
    ];
    for (const { mount } of this.kernels) {
      const { open } = mount.ops;
      mount.ops.open = async (...of) => {
        const opened = await open.apply(mount.ops, of);
        if (opened.keepCache) this.keptOpens++;
        return opened;
      };
    }
  }

  below(n: number): number {
    return randomBetween(this.random, 0, n);
  }

  pick<T>(from: readonly T[]): T | undefined {
    return from[this.below(from.length)];
  }

  truth(ino: number): string {
    const { filesystem, view } = this.cluster;
    const result = filesystem.query<'read'>(view, { type: 'read', ino, offset: 0, size: 1_000 });
    return result.ok ? text(result.value.data) : result.code;
  }

  /** Lets through what is on its way, so that calls that wait for it end. */
  letThrough({ mount }: TestKernel): void {
    mount.client.commands.open();
    mount.client.replies.open();
  }
}

type Step = (world: World, kernel: TestKernel) => Promise<void>;

/** Steps that wait for the cluster: what is held back on this mount goes first. */
function waiting(step: Step): Step {
  return async (world, kernel) => {
    world.letThrough(kernel);
    await step(world, kernel);
  };
}

function onFd(step: (world: World, kernel: TestKernel, fd: Fd) => Promise<unknown>): Step {
  return async (world, kernel) => {
    const fd = world.pick(kernel.fds.filter(({ flags }) => flags.write));
    // A delayed write that was refused may be told by any of these.
    if (fd !== undefined) await code(step(world, kernel, fd));
  };
}

const open: Step = waiting(async (world, kernel) => {
  if (kernel.fds.length >= FDS_MAX) return;
  const flags = world.pick([READ, WRITE, WRITE, APPEND]) ?? READ;
  await kernel.open(world.pick(FILES) ?? 'f', flags);
});

const write = onFd((world, kernel, fd) => {
  const letter = String.fromCharCode(97 + world.below(26));
  return kernel.write(fd, world.below(24), letter.repeat(1 + world.below(10)));
});

const check: Step = async (world, kernel) => {
  for (const other of world.kernels) {
    world.letThrough(other);
    for (const fd of other.fds) await code(other.flush(fd));
  }
  const fd = await kernel.open(world.pick(FILES) ?? 'f', READ);
  const content = await kernel.readAll(fd);
  const truth = world.truth(fd.ino);
  if (content !== truth) throw new Error(`read '${content}', but the file is '${truth}'`);
  await kernel.close(fd);
};

const STEP_OF: Readonly<Record<string, Step>> = {
  open,
  open2: open,
  write,
  write2: write,
  write3: write,
  read: waiting(async (world, kernel) => {
    const fd = world.pick(kernel.fds);
    if (fd !== undefined) await kernel.readAll(fd);
  }),
  truncate: waiting(onFd((world, kernel, fd) => kernel.truncate(fd, world.below(24)))),
  flush: waiting(onFd((_world, kernel, fd) => kernel.flush(fd))),
  close: waiting(onFd((_world, kernel, fd) => kernel.close(fd))),
  delay: async (_world, kernel) => {
    kernel.mount.clock.advance(WRITE_DELAY_MS);
    await idle();
  },
  holdCommands: async (_world, { mount }) => mount.client.commands.shut(),
  holdReplies: async (_world, { mount }) => mount.client.replies.shut(),
  holdWatch: async (_world, { mount }) => mount.client.holdWatch(),
  releaseWatch: async (world, { mount }) => {
    mount.client.releaseWatch(world.pick(['each', 'merged', 'merged', 'reset']) ?? 'each');
  },
  obey: async (_world, kernel) => kernel.obeyNotifications(),
  refuse: async (world, { mount }) => {
    const refused = world.below(4) === 0;
    mount.client.refuse = ({ type }) => (refused && type === 'write' ? 'ENOSPC' : null);
  },
  check,
  check2: check,
};

async function run(world: World): Promise<void> {
  const [first] = world.kernels;
  for (const file of FILES) await put(first.mount, file, 'beginning');
  for (let i = 0; i < STEPS; i++) {
    const kernel = world.kernels[world.below(2)];
    const step = world.pick(Object.keys(STEP_OF));
    if (kernel === undefined || step === undefined) continue;
    world.steps.push(`${world.kernels.indexOf(kernel)}:${step}`);
    await STEP_OF[step]?.(world, kernel);
  }
  await settle(world);
}

/** When nothing is on its way any more, every open file shows what is there. */
async function settle(world: World): Promise<void> {
  for (const kernel of world.kernels) {
    world.letThrough(kernel);
    for (const fd of kernel.fds) await code(kernel.flush(fd));
    kernel.mount.client.releaseWatch();
  }
  for (let i = 0; i < 5; i++) await idle();
  for (const kernel of world.kernels) {
    kernel.obeyNotifications();
    for (const fd of kernel.fds) {
      const content = await kernel.readAll(fd);
      const truth = world.truth(fd.ino);
      if (content !== truth) throw new Error(`in the end '${content}' instead of '${truth}'`);
    }
  }
}

t.test('what is flushed is read by every later open, with kernels that cache', async (t) => {
  let keptOpens = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const world = new World(seededRandom(seed));
    try {
      await run(world);
    } catch (error) {
      t.fail(`seed ${seed}: ${error}\n${world.steps.join(' ')}`);
      return;
    }
    keptOpens += world.keptOpens;
  }
  t.ok(keptOpens > SEEDS, `pages were kept at ${keptOpens} opens`);
});
