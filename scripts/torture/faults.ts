import { closeSync, openSync, readSync, statSync, writeSync } from 'node:fs';
import { type Random, randomBetween } from '../../src/base/random.js';
import { type TortureNode, type World, waitFor } from './world.js';

/** What may go wrong. It lasts until the returned function is called; that also mends it. */
interface Fault {
  readonly weight: number;
  /** It takes data from a node: only one at a time, and only when all others have everything. */
  readonly destructive?: boolean;
  /** It needs a disk that is the node's own. */
  readonly needsDisk?: boolean;
  begin(world: World, random: Random): Promise<() => void | Promise<void>>;
}

/** How long a fault lasts, and how long the world is left in peace afterwards. */
const LASTS_MS = [300, 6_000] as const;
const PEACE_MS = [200, 3_000] as const;
/** The end of a write-ahead log may be torn by any crash: damage there proves nothing. */
const TAIL_BYTES = 131_072;
/** A node reads all that it needs when it starts. */
const SETTLED_MS = 60_000;
/** Bytes turned over in one fault: few, so that it is not always the same file that is found. */
const FLIPS_MAX = 3;

type Choose<T> = (world: World, random: Random) => Promise<T>;

async function anyNode(world: World, random: Random): Promise<TortureNode> {
  return pick(random, world.nodes);
}

/** Any node when none leads. */
async function leader(world: World, random: Random): Promise<TortureNode> {
  return (await world.leader()) ?? pick(random, world.nodes);
}

function stop(weight: number, choose: Choose<Pick<TortureNode, 'process'>>): Fault {
  return {
    weight,
    async begin(world, random) {
      const chosen = await choose(world, random);
      chosen.process.signal('SIGSTOP');
      return () => chosen.process.signal('SIGCONT');
    },
  };
}

function isolate(weight: number, choose: Choose<TortureNode>): Fault {
  return {
    weight,
    async begin(world, random) {
      cutOff(world, [(await choose(world, random)).name], 'both');
      return () => world.roads.heal();
    },
  };
}

export const FAULTS: Readonly<Record<string, Fault>> = {
  'kill -9 of a node': {
    weight: 12,
    async begin(world, random) {
      const node = pick(random, world.nodes);
      await node.process.end('SIGKILL');
      return () => node.process.start();
    },
  },
  'kill -9 of the leader': {
    weight: 12,
    async begin(world, random) {
      const node = (await world.leader()) ?? pick(random, world.nodes);
      await node.process.end('SIGKILL');
      return () => node.process.start();
    },
  },
  'kill -9 of a majority': {
    weight: 4,
    async begin(world, random) {
      const killed = some(random, world.nodes, Math.floor(world.nodes.length / 2) + 1);
      await Promise.all(killed.map(({ process }) => process.end('SIGKILL')));
      return () => {
        for (const { process } of killed) process.start();
      };
    },
  },
  'kill -9 of all nodes': {
    weight: 4,
    async begin(world) {
      await Promise.all(world.nodes.map(({ process }) => process.end('SIGKILL')));
      return () => {
        for (const { process } of world.nodes) process.start();
      };
    },
  },
  'polite restart of a node': {
    weight: 5,
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
    weight: 4,
    async begin(world, random) {
      const mount = pick(random, world.mounts);
      await mount.process.end('SIGKILL');
      return () => world.startMount(mount);
    },
  },
  'SIGSTOP of a node': stop(8, anyNode),
  'SIGSTOP of the leader': stop(10, leader),
  'SIGSTOP of a mount': stop(4, async (world, random) => pick(random, world.mounts)),
  'a node cut off': isolate(8, anyNode),
  'the leader cut off': isolate(8, leader),
  'one direction cut': {
    weight: 8,
    async begin(world, random) {
      const node = pick(random, world.nodes);
      cutOff(world, [node.name], randomBetween(random, 0, 2) === 0 ? 'in' : 'out');
      return () => world.roads.heal();
    },
  },
  'a cut between two nodes': {
    weight: 6,
    async begin(world, random) {
      const [a, b] = some(random, world.nodes, 2);
      world.roads.set(a?.name ?? '', b?.name ?? '', { cut: true });
      if (randomBetween(random, 0, 2) === 0) {
        world.roads.set(b?.name ?? '', a?.name ?? '', { cut: true });
      }
      return () => world.roads.heal();
    },
  },
  'no majority': {
    weight: 3,
    async begin(world, random) {
      const few = some(random, world.nodes, Math.ceil(world.nodes.length / 2));
      for (const { name } of few) cutOff(world, [name], 'both');
      return () => world.roads.heal();
    },
  },
  'slow lines': {
    weight: 6,
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
    weight: 6,
    async begin(world) {
      for (const { proxy } of world.nodes) proxy.reset();
      return () => {
        for (const { proxy } of world.nodes) proxy.reset();
      };
    },
  },
  'a disk that hangs': {
    weight: 6,
    needsDisk: true,
    async begin(world, random) {
      const node = pick(random, world.nodes);
      node.disk.freeze();
      return () => node.disk.thaw();
    },
  },
  "the leader's disk hangs": {
    weight: 4,
    needsDisk: true,
    async begin(world, random) {
      const node = (await world.leader()) ?? pick(random, world.nodes);
      node.disk.freeze();
      return () => node.disk.thaw();
    },
  },
  'a full disk': {
    weight: 4,
    needsDisk: true,
    async begin(world, random) {
      const node = pick(random, world.nodes);
      node.wasFull = true;
      node.disk.fill();
      return async () => {
        node.disk.makeRoom();
        // It ended, or is about to, or has not noticed.
        await node.process.end('SIGKILL');
        node.wasFull = false;
        node.process.start();
      };
    },
  },
  'flipped bytes': {
    weight: 4,
    destructive: true,
    async begin(world, random) {
      const node = pick(random, world.nodes);
      await node.process.end('SIGKILL');
      flip(node, random);
      node.damaged = true;
      node.process.start();
      // It refuses its data, or serves: what it has not looked at by then, it may look at later.
      await waitFor('what becomes of the damage', SETTLED_MS, async () => {
        return !node.damaged || (await world.serves(node));
      });
      return async () => {
        // What was not read since is still there.
        if (!node.damaged) return;
        await node.process.end('SIGKILL');
        world.rebuild(node);
      };
    },
  },
  'a data directory lost': {
    weight: 3,
    destructive: true,
    async begin(world, random) {
      const node = pick(random, world.nodes);
      await node.process.end('SIGKILL');
      node.disk.wipe();
      return () => node.process.start();
    },
  },
};

