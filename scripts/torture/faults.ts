import { type Random, randomBetween } from '../../src/base/random.js';
import { verifyDirectory } from '../../src/cli/assemble/offline.js';
import { pick, some } from './choice.js';
import { flip } from './damage.js';
import { DATA_FILES, type DiskKind, RECORD_FILES } from './disk.js';
import { waitFor } from './waiting.js';
import type { TortureNode, World } from './world.js';

/** What may go wrong. It lasts until the returned function is called; that also mends it. */
export interface Fault {
  /** How often it comes before each kind has come again. */
  readonly copies: number;
  /** It takes data from a node: only one at a time, and only when all others have everything. */
  readonly destructive?: boolean;
  /** It needs a disk of the node's own, of one of these kinds. */
  readonly disks?: readonly DiskKind[];
  begin(world: World, random: Random): Promise<() => void | Promise<void>>;
}

/** A node reads all that it needs when it starts. */
const SETTLED_MS = 60_000;
/** Bytes turned over in one fault: few, so that it is not always the same file that is found. */
const FLIPS_MAX = 3;
/** In large files, of which nobody may need the most any more. */
const DATA_FLIPS_MAX = 24;

type Choose<T> = (world: World, random: Random) => Promise<T>;

async function anyNode(world: World, random: Random): Promise<TortureNode> {
  return pick(random, world.nodes);
}

/** Any node when none leads. */
async function leader(world: World, random: Random): Promise<TortureNode> {
  return (await world.leader()) ?? pick(random, world.nodes);
}

function stop(copies: number, choose: Choose<Pick<TortureNode, 'process'>>): Fault {
  return {
    copies,
    async begin(world, random) {
      const chosen = await choose(world, random);
      chosen.process.signal('SIGSTOP');
      return () => chosen.process.signal('SIGCONT');
    },
  };
}

function isolate(copies: number, choose: Choose<TortureNode>): Fault {
  return {
    copies,
    async begin(world, random) {
      const { name } = await choose(world, random);
      world.tally.partitions++;
      cutOff(world, [name], 'both');
      return () => world.roads.heal();
    },
  };
}

function damage(files: RegExp, flipsMax: number): Fault {
  return {
    copies: 1,
    destructive: true,
    async begin(world, random) {
      const node = pick(random, world.nodes);
      await world.kill(node);
      const done = flip(node.disk, files, flipsMax, random);
      if (done) world.tally.damageDone++;
      else world.violations.push(`${node.name} has no files ${files}, and should`);
      node.damaged = done;
      node.process.start();
      // It refuses its data, or serves: what it has not looked at by then, it may look at later.
      await waitFor('what becomes of the damage', SETTLED_MS, async () => {
        return !node.damaged || (await world.serves(node));
      });
      return async () => {
        // What was not read since is still there.
        if (!node.damaged) return;
        await world.kill(node);
        const { problems } = await verifyDirectory(node.disk.data);
        if (problems.length > 0) world.tally.damageFoundByCheck++;
        world.rebuild(node);
      };
    },
  };
}

