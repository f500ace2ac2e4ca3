import { AssertionFailed } from '../../src/base/assert.js';
import { describe, isMootError } from '../../src/base/errors.js';
import { type Random, randomBetween, seededRandom } from '../../src/base/random.js';
import { decodeConfiguration } from '../../src/codec/configuration.js';
import { MEMBERS } from '../../src/filesystem/keys.js';
import type { NodeConfig } from '../../src/node/node.js';
import { isJoint, isRemoved, membersOf, NO_MEMBERS } from '../../src/raft/membership.js';
import type { Configuration, Entry, Member } from '../../src/raft/types.js';
import { checkTree } from '../support/tree-invariants.js';
import { checkBounds, isIdle } from './bounds.js';
import { SimClient } from './client.js';
import { Disaster } from './disaster.js';
import type { SimDisk } from './disk.js';
import { type Fault, type Plan, planFaults } from './faults.js';
import { History } from './history.js';

import { ensure, judgedBy, Laws, newestConfiguration } from './laws.js';
import { Lockers } from './lockers.js';
import { Loop, type Micros } from './loop.js';
import { type ClockErrors, Machine } from './machine.js';
import { SimNetwork, type Weather } from './network.js';
import { Openers } from './openers.js';
import { Programs } from './programs.js';
import { canonical, Reference, same } from './reference.js';
import { type Judge, Server } from './server.js';
import { struck } from './struck.js';
import { Trouble } from './trouble.js';

export interface WorldOptions {
  readonly seed: number;
  /** Positions in the plan of the faults that happen this time; all, if it is not given. */
  readonly only?: ReadonlySet<number>;
  /** For how long there are faults; calm and healing take a few seconds more. */
  readonly faultsMs?: number;
}

export interface WorldResult {
  readonly seed: number;
  readonly trace: string;
  readonly virtualMs: number;
  readonly faults: readonly Fault[];
  /** Positions in `faults` of those that happened this time. */
  readonly happened: readonly number[];
  /** What was found; null: nothing. */
  readonly problem: string | null;
  readonly counts: Readonly<Record<string, number>>;
  /** What nodes said and what was done to them, in order. */
  readonly story: readonly string[];
}

const FAULTS_MS = 27_000;
/** Every world lives on for so long at least when its faults have ended. */
const CALM_MS = 3_000;
/**
 * All must be well again within so long after the last fault ended: what a client that vanished had
 * locked, others get when its session is over, which may take 32 s.
 */
const HEALING_MS = 40_000;
/** This part of the worlds ends with the loss of a majority. */
const DISASTERS = 0.08;
/** How often it is looked what waits. */
const BOUNDS_MICROS = 1_000_000;
/** A calm world is idle within so long, now and then. */
const IDLE_MS_MAX = 5_000;
/** How often it is looked whether all is well again. */
const LOOK_MICROS = 20_000;
/** People see by then that a mount knows nobody any more. */
const MOUNT_AGAIN_MS = 5_000;
/** A node answers everything within so long, if only that it cannot tell. */
const ANSWER_MS_MAX = 12_000;
const CLUSTER = 'world';
/** Chance may end a term early when the network is slow; more than that is a fight. */
const STEADY_TERMS_MAX = 3;
/** So much faster than any other one a monotonic clock may run, and a little less (see base/lease-time.ts). */
const CLOCK_RATIO_MAX = 1.0499;
/** In this part of the worlds nodes' clocks are as fast as they may be, and clients' as slow: a lease must last. */
const CLOCKS_APART = 0.3;

/** One simulated world, from one seed: servers, clients, and everything that befalls them. */
export class World {
  readonly loop = new Loop();
  readonly random: Random;
  readonly network: SimNetwork;
  readonly servers: Server[] = [];
  readonly clients: SimClient[] = [];
  readonly reference: Reference;
  readonly history: History;
  readonly laws: Laws;
  readonly story: string[] = [];
  private readonly plan: Plan;
  readonly trouble: Trouble;
  /** Its end is a disaster; who stops then is not helped. */
  isDoomed = false;
  readonly firstConfiguration: Configuration;
  readonly programs: Programs;
  private readonly faultsMs: number;
  private readonly sessionTimeoutMs: number;
  private readonly clocksApart: boolean;
  private readonly snapshotChunkBytes: number;
  readonly common: Omit<NodeConfig, 'id' | 'address' | 'peers'>;
  private clientsMade = 0;
  private serversMade = 0;
  private problem: string | null = null;

