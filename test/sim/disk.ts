import { type DiskSpace, reserveOf } from '../../src/base/disk-space.js';
import { type Random, randomBetween } from '../../src/base/random.js';
import type { Key } from '../../src/filesystem/keys.js';
import type { Table, Tables } from '../../src/filesystem/records.js';
import { createMemoryStateStore, MemoryDisk } from '../../src/storage/memory.js';

/** One with room for all that a world ever writes. */
export const WIDE_DISK: DiskSpace = { totalBytes: 2 ** 40, freeBytes: 2 ** 39 };
/** One that gets nearly full: its reserve is some hundred thousand bytes. */
const NARROW_BYTES = 2 ** 23;
/** What an entry of the log takes beside its data. */
const ENTRY_BYTES = 64;

/**
 * The disk of one node: the memory stores, behind time and trouble. It outlives the processes that
 * use it (stores.ts). Writes take effect at one moment on their way, so that a crash finds them done or not
 * done, whatever their writer knows.
 */
export class SimDisk {
  memory: MemoryDisk;
  /** When the append that is under way began. */
  appending: number | null = null;
  /** How often it was replaced by an empty one. */
  replaced = 0;
  /** Every access takes so many times longer. */
  slowness = 1;
  /** No access ends before this moment. */
  hangsUntil = 0;
  /** How many waited for that. */
  hung = 0;
  /** So many of each fail from now on; infinitely many: until it is replaced or repaired. */
  readonly failures = { read: 0, write: 0 };
  /** When an access failed: whoever uses it must stop. */
  failedAt: number | null = null;
  full = false;
  /** It takes so much; null: it is wide. */
  private narrowBytes: number | null = null;
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

  /** The process ends; with `power`, of what was not synced only a random first part is kept. */
  crash(power: boolean): void {
    this.appending = null;
    this.failedAt = null;
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
    this.healFailures();
  }

  /** It fails for ever. */
  get isBroken(): boolean {
    return Math.max(this.failures.read, this.failures.write) === Number.POSITIVE_INFINITY;
  }

  /** From now on there is room for so much more before its reserve is touched. */
  narrow(roomBytes: number): void {
    this.narrowBytes = this.usedBytes + reserveOf(NARROW_BYTES) + roomBytes;
  }

  widen(): void {
    this.narrowBytes = null;
  }

  get space(): DiskSpace {
    if (this.narrowBytes === null) return WIDE_DISK;
    return {
      totalBytes: NARROW_BYTES,
      freeBytes: Math.max(0, this.narrowBytes - this.usedBytes),
    };
  }

  get hasNoRoom(): boolean {
    return this.full || (this.narrowBytes !== null && this.space.freeBytes === 0);
  }

  private get usedBytes(): number {
    let bytes = 0;
    for (const { data } of this.memory.log.entries) bytes += ENTRY_BYTES + data.length;
    for (const record of this.memory.state.records.values()) bytes += record.length;
    return bytes;
  }

  private healFailures(): void {
    this.failures.read = 0;
    this.failures.write = 0;
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

  /** Nothing is wrong with it any more; what was damaged stays so. */
  calm(): void {
    this.slowness = 1;
    this.hangsUntil = 0;
    this.full = false;
    this.widen();
    this.healFailures();
  }

  /** What was damaged is found elsewhere. */
  repair(): void {
    this.healFailures();
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

  /** One bit of one record of the tree, of one of these, is not what was written any more. */
  damageTree(isMeant: (key: Key) => boolean): void {
    const { records } = this.memory.state;
    const keys = [...records.keys()].filter(isMeant);
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