export const FAULTS: Readonly<Record<string, Fault>> = {
  'kill -9 of a node': {
    copies: 3,
    async begin(world, random) {
      const node = pick(random, world.nodes);
      await world.kill(node);
      return () => node.process.start();
    },
  },
  'kill -9 of the leader': {
    copies: 3,
    async begin(world, random) {
      const node = (await world.leader()) ?? pick(random, world.nodes);
      await world.kill(node);
      return () => node.process.start();
    },
  },
  'kill -9 of a majority': {
    copies: 1,
    async begin(world, random) {
      const killed = some(random, world.nodes, Math.floor(world.nodes.length / 2) + 1);
      await Promise.all(killed.map((node) => world.kill(node)));
      return () => {
        for (const { process } of killed) process.start();
      };
    },
  },
  'kill -9 of all nodes': {
    copies: 1,
    async begin(world) {
      await Promise.all(world.nodes.map((node) => world.kill(node)));
      return () => {
        for (const { process } of world.nodes) process.start();
      };
    },
  },
  'polite restart of a node': {
    copies: 1,
    async begin(world, random) {
      const node = pick(random, world.nodes);
      // A process that has only begun to start is ended by the signal itself.
      await waitFor(`${node.name} to serve`, SETTLED_MS, () => world.serves(node));
      const code = await node.process.end('SIGTERM');
      if (code !== 0) world.violations.push(`${node.name} stopped with ${code}`);
      return () => node.process.start();
    },
  },
  'kill -9 of a mount': {
    copies: 1,
    async begin(world, random) {
      const mount = pick(random, world.mounts);
      await world.kill(mount);
      return () => world.startMount(mount);
    },
  },
  'SIGSTOP of a node': stop(2, anyNode),
  'SIGSTOP of the leader': stop(2, leader),
  'SIGSTOP of a mount': stop(1, async (world, random) => pick(random, world.mounts)),
  'a node cut off': isolate(2, anyNode),
  'the leader cut off': isolate(2, leader),
  'one direction cut': {
    copies: 2,
    async begin(world, random) {
      const node = pick(random, world.nodes);
      world.tally.partitions++;
      cutOff(world, [node.name], randomBetween(random, 0, 2) === 0 ? 'in' : 'out');
      return () => world.roads.heal();
    },
  },
  'a cut between two nodes': {
    copies: 2,
    async begin(world, random) {
      const [a, b] = some(random, world.nodes, 2);
      world.tally.partitions++;
      world.roads.set(a?.name ?? '', b?.name ?? '', { cut: true });
      if (randomBetween(random, 0, 2) === 0) {
        world.roads.set(b?.name ?? '', a?.name ?? '', { cut: true });
      }
      return () => world.roads.heal();
    },
  },
  'no majority': {
    copies: 1,
    async begin(world, random) {
      const few = some(random, world.nodes, Math.ceil(world.nodes.length / 2));
      world.tally.partitions++;
      for (const { name } of few) cutOff(world, [name], 'both');
      return () => world.roads.heal();
    },
  },
  'slow lines': {
    copies: 2,
    async begin(world, random) {
      for (const from of names(world)) {
        for (const to of names(world)) {
          world.roads.set(from, to, {
            delayMs: randomBetween(random, 0, 80),
            bytesPerSecond: randomBetween(random, 500_000, 5_000_000),
          });
        }
      }
      return () => world.roads.heal();
    },
  },
  'resets of all connections': {
    copies: 2,
    async begin(world) {
      for (const { proxy } of world.nodes) proxy.reset();
      return () => {
        for (const { proxy } of world.nodes) proxy.reset();
      };
    },
  },
  'a disk that hangs': {
    copies: 2,
    disks: ['loop'],
    async begin(world, random) {
      const node = pick(random, world.nodes);
      node.disk.freeze();
      return () => node.disk.thaw();
    },
  },
  "the leader's disk hangs": {
    copies: 1,
    disks: ['loop'],
    async begin(world, random) {
      const node = (await world.leader()) ?? pick(random, world.nodes);
      node.disk.freeze();
      return () => node.disk.thaw();
    },
  },
  'a full disk': {
    copies: 1,
    disks: ['loop', 'tmpfs'],
    async begin(world, random) {
      const node = pick(random, world.nodes);
      world.tally.fullDisks++;
      node.wasFull = true;
      node.disk.fill();
      return async () => {
        node.disk.makeRoom();
        // It ended, or is about to, or has not noticed: only in the first case does anybody help.
        node.process.start();
        await world.recovered();
        await world.writable(pick(random, world.mounts));
        node.wasFull = false;
      };
    },
  },
  'flipped bytes': damage(RECORD_FILES, FLIPS_MAX),
  'flipped bytes of large data': damage(DATA_FILES, DATA_FLIPS_MAX),
  'a data directory lost': {
    copies: 1,
    destructive: true,
    async begin(world, random) {
      const node = pick(random, world.nodes);
      await world.kill(node);
      node.disk.wipe();
      return () => node.process.start();
    },
  },
};

function cutOff(world: World, inside: readonly string[], direction: 'in' | 'out' | 'both'): void {
  for (const one of inside) {
    for (const other of [...names(world), ...world.mounts.map(({ name }) => name)]) {
      if (inside.includes(other)) continue;
      if (direction !== 'out') world.roads.set(other, one, { cut: true });
      if (direction !== 'in') world.roads.set(one, other, { cut: true });
    }
  }
}

function names(world: World): string[] {
  return world.nodes.map(({ name }) => name);
}
