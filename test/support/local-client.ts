import { crc32 } from 'node:zlib';
import type { Timer } from '../../src/base/clock.js';
import { type ErrorCode, MootError } from '../../src/base/errors.js';
import { systemClock } from '../../src/base/system-clock.js';
import { problemOfCommand, problemOfQuery } from '../../src/client/acceptable.js';
import type {
  CallOptions,
  ClientSession,
  FilesystemClient,
  NodeReport,
  SnapshotReport,
  WatchListener,
} from '../../src/client/filesystem-client.js';
import type { ReadLevel } from '../../src/codec/client-messages.js';
import type { Command, CommandType, CommandValues } from '../../src/filesystem/commands.js';
import { sessionKey } from '../../src/filesystem/keys.js';
import type { Query, QueryType, QueryValues } from '../../src/filesystem/queries.js';
import type { Ino } from '../../src/filesystem/records.js';
import { createFilesystem } from '../../src/filesystem/state-machine.js';
import { MemoryView } from './memory-view.js';

export interface LocalClientOptions {
  readonly name?: string;
  /** Milliseconds until a command takes effect, and from there (or from a query) to the reply. Default 0: a microtask. */
  readonly latencyMs?: number;
  /** Milliseconds between keep-alives; 0: only when a test calls `keepAlive`. */
  readonly keepAliveMs?: number;
  /** Default deadline of calls while the cluster is paused. */
  readonly deadlineMs?: number;
}

/** Lets calls through, or makes them wait, in order. */
export class Gate {
  #waiting: (() => void)[] | null = null;

  get isShut(): boolean {
    return this.#waiting !== null;
  }

  shut(): void {
    this.#waiting ??= [];
  }

  open(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = null;
    for (const go of waiting) go();
  }

  /** Calls `go` now, or when the gate is opened. */
  pass(go: () => void): void {
    if (this.#waiting === null) go();
    else this.#waiting.push(go);
  }
}

/**
 * A whole cluster in one tree in memory, without log, nodes or network: for tests of what is above
 * the client. Commands of all its clients take effect one at a time, in order per client.
 */
export class LocalCluster {
  readonly view = new MemoryView();
  readonly filesystem = createFilesystem((bytes, seed) => crc32(bytes, seed));
  index = 0;
  /** Every command that took effect or was refused, in order. */
  readonly log: { readonly client: string; readonly command: Command }[] = [];
  /** Whether `log` is kept. */
  logging = false;
  diskBytesTotal = 2 ** 40;
  diskBytesFree = 2 ** 39;
  readonly gate = new Gate();
  readonly #clients = new Set<LocalClient>();

  constructor() {
    this.view.take(this.filesystem.format());
  }

  connect(options: LocalClientOptions = {}): LocalClient {
    const client = new LocalClient(this, this.openSession(options.name ?? 'local'), options);
    this.#clients.add(client);
    return client;
  }

  openSession(name: string): number {
    const { outcome } = this.apply('cluster', 0, 0, {
      type: 'open-session',
      name,
      holdsOpen: true,
    });
    if (outcome.type !== 'reply' || !outcome.reply.ok) throw new Error('open-session failed');
    const value = outcome.reply.value;
    if (value === null || !('session' in value)) throw new Error('open-session answered otherwise');
    return value.session;
  }

  isOver(session: number): boolean {
    return this.view.get(sessionKey(session)) === undefined;
  }

  /** The cluster forgets the client, which does not know that yet. */
  expire({ session }: LocalClient): void {
    const id = session?.id ?? 0;
    const lastIndex = this.view.get(sessionKey(id))?.lastIndex ?? 0;
    this.apply('cluster', 0, 0, { type: 'expire-session', session: id, lastIndex });
  }

  disconnect(client: LocalClient): void {
    this.#clients.delete(client);
  }

  /** Nothing is decided until `resume`, as without a leader. */
  pause(): void {
    this.gate.shut();
  }

  resume(): void {
    this.gate.open();
  }

