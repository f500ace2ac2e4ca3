import t, { type Test } from 'tap';
import { isMootError } from '../../src/base/errors.js';
import { type Random, randomBetween, seededRandom } from '../../src/base/random.js';
import { systemClock } from '../../src/base/system-clock.js';
import { createFilesystemClient } from '../../src/client/client.js';
import { type Ino, ROOT_INO } from '../../src/filesystem/records.js';
import type { Dialer } from '../../src/transport/transport.js';
import { type MemoryCluster, startMemoryCluster } from '../support/cluster.js';
import { KernelView } from '../support/kernel-view.js';

/** About fifteen queries for each. More with more time: MOOTFS_TEST_COMMANDS=3000. */
const COMMANDS = Number(process.env.MOOTFS_TEST_COMMANDS ?? 300);
const CLIENTS = 4;
const FILES = 6;
const NAMES_PER_CLIENT = 3;

/** What anybody was told of an inode: later answers must not be older. */
class Versions {
  private readonly floors = new Map<Ino, number>();

  at(ino: Ino): number {
    return this.floors.get(ino) ?? 0;
  }

  seen(ino: Ino, version: number): void {
    this.floors.set(ino, Math.max(this.at(ino), version));
  }
}

/** A name that one client makes and removes in turn: odd phases have an inode, even ones have none. */
class Toggled {
  issued = 0;
  /** Somebody was told of this phase. */
  floor = 0;
  readonly phaseOf = new Map<Ino, number>();

  constructor(readonly name: Uint8Array) {}
}

class World {
  readonly files: Ino[] = [];
  readonly versions = new Versions();
  readonly names: Toggled[] = [];
  readonly problems: string[] = [];
  queries = 0;
  /** Queries that went over a connection. */
  asked = 0;
  commands = 0;

  constructor(
    readonly cluster: MemoryCluster,
    readonly random: Random,
  ) {}

  client(name: string): KernelView {
    const client = createFilesystemClient({
      dialer: this.counted(this.cluster.network.dialer({ cluster: 'test', name })),
      addresses: this.cluster.members.map((member) => member.config.address),
      name,
      cache: true,
      deadlineMs: 60_000,
    });
    const pause = () => sleep(randomBetween(this.random, 0, 4));
    return new KernelView(client, systemClock, pause);
  }

  private counted(dialer: Dialer): Dialer {
    return {
      dial: async (address, handlers, signal) => {
        const channel = await dialer.dial(address, handlers, signal);
        return {
          get queuedBytes() {
            return channel.queuedBytes;
          },
          close: () => channel.close(),
          send: (request) => {
            if (request.type === 'query') this.asked++;
            channel.send(request);
          },
        };
      },
    };
  }

