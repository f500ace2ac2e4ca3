import { MootError } from '../../src/base/errors.js';
import { randomBetween } from '../../src/base/random.js';
import type { Key, KeyRange } from '../../src/filesystem/keys.js';
import type { Table, Tables } from '../../src/filesystem/records.js';
import type { Change } from '../../src/filesystem/view.js';
import type { Entry, Save, SnapshotMark } from '../../src/raft/types.js';
import type { LogStore, RestoredLog } from '../../src/storage/log-store.js';
import {
  createMemoryLogStore,
  createMemoryStateStore,
  type MemoryDisk,
} from '../../src/storage/memory.js';
import type {
  RecordVisitor,
  SnapshotExport,
  SnapshotImport,
  StateStore,
} from '../../src/storage/state-store.js';
import type { SimDisk } from './disk.js';
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

/** The stores for one life of a process. */
export function storesOn(
  disk: SimDisk,
  machine: Machine,
  watcher: DiskWatcher,
): { log: LogStore; state: StateStore } {
  const access = new Access(disk, machine, disk.memory);
  return {
    log: new SimLogStore(access, createMemoryLogStore(disk.memory), watcher),
    state: new SimStateStore(access, createMemoryStateStore(disk.memory)),
  };
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

  async read<T>(effect: () => Promise<T>): Promise<T> {
    await this.wait(this.timeOf(READ_MICROS));
    this.mayFail('read');
    return effect();
  }

  /** Half of the time before the effect and half of it behind. */
  async write<T>(micros: number, effect: () => Promise<T>): Promise<T> {
    const { disk } = this;
    const time = this.timeOf(micros);
    const first = Math.floor(disk.random.next() * time);
    await this.wait(first);
    if (disk.hasNoRoom) throw this.failed('no space left on device');
    // What fails may have come to the disk all the same.
    if (disk.failures.write > 0 && disk.random.next() < 0.5) await effect();
    this.mayFail('write');
    const result = await effect();
    await this.wait(time - first);
    return result;
  }

  private mayFail(what: 'read' | 'write'): void {
    const { failures } = this.disk;
    if (failures[what] === 0) return;
    failures[what]--;
    throw this.failed('input/output error');
  }

  private failed(why: string): MootError {
    // Of a process that is gone nobody hears.
    if (this.machine.alive) this.disk.failedAt ??= this.nowMicros;
    return new MootError('DISK_FAILED', why);
  }

  private timeOf(micros: number): number {
    const { disk } = this;
    const time = micros * disk.slowness;
    const hangs = disk.hangsUntil - this.nowMicros;
    if (hangs <= time) return time;
    disk.hung++;
    return hangs;
  }

  private wait(micros: number): Promise<void> {
    return new Promise((resolve) => this.machine.after(micros, 'disk', resolve));
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
    const restored = await this.access.read(() => this.inner.open());
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
    const entries = await this.access.read(() => this.inner.read(first, last, bytesMax));
    const from = entries[0]?.index;
    if (from !== undefined) this.access.checkEntries(from, from + entries.length - 1);
    return entries;
  }

  compact(mark: SnapshotMark): Promise<void> {
    return this.access.write(this.access.syncMicros(), () => this.inner.compact(mark));
  }

  sweep(): Promise<void> {
    return this.access.write(WRITE_MICROS, () => this.inner.sweep());
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

  open(): Promise<SnapshotMark> {
    return this.access.read(() => this.inner.open());
  }

  get<T extends Table>(keys: readonly Key<T>[]): Promise<(Tables[T] | undefined)[]> {
    return this.access.read(() => this.inner.get(keys));
  }

  scan<T extends Table>(
    range: KeyRange<T>,
    limit: number,
  ): Promise<(readonly [Key<T>, Tables[T]])[]> {
    return this.access.read(() => this.inner.scan(range, limit));
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
      next: () => this.access.read(() => source.next()),
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