  apply(client: string, session: number, sequence: number, command: Command) {
    this.index++;
    if (this.logging) this.log.push({ client, command });
    const applied = this.filesystem.apply(this.view, this.index, {
      session,
      sequence,
      acknowledged: Math.max(0, sequence - 1),
      time: systemClock.now(),
      command,
    });
    this.view.take(applied.changes);
    const event = { index: this.index, reset: false, effects: applied.effects };
    for (const watcher of this.#clients) watcher.deliver(event);
    return applied;
  }
}

type WatchEvent = Parameters<WatchListener['onChange']>[0];

/** One client, that is one session, of a LocalCluster. */
export class LocalClient implements FilesystemClient {
  seenIndex: number;
  seesChanges = true;
  /** Asked before each command: an error code makes it fail without effect. */
  refuse: (command: Command) => ErrorCode | null = () => null;
  /** Commands on their way to the cluster; queries do not pass here. */
  readonly commands = new Gate();
  /** Replies to commands on their way back. */
  readonly replies = new Gate();
  /** Changes wait here while this is true, as from a slow node. */
  #watchHeld: WatchEvent[] | null = null;
  readonly #listeners = new Set<WatchListener>();
  readonly #name: string;
  readonly #latencyMs: number;
  readonly #deadlineMs: number;
  #sequence = 0;
  #holds: () => readonly Ino[] = () => [];
  /** Commands that have not reached the cluster, in order. */
  readonly #queue: (() => void)[] = [];
  #session: number;
  #sessionEnded: (session: number) => void = () => {};
  /** What `session` says; a test may say otherwise. */
  isSure = true;
  #keepAliveTimer: Timer | null = null;
  #closed = false;

  constructor(
    readonly cluster: LocalCluster,
    session: number,
    options: LocalClientOptions,
  ) {
    this.#session = session;
    this.seenIndex = cluster.index;
    this.#name = options.name ?? 'local';
    this.#latencyMs = options.latencyMs ?? 0;
    this.#deadlineMs = options.deadlineMs ?? Infinity;
    const intervalMs = options.keepAliveMs ?? 0;
    if (intervalMs > 0) this.#scheduleKeepAlive(intervalMs);
  }

  get session(): ClientSession {
    return { id: this.#session, isSure: this.isSure };
  }

  setSessionEnded(ended: (session: number) => void): void {
    this.#sessionEnded = ended;
  }

  /** As a real client that finds its session gone: goes on in a new one. */
  #end(): void {
    const ended = this.#session;
    this.#session = this.cluster.openSession(this.#name);
    this.#sequence = 0;
    this.#sessionEnded(ended);
  }

  execute<T extends CommandType>(
    command: Extract<Command, { type: T }>,
    options: CallOptions = {},
  ): Promise<CommandValues[T]> {
    const problem = problemOfCommand(command);
    if (problem !== null) return Promise.reject(problem);
    options.onSent?.();
    return this.#call(options, this.#inOrder, (resolve, reject) => {
      const refusal = this.refuse(command);
      if (refusal !== null) {
        reject(new MootError(refusal, `${command.type}: refused by the test`));
        return;
      }
      if (this.cluster.isOver(this.#session)) this.#end();
      const { inSession } = options;
      if (inSession !== undefined && inSession !== this.#session) {
        reject(new MootError('SESSION_EXPIRED', 'the session is gone'));
        return;
      }
      this.#sequence++;
      const { outcome } = this.cluster.apply(this.#name, this.#session, this.#sequence, command);
      if (outcome.type === 'no-session') {
        throw new Error('a local session is over');
      } else if (outcome.type === 'gap') {
        throw new Error('a gap in a local session');
      } else if (outcome.reply.ok) {
        // Which value belongs to which command is the state machine's promise.
        const value = outcome.reply.value as CommandValues[T];
        this.replies.pass(() => resolve(value));
      } else {
        const { code } = outcome.reply;
        this.replies.pass(() => reject(new MootError(code, `${command.type}: ${code}`)));
      }
    });
  }

  /**
   * Sees the tree as it is at the moment of the call: nothing promises a query that it sees
   * commands whose replies were not awaited.
   */
  query<T extends QueryType>(
    query: Extract<Query, { type: T }>,
    options: CallOptions & { readonly level?: ReadLevel } = {},
  ): Promise<QueryValues[T]> {
    const problem = problemOfQuery(query);
    if (problem !== null) return Promise.reject(problem);
    const atOnce = (go: () => void) => {
      if ((options.level ?? 'strong') === 'strong') this.cluster.gate.pass(go);
      else go();
    };
    return this.#call(options, atOnce, (resolve, reject) => {
      const result = this.cluster.filesystem.query<T>(this.cluster.view, query);
      if (!result.ok) {
        reject(new MootError(result.code, `${query.type}: ${result.code}`));
      } else if (query.type === 'statfs') {
        const { diskBytesTotal, diskBytesFree } = this.cluster;
        resolve({ ...result.value, diskBytesTotal, diskBytesFree });
      } else {
        resolve(result.value);
      }
    });
  }

