import { crc32 } from 'node:zlib';
import { describe, isMootError } from '../../src/base/errors.js';
import { type Random, randomBetween, seededRandom } from '../../src/base/random.js';
import type { Report } from '../../src/base/report.js';
import type { NodeStatus } from '../../src/codec/client-messages.js';
import type { PeerMessage } from '../../src/codec/peer-messages.js';
import type { Node, NodeConfig, NodeInspection } from '../../src/node/node.js';
import type { NodeObserver } from '../../src/node/observer.js';
import { createNode } from '../../src/node/runtime.js';
import { isJoint } from '../../src/raft/membership.js';
import type { RaftStatus, Save } from '../../src/raft/types.js';
import { createTransport } from '../../src/transport/member.js';
import type { Transport } from '../../src/transport/transport.js';
import { SimDisk } from './disk.js';
import { newestConfiguration } from './laws.js';
import type { Loop } from './loop.js';
import { type ClockErrors, Machine } from './machine.js';
import type { SimNetwork } from './network.js';
import { storesOn } from './stores.js';

/** Who judges what servers do. Throws when something must not be. */
export interface Judge {
  /** A new life begins. */
  onStart(server: Server): void;
  onAppend(server: Server, saves: readonly Save[]): void;
  onDurable(server: Server, saves: readonly Save[]): void;
  onSend(server: Server, message: PeerMessage): void;
  /** After everything that happened to it: something that laws are about is not what it was. */
  onStep(server: Server, status: NodeStatus): void;
  /** After everything that happened to it. */
  onMoment(server: Server): void;
  /** It stopped by itself. */
  onFailed(server: Server, error: unknown): void;
}

export interface ServerOptions {
  readonly loop: Loop;
  readonly network: SimNetwork;
  readonly config: NodeConfig;
  readonly seed: number;
  readonly clockErrors: ClockErrors;
  readonly snapshotChunkBytes: number;
  readonly judge: Judge;
  /** One that has been used before. Default: an empty one. */
  readonly disk?: SimDisk;
  /** Something that must not be was seen. */
  readonly onWrong: (error: unknown) => void;
}

/** A process that was asked to stop and has not by then is killed. */
const POLITE_STOP_MICROS = 5_000_000;

/** One production node with its disk and its machine, and how to hurt it. */
export class Server {
  readonly disk: SimDisk;
  readonly random: Random;
  readonly reports: string[] = [];
  machine: Machine | null = null;
  private node: Node | null = null;
  private serving = false;
  /** It was removed from the cluster, and knows: it is never started again. */
  retired = false;
  private wanted = false;
  /** Asked to stop: it says nothing to anybody any more. */
  stopping = false;
  private lives = 0;
  /** For the story: where it led last. */
  private ledTerm = 0;
  /** As of the core's last turn, and as it was judged. */
  private turn: RaftStatus | null = null;
  private judgedTurn: RaftStatus | null = null;
  /** Its tree is another one since it was judged. */
  private hasApplied = false;

  constructor(readonly options: ServerOptions) {
    this.random = seededRandom(options.seed);
    this.disk =
      options.disk ?? new SimDisk(seededRandom(options.seed + 1), options.snapshotChunkBytes);
  }

  get id(): string {
    return this.options.config.id;
  }

  /**
   * Who began a cluster alone would do so again with an empty disk, should nobody call it for a while:
   * the operator tells it to join, as the README says.
   */
  private get config(): NodeConfig {
    const { config } = this.options;
    const isAlone = config.peers.length === 1 && this.disk.replaced > 0;
    return isAlone ? { ...config, peers: [] } : config;
  }

  get running(): boolean {
    return this.machine !== null;
  }

  /** Null when it does not serve. */
  get status(): NodeStatus | null {
    return this.serving && this.node !== null ? this.node.status() : null;
  }

  /** Null when it does not serve. */
  get inspection(): NodeInspection | null {
    return this.serving && this.node !== null ? this.node.inspect() : null;
  }

  /** Also while it is being stopped: then as soon as that has ended. */
  start(): void {
    if (this.retired) return;
    this.wanted = true;
    if (this.running) return;
    const { loop, network, seed, clockErrors, judge, onWrong } = this.options;
    const { config } = this;
    const life = ++this.lives;
    const machine = new Machine(loop, this.id, clockErrors, this.random, () => {
      if (this.machine === machine && this.serving) this.judged(() => this.step(judge));
    });
    this.machine = machine;
    const found = newestConfiguration(this);
    const changes = found !== null && isJoint(found.configuration);
    this.report(`starts, life ${life}${changes ? ', while the members change' : ''}`);
    judge.onStart(this);
    const random = seededRandom(seed * 31 + life);
    const { log, state } = storesOn(this.disk, machine, {
      onAppend: (saves) => this.judged(() => judge.onAppend(this, saves)),
      onDurable: (saves) => this.judged(() => judge.onDurable(this, saves)),
    });
    const report: Report = (_, line) => this.report(line);
    const transport = createTransport(network.of(machine), { ...config, random, report });
    machine.after(0, 'start', () => {
      const node = createNode({
        config,
        log,
        state,
        transport: this.watched(transport),
        clock: machine.clock,
        random,
        digest: crc32,
        diskSpace: async () => this.disk.space,
        version: 'simulated',
        memoryBytes: () => 0,
        observer: this.observer(machine),
        report,
      });
      this.node = node;
      const failed = (error: unknown) => {
        if (this.machine !== machine) return;
        if (!isMootError(error)) onWrong(error);
        this.report(`failed: ${describe(error)}`);
        this.wanted = false;
        this.end(false);
        this.judged(() => judge.onFailed(this, error));
      };
      node.failed.then(failed);
      node.start().then(() => {
        if (this.machine === machine) this.serving = true;
      }, failed);
    });
  }

