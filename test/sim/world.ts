import { describe, isMootError } from '../../src/base/errors.js';
import { type Random, randomBetween, seededRandom } from '../../src/base/random.js';
import { MEMBERS } from '../../src/filesystem/keys.js';
import type { NodeConfig } from '../../src/node/node.js';
import { checkTree } from '../support/tree-invariants.js';
import { SimClient } from './client.js';
import { type Fault, type Plan, planFaults } from './faults.js';
import { History } from './history.js';
import { ensure, Laws } from './laws.js';
import { Loop } from './loop.js';
import { Machine } from './machine.js';
import { SimNetwork, type Weather } from './network.js';
import { Programs } from './programs.js';
import { canonical, Reference } from './reference.js';
import { Server } from './server.js';
import { Trouble } from './trouble.js';

export interface WorldOptions {
  readonly seed: number;
  /** Positions in the plan of the faults that happen this time; all, if it is not given. */
  readonly only?: ReadonlySet<number>;
  /** For how long there are faults; healing takes a few seconds more. */
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

const FAULTS_MS = 22_000;
/** All must be well again within so long after the last fault ended. */
const HEALING_MS = 25_000;
const CLUSTER = 'world';
/** Chance may end a term early when the network is slow; more than that is a fight. */
const STEADY_TERMS_MAX = 3;
/** The clocks of two machines may run apart by this part (see client/lease.ts). */
const DRIFT_MAX = 0.02;

/** One simulated world, from one seed: servers, clients, and everything that befalls them. */
export class World {
  readonly loop = new Loop();
  readonly random: Random;
  readonly network: SimNetwork;
  readonly servers: Server[] = [];
  readonly clients: SimClient[] = [];
  readonly reference = new Reference();
  readonly history = new History(this.reference);
  readonly laws: Laws;
  readonly story: string[] = [];
  private readonly plan: Plan;
  private readonly trouble: Trouble;
  private readonly programs: Programs;
  private readonly faultsMs: number;
  private readonly sessionTimeoutMs: number;
  private clientsMade = 0;
  private problem: string | null = null;

  constructor(private readonly options: WorldOptions) {
    const { seed } = options;
    this.faultsMs = options.faultsMs ?? FAULTS_MS;
    this.random = seededRandom(seed);
    this.plan = planFaults(seededRandom(seed + 1), this.faultsMs);
    this.network = new SimNetwork(this.loop, seededRandom(seed + 2), this.usualWeather());
    this.laws = new Laws(this.servers, this.reference);
    this.sessionTimeoutMs = 2_000 + this.below(this.chance(0.3) ? 3_000 : 30_000);
    const snapshotChunkBytes = this.chance(0.6) ? 1_000 + this.below(10_000) : 1_048_576;
    for (const config of this.configs()) {
      this.servers.push(
        new Server({
          loop: this.loop,
          network: this.network,
          config,
          seed: seed * 101 + this.servers.length * 7,
          clockErrors: this.clockErrors(),
          snapshotChunkBytes,
          judge: {
            onStart: (server) => this.laws.onStart(server),
            onAppend: (server, saves) => this.laws.onAppend(server, saves),
            onDurable: (server, saves) => this.laws.onDurable(server, saves),
            onSend: (server, message) => this.laws.onSend(server, message),
            onStep: (server, status) => this.laws.onStep(server, status),
            onFailed: (server, error) => this.onFailed(server, error),
          },
          onWrong: (error) => this.wrong(error),
        }),
      );
    }
    this.programs = new Programs(seededRandom(seed + 3));
    this.trouble = new Trouble(this);
  }

  /** Lives this world's life. What is wrong is in the result; a bug of the simulator throws. */
  async run(): Promise<WorldResult> {
    const { loop, servers, trouble } = this;
    const { faults, steadyFromMs } = this.plan;
    for (const server of servers) server.start();
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
      if (!failed()) await this.heal();
      // Node tells of rejections that nobody handles when its own loop goes on.
      await new Promise((resolve) => setImmediate(resolve));
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
        snapshots: story.filter((line) => line.includes('took in a snapshot')).length,
        ...this.history.counts,
        ...this.trouble.counts,
      },
      story,
    };
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

  newClient(): void {
    const name = `c${++this.clientsMade}`;
    const machine = new Machine(this.loop, name, this.clockErrors(), this.random);
    const addresses = this.servers.map(({ options }) => options.config.address);
    const first = this.below(addresses.length);
    const client = new SimClient({
      machine,
      network: this.network,
      cluster: CLUSTER,
      addresses: [...addresses.slice(first), ...addresses.slice(0, first)],
      random: seededRandom(this.options.seed * 7 + this.clientsMade),
      history: this.history,
      deadlineMs: 3_000 + this.below(9_000),
      cache: this.chance(0.6),
      holdsOpen: this.chance(0.5),
      keepAliveMs: this.sessionTimeoutMs / 5,
      onWrong: (error) => this.wrong(error),
    });
    this.clients.push(client);
    this.programs.start(client, machine);
  }