  /** After the latency, while the cluster is not paused, in the order of the calls. */
  readonly #inOrder = (go: () => void): void => {
    this.#queue.push(go);
    const next = () => this.#queue.shift()?.();
    this.#later(() => this.commands.pass(() => this.cluster.gate.pass(next)));
  };

  #call<R>(
    { signal, deadlineMs = this.#deadlineMs }: CallOptions,
    schedule: (go: () => void) => void,
    run: (resolve: (value: R) => void, reject: (error: unknown) => void) => void,
  ): Promise<R> {
    if (this.#closed) return Promise.reject(new MootError('CLOSED', 'the client is closed'));
    return new Promise<R>((resolve, reject) => {
      let over = false;
      let deadline: Timer | null = null;
      const end = (settle: () => void) => {
        if (over) return;
        over = true;
        deadline?.cancel();
        signal?.removeEventListener('abort', giveUp);
        settle();
      };
      const giveUp = () => end(() => reject(new MootError('INTERRUPTED', 'interrupted')));
      if (signal?.aborted) {
        giveUp();
        return;
      }
      signal?.addEventListener('abort', giveUp, { once: true });
      if (Number.isFinite(deadlineMs)) {
        deadline = systemClock.setTimer(deadlineMs, () =>
          end(() => reject(new MootError('NO_LEADER', 'nobody decides'))),
        );
      }
      schedule(() => {
        if (over) return;
        run(
          (value) => this.#later(() => end(() => resolve(value))),
          (error) => this.#later(() => end(() => reject(error))),
        );
      });
    });
  }

  #later(action: () => void): void {
    if (this.#latencyMs > 0) systemClock.setTimer(this.#latencyMs, action);
    else queueMicrotask(action);
  }

  watch(listener: WatchListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** A change that the cluster applied. */
  deliver(event: WatchEvent): void {
    if (this.#watchHeld !== null) {
      this.#watchHeld.push(event);
      return;
    }
    for (const listener of this.#listeners) listener.onChange(event);
    this.seenIndex = event.index;
  }

  /** Changes are not told to the listeners until `releaseWatch`. */
  holdWatch(): void {
    this.#watchHeld ??= [];
  }

  /** Tells what was held back: event by event, merged into one as a slow node may, or as a reset. */
  releaseWatch(how: 'each' | 'merged' | 'reset' = 'each'): void {
    const held = this.#watchHeld ?? [];
    this.#watchHeld = null;
    if (how === 'each') {
      for (const event of held) this.deliver(event);
      return;
    }
    const index = this.cluster.index;
    const effects = how === 'merged' ? held.flatMap((event) => event.effects) : [];
    this.deliver({ index, reset: how === 'reset', effects });
  }

  kept(): null {
    return null;
  }

  setKeeper(): void {}

  setHolds(holds: () => readonly Ino[]): void {
    this.#holds = holds;
  }

  async keepAlive(): Promise<void> {
    await this.execute({ type: 'keep-alive', seenIndex: this.seenIndex, holds: this.#holds() });
  }

  #scheduleKeepAlive(intervalMs: number): void {
    this.#keepAliveTimer = systemClock.setTimer(intervalMs, () => {
      this.keepAlive().then(
        () => this.#closed || this.#scheduleKeepAlive(intervalMs),
        () => this.#closed || this.#scheduleKeepAlive(intervalMs),
      );
    });
  }

  async status(): Promise<readonly NodeReport[]> {
    return [];
  }

  async snapshot(): Promise<readonly SnapshotReport[]> {
    return [];
  }

  changeMembers(): Promise<never> {
    return Promise.reject(new MootError('MEMBERS_REFUSED', 'this client is the cluster'));
  }

  transferLeadership(): Promise<never> {
    return Promise.reject(new MootError('MEMBERS_REFUSED', 'this client is the cluster'));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#keepAliveTimer?.cancel();
    if (!this.cluster.gate.isShut) await this.execute({ type: 'close-session' });
    this.#closed = true;
    this.cluster.disconnect(this);
  }
}
