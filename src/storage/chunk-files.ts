import { type DiskSpace, reserveOf } from '../base/disk-space.js';
import { isMootError } from '../base/errors.js';
import { corruptRecord, seal } from '../codec/records.js';
import { chunkRange, tableOf } from '../filesystem/keys.js';
import { CHUNK_BYTES } from '../filesystem/records.js';
import { type ClosedFile, DataFiles, type Place } from './data-files.js';
import { isMarker } from './discarded.js';
import { FileRegister } from './file-register.js';
import type { KeyValue, Operation, RocksDatabase } from './rocksdb.js';
import { checkBehind, isPlace, openChunk, sealPlace } from './stored-chunk.js';

/**
 * A write to the tree with so many bytes of large chunks puts these into data files; the tree's
 * database then has their places. Below that a sync of its own costs more than it spares.
 */
const FILED_BYTES_MIN = 262_144;
const FILED_CHUNK_BYTES_MIN = 16_384;
/** A large file is rewritten seldom, and few are open. */
const FILE_BYTES = 64 * 1_048_576;
/** Chunks that are moved together, while writes wait: some 2 MiB. */
const MOVED_TOGETHER = 64;
/** What is left in a file is moved out when it is at most this part of it… */
const SPARSE_PART = 1 / 2;
/** … or this one where the disk is nearly full. */
const SPARSE_PART_NEARLY_FULL = 3 / 4;
/** The letter of the chunks' table. */
const CHUNKS_FROM = chunkRange(0).from;

export interface ChunkFilesOptions {
  readonly database: RocksDatabase;
  readonly directory: string;
  readonly readOnly: boolean;
  /**
   * The files are swept when, since the last time, they have grown by half of what was in use then,
   * and by this much; when contents were discarded, so that they take two and a half times what is
   * in use, and this; or when half as many chunks as there are, and this, were overwritten or
   * deleted one by one. So the work of a sweep is in proportion to what was written or freed. And
   * once after the start, unless the files take no more than this. Where the disk has less free than
   * twice its reserve, a quarter of this is enough that was freed, and a thirtieth of what is in use; or an
   * eighth of it that was written: programs may be waiting for room.
   */
  readonly slackBytes: number;
  readonly diskSpace: () => Promise<DiskSpace>;
  readonly onFailure: (error: unknown) => void;
}

/**
 * The large chunks of one tree. Which of their bytes are still in use only the tree's database
 * knows: a sweep goes over it now and then, moves what is left in files that are mostly unused,
 * and removes those. A file is removed when no reference to it is left in the database, durably,
 * and nobody reads what was referred to before.
 */
export class ChunkFiles {
  private readonly files: DataFiles;
  private writing: Promise<unknown> = Promise.resolve();
  private readonly reads = new Set<Promise<unknown>>();
  private exports = 0;
  /** Files that nothing refers to any more, but perhaps an export or a read that has begun. */
  private unused: readonly number[] = [];
  private sweeping: Promise<void> | null = null;
  /** More was freed while it went on, or an export kept it from freeing anything. */
  private wanted = false;
  /** So much is to happen before the disk is looked at again. */
  private lookAtBytes = 0;
  private readonly register: FileRegister;
  /** The tree is the node's present one, so that there may be something to free. */
  private present = false;
  /** What the last sweep found; null: there was none. */
  private last: SweepResult | null = null;
  /** Since then: bytes that came into the files, and that discarded contents had there. */
  private stored = 0;
  private freedBytes = 0;
  /** Since then: chunks put beside the files or deleted, which may have been in one before. */
  private singly = 0;
  private stopped = false;

  constructor(private readonly options: ChunkFilesOptions) {
    this.files = new DataFiles(options.directory, FILE_BYTES);
    this.register = new FileRegister(options.database);
  }

  /**
   * DATA_CORRUPT when a file is missing or too short that the database counts on. `registered`: the
   * database knows which files there are; an older one does not yet.
   */
  async open({ registered }: { readonly registered: boolean }): Promise<void> {
    const { database, readOnly } = this.options;
    await this.files.open({ readOnly });
    if (registered) await this.register.load();
    else {
      const ends = new Map<number, number>();
      await this.eachPlace(async (_, { file, offset, length }) => {
        ends.set(file, Math.max(ends.get(file) ?? 0, offset + length));
      });
      await database.batch(this.register.start(ends), true);
    }
    for (const [file, bytes] of this.register.bytes) this.files.check(file, bytes);
    if (readOnly) return;
    // Appended to before a crash, and never referred to; or not referred to any more.
    const unknown = this.files.closed.filter(({ number }) => !this.register.bytes.has(number));
    await this.files.remove(unknown.map(({ number }) => number));
  }

