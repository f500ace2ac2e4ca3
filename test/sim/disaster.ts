import { isMootError } from '../../src/base/errors.js';
import { type Random, randomBetween, seededRandom } from '../../src/base/random.js';
import { recoverAlone } from '../../src/node/recover.js';
import { membersOf } from '../../src/raft/membership.js';
import type { Configuration, Entry } from '../../src/raft/types.js';
import { createMemoryLogStore, createMemoryStateStore } from '../../src/storage/memory.js';
import type { SimClient } from './client.js';
import { History } from './history.js';
import { ensure, judgedBy, Laws, newestConfiguration, termOnDisk } from './laws.js';
import { Reference } from './reference.js';
import type { Server } from './server.js';
import { Work } from './work.js';
import type { World } from './world.js';

/** Nodes that join the rebuilt cluster, and its clients. */
const JOINING = 2;
const CLIENTS = 2;
/** What each client does there. */
const OPERATIONS = 15;
const REBUILT_MS_MAX = 40_000;

/**
 * The end of some worlds: all nodes lose their power at once, and whoever runs them takes a majority for
 * lost and rebuilds a cluster from one survivor (`mootfs recover`). The laws: nothing that the survivor
 * had is lost; the rebuilt cluster works; and although some of the others come back with
 * their old disks, and go on as the old cluster if they can, the two never mix.
 */
export class Disaster {
  private readonly random: Random;
  private readonly reference: Reference;
  private readonly history: History;
  private readonly servers: Server[] = [];
  private readonly clients: SimClient[] = [];
  private done = 0;

  /** null: no node has what it takes to survive. */
  static of(world: World, seed: number): Disaster | null {
    const random = seededRandom(seed);
    const able = world.servers.filter((one) => canSurvive(one, world.reference.configuration));
    const survivor = able[randomBetween(random, 0, Math.max(1, able.length))];
    return survivor === undefined ? null : new Disaster(world, survivor, random);
  }

  private constructor(
    private readonly world: World,
    private readonly survivor: Server,
    random: Random,
  ) {
    this.random = random;
    this.reference = new Reference(world.firstConfiguration);
    this.history = new History(this.reference);
  }

  async run(): Promise<void> {
    const { world, survivor, random } = this;
    world.tell(`disaster: ${survivor.id} is to go on alone`);
    for (const server of world.servers) server.kill(random.next() < 0.7);
    // What was written anew over a damaged record, and not synced, went with the power.
    if (survivor.disk.isDamaged) return;
    // The rebuilt cluster may be the first that these meet; what they began has no place in its history.
    for (const client of world.clients.filter(({ wasAnswered }) => !wasAnswered)) {
      world.endClient(client, false);
    }
    world.trouble.operator.leaveUnmet();
    world.trouble.calm();
    const { disk, id } = survivor;
    const before = newestConfiguration(survivor)?.configuration ?? world.reference.configuration;
    // Its tree may lack what its log has, as after any loss of power; the log decides.
    const { log, state } = disk.memory;
    // A tree that the log does not have has come by a snapshot: then the log begins anew behind it.
    const begin =
      termOnDisk(survivor, state.mark.index) === state.mark.term ? log.mark : state.mark;
    const held = begin === log.mark ? [...log.entries] : [];
    for (let index = 1; index <= begin.index; index++) {
      const entry = world.reference.at(index)?.entry;
      ensure(entry !== undefined, `${id} has compacted ${index}, which nobody has applied`);
      this.reference.apply(entry);
    }
    if (!(await this.recover())) return;
    this.begin(before);
    await world.runUntil(world.loop.now + REBUILT_MS_MAX * 1_000, () => this.settled());
    if (world.hasFailed) return;
    ensure(this.settled(), `the rebuilt cluster does not get well\n${this.describe()}`);
    this.judge(held);
  }

  /** False: who was to survive says that it is no member of its cluster. */
  private async recover(): Promise<boolean> {
    const { survivor, random } = this;
    const { memory } = survivor.disk;
    const [log, state] = [createMemoryLogStore(memory), createMemoryStateStore(memory)];
    try {
      await recoverAlone({ id: survivor.id, address: null, random }, log, state, () => true);
      return true;
    } catch (error) {
      if (!isMootError(error, 'BAD_ARGUMENT')) throw error;
      return false;
    }
  }