  pick<T>(items: readonly T[]): T {
    const item = items[Math.floor(this.random.next() * items.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }

  async readInode(client: KernelView, ino = this.pick(this.files)): Promise<void> {
    const floor = this.versions.at(ino);
    this.queries++;
    const inode = await client.inode(ino);
    this.check(ino, floor, inode.dataVersion, 'get-inode');
  }

  async lookupFile(client: KernelView): Promise<void> {
    const i = Math.floor(this.random.next() * FILES);
    const ino = this.files[i] ?? 0;
    const floor = this.versions.at(ino);
    this.queries++;
    const inode = await client.lookup(ROOT_INO, file(i));
    this.check(ino, floor, inode.dataVersion, 'lookup');
  }

  /** A directory changes with each of its names. */
  async readRoot(client: KernelView): Promise<void> {
    const floor = this.versions.at(ROOT_INO);
    this.queries++;
    const inode = await client.inode(ROOT_INO);
    this.check(ROOT_INO, floor, inode.dataVersion, 'get-inode of the root');
  }

  async change(client: KernelView): Promise<void> {
    const ino = this.pick(this.files);
    const size = randomBetween(this.random, 1, 10_000);
    const data = new Uint8Array(size % 7 || 1);
    this.commands++;
    const { inode } = await (this.random.next() < 0.6
      ? client.execute({ type: 'set-attributes', ino, size })
      : client.execute({ type: 'write', ino, offset: size, data }));
    this.versions.seen(ino, inode.dataVersion);
  }

  async toggle(client: KernelView, toggled: Toggled): Promise<void> {
    const { name } = toggled;
    toggled.issued++;
    const phase = toggled.issued;
    this.commands++;
    if (phase % 2 === 1) {
      const { inode } = await client.execute(makeNode(name));
      toggled.phaseOf.set(inode.ino, phase);
    } else {
      await client.execute({ type: 'unlink', parent: ROOT_INO, name });
    }
    toggled.floor = Math.max(toggled.floor, phase);
  }

  async lookupName(client: KernelView): Promise<void> {
    const toggled = this.pick(this.names);
    const { name, floor } = toggled;
    this.queries++;
    const ino = await client.lookup(ROOT_INO, name).then(
      (inode) => inode.ino,
      (error: unknown) => {
        if (isMootError(error, 'ENOENT')) return null;
        throw error;
      },
    );
    // An inode that its maker has not heard of yet is of the phase under way.
    const phase = ino === null ? floor + (floor % 2) : (toggled.phaseOf.get(ino) ?? toggled.issued);
    if (phase < floor || phase > toggled.issued) {
      this.problems.push(`${Buffer.from(name)}: ${ino} in phase ${phase}, known was ${floor}`);
    }
    toggled.floor = Math.max(toggled.floor, phase);
  }

  private check(ino: Ino, floor: number, version: number, what: string): void {
    if (version < floor) {
      this.problems.push(`${what} ${ino}: version ${version}, known was ${floor}`);
    }
    this.versions.seen(ino, version);
  }
}

function file(i: number): Uint8Array {
  return Buffer.from(`file${i}`);
}

function makeNode(name: Uint8Array) {
  const mode = 0o100644;
  return { type: 'make-node', parent: ROOT_INO, name, mode, rdev: 0, uid: 0, gid: 0 } as const;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** One client's work: mostly reads, often in bursts, now and then a rest. */
async function work(
  world: World,
  client: KernelView,
  own: readonly Toggled[],
  until: () => boolean,
): Promise<void> {
  const { random } = world;
  while (!until()) {
    const dice = random.next();
    if (dice < 0.3) await world.readInode(client);
    else if (dice < 0.5) await world.lookupFile(client);
    else if (dice < 0.6) await world.readRoot(client);
    else if (dice < 0.86) await world.lookupName(client);
    else if (dice < 0.93) await world.change(client);
    else if (dice < 0.97) await world.toggle(client, world.pick(own));
    else await sleep(randomBetween(random, 0, 10));
    // Answers from memory take no turn of the event loop: give one.
    if (random.next() < 0.3) await new Promise((resolve) => setImmediate(resolve));
  }
}

/**
 * Reads one file again and again, nearly always from memory: the last to notice that the leader
 * which gave the lease leads no longer.
 */
async function stare(
  world: World,
  client: KernelView,
  ino: Ino,
  until: () => boolean,
): Promise<void> {
  while (!until()) {
    await world.readInode(client, ino);
    await sleep(2);
  }
}

type Trouble = (world: World, until: () => boolean) => Promise<void>;

/** Now and then a client hears nothing for a while, longer or shorter than a lease. */
const deafClients: Trouble = async (world, until) => {
  const { network, members } = world.cluster;
  const { random } = world;
  while (!until()) {
    const name = `client${Math.floor(random.next() * CLIENTS)}`;
    for (const { id } of members) network.cut(id, name);
    await sleep(randomBetween(random, 20, 450));
    for (const { id } of members) network.heal(id, name);
    await sleep(randomBetween(random, 50, 200));
  }
};

/** Leaders die, or are cut off from the other nodes but not from clients, and come back. */
const changingLeaders: Trouble = async (world, until) => {
  const { cluster, random } = world;
  while (!until()) {
    const leader = await cluster.leader();
    if (random.next() < 0.5) {
      await leader.kill();
      await sleep(randomBetween(random, 50, 500));
      await leader.start();
    } else {
      cluster.isolate(leader);
      await sleep(randomBetween(random, 300, 900));
      cluster.rejoin(leader);
    }
    await sleep(randomBetween(random, 200, 900));
  }
};

async function run(
  t: Test,
  seed: number,
  troubles: readonly Trouble[],
  { leaseMs, commands } = { leaseMs: 200, commands: COMMANDS },
) {
  const cluster = await startMemoryCluster({ nodes: 3, config: { leaseMs } });
  const random = seededRandom(seed);
  const world = new World(cluster, random);
  const clients = Array.from({ length: CLIENTS }, (_, i) => world.client(`client${i}`));
  t.teardown(async () => {
    await Promise.all(clients.map(({ client }) => client.close()));
    await cluster.stop();
  });
  for (const [i] of clients.entries()) {
    for (const { id } of cluster.members) {
      cluster.network.setWeather(`client${i}`, id, { delayMinMs: 0, delayMaxMs: 2 });
      cluster.network.setWeather(id, `client${i}`, { delayMinMs: 0, delayMaxMs: 3 });
    }
  }
  const [first] = clients;
  for (let i = 0; first !== undefined && i < FILES; i++) {
    world.files.push((await first.execute(makeNode(file(i)))).inode.ino);
  }
  const owned = clients.map((_, i) =>
    Array.from({ length: NAMES_PER_CLIENT }, (_, j) => new Toggled(Buffer.from(`name${i}.${j}`))),
  );
  world.names.push(...owned.flat());
  const until = () => world.commands >= commands || world.problems.length > 0;
  await Promise.all([
    ...clients.map((client, i) => work(world, client, owned[i] ?? [], until)),
    ...clients.map((client, i) => stare(world, client, world.files[i] ?? 0, until)),
    ...troubles.map((trouble) => trouble(world, until)),
  ]);
  t.strictSame(world.problems, [], `seed ${seed}`);
  const share = 1 - world.asked / world.queries;
  const alone = clients.reduce((sum, client) => sum + client.alone, 0) / world.queries;
  t.comment(
    `${world.queries} queries, ${Math.round(share * 100)} % from memory, ` +
      `${Math.round(alone * 100)} % by the kernel alone`,
  );
  t.ok(alone > 0, 'some were not even asked by the kernel');
  t.ok(world.asked < world.queries, 'some answers came from memory');
}

for (const seed of [1, 2]) {
  t.test(`no answer is older than what anybody was told: seed ${seed}`, (t) => run(t, seed, []));
}

for (const seed of [11]) {
  t.test(`... also when clients hear nothing for a while: seed ${seed}`, (t) =>
    run(t, seed, [deafClients]),
  );
}

for (const seed of [21, 22]) {
  t.test(`... also when leaders change: seed ${seed}`, (t) =>
    // Longer than an election, so that there is a new leader while old leases last.
    run(t, seed, [changingLeaders, deafClients], { leaseMs: 800, commands: COMMANDS / 4 }),
  );
}