  constructor(private readonly options: WorldOptions) {
    const { seed } = options;
    this.faultsMs = options.faultsMs ?? FAULTS_MS;
    this.random = seededRandom(seed);
    this.plan = planFaults(seededRandom(seed + 1), this.faultsMs);
    this.network = new SimNetwork(this.loop, seededRandom(seed + 2), this.usualWeather());
    this.sessionTimeoutMs = 2_000 + this.below(this.chance(0.3) ? 3_000 : 30_000);
    this.clocksApart = this.chance(CLOCKS_APART);
    this.common = this.commonConfig();
    const drawn = [3, 3, 3, 5, 5, 1][this.below(6)] ?? 3;
    const isAlone = this.plan.faults[0]?.type === 'grow-and-shrink';
    const size = isAlone ? 1 : this.plan.isOrderly ? Math.max(3, drawn) : drawn;
    const peers = Array.from({ length: size }, (_, i) => memberOf(i + 1));
    this.firstConfiguration = { ...NO_MEMBERS, voters: peers };
    this.reference = new Reference(this.firstConfiguration);
    this.history = new History(this.reference);
    this.laws = new Laws(this.servers, this.reference);
    this.snapshotChunkBytes = this.chance(0.6) ? 1_000 + this.below(10_000) : 1_048_576;
    for (const peer of peers) this.makeServer({ ...this.common, ...peer, peers });
    this.programs = new Programs(
      seededRandom(seed + 3),
      new Lockers(this.reference),
      new Openers(this.reference),
    );
    this.trouble = new Trouble(this);
  }

  /** Lives this world's life. What is wrong is in the result; a bug of the simulator throws. */
  async run(): Promise<WorldResult> {
    const { loop, servers, trouble } = this;
    const { faults, steadyFromMs } = this.plan;
    for (const server of servers) server.start();
    this.watchBounds();
    const clients = 2 + this.below(3);
    for (let i = 0; i < clients; i++) this.newClient();
    for (const [i, fault] of faults.entries()) {
      if (this.options.only?.has(i) ?? true) trouble.plan(fault);
    }
    const failed = () => this.problem !== null;
    const wrong = (error: unknown) => this.wrong(error);
    process.on('uncaughtException', wrong);
    process.on('unhandledRejection', wrong);
    try {
      if (steadyFromMs !== null) await this.steady(steadyFromMs);
      await loop.run(this.faultsMs * 1_000, failed);
      if (!failed()) this.judged(() => trouble.orderly.judge());
      if (!failed() && !(await this.endsInDisaster())) await this.heal();
      // Node tells of rejections that nobody handles when its own loop goes on.
      await new Promise((resolve) => setImmediate(resolve));
    } catch (error) {
      // Of a node, within one of the world's own steps.
      if (!(error instanceof AssertionFailed)) throw error;
      this.wrong(error);
    } finally {
      process.off('uncaughtException', wrong);
      process.off('unhandledRejection', wrong);
    }
    const story = this.collectStory();
    return {
      seed: this.options.seed,
      trace: loop.trace,
      virtualMs: loop.nowMs,
      faults,
      happened: faults.map((_, i) => i).filter((i) => this.options.only?.has(i) ?? true),
      problem: this.problem,
      counts: {
        steps: loop.steps,
        frames: this.network.frames,
        ...this.laws.counts,
        ...struck(story),
        hungAccesses: this.servers.reduce((sum, { disk }) => sum + disk.hung, 0),
        ...this.history.counts,
        ...this.programs.openers.counts,
        ...this.trouble.counts,
      },
      story,
    };
  }

  private watchBounds(): void {
    this.loop.after(BOUNDS_MICROS, 'bounds', () => {
      this.judged(() => checkBounds(this.servers, this.network));
      this.watchBounds();
    });
  }

  private judged(judge: () => void): void {
    try {
      judge();
    } catch (error) {
      this.wrong(error);
    }
  }

  /** False: this world is spared. */
  private async endsInDisaster(): Promise<boolean> {
    const random = seededRandom(this.options.seed + 4);
    if (random.next() >= DISASTERS) return false;
    const disaster = Disaster.of(this, randomBetween(random, 0, 2 ** 31));
    if (disaster === null) return false;
    this.isDoomed = true;
    this.trouble.counts.disaster = 1;
    try {
      await disaster.run();
    } catch (error) {
      this.wrong(error);
    }
    return true;
  }

