import { crc32 } from 'node:zlib';
import { describe, isMootError } from '../../src/base/errors.js';
import { type Random, randomBetween, seededRandom } from '../../src/base/random.js';
import type { NodeStatus } from '../../src/codec/client-messages.js';
import type { PeerMessage } from '../../src/codec/peer-messages.js';
import type { Node, NodeConfig } from '../../src/node/node.js';
import { createNode } from '../../src/node/runtime.js';
import type { Save } from '../../src/raft/types.js';
import { createTransport } from '../../src/transport/member.js';
import type { Transport } from '../../src/transport/transport.js';
import { SimDisk } from './disk.js';
import { DISK_SPACE } from './history.js';
import type { Loop } from './loop.js';
import { type ClockErrors, Machine } from './machine.js';
import type { SimNetwork } from './network.js';

/** Who judges what servers do. Throws when something must not be. */
export interface Judge {
  /** A new life begins. */
  onStart(server: Server): void;
  onAppend(server: Server, saves: readonly Save[]): void;
  onDurable(server: Server, saves: readonly Save[]): void;
  onSend(server: Server, message: PeerMessage): void;
  /** After everything that happened to it. */
  onStep(server: Server, status: NodeStatus): void;
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
  private wanted = false;
  /** Asked to stop: it says nothing to anybody any more. */
  stopping = false;
  private lives = 0;

  constructor(readonly options: ServerOptions) {
    this.random = seededRandom(options.seed);
    this.disk = new SimDisk(seededRandom(options.seed + 1), options.snapshotChunkBytes);
  }

  get id(): string {
    return this.options.config.id;
  }

  get running(): boolean {
    return this.machine !== null;
  }

  /** Null when it does not serve. */
  get status(): NodeStatus | null {
    return this.serving && this.node !== null ? this.node.status() : null;
  }

  /** Also while it is being stopped: then as soon as that has ended. */
  start(): void {
    this.wanted = true;
    if (this.running) return;
    const { loop, network, config, seed, clockErrors, judge, onWrong } = this.options;
    const life = ++this.lives;
    const machine = new Machine(loop, this.id, clockErrors, this.random, () => {
      if (this.machine === machine && this.serving) this.judged(() => this.step(judge));
    });
    this.machine = machine;
    this.report(`starts, life ${life}`);
    judge.onStart(this);
    const random = seededRandom(seed * 31 + life);
    const { log, state } = this.disk.stores(machine, {
      onAppend: (saves) => this.judged(() => judge.onAppend(this, saves)),
      onDurable: (saves) => this.judged(() => judge.onDurable(this, saves)),
    });
    const report = (line: string) => this.report(line);
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
        diskSpace: async () => DISK_SPACE,
        version: 'simulated',
        memoryBytes: () => 0,
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

  /** SIGTERM. */
  stop(): void {
    const { machine, node } = this;
    if (machine === null || node === null) return;
    this.report('is stopped');
    this.wanted = false;
    this.stopping = true;
    const ended = () => {
      if (this.machine !== machine) return;
      this.end(false);
      if (this.wanted) this.start();
    };
    machine.after(0, 'stop', () => void node.stop().then(ended));
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
  }

  private step(judge: Judge): void {
    if (this.node !== null) judge.onStep(this, this.node.status());
  }

  private watched(transport: Transport): Transport {
    return {
      start: (handlers) => transport.start(handlers),
      setPeers: (peers) => transport.setPeers(peers),
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
