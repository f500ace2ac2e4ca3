import type { Clock, Timer } from '../base/clock.js';
import { MootError } from '../base/errors.js';
import { type Random, systemRandom } from '../base/random.js';
import { systemClock } from '../base/system-clock.js';
import type { Changes, ReadLevel } from '../codec/client-messages.js';
import type { Command, CommandType, CommandValues } from '../filesystem/commands.js';
import type { Query, QueryType, QueryValues } from '../filesystem/queries.js';
import { type Ino, SESSION_NAME_CHARS_MAX } from '../filesystem/records.js';
import type { Configuration, MemberChange } from '../raft/types.js';
import type { Dialer } from '../transport/transport.js';
import { Acknowledgements } from './acknowledgements.js';
import { Administration } from './administration.js';
import { Cluster } from './cluster.js';
import {
  type AnswerKeeper,
  type CallOptions,
  type ClientSession,
  DEADLINE_MS_DEFAULT,
  type FilesystemClient,
  type Kept,
  type KeptQuery,
  type NodeReport,
  type SnapshotReport,
  type WatchListener,
} from './filesystem-client.js';
import { Lease } from './lease.js';
import type { Link } from './link.js';
import { Reads } from './reads.js';
import { Submitter } from './submitter.js';
import { Watcher } from './watcher.js';

export interface ClientOptions {
  readonly dialer: Dialer;
  /** Nodes to reach the cluster by; the first one is preferred (the local node). Others are learned. */
  readonly addresses: readonly string[];
  /** For people, in a node's list of sessions: a mount's place, a command's name. */
  readonly name: string;
  /** This client may hold unlinked inodes open: its session is opened at once and reports them. */
  readonly holdsOpen?: boolean;
  readonly deadlineMs?: number;
  /** For queries that do not say their own. Default: strong. */
  readonly readLevel?: ReadLevel;
  /**
   * Strong lookups and inodes are kept in memory, and answered from there without a message while
   * the leader grants a lease: as strong as asked ones. Default: false.
   */
  readonly cache?: boolean;
  /** Called for each query: whether it was answered from memory. Must be cheap. */
  readonly onQuery?: (isKept: boolean) => void;
  /** Less than a quarter of the cluster's sessionTimeoutMs. */
  readonly keepAliveMs?: number;
  readonly clock?: Clock;
  readonly random?: Random;
}

/** A quarter of the default session timeout of 60 s. */
const KEEP_ALIVE_MS_DEFAULT = 15_000;
/** How often waiting calls are looked after; with PROBE_EAGER_MS it decides how soon a new leader is found. */
const TICK_MS = 20;
/** How often an idle client looks after its session and its stream of changes. */
const IDLE_TICK_MS = 1_000;
/** How long `close` waits for the cluster to confirm the end of the session. */
const CLOSE_MS = 1_000;

/**
 * The cluster as one filesystem, over connections made by `dialer`.
 *
 * Ownership: bytes in a command belong to the client from the call on and must never be changed,
 * even after the call has failed (a copy may still be on its way, and the node in the same process
 * takes them without copying). Bytes in results must not be changed either: they may be shared.
 *
 * A call that fails with OUTCOME_UNKNOWN, INTERRUPTED, SESSION_EXPIRED or CLOSED may have had its
 * effect, or may have it later; the message says when that is ruled out. The deadline of a command
 * counts from the call or from the last decision about any command of this client, so that one
 * behind many others is not given up while the cluster works them off.
 *
 * No order holds between a command and a query that was asked before the command's answer came.
 */
export function createFilesystemClient(options: ClientOptions): FilesystemClient {
  if (options.addresses.length === 0) {
    throw new MootError('BAD_ARGUMENT', 'no address of a node was given');
  }
  return new ClusterClient(options);
}

