import { assert } from '../base/assert.js';
import type { Clock, Timer } from '../base/clock.js';
import { isMootError, MootError } from '../base/errors.js';
import type { LogCommand } from '../filesystem/commands.js';
import type { Applied, Filesystem } from '../filesystem/filesystem.js';
import {
  COUNTERS,
  chunkRange,
  type Key,
  type KeyRange,
  MEMBERS,
  sessionKey,
} from '../filesystem/keys.js';
import type { Query, QueryResult } from '../filesystem/queries.js';
import type { Counters, Session, Table, Tables } from '../filesystem/records.js';
import { type Change, Missing } from '../filesystem/view.js';
import type { SnapshotMark } from '../raft/types.js';
import type { StateStore } from '../storage/state-store.js';
import { CompleteDirectories } from './complete-directories.js';
import { Overlay } from './overlay.js';
import { RecordCache, type Stored } from './record-cache.js';
import { runOrMissing, TreeView } from './tree-view.js';

/** Bounds of a tree's memory. */
export interface TreeLimits {
  /** Decoded records in memory. */
  readonly cacheBytesMax: number;
  /** Names of directories that are known whole: those of the last archives that were unpacked. */
  readonly namesBytesMax: number;
  /** Applying waits when this much is not yet in the store: memory stays bounded when its disk is slow. */
  readonly unwrittenBytesMax: number;
}

/** With the rest of a node below the 300 MiB that it may use. */
const LIMITS: TreeLimits = {
  cacheBytesMax: 25_165_824,
  namesBytesMax: 6_291_456,
  unwrittenBytesMax: 16_777_216,
};
/**
 * Changes wait this long, or for this many bytes, before they are written: the same counters, inode
 * or chunk changed by several commands costs one put, and the log's sync has the disk to itself.
 * Nobody waits for these writes: the log has the commands.
 */
const WRITE_DELAY_MS = 20;
const WRITE_AT_ONCE_BYTES = 4_194_304;
/** Commands whose records are loaded together, ahead of the first. */
const PREFETCH_COMMANDS = 256;
/** Queries that load at one time. Each may bring 1 MiB, and half the cache must outlive them. */
const QUERIES_LOADING_MAX = 16;

/** A committed entry; null: it has no command. */
export interface Committed {
  readonly mark: SnapshotMark;
  readonly command: LogCommand | null;
  /** What the entry says of the members, for the record MEMBERS. */
  readonly members: Uint8Array | null;
}

export interface TreeEvents {
  /** One entry was applied in memory; `applied` is null when it held no command. */
  onApplied(mark: SnapshotMark, applied: Applied | null, command: LogCommand | null): void;
  /** A batch ended: everything up to `applied` can be read. */
  onProgress(): void;
  /** Another tree took the place of this one. Nothing else happened since it is there. */
  onReplaced(mark: SnapshotMark): void;
  /** The store refused, or has what it must not have: final. */
  onFailed(error: unknown): void;
}

interface Flush {
  readonly index: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The tree in memory over the state store. Three layers answer for a record: changes not yet in the
 * store (`pending`, and `writing` while they go there), the cache, the store. That a name is absent
 * may be known without any of them (CompleteDirectories). Commands are applied one after another;
 * what one lacks is loaded, and it is run again. Queries run beside them, each at one moment between
 * two commands.
 */
export class Tree {
  private pending = new Overlay();
  private writing: Overlay | null = null;
  private readonly cache: RecordCache;
  private readonly complete: CompleteDirectories;
  /**
   * Keys that are being read from the store. A change takes its key out, so that what comes from
   * the store, perhaps older than the change, is not taken for the present.
   */
  private readonly loads = new Map<Key, Promise<void>>();
  /** Views of running queries and of the command in hand: they hold ranges that changes must reach. */
  private readonly views = new Set<TreeView>();
  private queue: Committed[] = [];
  private head = 0;
  private prefetched = 0;
  private running = false;
  private loading = false;
  private view: TreeView;
  private writeTimer: Timer | null = null;
  private flushes: Flush[] = [];
  private queriesLoading = 0;
  private queriesWaiting: (() => void)[] = [];
  private suspended = false;
  private failed = false;
  /** Counts up when the whole tree is replaced: loads from before mean nothing then. */
  private epoch = 0;
  private appliedMark: SnapshotMark = { index: 0, term: 0 };
  private writtenMark: SnapshotMark = { index: 0, term: 0 };
  private presentCounters: Counters | null = null;
  private readonly presentSessions = new Map<number, Session>();

