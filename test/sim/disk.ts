import { MootError } from '../../src/base/errors.js';
import { type Random, randomBetween } from '../../src/base/random.js';
import type { Key, KeyRange } from '../../src/filesystem/keys.js';
import type { Table, Tables } from '../../src/filesystem/records.js';
import type { Change } from '../../src/filesystem/view.js';
import type { Entry, Save, SnapshotMark } from '../../src/raft/types.js';
import type { LogStore, RestoredLog } from '../../src/storage/log-store.js';
import {
  createMemoryLogStore,
  createMemoryStateStore,
  MemoryDisk,
} from '../../src/storage/memory.js';
import type {
  RecordVisitor,
  SnapshotExport,
  SnapshotImport,
  StateStore,
} from '../../src/storage/state-store.js';
import type { Machine } from './machine.js';

/** Who wants to know what is on its way to the log. */
export interface DiskWatcher {
  /** Before it is written. */
  onAppend(saves: readonly Save[]): void;
  /** It is on the disk; its writer does not know yet. */
  onDurable(saves: readonly Save[]): void;
}

/** How long things take, on a good day. */
const READ_MICROS = 60;
const WRITE_MICROS = 200;
const SYNC_MICROS_MIN = 300;
const SYNC_MICROS_MAX = 2_000;

/**
 * The disk of one node: the memory stores, behind time and trouble. It outlives the processes that
 * use it. Writes take effect at one moment on their way, so that a crash finds them done or not
 * done, whatever their writer knows.
 */
export class SimDisk {
  memory: MemoryDisk;
  /** When the append that is under way began. */
  appending: number | null = null;
  /** How often it was replaced by an empty one. */
  replaced = 0;
  /** Every write takes so many times longer. */
  slowness = 1;
  /** No write ends before this moment. */
  hangsUntil = 0;
  /** So many writes fail from now on. */
  failures = 0;
  full = false;
  /** Indexes of log entries that are damaged. */
  readonly damaged = new Set<number>();
  /** Records of the tree that are not what was written any more, as they are and as they were. */
  private readonly flipped = new Map<string, { readonly bad: Buffer; readonly good: Buffer }>();

  constructor(
    readonly random: Random,
    private readonly snapshotChunkBytes: number,
  ) {
    this.memory = this.emptyDisk();
  }

  /** The stores for one life of the process. */
  stores(machine: Machine, watcher: DiskWatcher): { log: LogStore; state: StateStore } {
    const access = new Access(this, machine, this.memory);
    return {
      log: new SimLogStore(access, createMemoryLogStore(this.memory), watcher),
      state: new SimStateStore(access, createMemoryStateStore(this.memory)),
    };
  }

  /** The process ends; with `power`, of what was not synced only a random first part is kept. */
  crash(power: boolean): void {
    this.appending = null;
    if (power) this.memory.crash((writes) => randomBetween(this.random, 0, writes + 1));
    else this.memory.kill();
  }

  /** The tree as it is stored now, not counting what is on its way; and up to which index. */
  async storedTree(): Promise<{ index: number; records: Map<Key, Tables[Table]> }> {
    // What nobody has read since it was damaged, nobody has noticed.
    this.repair();
    const store = createMemoryStateStore(this.memory);
    const { index } = await store.open();
    const records = new Map<Key, Tables[Table]>();
    await store.readAll({
      onRecord: (key, value) => records.set(key, value),
      onDamaged: (error) => {
        throw error;
      },
    });
    return { index, records };
  }

  wipe(): void {
    this.replaced++;
    this.memory = this.emptyDisk();
    this.damaged.clear();
    this.flipped.clear();
    this.failures = 0;
  }

  get isDamaged(): boolean {
    return this.damaged.size > 0 || this.isTreeDamaged;
  }

  /** A record that was written anew since is whole again. */
  get isTreeDamaged(): boolean {
    return [...this.flipped].some(([key, { bad }]) => this.isStored(key, bad));
  }

  isRecordDamaged(key: string): boolean {
    const flip = this.flipped.get(key);
    return flip !== undefined && this.isStored(key, flip.bad);
  }

  /** What was damaged is found elsewhere. */
  repair(): void {
    this.damaged.clear();
    const { records } = this.memory.state;
    for (const [key, { bad, good }] of this.flipped) {
      if (this.isStored(key, bad)) records.set(key, good);
    }
    this.flipped.clear();
  }

  private isStored(key: string, bytes: Buffer): boolean {
    return this.memory.state.records.get(key) === bytes;
  }

  private emptyDisk(): MemoryDisk {
    return new MemoryDisk({ snapshotChunkBytes: this.snapshotChunkBytes });
  }

  /** One entry of the log is not what was written any more. False: there is none. */
  damage(): boolean {
    const { entries } = this.memory.log;
    const entry = entries[randomBetween(this.random, 0, Math.max(1, entries.length))];
    if (entry === undefined) return false;
    this.damaged.add(entry.index);
    return true;
  }

  /** One bit of one record of the tree is not what was written any more. */
  damageTree(): void {
    const { records } = this.memory.state;
    const keys = [...records.keys()];
    const key = keys[randomBetween(this.random, 0, Math.max(1, keys.length))];
    const good = key === undefined ? undefined : records.get(key);
    if (key === undefined || good === undefined || this.isRecordDamaged(key)) return;
    const bad = Buffer.from(good);
    const bit = randomBetween(this.random, 0, bad.length * 8);
    bad[bit >>> 3] = (bad[bit >>> 3] as number) ^ (1 << (bit & 7));
    records.set(key, bad);
    this.flipped.set(key, { bad, good });
  }
}