class ClusterClient implements FilesystemClient {
  private readonly clock: Clock;
  private readonly deadlineMs: number;
  private readonly readLevel: ReadLevel;
  private readonly cluster: Cluster;
  private readonly submitter: Submitter;
  private readonly reads: Reads;
  private readonly watcher: Watcher;
  private readonly lease: Lease | null;
  private readonly administration: Administration;
  private keeper: AnswerKeeper | null = null;
  private readonly acknowledgements: Acknowledgements;
  private highestIndex = 0;
  private tickTimer: Timer | null = null;
  private idleTimer: Timer | null = null;
  private closing: Promise<void> | null = null;
  private freed = false;

  constructor(options: ClientOptions) {
    this.clock = options.clock ?? systemClock;
    this.deadlineMs = options.deadlineMs ?? DEADLINE_MS_DEFAULT;
    this.readLevel = options.readLevel ?? 'strong';
    const onIndex = (index: number) => {
      this.highestIndex = Math.max(this.highestIndex, index);
      this.watcher.heard(index);
    };
    this.acknowledgements = new Acknowledgements(this.clock);
    const wake = () => this.wake();
    const { deadlineMs, clock } = this;
    this.cluster = new Cluster(
      options.addresses,
      options.dialer,
      clock,
      options.random ?? systemRandom,
      {
        onLeader: (leader) => {
          this.lease?.onLeader();
          this.submitter.onLeader();
          this.reads.onLeader(leader);
        },
        onOpen: (link) => this.onOpen(link),
        onClosed: (link) => {
          this.lease?.onClosed(link);
          this.onClosed();
        },
        onChanges: (link, changes, own) => this.onChanges(link, changes, own),
      },
    );
    this.lease = options.cache ? new Lease(this.cluster, wake) : null;
    this.watcher = new Watcher(
      this.cluster,
      onIndex,
      () => this.highestIndex,
      (index, reset, effects) => this.lease?.watched(index, reset, effects),
      this.readLevel === 'session',
    );
    this.submitter = new Submitter(
      this.cluster,
      {
        name: options.name.slice(0, SESSION_NAME_CHARS_MAX),
        holdsOpen: options.holdsOpen ?? false,
        deadlineMs,
        keepAliveMs: options.keepAliveMs ?? KEEP_ALIVE_MS_DEFAULT,
      },
      this.watcher,
      onIndex,
      wake,
      this.lease,
    );
    this.reads = new Reads(
      this.cluster,
      deadlineMs,
      () => this.highestIndex,
      (index, level) => {
        onIndex(index);
        return level === 'session' ? this.watcher.reached(index) : null;
      },
      wake,
      this.lease,
      options.onQuery ?? (() => {}),
    );
    this.administration = new Administration(this.cluster);
    if (options.holdsOpen) this.watcher.start();
    this.cluster.start();
    this.wake();
    this.idleTick();
  }

  get session(): ClientSession | null {
    return this.submitter.currentSession;
  }

  setSessionEnded(ended: (session: number) => void): void {
    this.submitter.sessionEnded = ended;
  }

  get seenIndex(): number {
    return this.watcher.seenIndex;
  }

  get seesChanges(): boolean {
    return this.watcher.isAbreast;
  }

  async execute<T extends CommandType>(
    command: Extract<Command, { type: T }>,
    options: CallOptions = {},
  ): Promise<CommandValues[T]> {
    const reply = await this.submitter.execute(command, options);
    if (!reply.ok) throw new MootError(reply.code, `${command.type}: ${reply.code}`);
    // Which value answers which command is the state machine's promise (CommandValues).
    return reply.value as CommandValues[T];
  }

  async query<T extends QueryType>(
    query: Extract<Query, { type: T }>,
    options: CallOptions & { readonly level?: ReadLevel } = {},
  ): Promise<QueryValues[T]> {
    const result = await this.reads.query(query, options.level ?? this.readLevel, options);
    if (!result.ok) throw new MootError(result.code, `${query.type}: ${result.code}`);
    // Which value answers which query is the state machine's promise (QueryValues).
    return result.value as QueryValues[T];
  }

  watch(listener: WatchListener): () => void {
    if (this.closing !== null) throw new MootError('CLOSED', 'the client was closed');
    return this.watcher.add(listener);
  }