  constructor(
    private readonly store: StateStore,
    private readonly filesystem: Filesystem,
    private readonly clock: Clock,
    private readonly events: TreeEvents,
    private readonly limits: TreeLimits = LIMITS,
  ) {
    this.cache = new RecordCache(limits.cacheBytesMax);
    this.complete = new CompleteDirectories(limits.namesBytesMax);
    this.view = this.openView();
  }

  /** The last command that is applied in memory. */
  get applied(): SnapshotMark {
    return this.appliedMark;
  }
  /** The last command whose changes are in the store. */
  get written(): SnapshotMark {
    return this.writtenMark;
  }
  /** Changes are on their way to the store. */
  get isWriting(): boolean {
    return this.writing !== null;
  }
  get counters(): Counters {
    assert(this.presentCounters !== null, 'the tree is open');
    return this.presentCounters;
  }
  /** All live sessions. */
  get sessions(): ReadonlyMap<number, Session> {
    return this.presentSessions;
  }

  /** Opens the store; an empty one becomes an empty filesystem, at index 0 as on every node. */
  async open(): Promise<SnapshotMark> {
    const mark = await this.store.open();
    const [counters] = await this.store.get([COUNTERS]);
    if (counters === undefined) {
      if (mark.index !== 0) {
        throw new MootError('DATA_CORRUPT', `the tree at index ${mark.index} has no counters`);
      }
      await this.store.write(this.filesystem.format(), mark);
    }
    await this.reload(mark);
    return mark;
  }

  /** Committed entries, in order, right behind those taken before. */
  enqueue(items: readonly Committed[]): void {
    for (const item of items) this.queue.push(item);
    this.run();
  }

  /** Loads what the command will read, so that it is there when the command is committed. */
  prefetch(command: LogCommand): void {
    if (!this.suspended) this.loadKeys(this.filesystem.footprint(command));
  }

  /** Answers at the applied index of the moment when all records are in memory. */
  query(query: Query, done: (result: QueryResult, index: number) => void): void {
    const view = this.openView();
    let counted = false;
    const attempt = () => {
      if (this.failed) return;
      if (this.suspended) {
        this.queriesWaiting.push(attempt);
        return;
      }
      const result = runOrMissing(() => this.filesystem.query(view, query));
      if (!(result instanceof Missing)) {
        this.views.delete(view);
        this.cache.trim();
        if (counted) this.queryLoaded();
        done(result, this.appliedMark.index);
      } else if (!counted && this.queriesLoading >= QUERIES_LOADING_MAX) {
        this.queriesWaiting.push(attempt);
      } else {
        if (!counted) this.queriesLoading++;
        counted = true;
        this.load(view, result).then(attempt, this.loadFailed(attempt));
      }
    };
    attempt();
  }

  /** Everything applied by now is in the store (not synced) when the promise resolves. */
  flush(): Promise<void> {
    if (this.writtenMark.index >= this.appliedMark.index) return Promise.resolve();
    return new Promise((resolve, reject) => {
      if (this.failed) {
        reject(new MootError('CLOSED', 'the tree has failed'));
        return;
      }
      this.flushes.push({ index: this.appliedMark.index, resolve, reject });
      this.startWrite();
    });
  }

  /** Puts another tree in the place of this one: `replacement` does it in the store. */
  async replace(mark: SnapshotMark, replacement: () => Promise<void>): Promise<void> {
    this.suspended = true;
    await this.flush();
    await replacement();
    this.epoch++;
    this.loads.clear();
    this.cache.clear();
    this.complete.clear();
    for (const view of this.views) view.forget();
    await this.reload(mark);
    this.queue = [];
    this.head = 0;
    this.prefetched = 0;
    this.suspended = false;
    this.events.onReplaced(mark);
    for (const attempt of this.queriesWaiting.splice(0)) attempt();
  }

  /** Applies nothing more; what is applied is written unless the store failed. */
  async close(): Promise<void> {
    this.suspended = true;
    if (!this.failed) await this.flush();
    this.writeTimer?.cancel();
  }