  /** Of all files, in use or not. */
  get bytes(): number {
    return this.files.bytes;
  }

  /** One write to the database after the other: a sweep writes, too. */
  exclusively<T>(write: () => Promise<T>): Promise<T> {
    const result = this.writing.then(write);
    this.writing = result.catch(() => {});
    return result;
  }

  /**
   * The database's values for these chunks, and what else belongs into the same batch. What they
   * refer to is on disk. `deleted`: so many chunks are deleted in that batch.
   */
  async store(chunks: readonly KeyValue[], deleted = 0): Promise<StoredChunks> {
    const large = chunks.filter(([, data]) => data.length >= FILED_CHUNK_BYTES_MIN);
    const bytes = large.reduce((sum, [, data]) => sum + data.length, 0);
    if (bytes < FILED_BYTES_MIN) {
      this.singly += chunks.length + deleted;
      this.startSweepWhenDue();
      return { values: chunks.map(([key, data]) => seal(key, data)), operations: [] };
    }
    const places = await this.files.append(large.map(([, data]) => data));
    const placeOf = new Map(large.map((chunk, i) => [chunk, places[i]] as const));
    this.stored += bytes;
    this.singly += chunks.length - large.length + deleted;
    this.startSweepWhenDue();
    const values = chunks.map((chunk) => {
      const place = placeOf.get(chunk);
      return place === undefined ? seal(...chunk) : sealPlace(chunk[0], place);
    });
    return { values, operations: this.register.note(places, this.files) };
  }

  /** Discarded contents had so many bytes in the files, to which nothing refers any more. */
  freed(bytes: number): void {
    this.freedBytes += bytes;
  }

  /** All discarded contents are freed. */
  collected(): void {
    this.present = true;
    this.wanted ||= this.sweeping !== null;
    this.lookAtBytes = 0;
    this.startSweepWhenDue();
  }

  /** The chunks behind values of the database; what a sweep removes waits for `reading`. */
  async load(records: readonly KeyValue[]): Promise<Buffer[]> {
    const found = records.map(([key, sealed]) => openChunk(key, sealed));
    const wanted = found.flatMap((one, i) => (isPlace(one) ? [{ place: one, i }] : []));
    const data = await this.files
      .read(wanted.map(({ place }) => place))
      .catch((error: unknown) => this.nameDamaged(records, found, error));
    const chunks = found.map((one) => (isPlace(one) ? EMPTY : one));
    for (const [n, { i }] of wanted.entries()) chunks[i] = data[n] ?? EMPTY;
    return chunks;
  }

  /** What `read` finds in the database is not removed before it ends. */
  async reading<T>(read: Promise<T>): Promise<T> {
    this.reads.add(read);
    try {
      return await read;
    } finally {
      this.reads.delete(read);
    }
  }

  exportBegins(): void {
    this.exports++;
  }

  exportEnds(): void {
    this.exports--;
    if (this.exports > 0) return;
    this.removeUnused()
      .then(() => this.sweepAgain())
      .catch((error: unknown) => this.failed(error));
  }

  /** Waits for the sweep; the database can be closed then. */
  async stop(): Promise<void> {
    this.stopped = true;
    await this.sweeping;
  }

  async close(): Promise<void> {
    await this.stop();
    await this.readsEnd();
    await this.files.close();
  }

  /** Waits for every read that is under way. */
  async readsEnd(): Promise<void> {
    await Promise.allSettled(this.reads);
  }

  private async nameDamaged(
    records: readonly KeyValue[],
    found: readonly (Buffer | Place)[],
    error: unknown,
  ): Promise<never> {
    if (!isMootError(error, 'DATA_CORRUPT')) throw error;
    for (const [i, one] of found.entries()) {
      if (!isPlace(one)) continue;
      await this.files.read([one]).catch((cause: unknown) => {
        throw corruptRecord(records[i]?.[0] ?? '', 'cannot be read', cause);
      });
    }
    throw error;
  }

