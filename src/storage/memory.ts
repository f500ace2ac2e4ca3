import { assert } from '../base/assert.js';
import { MootError } from '../base/errors.js';
import { decodeRecord, encodeRecord, unseal } from '../codec/records.js';
import { chunkRange, type Key, type KeyRange, tableOf } from '../filesystem/keys.js';
import type { Table, Tables } from '../filesystem/records.js';
import type { Change } from '../filesystem/view.js';
import type { Entry, HardState, Save, SnapshotMark, TermRun } from '../raft/types.js';
import type { LogStore, RestoredLog } from './log-store.js';
import { ChunkReader, ChunkWriter } from './snapshot-format.js';
import {
  type RecordVisitor,
  SNAPSHOT_CHUNK_BYTES,
  type SnapshotExport,
  type SnapshotImport,
  type StateStore,
  visitRecord,
} from './state-store.js';

export type DiskOperation =
  | 'log-append'
  | 'log-compact'
  | 'log-prepare'
  | 'log-reset'
  | 'state-write'
  | 'state-sync'
  | 'state-import';

export interface MemoryDiskOptions {
  /**
   * Called before each write takes effect. It may take its time, or fail, and the write fails with
   * its error. A crash in the meantime lets the write have no effect at all.
   */
  readonly beforeWrite?: (operation: DiskOperation) => void | Promise<void>;
  /** Small trees come in many chunks when chunks are small. Default: SNAPSHOT_CHUNK_BYTES. */
  readonly snapshotChunkBytes?: number;
}

const NO_MARK: SnapshotMark = { index: 0, term: 0 };

/**
 * What the memory stores keep their data on. It survives them, as a disk survives a process: after
 * `crash`, stores made before are dead and new ones find what was durable.
 */
export class MemoryDisk {
  /** Stores opened before the last crash belong to an earlier life. */
  life = 0;
  log: LogImage = { hardState: null, mark: NO_MARK, preparedReset: null, entries: [] };
  state: StateImage = new StateImage();

  constructor(readonly options: MemoryDiskOptions = {}) {}

  /** The process stops here, its machine goes on: every write that took effect stays. */
  kill(): void {
    this.life++;
  }

  /**
   * The process and its machine stop here. Of the writes that were not synced only the first are
   * kept, as many as `kept` says: none, unless it says otherwise.
   */
  crash(kept: (unsynced: number) => number = () => 0): void {
    this.life++;
    this.state.undoUnsynced(kept);
  }

  async write(life: number, operation: DiskOperation, effect: () => void): Promise<void> {
    this.check(life);
    await this.options.beforeWrite?.(operation);
    this.check(life);
    effect();
  }

  check(life: number): void {
    if (life !== this.life) throw new MootError('CLOSED', 'the disk was taken away');
  }
}

interface LogImage {
  hardState: HardState | null;
  mark: SnapshotMark;
  preparedReset: SnapshotMark | null;
  /** Those behind the mark, without gaps. */
  entries: Entry[];
}

export function createMemoryLogStore(disk: MemoryDisk): LogStore {
  return new MemoryLogStore(disk);
}

class MemoryLogStore implements LogStore {
  private readonly life: number;

  constructor(private readonly disk: MemoryDisk) {
    this.life = disk.life;
  }

  async open(): Promise<RestoredLog> {
    this.disk.check(this.life);
    const { hardState, mark, preparedReset, entries } = this.disk.log;
    const termRuns: TermRun[] = [];
    for (const { index, term } of entries) {
      if (termRuns.at(-1)?.term !== term) termRuns.push({ term, first: index });
    }
    return {
      hardState: hardState ?? { term: 0, vote: null, recovering: true, incarnation: 0 },
      snapshot: mark,
      preparedReset,
      lastIndex: mark.index + entries.length,
      termRuns,
      configurationEntries: entries.filter(({ kind }) => kind === 'configuration'),
    };
  }

  append(saves: readonly Save[]): Promise<void> {
    return this.disk.write(this.life, 'log-append', () => {
      const { log } = this.disk;
      for (const { hardState, truncateFrom, entries } of saves) {
        log.hardState = hardState ?? log.hardState;
        if (truncateFrom !== null) {
          assert(truncateFrom > log.mark.index, 'a compacted entry is never truncated');
          log.entries.length = Math.min(log.entries.length, truncateFrom - log.mark.index - 1);
        }
        for (const entry of entries) {
          assert(entry.index === log.mark.index + log.entries.length + 1, 'the log has no gaps');
          // The caller may use its buffer again.
          log.entries.push({ ...entry, data: Uint8Array.from(entry.data) });
        }
      }
    });
  }