  /** The record as the last applied command left it; null: there is none; undefined: not in memory. */
  peek(key: Key): Stored | null | undefined {
    let value = this.pending.get(key);
    if (value === undefined) value = this.writing?.get(key);
    if (value === undefined) value = this.cache.get(key);
    if (value === undefined && this.complete.lacks(key, (inode) => this.look(inode))) return null;
    return value;
  }

  /** As `peek`, by table. */
  look<T extends Table>(key: Key<T>): Tables[T] | null | undefined {
    // A key's letter says its table, and only records of that table are put under it.
    return this.peek(key) as Tables[T] | null | undefined;
  }

  private async reload(mark: SnapshotMark): Promise<void> {
    const [counters] = await this.store.get([COUNTERS]);
    if (counters === undefined) {
      throw new MootError('DATA_CORRUPT', `the tree at index ${mark.index} has no counters`);
    }
    const sessions = await this.store.get(counters.sessions.map(sessionKey));
    this.presentSessions.clear();
    for (const session of sessions) {
      if (session === undefined) {
        throw new MootError('DATA_CORRUPT', `the tree at index ${mark.index} lacks a session`);
      }
      this.presentSessions.set(session.id, session);
    }
    this.presentCounters = counters;
    this.appliedMark = mark;
    this.writtenMark = mark;
  }

  private run(): void {
    if (this.running || this.loading || this.suspended || this.failed) return;
    this.running = true;
    const before = this.appliedMark.index;
    for (; this.head < this.queue.length; this.head++) {
      if (this.pending.bytes >= this.limits.unwrittenBytesMax) break;
      if (this.head >= this.prefetched) this.prefetchBatch();
      const item = this.queue[this.head];
      assert(item !== undefined, 'the head is in the queue');
      if (!this.applyOne(item)) break;
    }
    if (this.head === this.queue.length) {
      this.queue = [];
      this.head = 0;
      this.prefetched = 0;
    }
    this.cache.trim();
    this.running = false;
    if (this.appliedMark.index === before) return;
    this.scheduleWrite();
    this.events.onProgress();
  }

  /** False when a record is missing: it is being loaded, and `run` goes on afterwards. */
  private applyOne(item: Committed): boolean {
    const { mark, command, members } = item;
    assert(mark.index === this.appliedMark.index + 1, 'commands are applied in order');
    if (command === null) {
      if (members !== null) this.take({ type: 'put', key: MEMBERS, value: members });
      this.appliedMark = mark;
      this.events.onApplied(mark, null, null);
    } else {
      const applied = runOrMissing(() => this.filesystem.apply(this.view, mark.index, command));
      if (applied instanceof Missing) {
        this.loading = true;
        const goOn = () => {
          this.loading = false;
          this.run();
        };
        this.load(this.view, applied).then(goOn, this.loadFailed(goOn));
        return false;
      }
      this.view.forget();
      for (const change of applied.changes) this.take(change);
      this.appliedMark = mark;
      this.events.onApplied(mark, applied, command);
    }
    return true;
  }

  private take(change: Change): void {
    if (change.type === 'discard') {
      this.pending.discard(change.content, chunkRange(change.content));
      return;
    }
    const { key } = change;
    const value = change.type === 'put' ? change.value : null;
    this.pending.put(key, value);
    this.complete.changed(key, value);
    if (this.loads.size > 0) this.loads.delete(key);
    for (const view of this.views) view.changed(key, value);
    if (key === COUNTERS) this.presentCounters = value as Counters;
    else if (key.charAt(0) === SESSION_LETTER) this.sessionChanged(key, value as Session | null);
  }

  private sessionChanged(key: Key, session: Session | null): void {
    if (session !== null) this.presentSessions.set(session.id, session);
    else {
      for (const id of this.presentSessions.keys()) {
        if (sessionKey(id) === key) this.presentSessions.delete(id);
      }
    }
  }

  private prefetchBatch(): void {
    const keys: Key[] = [];
    this.prefetched = Math.min(this.queue.length, this.head + PREFETCH_COMMANDS);
    for (let i = this.head; i < this.prefetched; i++) {
      const command = this.queue[i]?.command;
      if (command) keys.push(...this.filesystem.footprint(command));
    }
    this.loadKeys(keys);
  }

  private load(view: TreeView, missing: Missing): Promise<unknown> {
    const waits = this.loadKeys(missing.keys);
    for (const { range, limit } of missing.ranges) waits.push(this.loadRange(view, range, limit));
    return Promise.all(waits);
  }