  /** Where nothing changes any more, whoever leads goes on leading. */
  private async steady(fromMs: number): Promise<void> {
    const failed = () => this.problem !== null;
    await this.loop.run(fromMs * 1_000, failed);
    const before = this.laws.counts.terms;
    await this.loop.run(this.faultsMs * 1_000, failed);
    const terms = this.laws.counts.terms - before;
    if (terms > STEADY_TERMS_MAX) this.wrong(new Error(`${terms} leaders, and nothing changed`));
  }

  /** One that waits to be made a member. */
  newServer(): Server {
    return this.makeServer({ ...this.common, ...memberOf(this.servers.length + 1), peers: [] });
  }

  private makeServer(config: NodeConfig): Server {
    const laws = judgedBy(this.laws, (server, error) => this.onFailed(server, error));
    const onDurable: Judge['onDurable'] = (server, saves) => {
      laws.onDurable(server, saves);
      if (saves.some(({ hardState }) => hardState?.vote)) this.trouble.voted(server);
      const joint = saves.some(({ entries }) => entries.some(isJointEntry));
      if (joint) this.trouble.changes(server);
    };
    const onSend: Judge['onSend'] = (server, message) => {
      laws.onSend(server, message);
      if (message.type === 'snapshot-chunk') this.trouble.streams(server, message);
      else if (message.type === 'snapshot-ack') this.trouble.takes(message);
    };
    const server = this.serverWith(config, { ...laws, onDurable, onSend });
    this.servers.push(server);
    return server;
  }

  /** Not one of this world's cluster yet. */
  serverWith(config: NodeConfig, judge: Judge, disk?: SimDisk): Server {
    return new Server({
      loop: this.loop,
      network: this.network,
      config,
      seed: this.options.seed * 101 + this.serversMade++ * 7,
      clockErrors: this.clockErrors(1),
      snapshotChunkBytes: this.snapshotChunkBytes,
      judge,
      ...(disk === undefined ? {} : { disk }),
      onWrong: (error) => this.wrong(error),
    });
  }

  newClient(): void {
    const client = this.makeClient(`c${++this.clientsMade}`);
    this.clients.push(client);
    this.programs.start(client, client.machine);
  }

  /** Of the one who runs the cluster: nothing happens to it. */
  newOperatorClient(): SimClient {
    return this.makeClient('operator');
  }

  private makeClient(name: string): SimClient {
    const inUse = this.servers.filter(({ retired }) => !retired);
    const addresses = inUse.map(({ options }) => options.config.address);
    const first = this.below(addresses.length);
    return this.clientOf(name, [...addresses.slice(first), ...addresses.slice(0, first)]);
  }

  /** Who knows these addresses, and whose answers `history` judges. */
  clientOf(name: string, addresses: readonly string[], history = this.history): SimClient {
    const machine = new Machine(this.loop, name, this.clockErrors(0), this.random);
    return new SimClient({
      machine,
      network: this.network,
      cluster: CLUSTER,
      addresses,
      random: seededRandom(this.options.seed * 7 + this.clientsMade),
      history,
      deadlineMs: 3_000 + this.below(9_000),
      cache: this.chance(0.6),
      holdsOpen: this.chance(0.5),
      keepAliveMs: this.sessionTimeoutMs / 5,
      onWrong: (error) => this.wrong(error),
    });
  }

  /** It is over with this client; another one comes. */
  replaceClient(client: SimClient): void {
    this.endClient(client, this.chance(0.5));
    this.newClient();
  }

  /** It goes politely; another one comes at once. */
  closeClient(client: SimClient): void {
    const at = this.clients.indexOf(client);
    if (at >= 0) this.clients.splice(at, 1);
    client.close((ended) => {
      this.closedSession(client, ended);
      this.endClient(client, false);
    });
    this.newClient();
  }

  /** `ended`: the session that it was told is over, if it was. */
  private closedSession(client: SimClient, ended: number | null): void {
    if (ended === null || this.isDoomed) return;
    const { trouble, reference } = this;
    trouble.counts.closedSessions = (trouble.counts.closedSessions ?? 0) + 1;
    const law = `${client.name} was told that its session ${ended} is over, and it is not`;
    this.judged(() => ensure(!reference.hasSession(ended), law));
  }

  /** `silently`: nobody is told. */
  endClient(client: SimClient, silently: boolean): void {
    client.machine.kill();
    this.network.died(client.machine, silently);
    const at = this.clients.indexOf(client);
    if (at >= 0) this.clients.splice(at, 1);
  }