  async read(first: number, last: number, bytesMax: number): Promise<readonly Entry[]> {
    this.disk.check(this.life);
    const { mark, entries } = this.disk.log;
    if (first <= mark.index) return [];
    const found: Entry[] = [];
    let bytes = 0;
    for (const entry of entries.slice(first - mark.index - 1, last - mark.index)) {
      bytes += entry.data.length;
      if (bytes > bytesMax && found.length > 0) break;
      found.push(entry);
    }
    return found;
  }

  compact(mark: SnapshotMark): Promise<void> {
    return this.disk.write(this.life, 'log-compact', () => {
      const { log } = this.disk;
      if (mark.index <= log.mark.index) return;
      assert(
        mark.index <= log.mark.index + log.entries.length,
        'only what is in the log is compacted',
      );
      log.entries = log.entries.slice(mark.index - log.mark.index);
      log.mark = mark;
      log.preparedReset = null;
    });
  }

  async sweep(): Promise<void> {
    this.disk.check(this.life);
  }

  prepareReset(mark: SnapshotMark | null): Promise<void> {
    return this.disk.write(this.life, 'log-prepare', () => {
      this.disk.log.preparedReset = mark;
    });
  }

  reset(mark: SnapshotMark): Promise<void> {
    return this.disk.write(this.life, 'log-reset', () => {
      const { log } = this.disk;
      log.entries = [];
      log.mark = mark;
      log.preparedReset = null;
    });
  }

  async close(): Promise<void> {}
}

/** Records as they are stored, with the way back to what was synced last. */
class StateImage {
  mark: SnapshotMark = NO_MARK;
  readonly records = new Map<string, Buffer>();
  /** The keys of `records`, ascending. */
  private readonly keys: string[] = [];
  /** The way back from each write that was not synced, oldest first. */
  private unsynced: (() => void)[][] = [];
  private undo: (() => void)[] = [];

  /** All changes until the next call belong together. */
  beginWrite(): void {
    this.undo = [];
    this.unsynced.push(this.undo);
  }

  put(key: string, value: Buffer): void {
    const old = this.set(key, value);
    this.undo.push(() => (old === undefined ? this.remove(key) : this.set(key, old)));
  }

  delete(key: string): void {
    const old = this.remove(key);
    if (old !== undefined) this.undo.push(() => this.set(key, old));
  }

  setMark(mark: SnapshotMark): void {
    const old = this.mark;
    this.mark = mark;
    this.undo.push(() => {
      this.mark = old;
    });
  }

  synced(): void {
    this.unsynced = [];
    this.undo = [];
  }

  undoUnsynced(kept: (unsynced: number) => number): void {
    const first = kept(this.unsynced.length);
    for (const write of this.unsynced.splice(first).reverse()) {
      for (const step of write.reverse()) step();
    }
    this.synced();
  }

  /** Keys in from <= key < to, at most `limit`. */
  range(from: string, to: string, limit: number): string[] {
    const found: string[] = [];
    for (let i = this.position(from); i < this.keys.length && found.length < limit; i++) {
      const key = this.keys[i];
      if (key === undefined || key >= to) break;
      found.push(key);
    }
    return found;
  }

  private set(key: string, value: Buffer): Buffer | undefined {
    const old = this.records.get(key);
    if (old === undefined) this.keys.splice(this.position(key), 0, key);
    this.records.set(key, value);
    return old;
  }

  private remove(key: string): Buffer | undefined {
    const old = this.records.get(key);
    if (old === undefined) return undefined;
    this.keys.splice(this.position(key), 1);
    this.records.delete(key);
    return old;
  }

  private position(key: string): number {
    let low = 0;
    let high = this.keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.keys[middle] ?? '') < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export function createMemoryStateStore(disk: MemoryDisk): StateStore {
  return new MemoryStateStore(disk);
}

class MemoryStateStore implements StateStore {
  private readonly life: number;
  private importing: MemoryImport | null = null;

  constructor(private readonly disk: MemoryDisk) {
    this.life = disk.life;
  }

  async open(): Promise<SnapshotMark> {
    this.disk.check(this.life);
    return this.disk.state.mark;
  }

  async get<T extends Table>(keys: readonly Key<T>[]): Promise<(Tables[T] | undefined)[]> {
    this.disk.check(this.life);
    return keys.map((key) => this.decode(key));
  }

  async scan<T extends Table>(
    range: KeyRange<T>,
    limit: number,
  ): Promise<(readonly [Key<T>, Tables[T]])[]> {
    this.disk.check(this.life);
    const found: (readonly [Key<T>, Tables[T]])[] = [];
    for (const key of this.disk.state.range(range.from, range.to, limit)) {
      const value = this.decode<T>(key);
      if (value !== undefined) found.push([key, value]);
    }
    return found;
  }