  /** One read of the store for all keys that are neither in memory nor on their way. */
  private loadKeys(keys: readonly Key[]): Promise<void>[] {
    const waits = new Set<Promise<void>>();
    const wanted: Key[] = [];
    for (const key of new Set(keys)) {
      const load = this.loads.get(key);
      if (load !== undefined) waits.add(load);
      else if (this.peek(key) === undefined) wanted.push(key);
    }
    if (wanted.length > 0) {
      const load = this.store.get(wanted).then(
        (values) => {
          for (const [i, key] of wanted.entries()) {
            if (this.loads.get(key) !== load) continue;
            this.loads.delete(key);
            this.cache.set(key, values[i] ?? null);
          }
        },
        this.loadFailed(() => {
          for (const key of wanted) if (this.loads.get(key) === load) this.loads.delete(key);
        }),
      );
      for (const key of wanted) this.loads.set(key, load);
      waits.add(load);
    }
    return [...waits];
  }

  private async loadRange(view: TreeView, range: KeyRange, limit: number): Promise<void> {
    const { epoch } = this;
    const loaded = view.expect(range);
    for (const overlay of [this.writing, this.pending]) {
      for (const [key, value] of overlay?.inRange(range) ?? []) loaded.changed(key, value);
    }
    // What was deleted and is still in the store counts towards its limit.
    const storeLimit = limit + loaded.changes.size + loaded.surplus;
    const records = await this.store.scan(range, storeLimit);
    if (epoch === this.epoch) loaded.arrived(records, storeLimit);
  }

  private queryLoaded(): void {
    this.queriesLoading--;
    // One that finds all in memory by now loads nothing, and leaves its turn to the next.
    while (!this.suspended && this.queriesLoading < QUERIES_LOADING_MAX) {
      const next = this.queriesWaiting.shift();
      if (next === undefined) return;
      next();
    }
  }

  private scheduleWrite(): void {
    if (this.writing !== null || this.failed) return;
    if (this.pending.bytes >= WRITE_AT_ONCE_BYTES || this.flushes.length > 0) this.startWrite();
    else this.writeTimer ??= this.clock.setTimer(WRITE_DELAY_MS, () => this.startWrite());
  }

  private startWrite(): void {
    if (this.writing !== null || this.failed) return;
    this.writeTimer?.cancel();
    this.writeTimer = null;
    const mark = this.appliedMark;
    const overlay = this.pending;
    this.writing = overlay;
    this.pending = new Overlay();
    this.store.write(overlay.changes(), mark).then(
      () => this.wrote(overlay, mark),
      (error: unknown) => this.fail(error),
    );
  }

  private wrote(overlay: Overlay, mark: SnapshotMark): void {
    for (const [key, value] of overlay.entries()) {
      // Streamed content, which nobody may ask for, shall not take the place of what is asked for.
      if (isPartOfMore(value)) this.cache.delete(key);
      else this.cache.set(key, value);
    }
    this.writing = null;
    this.writtenMark = mark;
    this.cache.trim();
    this.flushes = this.flushes.filter((flush) => {
      if (flush.index <= mark.index) flush.resolve();
      return flush.index > mark.index;
    });
    if (this.appliedMark.index > mark.index) this.scheduleWrite();
    this.run();
  }

  private openView(): TreeView {
    const view = new TreeView((key) => this.peek(key));
    this.views.add(view);
    return view;
  }

  /**
   * Of a store that is closed because another tree takes its place, or because the node stops, no
   * load is expected any more: what wanted it tries again, and waits as long as the tree is suspended.
   */
  private loadFailed(again: () => void): (error: unknown) => void {
    const { epoch } = this;
    return (error) => {
      const given = this.suspended || epoch !== this.epoch;
      if (given && isMootError(error, 'CLOSED')) again();
      else this.fail(error);
    };
  }

  private fail(error: unknown): void {
    if (this.failed) return;
    this.failed = true;
    for (const flush of this.flushes.splice(0)) flush.reject(error);
    this.events.onFailed(error);
  }
}

const SESSION_LETTER = sessionKey(0).charAt(0);

/** A chunk as a large write brought it. */
function isPartOfMore(value: Stored | null): boolean {
  return value instanceof Uint8Array && value.buffer.byteLength > value.length;
}