/** Lets things go wrong, one after another, until `endMs`; says how often each did. */
export async function torment(
  world: World,
  random: Random,
  wanted: RegExp,
  endMs: number,
  report: (line: string) => void,
): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  const haveDisks = world.nodes.every(({ disk }) => disk.isReal);
  const possible = Object.entries(FAULTS).filter(
    ([name, fault]) => wanted.test(name) && (fault.needsDisk !== true || haveDisks),
  );
  if (!haveDisks) report('(no loop mounts here: no disk is full, none hangs)');
  const total = possible.reduce((sum, [, { weight }]) => sum + weight, 0);
  while (performance.now() < endMs) {
    let luck = randomBetween(random, 0, total);
    for (const [name, fault] of possible) {
      luck -= fault.weight;
      if (luck >= 0) continue;
      counts.set(name, (counts.get(name) ?? 0) + 1);
      report(name);
      if (fault.destructive === true) await world.recovered();
      const mend = await fault.begin(world, random);
      await pause(between(random, LASTS_MS));
      await mend();
      // Who lost data must have it again before anybody else may lose some.
      if (fault.destructive === true) await world.recovered();
      break;
    }
    await pause(between(random, PEACE_MS));
  }
  return counts;
}

function cutOff(world: World, inside: readonly string[], direction: 'in' | 'out' | 'both'): void {
  for (const one of inside) {
    for (const other of [...names(world), ...world.mounts.map(({ name }) => name)]) {
      if (inside.includes(other)) continue;
      if (direction !== 'out') world.roads.set(other, one, { cut: true });
      if (direction !== 'in') world.roads.set(one, other, { cut: true });
    }
  }
}

function flip({ disk }: TortureNode, random: Random): void {
  const places = disk.files().flatMap((path) => {
    const { size } = statSync(path);
    const end = path.endsWith('.log') ? size - TAIL_BYTES : size;
    return end > 0 ? [{ path, end }] : [];
  });
  if (places.length === 0) return;
  for (let i = randomBetween(random, 0, FLIPS_MAX); i < FLIPS_MAX; i++) {
    const { path, end } = pick(random, places);
    const at = randomBetween(random, 0, end);
    const fd = openSync(path, 'r+');
    const byte = Buffer.alloc(1);
    readSync(fd, byte, 0, 1, at);
    byte[0] = (byte[0] ?? 0) ^ (1 << randomBetween(random, 0, 8));
    writeSync(fd, byte, 0, 1, at);
    closeSync(fd);
  }
}

function names(world: World): string[] {
  return world.nodes.map(({ name }) => name);
}

function pick<T>(random: Random, of: readonly T[]): T {
  return of[randomBetween(random, 0, of.length)] as T;
}

function some<T>(random: Random, of: readonly T[], count: number): T[] {
  const rest = [...of];
  const chosen: T[] = [];
  while (chosen.length < count && rest.length > 0) {
    chosen.push(...rest.splice(randomBetween(random, 0, rest.length), 1));
  }
  return chosen;
}

function between(random: Random, [from, to]: readonly [number, number]): number {
  return randomBetween(random, from, to);
}

function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}