  private begin(before: Configuration): void {
    const { world, survivor, random } = this;
    const { config } = survivor.options;
    const self = { id: config.id, address: config.address };
    const laws = new Laws(this.servers, this.reference, survivor.disk.memory.state.mark.index);
    const judge = judgedBy(laws, (server, error) => {
      throw new Error(`${server.id} of the rebuilt cluster stopped`, { cause: error });
    });
    const { disk } = survivor;
    const alone = world.serverWith({ ...config, peers: [self] }, judge, disk);
    const joining = Array.from({ length: JOINING }, (_, i) => ({
      id: `r${i}`,
      address: `r${i}:1`,
    }));
    const others = joining.map((one) => world.serverWith({ ...config, ...one, peers: [] }, judge));
    this.servers.push(alone, ...others);
    for (const server of this.servers) server.start();
    survivor.retired = true;
    for (const server of world.servers) {
      const isMember = membersOf(before).some(({ id }) => id === server.id);
      if (isMember && random.next() < 0.6) server.start();
    }
    const client = (name: string) => world.clientOf(name, [self.address], this.history);
    void this.grow(client('operator-2'), joining);
    for (let i = 0; i < CLIENTS; i++) {
      const one = client(`d${i}`);
      this.clients.push(one);
      void this.use(one);
    }
  }

  private async grow(client: SimClient, joining: readonly { id: string; address: string }[]) {
    for (const one of joining) {
      const change = { type: 'add', ...one, promote: true, replaces: null } as const;
      for (let added = false; !added && !this.world.hasFailed; ) {
        added = await client.client.changeMembers(change).then(
          () => true,
          (error: unknown) => !isMootError(error),
        );
        if (!added) await client.sleep(100);
        // It may be a member although nobody could say so in time.
        added ||= membersOf(this.reference.configuration).some(({ id }) => id === one.id);
      }
    }
    this.done++;
  }

  private async use(client: SimClient): Promise<void> {
    const work = new Work(seededRandom(client.below(2 ** 31)));
    for (let i = 0; i < OPERATIONS; i++) {
      work.learn(await client.command(work.command()));
      work.learn(await client.query(work.query(), 'strong'));
    }
    const last = await client.query({ type: 'statfs' }, 'strong');
    client.judge(() => ensure(last !== null, `${client.name} cannot use the rebuilt cluster`));
    this.done++;
  }

  private settled(): boolean {
    if (this.done < 1 + CLIENTS) return false;
    const leader = this.servers.find(({ status }) => status?.role === 'leader')?.status;
    return (
      leader !== undefined &&
      leader !== null &&
      leader.configuration.voters.length === 1 + JOINING &&
      this.servers.every(
        ({ status }) =>
          status?.appliedIndex === leader.lastIndex && status.stateHash === leader.stateHash,
      )
    );
  }

  private judge(held: readonly Entry[]): void {
    const { world, survivor, reference } = this;
    for (const { index, term } of held) {
      ensure(
        reference.at(index)?.entry.term === term,
        `the survivor ${survivor.id} had ${index}:${term}, and the rebuilt cluster has not`,
      );
    }
    const rebuilt = new Set(this.servers.map(({ id }) => id));
    const { incarnation } = reference.configuration;
    for (const { id } of membersOf(reference.configuration)) {
      ensure(rebuilt.has(id), `${id} of the old cluster is a member of the rebuilt one`);
    }
    for (const server of world.servers) {
      const status = server.status;
      if (status === null) continue;
      ensure(
        status.configuration.incarnation !== incarnation,
        `the old node ${server.id} is of the rebuilt cluster`,
      );
    }
  }

  private describe(): string {
    return this.servers.map(({ id, status }) => `${id}: ${JSON.stringify(status)}`).join('\n');
  }
}

/** A member by its own log, with all that it ever promised. */
function canSurvive(server: Server, committed: Configuration): boolean {
  const { disk, retired, id } = server;
  const configuration = newestConfiguration(server)?.configuration ?? committed;
  return (
    !retired &&
    disk.memory.log.hardState?.recovering === false &&
    disk.memory.log.entries.length > 0 &&
    !disk.isDamaged &&
    membersOf(configuration).some((member) => member.id === id)
  );
}