  /** It is over with this client; another one comes. */
  replaceClient(client: SimClient): void {
    client.machine.kill();
    this.network.died(client.machine, this.chance(0.5));
    this.clients.splice(this.clients.indexOf(client), 1);
    this.newClient();
  }

  tell(line: string): void {
    this.story.push(`${this.loop.nowMs.toFixed(1)} ${line}`);
    this.loop.noteText(line);
  }

  below(count: number): number {
    return randomBetween(this.random, 0, count);
  }

  chance(rate: number): boolean {
    return this.random.next() < rate;
  }

  wrong(error: unknown): void {
    const stack = error instanceof Error && !isMootError(error) ? error.stack : undefined;
    this.problem ??= `at ${this.loop.nowMs.toFixed(1)} ms: ${stack ?? describe(error)}`;
  }

  /** The faults end, and everything must go on by itself. */
  private async heal(): Promise<void> {
    const { loop, trouble, programs } = this;
    this.tell('all faults end');
    trouble.end();
    programs.stop();
    const untilMicros = loop.now + HEALING_MS * 1_000;
    const failed = () => this.problem !== null;
    await loop.run(untilMicros, () => failed() || this.settled());
    if (failed()) return;
    if (!this.settled()) {
      this.wrong(new Error(`not well again after ${HEALING_MS} ms\n${this.describe()}`));
      return;
    }
    // Everybody can still do something, and the last entry of all comes to every node.
    let done = 0;
    for (const client of this.clients) {
      programs.finish(client).then(
        () => done++,
        (error: unknown) => this.wrong(error),
      );
    }
    const finished = () => done === this.clients.length && this.settled();
    await loop.run(loop.now + HEALING_MS * 1_000, () => failed() || finished());
    if (failed()) return;
    if (!finished()) this.wrong(new Error(`no progress after healing\n${this.describe()}`));
    try {
      await this.judgeEnd();
    } catch (error) {
      this.wrong(error);
    }
  }

  private async judgeEnd(): Promise<void> {
    const { history, programs, reference, servers } = this;
    history.judgeUnanswered();
    programs.judgeEnd(reference);
    checkTree(reference.tree(reference.index));
    for (const { id, disk } of servers) {
      const { index, records } = await disk.storedTree();
      const right = new Map(reference.tree(index).all());
      // Who decides is kept with the tree, and no part of it.
      records.delete(MEMBERS);
      for (const key of new Set([...records.keys(), ...right.keys()])) {
        const [has, should] = [canonical(records.get(key)), canonical(right.get(key))];
        ensure(has === should, `${id} has stored ${has} for ${key} at ${index}, not ${should}`);
      }
    }
  }

  /** Nobody waits, and all nodes are the same. */
  private settled(): boolean {
    if (this.clients.some(({ outstanding, machine }) => outstanding > 0 || machine.paused)) {
      return false;
    }
    const statuses = this.servers.map((server) => server.status);
    const leader = statuses.find((status) => status?.role === 'leader');
    return (
      leader !== undefined &&
      leader !== null &&
      statuses.every(
        (status) =>
          status !== null &&
          !status.recovering &&
          status.appliedIndex === leader.lastIndex &&
          status.stateHash === leader.stateHash,
      )
    );
  }

  /** A node that stopped by itself: its operator does what the message says. */
  private onFailed(server: Server, error: unknown): void {
    if (isMootError(error, 'DATA_CORRUPT') && server.disk.damaged.size > 0) {
      this.trouble.mend(server);
    } else if (isMootError(error, 'DISK_FAILED')) {
      this.trouble.restartLater(server, 500);
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

  private configs(): NodeConfig[] {
    const size = [3, 3, 3, 5, 5, 1][this.below(6)] ?? 3;
    const peers = Array.from({ length: size }, (_, i) => {
      const id = `n${i + 1}`;
      return { id, address: `${id}:1` };
    });
    const electionTimeoutMinMs = 150 * (1 + this.below(2));
    const small = this.chance(0.6);
    const common = {
      cluster: CLUSTER,
      peers,
      electionTimeoutMinMs,
      electionTimeoutMaxMs: electionTimeoutMinMs * 2,
      heartbeatMs: electionTimeoutMinMs / 3,
      snapshotLogBytes: 67_108_864,
      snapshotLogEntries: small ? 20 + this.below(100) : 100_000,
      snapshotTailEntries: small ? this.below(40) : 1_000,
      sessionTimeoutMs: this.sessionTimeoutMs,
      ...sharings(this.random.next()),
    };
    return peers.map(({ id, address }) => ({ ...common, id, address }));
  }

  private clockErrors(): { rate: number; wallOffsetMs: number } {
    return {
      rate: 1 + (this.random.next() * 2 - 1) * (DRIFT_MAX / 2),
      wallOffsetMs: this.below(2_000) - 1_000,
    };
  }

  private usualWeather(): Weather {
    const delayMinMicros = 50 + this.below(300);
    const wild = this.chance(0.2);
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

/** Leases mostly; or none, with reads by any node; or those of a cluster that waits for all voters. */
function sharings(luck: number): Partial<NodeConfig> {
  if (luck < 0.15) return { writeConcern: 'all' };
  return luck < 0.45 ? { leaseMs: 0 } : {};
}
