import { isMootError } from '../base/errors.js';
import { checksumOf, corruptRecord, seal, unseal } from '../codec/records.js';
import { chunkRange, tableOf } from '../filesystem/keys.js';
import { DataFiles, decodePlace, encodePlace, type Place } from './data-files.js';
import type { KeyValue, Operation, RocksDatabase } from './rocksdb.js';
import { isMarker } from './rocksdb-garbage.js';

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
/** The letter of the chunks' table. */
const CHUNKS_FROM = chunkRange(0).from;

export interface ChunkFilesOptions {
  readonly database: RocksDatabase;
  readonly directory: string;
  readonly readOnly: boolean;
  /**
   * The files are swept when they have grown by half of what is in use, and by this much: so the
   * work of a sweep is in proportion to what was written, and the files take two and a half times
   * what is in use at most, and this.
   */
  readonly slackBytes: number;
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
  private unused: readonly number[] = [];
  private sweepAtBytes = 0;
  private sweeping: Promise<void> | null = null;
  private stopped = false;

  constructor(private readonly options: ChunkFilesOptions) {
    this.files = new DataFiles(options.directory, FILE_BYTES);
  }

  async open(): Promise<void> {
    await this.files.open({ readOnly: this.options.readOnly });
    this.sweepAtBytes = this.files.bytes + this.options.slackBytes;
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

  /** The database's values for these chunks. What they refer to is on disk. */
  async store(chunks: readonly KeyValue[]): Promise<Buffer[]> {
    const large = chunks.filter(([, data]) => data.length >= FILED_CHUNK_BYTES_MIN);
    const bytes = large.reduce((sum, [, data]) => sum + data.length, 0);
    if (bytes < FILED_BYTES_MIN) return chunks.map(([key, data]) => seal(key, data));
    const places = await this.files.append(large.map(([, data]) => data));
    const placeOf = new Map(large.map((chunk, i) => [chunk, places[i]] as const));
    if (this.files.bytes >= this.sweepAtBytes) this.startSweep();
    return chunks.map((chunk) => {
      const place = placeOf.get(chunk);
      return place === undefined ? seal(...chunk) : sealPlace(chunk[0], place);
    });
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
    if (this.exports === 0) this.removeUnused().catch((error: unknown) => this.failed(error));
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

  private startSweep(): void {
    if (this.sweeping !== null || this.stopped) return;
    this.sweeping = this.sweep()
      .catch((error: unknown) => this.failed(error))
      .finally(() => {
        this.sweeping = null;
      });
  }

  private failed(error: unknown): void {
    if (!isMootError(error, 'CLOSED')) this.options.onFailure(error);
  }

  private async sweep(): Promise<void> {
    const files = this.files.closed;
    const used = new Map<number, number>();
    await this.eachPlace(async (_, { file, length }) => {
      used.set(file, (used.get(file) ?? 0) + length);
    });
    if (this.stopped) return;
    const bytesIn = (file: number) => used.get(file) ?? 0;
    const sparse = files.filter(({ number, bytes }) => bytesIn(number) < bytes / 2);
    const gone = new Set(sparse.map(({ number }) => number));
    if (sparse.some(({ number }) => bytesIn(number) > 0)) await this.moveOut(gone);
    if (this.stopped) return;
    await this.exclusively(() => this.options.database.sync());
    this.unused = [...this.unused, ...gone];
    await this.removeUnused();
    const inUse = [...used.values()].reduce((sum, bytes) => sum + bytes, 0);
    this.sweepAtBytes = this.files.bytes + inUse / 2 + this.options.slackBytes;
  }

  /** An export sees the database as it was, and needs what it referred to. */
  private async removeUnused(): Promise<void> {
    if (this.exports > 0) return;
    const { unused } = this;
    this.unused = [];
    await this.readsEnd();
    await this.files.remove(unused);
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
      await database.batch(operations, false);
    });
  }

  /** Every chunk that is in a file, as of this call. */
  private async eachPlace(visit: (key: string, place: Place) => Promise<void>): Promise<void> {
    const { database } = this.options;
    await database.using(database.iterate(CHUNKS_FROM), async (iterator) => {
      while (!this.stopped) {
        const record = await iterator.next();
        if (record === null || tableOf(record[0]) !== 'chunk') return;
        if (isMarker(record[0])) continue;
        const found = openChunk(...record);
        if (isPlace(found)) await visit(record[0], found);
      }
    });
  }
}

const EMPTY = Buffer.alloc(0);
const CHECKSUM_BYTES = 4;

/** Sealed like any record, but with the complement of the checksum: so it is told from a chunk's own bytes. */
function sealPlace(key: string, place: Place): Buffer {
  const sealed = seal(key, encodePlace(place));
  sealed.writeUInt32LE(~sealed.readUInt32LE() >>> 0);
  return sealed;
}

/** A chunk's bytes, or where they are; what holds as neither is DATA_CORRUPT. */
export function openChunk(key: string, sealed: Buffer): Buffer | Place {
  if (sealed.length >= CHECKSUM_BYTES) {
    const payload = sealed.subarray(CHECKSUM_BYTES);
    const place = decodePlace(payload);
    if (place !== null && sealed.readUInt32LE() === ~checksumOf(key, payload) >>> 0) return place;
  }
  return unseal(key, sealed);
}

function isPlace(found: Buffer | Place): found is Place {
  return !Buffer.isBuffer(found);
}