  tell(line: string): void {
    this.story.push(`${this.loop.nowMs.toFixed(1)} ${line}`);
    this.loop.noteText(line);
  }

  below(count: number): number {
    return randomBetween(this.random, 0, count);
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }

  chance(rate: number): boolean {
    return this.random.next() < rate;
  }

  get hasFailed(): boolean {
    return this.problem !== null;
  }

  wrong(error: unknown): void {
    const stack = error instanceof Error && !isMootError(error) ? error.stack : undefined;
    this.problem ??= `at ${this.loop.nowMs.toFixed(1)} ms: ${stack ?? describe(error)}`;
  }

  /** Who was given only nodes that have left may not have heard of others in time. */
  private mountAgain(): void {
    const members = membersOf(this.reference.configuration);
    for (const client of [...this.clients]) {
      if (!client.wasGiven(members)) this.replaceClient(client);
    }
  }

  /** The faults end, and everything must go on by itself. */
  private async heal(): Promise<void> {
    const { loop, trouble, programs, servers } = this;
    this.tell('all faults end');
    trouble.end();
    programs.stop();
    let finishing = false;
    const lookAgain = () => {
      loop.after(MOUNT_AGAIN_MS * 1_000, 'mount again', () => {
        if (finishing) return;
        this.mountAgain();
        lookAgain();
      });
    };
    lookAgain();
    const untilMicros = loop.now + HEALING_MS * 1_000;
    const failed = () => this.problem !== null;
    await this.runUntil(untilMicros, () => this.settled());
    if (failed()) return;
    if (!this.settled()) {
      this.wrong(new Error(`not well again after ${HEALING_MS} ms\n${this.describe()}`));
      return;
    }
    this.mountAgain();
    finishing = true;
    // Everybody can still do something, and the last entry of all comes to every node.
    const done = new Set<SimClient>();
    // A change of members may still end: whose given nodes have all left by then may be left behind.
    const isLeft = (client: SimClient) => !client.wasGiven(membersOf(this.reference.configuration));
    for (const client of this.clients) {
      programs.finish(client).then(
        () => done.add(client),
        (error: unknown) => isLeft(client) || this.wrong(error),
      );
    }
    const finished = () =>
      this.clients.every((client) => done.has(client) || isLeft(client)) && this.settled();
    await this.runUntil(loop.now + HEALING_MS * 1_000, finished);
    if (failed()) return;
    if (!finished()) this.wrong(new Error(`no progress after healing\n${this.describe()}`));
    const asked = loop.now;
    const waits = () => this.clients.some((client) => client.waitsSince(asked));
    await this.runUntil(asked + ANSWER_MS_MAX * 1_000, () => !waits());
    if (waits()) this.wrong(new Error('a request is never answered, over a connection that lives'));
    if (failed()) return;
    await loop.run(Math.max(loop.now, (this.faultsMs + CALM_MS) * 1_000), failed);
    await this.runUntil(loop.now + IDLE_MS_MAX * 1_000, () => isIdle(servers));
    if (failed()) return;
    if (!isIdle(servers)) this.wrong(new Error(`something waits for ever\n${this.describe()}`));
    try {
      await this.judgeEnd();
    } catch (error) {
      this.wrong(error);
    }
  }

  /** Until then at most; looks now and then whether it is `done`. */
  async runUntil(micros: Micros, done: () => boolean): Promise<void> {
    const { loop } = this;
    const failed = () => this.problem !== null;
    while (!failed() && !done() && loop.now < micros) {
      await loop.run(Math.min(micros, loop.now + LOOK_MICROS), failed);
    }
  }

  private async judgeEnd(): Promise<void> {
    const { history, programs, reference, servers } = this;
    history.judgeUnanswered();
    programs.judgeEnd(reference);
    checkTree(reference.tree(reference.index));
    for (const { id, disk } of servers) {
      const { index, records } = await disk.storedTree();
      // It starts empty, and nobody has told it of anything.
      if (index === 0 && records.size === 0) continue;
      const right = new Map(reference.tree(index).all());
      // Who decides is kept with the tree, and no part of it.
      records.delete(MEMBERS);
      for (const key of new Set([...records.keys(), ...right.keys()])) {
        const [has, should] = [records.get(key), right.get(key)];
        if (same(has, should)) continue;
        throw new Error(
          `${id} has stored ${canonical(has)} for ${key} at ${index}, not ${canonical(should)}`,
        );
      }
    }
  }