/** Time and trouble of one process with its disk. */
class Access {
  constructor(
    readonly disk: SimDisk,
    private readonly machine: Machine,
    private readonly memory: MemoryDisk,
  ) {}

  get nowMicros(): number {
    return this.machine.nowMicros;
  }

  /** A read's time. */
  wait(micros: number): Promise<void> {
    return new Promise((resolve) => this.machine.after(micros, 'disk', resolve));
  }

  /** Half of the time before the effect and half of it behind. */
  async write<T>(micros: number, effect: () => Promise<T>): Promise<T> {
    const { disk } = this;
    const time = Math.max(micros * disk.slowness, disk.hangsUntil - this.nowMicros);
    const first = Math.floor(disk.random.next() * time);
    await this.wait(first);
    if (disk.full) throw new MootError('DISK_FAILED', 'no space left on device');
    if (disk.failures > 0) {
      disk.failures--;
      // It may have come to the disk all the same.
      if (disk.random.next() < 0.5) await effect();
      throw new MootError('DISK_FAILED', 'input/output error');
    }
    const result = await effect();
    await this.wait(time - first);
    return result;
  }

  syncMicros(): number {
    return randomBetween(this.disk.random, SYNC_MICROS_MIN, SYNC_MICROS_MAX);
  }

  /** What a store with checksums says of a range with a damaged entry. */
  checkEntries(first: number, last: number): void {
    if (this.memory !== this.disk.memory) return;
    for (const index of this.disk.damaged) {
      if (index < first || index > last) continue;
      throw new MootError('DATA_CORRUPT', `entry ${index} of the log does not match its checksum`);
    }
  }
}

class SimLogStore implements LogStore {
  constructor(
    private readonly access: Access,
    private readonly inner: LogStore,
    private readonly watcher: DiskWatcher,
  ) {}

  async open(): Promise<RestoredLog> {
    await this.access.wait(READ_MICROS);
    const restored = await this.inner.open();
    this.access.checkEntries(restored.snapshot.index + 1, restored.lastIndex);
    return restored;
  }

  async append(saves: readonly Save[]): Promise<void> {
    this.watcher.onAppend(saves);
    this.access.disk.appending = this.access.nowMicros;
    await this.access.write(this.access.syncMicros(), async () => {
      await this.inner.append(saves);
      for (const { truncateFrom, entries } of saves) {
        for (const index of this.access.disk.damaged) {
          const rewritten = entries.some((entry) => entry.index === index);
          const removed = truncateFrom !== null && truncateFrom <= index;
          if (rewritten || removed) this.access.disk.damaged.delete(index);
        }
      }
      this.watcher.onDurable(saves);
    });
    this.access.disk.appending = null;
  }

  async read(first: number, last: number, bytesMax: number): Promise<readonly Entry[]> {
    await this.access.wait(READ_MICROS);
    const entries = await this.inner.read(first, last, bytesMax);
    const from = entries[0]?.index;
    if (from !== undefined) this.access.checkEntries(from, from + entries.length - 1);
    return entries;
  }

  compact(mark: SnapshotMark): Promise<void> {
    return this.access.write(this.access.syncMicros(), () => this.inner.compact(mark));
  }

  async sweep(): Promise<void> {
    await this.access.wait(WRITE_MICROS);
    await this.inner.sweep();
  }

  prepareReset(mark: SnapshotMark | null): Promise<void> {
    return this.access.write(this.access.syncMicros(), () => this.inner.prepareReset(mark));
  }

  reset(mark: SnapshotMark): Promise<void> {
    return this.access.write(this.access.syncMicros(), () => this.inner.reset(mark));
  }

  close(): Promise<void> {
    return this.inner.close();
  }
}

class SimStateStore implements StateStore {
  constructor(
    private readonly access: Access,
    private readonly inner: StateStore,
  ) {}

  async open(): Promise<SnapshotMark> {
    await this.access.wait(READ_MICROS);
    return this.inner.open();
  }

  async get<T extends Table>(keys: readonly Key<T>[]): Promise<(Tables[T] | undefined)[]> {
    await this.access.wait(READ_MICROS);
    return this.inner.get(keys);
  }

  async scan<T extends Table>(
    range: KeyRange<T>,
    limit: number,
  ): Promise<(readonly [Key<T>, Tables[T]])[]> {
    await this.access.wait(READ_MICROS);
    return this.inner.scan(range, limit);
  }

  write(changes: readonly Change[], mark: SnapshotMark): Promise<void> {
    return this.access.write(WRITE_MICROS, () => this.inner.write(changes, mark));
  }

  sync(): Promise<void> {
    return this.access.write(this.access.syncMicros(), () => this.inner.sync());
  }

  async exportSnapshot(): Promise<SnapshotExport> {
    const source = await this.inner.exportSnapshot();
    return {
      mark: source.mark,
      next: async () => {
        await this.access.wait(READ_MICROS);
        return source.next();
      },
      close: () => source.close(),
    };
  }

  async importSnapshot(mark: SnapshotMark): Promise<SnapshotImport> {
    const target = await this.inner.importSnapshot(mark);
    return {
      get isComplete() {
        return target.isComplete;
      },
      write: (chunk) => this.access.write(WRITE_MICROS, () => target.write(chunk)),
      finish: () => this.access.write(this.access.syncMicros(), () => target.finish()),
      abort: () => target.abort(),
    };
  }

  readAll(visitor: RecordVisitor): Promise<void> {
    return this.inner.readAll(visitor);
  }

  close(): Promise<void> {
    return this.inner.close();
  }
}