  /** SIGKILL; or, with `power`, the machine goes off, and nobody is told. */
  kill(power: boolean): void {
    this.wanted = false;
    if (!this.running) return;
    this.report(power ? 'loses its power' : 'is killed');
    this.end(power);
  }

  /** SIGTERM; `polite`: it hands over first, as the command line's node does. */
  stop(polite = false): void {
    const { machine, node } = this;
    if (machine === null || node === null) return;
    this.report('is stopped');
    this.wanted = false;
    const ended = () => {
      if (this.machine !== machine) return;
      this.end(false);
      if (this.wanted) this.start();
    };
    const handOver = async () => {
      if (polite && this.serving) await node.handOver();
      if (this.machine !== machine) return;
      this.stopping = true;
      await node.stop();
    };
    machine.after(0, 'stop', () => void handOver().then(ended));
    this.options.loop.after(POLITE_STOP_MICROS, 'stop takes too long', ended);
  }

  /** The operator takes a snapshot. */
  snapshot(): void {
    const { node, machine } = this;
    if (!this.serving || node === null) return;
    // A node whose snapshot fails stops, and says so itself.
    machine?.after(0, 'snapshot', () => void node.snapshot().catch(() => {}));
  }

  report(line: string): void {
    this.reports.push(`${this.options.loop.nowMs.toFixed(1)} ${this.id} ${line}`);
  }

  private end(power: boolean): void {
    const { machine } = this;
    if (machine === null) return;
    machine.kill();
    this.options.network.died(machine, power);
    this.disk.crash(power);
    this.machine = null;
    this.stopping = false;
    this.node = null;
    this.serving = false;
    this.turn = null;
    this.judgedTurn = null;
  }

  /** A status takes its time, and nearly all that happens to a node changes nothing in it. */
  private observer(machine: Machine): NodeObserver {
    const applied = () => {
      if (this.machine === machine) this.hasApplied = true;
    };
    return {
      onTurn: (status) => {
        if (this.machine === machine) this.turn = status;
      },
      onApplied: applied,
      onSnapshot: applied,
      onProposed: () => {},
      onTruncated: () => {},
    };
  }

  private step(judge: Judge): void {
    if (this.node === null) return;
    if (this.hasApplied || this.judgedTurn === null || !isSame(this.turn, this.judgedTurn)) {
      this.hasApplied = false;
      this.stepWith(this.node.status(), judge);
      this.judgedTurn = this.turn;
    }
    judge.onMoment(this);
  }

  private stepWith(status: NodeStatus, judge: Judge): void {
    if (status.role === 'leader' && this.ledTerm !== status.term) {
      this.ledTerm = status.term;
      this.report(`leads in term ${status.term}`);
    } else if (status.role !== 'leader' && this.ledTerm !== 0) {
      this.ledTerm = 0;
      this.report(`leads no longer, term ${status.term}`);
    }
    judge.onStep(this, status);
  }

  private watched(transport: Transport): Transport {
    return {
      start: (handlers) => transport.start(handlers),
      setPeers: (peers) => transport.setPeers(peers),
      setIncarnation: (incarnation) => transport.setIncarnation(incarnation),
      send: (message) => {
        this.judged(() => this.options.judge.onSend(this, message));
        transport.send(message);
      },
      connected: (peer) => transport.connected(peer),
      queuedBytes: (peer) => transport.queuedBytes(peer),
      close: () => transport.close(),
    };
  }

  /** What the judge finds must not look like an error of the node's own. */
  private judged(judge: () => void): void {
    try {
      judge();
    } catch (error) {
      this.options.onWrong(error);
    }
  }

  /** A random part of `max` microseconds. */
  someOf(max: number): number {
    return randomBetween(this.random, 0, max + 1);
  }
}

/** In all that laws are about. */
function isSame(a: RaftStatus | null, b: RaftStatus): boolean {
  return (
    a !== null &&
    a.role === b.role &&
    a.term === b.term &&
    a.commitIndex === b.commitIndex &&
    a.lastIndex === b.lastIndex &&
    a.configuration === b.configuration
  );
}