  /** Nobody waits, and all nodes are the same. */
  private settled(): boolean {
    if (this.clients.some(({ outstanding, machine }) => outstanding > 0 || machine.paused)) {
      return false;
    }
    const { servers } = this;
    const leader = servers.find(({ status }) => status?.role === 'leader')?.status;
    if (leader === undefined || leader === null || isJoint(leader.configuration)) return false;
    const { configuration } = leader;
    return servers.every((server) => {
      const { id, status } = server;
      // It is told as soon as it asks somebody who knows.
      if (isRemoved(configuration, id)) return !server.running || !this.knowsAnybody(server);
      // It waits to be made a member, and was not.
      if (!membersOf(configuration).some((member) => member.id === id)) return true;
      return (
        status !== null &&
        !status.recovering &&
        status.appliedIndex === leader.lastIndex &&
        status.stateHash === leader.stateHash
      );
    });
  }

  /** Of those who are members now. */
  private knowsAnybody(server: Server): boolean {
    const known = newestConfiguration(server)?.configuration;
    if (known === undefined) return false;
    const members = membersOf(this.reference.configuration);
    return membersOf(known).some(({ id }) => members.some((member) => member.id === id));
  }

  /** A node that stopped by itself: its operator does what the message says. */
  private onFailed(server: Server, error: unknown): void {
    if (this.isDoomed) return;
    if (isMootError(error, 'DATA_CORRUPT') && server.disk.isDamaged) {
      this.trouble.mend(server);
    } else if (isMootError(error, 'REMOVED')) {
      const { configurations } = this.trouble.operator;
      ensure(
        configurations.some((one) => isRemoved(one, server.id)),
        `${server.id} takes itself for removed`,
      );
      server.retired = true;
    } else if (isMootError(error, 'DISK_FAILED')) {
      this.trouble.diskFailed(server);
    } else {
      this.wrong(new Error(`${server.id} stopped: ${describe(error)}`));
    }
  }

  private describe(): string {
    const servers = this.servers.map(
      (server) => `${server.id}: ${JSON.stringify(server.status) ?? 'does not serve'}`,
    );
    const clients = this.clients.map((client) => `${client.name}: ${client.outstanding} waiting`);
    return [...servers, ...clients].join('\n');
  }

  private collectStory(): string[] {
    const lines = [...this.story, ...this.servers.flatMap((server) => server.reports)];
    return lines.sort((a, b) => Number.parseFloat(a) - Number.parseFloat(b));
  }

  private commonConfig(): Omit<NodeConfig, 'id' | 'address' | 'peers'> {
    const electionTimeoutMinMs = this.pick([150, 300, 600]);
    const small = this.chance(0.6);
    return {
      cluster: CLUSTER,
      electionTimeoutMinMs,
      electionTimeoutMaxMs: electionTimeoutMinMs * 2,
      heartbeatMs: electionTimeoutMinMs / 3,
      snapshotLogBytes: 67_108_864,
      snapshotLogEntries: small ? 20 + this.below(100) : 100_000,
      snapshotTailEntries: small ? this.below(40) : 1_000,
      sessionTimeoutMs: this.sessionTimeoutMs,
      ...sharings(this.random.next()),
    };
  }

  /** `extreme`: how fast it runs where clocks are apart, from 0 to 1. */
  private clockErrors(extreme: number): ClockErrors {
    const luck = this.random.next();
    return {
      rate: CLOCK_RATIO_MAX ** ((this.clocksApart ? extreme : luck) - 0.5),
      wallOffsetMs: this.below(2_000) - 1_000,
    };
  }

  private usualWeather(): Weather {
    const delayMinMicros = 50 + this.below(300);
    const wild = this.chance(0.2) && !this.plan.isOrderly;
    return {
      delayMinMicros,
      delayMaxMicros: delayMinMicros + this.below(this.chance(0.2) ? 20_000 : 1_000),
      loss: wild ? this.random.next() * 0.02 : 0,
      duplication: wild ? this.random.next() * 0.05 : 0,
      reordering: wild,
      microsPerByte: 0.001,
    };
  }
}

function isJointEntry({ kind, data }: Entry): boolean {
  return kind === 'configuration' && isJoint(decodeConfiguration(data));
}

function memberOf(number: number): Member {
  return { id: `n${number}`, address: `n${number}:1` };
}

/** Leases mostly; or none, with reads by any node; or those of a cluster that waits for all voters. */
function sharings(luck: number): Partial<NodeConfig> {
  if (luck < 0.15) return { writeConcern: 'all' };
  return luck < 0.45 ? { leaseMs: 0 } : {};
}