  kept(query: KeptQuery): Kept | null {
    return this.lease?.kept(query) ?? null;
  }

  setKeeper(keeper: AnswerKeeper): void {
    this.keeper = keeper;
  }

  setHolds(holds: () => readonly Ino[]): void {
    this.submitter.holds = holds;
  }

  async status(timeoutMs: number): Promise<readonly NodeReport[]> {
    this.refuseWhenClosed();
    return this.administration.status(timeoutMs);
  }

  async snapshot(node?: string): Promise<readonly SnapshotReport[]> {
    this.refuseWhenClosed();
    return this.administration.snapshot(node, this.deadlineMs);
  }

  async changeMembers(change: MemberChange): Promise<Configuration> {
    this.refuseWhenClosed();
    return this.administration.changeMembers(change, this.deadlineMs);
  }

  async transferLeadership(to: string | null): Promise<string> {
    this.refuseWhenClosed();
    return this.administration.transfer(to, this.deadlineMs);
  }

  close(): Promise<void> {
    this.closing ??= this.shutDown();
    return this.closing;
  }

  private async shutDown(): Promise<void> {
    this.reads.close();
    this.lease?.close();
    const ended = this.submitter.close();
    this.wake();
    await new Promise<void>((resolve) => {
      const timer = this.clock.setTimer(CLOSE_MS, resolve);
      ended.then(() => {
        timer.cancel();
        resolve();
      });
    });
    this.freed = true;
    this.tickTimer?.cancel();
    this.idleTimer?.cancel();
    this.watcher.stop();
    this.cluster.close();
  }

  private refuseWhenClosed(): void {
    if (this.closing !== null) throw new MootError('CLOSED', 'the client was closed');
  }

  private onOpen(link: Link): void {
    if (this.freed) return;
    this.cluster.onOpened(link);
    this.reads.onOpen();
    this.watcher.onLinks();
    this.wake();
  }

  /**
   * Acknowledged when nobody here answers anything older any more. What an own command ended is over
   * in the kernel when that has the command's result: so a little later.
   */
  private onChanges(link: Link, changes: Changes, own: Command | null): void {
    this.lease?.changed(link, changes);
    const { id, reset, effects } = changes;
    const { keeper } = this;
    if (keeper === null) {
      link.tell(link.connection, { type: 'change-ack', id });
      return;
    }
    const forgotten = keeper.forget({ reset, effects, own });
    this.acknowledgements.add(link, id, forgotten, own !== null);
  }

  private onClosed(): void {
    if (this.freed) return;
    this.watcher.onLinks();
    const hopeless = this.cluster.hopeless;
    if (hopeless === null) return;
    this.reads.fail(hopeless);
    this.submitter.fail(hopeless);
  }

  /** Something waits for an answer: look after it until nothing does. */
  private wake(): void {
    if (this.tickTimer !== null || this.freed) return;
    this.tickTimer = this.clock.setTimer(TICK_MS, () => {
      this.tickTimer = null;
      this.tick();
    });
  }

  private tick(): void {
    const nowMs = this.clock.monotonicMs();
    this.cluster.checkSilence(nowMs);
    const { lease } = this;
    if (this.submitter.busy || this.reads.seeksLeader || lease?.seeksLeader) {
      this.cluster.seekLeader(nowMs);
    }
    this.submitter.pump();
    this.reads.tick(nowMs);
    if (this.submitter.busy || this.reads.busy || lease?.seeksLeader) this.wake();
  }

  private idleTick(): void {
    const nowMs = this.clock.monotonicMs();
    this.cluster.checkSilence(nowMs);
    this.watcher.tick(nowMs);
    this.cluster.lookForMembers(nowMs);
    this.submitter.keepAlive();
    if (this.freed) return;
    const delayMs = Math.min(IDLE_TICK_MS, this.submitter.keepAliveMs);
    this.idleTimer = this.clock.setTimer(delayMs, () => this.idleTick());
  }
}