  write(changes: readonly Change[], mark: SnapshotMark): Promise<void> {
    const encoded = changes.map((change) =>
      change.type === 'put' ? encodeRecord(change.key, change.value) : null,
    );
    return this.disk.write(this.life, 'state-write', () => {
      const { state } = this.disk;
      state.beginWrite();
      for (const [i, change] of changes.entries()) {
        const value = encoded[i];
        if (change.type === 'delete') state.delete(change.key);
        else if (change.type === 'discard') this.discard(change.content);
        else if (value) state.put(change.key, value);
      }
      state.setMark(mark);
    });
  }

  sync(): Promise<void> {
    return this.disk.write(this.life, 'state-sync', () => this.disk.state.synced());
  }

  async exportSnapshot(): Promise<SnapshotExport> {
    this.disk.check(this.life);
    const chunkBytes = this.disk.options.snapshotChunkBytes ?? SNAPSHOT_CHUNK_BYTES;
    return new MemoryExport(this.disk.state, chunkBytes);
  }

  async importSnapshot(mark: SnapshotMark): Promise<SnapshotImport> {
    this.disk.check(this.life);
    await this.importing?.abort();
    this.importing = new MemoryImport(mark, (state) =>
      this.disk.write(this.life, 'state-import', () => {
        this.disk.state = state;
        this.importing = null;
      }),
    );
    return this.importing;
  }

  async close(): Promise<void> {
    await this.importing?.abort();
  }

  async readAll(visitor: RecordVisitor): Promise<void> {
    this.disk.check(this.life);
    const { state } = this.disk;
    for (const key of state.range('', '\uffff', Number.POSITIVE_INFINITY)) {
      const sealed = state.records.get(key);
      if (sealed !== undefined) visitRecord(visitor, { key, sealed: Buffer.from(sealed) });
    }
  }

  private decode<T extends Table>(key: Key<T>): Tables[T] | undefined {
    const sealed = this.disk.state.records.get(key);
    // A copy: what a caller does to a chunk must not change the disk.
    return sealed === undefined ? undefined : decodeRecord<T>(key, Buffer.from(sealed));
  }

  private discard(content: number): void {
    const { state } = this.disk;
    const { from, to } = chunkRange(content);
    for (const key of state.range(from, to, Number.POSITIVE_INFINITY)) state.delete(key);
  }
}

class MemoryExport implements SnapshotExport {
  readonly mark: SnapshotMark;
  private readonly writer: ChunkWriter;
  /** Values are replaced, never changed, so that references are a consistent view. */
  private records: (readonly [string, Buffer])[];
  private ended = false;

  constructor(state: StateImage, chunkBytes: number) {
    this.writer = new ChunkWriter(chunkBytes);
    this.mark = state.mark;
    this.records = state
      .range('', '\uffff', Number.POSITIVE_INFINITY)
      .map((key) => [key, state.records.get(key) ?? Buffer.alloc(0)] as const)
      .reverse();
  }

  async next(): Promise<Uint8Array | null> {
    if (this.ended) return null;
    for (let last = this.records.at(-1); last !== undefined; last = this.records.at(-1)) {
      const [key, sealed] = last;
      unseal(key, sealed);
      if (!this.writer.fits({ key, sealed })) break;
      this.writer.add({ key, sealed });
      this.records.pop();
    }
    if (!this.writer.isEmpty) return this.writer.take();
    this.ended = true;
    return this.writer.takeEnd();
  }

  async close(): Promise<void> {
    this.ended = true;
    this.records = [];
  }
}

class MemoryImport implements SnapshotImport {
  private readonly reader = new ChunkReader();
  private readonly state = new StateImage();
  private over = false;

  constructor(
    private readonly mark: SnapshotMark,
    private readonly replaceState: (state: StateImage) => Promise<void>,
  ) {}

  async write(chunk: Uint8Array): Promise<void> {
    this.checkOpen();
    for (const { key, sealed } of this.reader.read(chunk)) {
      if (tableOf(key) === undefined) {
        throw new MootError('BAD_MESSAGE', 'snapshot chunk: it has a record of no table');
      }
      unseal(key, sealed);
      this.state.put(key, Buffer.from(sealed));
    }
  }

  get isComplete(): boolean {
    return this.reader.isComplete;
  }

  async finish(): Promise<void> {
    this.checkOpen();
    if (!this.isComplete) {
      throw new MootError('BAD_MESSAGE', 'the snapshot is not complete');
    }
    this.over = true;
    this.state.setMark(this.mark);
    this.state.synced();
    await this.replaceState(this.state);
  }

  async abort(): Promise<void> {
    this.over = true;
  }

  private checkOpen(): void {
    if (this.over) throw new MootError('CLOSED', 'the import is over');
  }
}