  private startSweepWhenDue(): void {
    if (this.sweeping !== null || !this.present || this.stopped) return;
    if (this.due) this.start(() => this.sweep());
    else if (this.happenedBytes >= this.lookAtBytes && this.dueWhenNearlyFull) {
      this.lookAtBytes = this.happenedBytes + this.options.slackBytes / 4;
      this.start(async () => {
        if (await this.isNearlyFull()) await this.sweep();
      });
    }
  }

  private start(sweep: () => Promise<void>): void {
    this.sweeping = sweep()
      .catch((error: unknown) => this.failed(error))
      .finally(() => {
        this.sweeping = null;
        if (this.exports === 0) this.sweepAgain();
      });
  }

  private sweepAgain(): void {
    if (!this.wanted || this.sweeping !== null) return;
    this.wanted = false;
    this.lookAtBytes = 0;
    this.startSweepWhenDue();
  }

  /** See `slackBytes`. */
  private get due(): boolean {
    const { slackBytes } = this.options;
    const { last, stored, freedBytes, singly, bytesInUseOrNot: bytes } = this;
    if (bytes <= slackBytes) return false;
    if (last === null || (last.isCut && this.exports === 0)) return true;
    // The disk had no room for it; it would have none again.
    if (last.lackedRoom && stored + freedBytes < FILE_BYTES) return false;
    return (
      stored >= last.usedBytes / 2 + slackBytes ||
      bytes >= 2.5 * this.usedBytes(last) + slackBytes ||
      singly >= last.chunks / 2 + slackBytes / CHUNK_BYTES
    );
  }

  /** See `slackBytes`. */
  private get dueWhenNearlyFull(): boolean {
    const { last, freedBytes, happenedBytes } = this;
    const leastBytes = this.options.slackBytes / 4;
    if (this.bytesInUseOrNot <= leastBytes) return false;
    if (last === null || last.isCut) return true;
    const usedBytes = this.usedBytes(last);
    return (
      freedBytes >= Math.max(leastBytes, usedBytes / 30) ||
      // In proportion to what a sweep reads, too: all chunks, also those beside the files.
      happenedBytes >= Math.max(leastBytes, usedBytes / 8, (last.chunks * CHUNK_BYTES) / 8)
    );
  }

  /** What may have left something unused behind since the last sweep. */
  private get happenedBytes(): number {
    return this.stored + this.freedBytes + this.singly * CHUNK_BYTES;
  }

  private get bytesInUseOrNot(): number {
    return this.files.bytes - this.files.bytesOf(this.unused);
  }

  private usedBytes(last: SweepResult): number {
    return Math.max(0, last.usedBytes + this.stored - this.freedBytes);
  }

  private async isNearlyFull(): Promise<boolean> {
    const { totalBytes, freeBytes } = await this.options.diskSpace();
    return freeBytes < 2 * reserveOf(totalBytes);
  }

  private failed(error: unknown): void {
    if (!isMootError(error, 'CLOSED')) this.options.onFailure(error);
  }

  private async sweep(): Promise<void> {
    if (this.waitsForExports()) return;
    this.stored = 0;
    this.freedBytes = 0;
    this.singly = 0;
    this.lookAtBytes = 0;
    const files = await this.exclusively(async () => {
      this.files.endFile();
      return this.files.closed.filter(({ number }) => !this.unused.includes(number));
    });
    const used = new Map<number, number>();
    const chunks = await this.eachPlace(async (_, { file, length }) => {
      used.set(file, (used.get(file) ?? 0) + length);
    });
    if (this.stopped) return;
    const bytesIn = (number: number) => used.get(number) ?? 0;
    // First, since this needs no room on a disk that may be full.
    await this.drop(files.filter(({ number }) => bytesIn(number) === 0));
    const part = (await this.isNearlyFull()) ? SPARSE_PART_NEARLY_FULL : SPARSE_PART;
    const sparse = files
      .filter(({ number, bytes }) => bytesIn(number) > 0 && bytesIn(number) <= bytes * part)
      .sort((a, b) => bytesIn(a.number) - bytesIn(b.number));
    const outcome = await this.clear(sparse, bytesIn);
    const usedBytes = [...used.values()].reduce((sum, bytes) => sum + bytes, 0);
    const [isCut, lackedRoom] = [outcome === 'exported', outcome === 'no room'];
    this.last = { usedBytes, chunks, isCut, lackedRoom };
  }

  /** Nothing can be removed now, so that to move would take room and make none; afterwards. */
  private waitsForExports(): boolean {
    if (this.exports === 0) return false;
    this.wanted = true;
    return true;
  }

  /**
   * Moves what is left out of these files and removes them. That takes room before it makes some, so
   * in steps of half of what the disk has left beside its reserve, or of one file.
   */
  private async clear(
    files: readonly ClosedFile[],
    bytesIn: (number: number) => number,
  ): Promise<'done' | 'no room' | 'exported'> {
    let rest = files;
    for (let [first] = rest; first !== undefined; [first] = rest) {
      if (this.waitsForExports()) return 'exported';
      const { totalBytes, freeBytes } = await this.options.diskSpace();
      if (bytesIn(first.number) > freeBytes / 2) return 'no room';
      let bytes = 0;
      const tooMany = rest.findIndex(({ number }) => {
        bytes += bytesIn(number);
        return bytes > (freeBytes - reserveOf(totalBytes)) / 2;
      });
      const step = tooMany < 0 ? rest : rest.slice(0, Math.max(1, tooMany));
      await this.moveOut(new Set(step.map(({ number }) => number)));
      // Not to the end, perhaps.
      if (this.stopped) break;
      await this.drop(step);
      rest = rest.slice(step.length);
    }
    return 'done';
  }

  /** Nothing refers to these files any more. */
  private async drop(files: readonly ClosedFile[]): Promise<void> {
    if (files.length === 0) return;
    const numbers = files.map(({ number }) => number);
    // Synced, and with it all that took the references away.
    await this.exclusively(() => this.options.database.batch(this.register.remove(numbers), true));
    this.unused = [...this.unused, ...numbers];
    await this.removeUnused();
  }

  /** An export sees the database as it was, and needs what it referred to. */
  private async removeUnused(): Promise<void> {
    if (this.exports > 0) return;
    const { unused } = this;
    await this.readsEnd();
    if (this.exports > 0) return;
    await this.files.remove(unused);
    this.unused = this.unused.filter((number) => !unused.includes(number));
  }

  private async moveOut(files: ReadonlySet<number>): Promise<void> {
    let keys: string[] = [];
    await this.eachPlace(async (key, { file }) => {
      if (!files.has(file)) return;
      keys.push(key);
      if (keys.length < MOVED_TOGETHER) return;
      await this.move(keys, files);
      keys = [];
    });
    await this.move(keys, files);
  }

  private move(keys: readonly string[], files: ReadonlySet<number>): Promise<void> {
    const { database } = this.options;
    return this.exclusively(async () => {
      // Meanwhile some may have been overwritten or deleted.
      const values = await database.getMany(keys);
      const records = keys.flatMap((key, i): KeyValue[] => {
        const sealed = values[i];
        const found = sealed === undefined ? EMPTY : openChunk(key, sealed);
        return sealed !== undefined && isPlace(found) && files.has(found.file)
          ? [[key, sealed]]
          : [];
      });
      if (records.length === 0) return;
      const places = await this.files.append(await this.load(records));
      const operations = records.flatMap(([key], i): Operation[] => {
        const place = places[i];
        return place === undefined ? [] : [{ type: 'put', key, value: sealPlace(key, place) }];
      });
      await database.batch([...operations, ...this.register.note(places, this.files)], false);
    });
  }

  /** Every chunk that is in a file, as of this call. Resolves to how many there are, also elsewhere. */
  private async eachPlace(visit: (key: string, place: Place) => Promise<void>): Promise<number> {
    const { database } = this.options;
    let chunks = 0;
    await database.using(database.iterate(CHUNKS_FROM), async (iterator) => {
      while (!this.stopped) {
        const record = await iterator.next();
        if (record === null || tableOf(record[0]) !== 'chunk') {
          checkBehind(record);
          return;
        }
        // A block that is damaged may be entered too far behind, which a get finds (rocksdb.ts).
        if (chunks === 0) await database.get(record[0]);
        const found = openChunk(...record);
        if (isMarker(record[0])) continue;
        chunks++;
        if (isPlace(found)) await visit(record[0], found);
      }
    });
    return chunks;
  }
}

interface SweepResult {
  readonly usedBytes: number;
  readonly chunks: number;
  /** An export kept it from moving all that was to be moved. */
  readonly isCut: boolean;
  readonly lackedRoom: boolean;
}

/** What a batch of the database needs so that chunks are stored. */
export interface StoredChunks {
  /** One for each chunk. */
  readonly values: readonly Buffer[];
  readonly operations: readonly Operation[];
}

const EMPTY = Buffer.alloc(0);
