import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { assert } from '../base/assert.js';
import { isMootError, MootError } from '../base/errors.js';
import { pack, unpack } from '../codec/msgpack.js';
import { Reader } from '../codec/reader.js';
import { corruptRecord, decodeRecord, encodeRecord, seal, unseal } from '../codec/records.js';
import { type Key, type KeyRange, tableOf } from '../filesystem/keys.js';
import type { Table, Tables } from '../filesystem/records.js';
import type { Change } from '../filesystem/view.js';
import type { SnapshotMark } from '../raft/types.js';
import { ChunkFiles, openChunk } from './chunk-files.js';
import type { StoreFigures } from './figures.js';
import { syncDirectory, writeFileDurably } from './files.js';
import {
  type DatabaseOptions,
  type KeyValue,
  type Operation,
  RocksDatabase,
  type RocksIterator,
} from './rocksdb.js';
import { discardOperations, GarbageCollector, isMarker } from './rocksdb-garbage.js';
import { ChunkReader, ChunkWriter, type SnapshotRecord } from './snapshot-format.js';
import {
  type RecordVisitor,
  SNAPSHOT_CHUNK_BYTES,
  type SnapshotExport,
  type SnapshotImport,
  type StateStore,
  visitRecord,
} from './state-store.js';

/**
 * The directory holds one database per number, and the file `present` with the number of the one
 * that counts: a snapshot is taken in under the next number, and writing `present` makes it the
 * tree. Keys below the tables' letters are this node's own and never leave it.
 */
const PRESENT_FILE = 'present';
const MARK_KEY = '\u0001m';
/** The first key that may be a table's. */
const TABLES_FROM = '\u0002';
/** Below a database's directory: its large chunks. */
const CHUNKS_DIRECTORY = 'data';
const GARBAGE_BYTES_MAX = 268_435_456;

const DATABASE_OPTIONS: Omit<DatabaseOptions, 'mustExist'> = {
  synced: false,
  // Large enough that a burst of small commands becomes one table file; twice this is in memory.
  writeBufferBytes: 16 * 1_048_576,
  // What is hot is in the node's own cache; this one spares reads for the rest.
  blockCacheBytes: 32 * 1_048_576,
  compression: true,
};

export interface RocksStateOptions {
  readonly directory: string;
  /** A directory without a tree is refused: this node has had one. */
  readonly mustExist: boolean;
  /** For a look from outside: `open` changes nothing, and nothing else may be written. */
  readonly readOnly?: boolean;
  /** The background failed; nothing can be relied on from here. */
  readonly onFailure: (error: unknown) => void;
  /** Unused bytes of large chunks that stay, beside as many as are in use. Default: 256 MiB. */
  readonly garbageBytesMax?: number;
}

export function createRocksStateStore(options: RocksStateOptions): StateStore & StoreFigures {
  return new RocksStateStore(options);
}

interface OpenDatabase {
  readonly database: RocksDatabase;
  readonly chunks: ChunkFiles;
}

/** A database with what belongs to it as long as it is the present tree. */
interface Tree extends OpenDatabase {
  readonly number: number;
  readonly garbage: GarbageCollector;
}

class RocksStateStore implements StateStore, StoreFigures {
  private tree: Tree | null = null;
  private mark: SnapshotMark = { index: 0, term: 0 };
  private importing: RocksImport | null = null;

  constructor(private readonly options: RocksStateOptions) {}

  async open(): Promise<SnapshotMark> {
    assert(this.tree === null, 'a tree is opened once');
    const { directory, mustExist } = this.options;
    if (!this.readOnly) await mkdir(directory, { recursive: true });
    const number = await this.presentNumber();
    if (!this.readOnly) await this.removeAllBut(number);
    const opened = await this.openDatabase(number ?? 1, mustExist || number !== null);
    try {
      if (number === null) await this.makePresent(1);
      this.mark = await readMark(opened.database);
    } catch (error) {
      await closeDatabase(opened);
      throw error;
    }
    this.tree = this.makeTree(number ?? 1, opened);
    return this.mark;
  }

  get<T extends Table>(keys: readonly Key<T>[]): Promise<(Tables[T] | undefined)[]> {
    const { database, chunks } = this.opened();
    return chunks.reading(getRecords(database, chunks, keys));
  }

  async scan<T extends Table>(
    range: KeyRange<T>,
    limit: number,
  ): Promise<(readonly [Key<T>, Tables[T]])[]> {
    if (limit <= 0) return [];
    const { database, chunks } = this.opened();
    return chunks.reading(scanRecords(database, chunks, range, limit));
  }

  async write(changes: readonly Change[], mark: SnapshotMark): Promise<void> {
    const { chunks, garbage } = this.opened();
    await chunks.exclusively(() => this.writeNow(changes, mark));
    if (changes.some((change) => change.type === 'discard')) {
      garbage.wake({ again: mark.index <= this.mark.index });
    }
    this.mark = mark;
  }

  private async writeNow(changes: readonly Change[], mark: SnapshotMark): Promise<void> {
    const { database, chunks } = this.opened();
    const stored = await chunks.store(changes.flatMap(chunkPut));
    let next = 0;
    const operations = changes.flatMap((change): readonly Operation[] => {
      const { type } = change;
      if (type === 'delete') return [{ type: 'del', key: change.key }];
      if (type === 'discard') return discardOperations(mark.index, change.content);
      const { key } = change;
      const value = tableOf(key) === 'chunk' ? stored[next++] : encodeRecord(key, change.value);
      assert(value !== undefined, 'each chunk was stored');
      return [{ type: 'put', key, value }];
    });
    operations.push(putMark(mark));
    await database.batch(operations, false);
  }

  sync(): Promise<void> {
    return this.opened().database.sync();
  }

  async exportSnapshot(): Promise<SnapshotExport> {
    const { database, chunks } = this.opened();
    chunks.exportBegins();
    const iterator = database.iterate(MARK_KEY);
    const end = () => iterator.end().finally(() => chunks.exportEnds());
    try {
      const record = await iterator.next();
      const hasMark = record !== null && record[0] === MARK_KEY;
      const mark = hasMark ? decodeMark(record[1]) : { index: 0, term: 0 };
      return new RocksExport(iterator, chunks, mark, end);
    } catch (error) {
      await end();
      throw error;
    }
  }

  async importSnapshot(mark: SnapshotMark): Promise<SnapshotImport> {
    const { number } = this.opened();
    await this.importing?.abort();
    const next = number + 1;
    await RocksDatabase.destroy(this.pathOf(next));
    const opened = await this.openDatabase(next, false);
    this.importing = new RocksImport(opened, mark, () => this.replaceTree(next, opened, mark));
    return this.importing;
  }

  async close(): Promise<void> {
    await this.importing?.abort();
    if (this.tree !== null) await closeTree(this.tree);
  }

  async readAll(visitor: RecordVisitor): Promise<void> {
    const { database, chunks } = this.opened();
    const reading = database.using(database.iterate(TABLES_FROM), async (iterator) => {
      const live = new LiveRecords(iterator);
      for (let record = await live.next(); record !== null; record = await live.next()) {
        try {
          visitRecord(visitor, await withItsData(chunks, record));
        } catch (error) {
          if (!isMootError(error, 'DATA_CORRUPT')) throw error;
          visitor.onDamaged(error);
        }
      }
    });
    await chunks.reading(reading);
  }

  private get readOnly(): boolean {
    return this.options.readOnly === true;
  }

  figures(): Readonly<Record<string, number>> {
    if (this.tree === null) return {};
    const { database, chunks } = this.tree;
    return { ...database.figures(), 'data-files-size': chunks.bytes };
  }

  private opened(): Tree {
    if (this.tree === null) throw new MootError('CLOSED', 'the tree is not open');
    return this.tree;
  }

  private makeTree(number: number, opened: OpenDatabase): Tree {
    const { database, chunks } = opened;
    const garbage = new GarbageCollector(
      database,
      (write) => chunks.exclusively(write),
      this.options.onFailure,
    );
    if (!this.readOnly) garbage.wake({ again: true });
    return { number, ...opened, garbage };
  }

  private async replaceTree(
    number: number,
    opened: OpenDatabase,
    mark: SnapshotMark,
  ): Promise<void> {
    const old = this.opened();
    await syncDirectory(this.options.directory);
    await this.makePresent(number);
    this.importing = null;
    this.mark = mark;
    this.tree = this.makeTree(number, opened);
    await closeTree(old);
    await RocksDatabase.destroy(this.pathOf(old.number));
  }

  private async openDatabase(number: number, mustExist: boolean): Promise<OpenDatabase> {
    const path = this.pathOf(number);
    const { readOnly } = this;
    const database = await RocksDatabase.open(path, { ...DATABASE_OPTIONS, mustExist, readOnly });
    const chunks = new ChunkFiles({
      database,
      directory: join(path, CHUNKS_DIRECTORY),
      readOnly,
      slackBytes: this.options.garbageBytesMax ?? GARBAGE_BYTES_MAX,
      onFailure: this.options.onFailure,
    });
    try {
      await chunks.open();
    } catch (error) {
      await database.close();
      throw error;
    }
    return { database, chunks };
  }

  private pathOf(number: number): string {
    return join(this.options.directory, String(number));
  }

  private makePresent(number: number): Promise<void> {
    return writeFileDurably(join(this.options.directory, PRESENT_FILE), `${number}\n`);
  }

  private async presentNumber(): Promise<number | null> {
    const path = join(this.options.directory, PRESENT_FILE);
    const text = await readFile(path, 'latin1').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null;
      throw new MootError('DISK_FAILED', `cannot read ${path}`, { cause: error });
    });
    if (text === null && this.options.mustExist) {
      throw new MootError('DATA_CORRUPT', `${path} is missing`);
    }
    if (text === null) return null;
    if (!/^[1-9]\d{0,14}\n$/.test(text)) {
      throw new MootError('DATA_CORRUPT', `${path} does not hold a number`);
    }
    return Number(text);
  }

  /** Imports that were not finished, and trees that were replaced. */
  private async removeAllBut(number: number | null): Promise<void> {
    const { directory } = this.options;
    if (number === null) return;
    for (const name of await readdir(directory)) {
      if (/^\d+$/.test(name) && name !== String(number)) {
        await RocksDatabase.destroy(join(directory, name));
      }
    }
  }
}

class RocksExport implements SnapshotExport {
  private readonly writer = new ChunkWriter(SNAPSHOT_CHUNK_BYTES);
  /** Read, and had no place in the last chunk. */
  private held: SnapshotRecord | null = null;
  private state: 'records' | 'end' | 'over' = 'records';
  private readonly records: LiveRecords;
  private closed: Promise<void> | null = null;

  constructor(
    iterator: RocksIterator,
    private readonly chunks: ChunkFiles,
    readonly mark: SnapshotMark,
    private readonly end: () => Promise<void>,
  ) {
    this.records = new LiveRecords(iterator);
  }

  async next(): Promise<Uint8Array | null> {
    if (this.state === 'records') {
      await this.fill();
      if (!this.writer.isEmpty) return this.writer.take();
    }
    if (this.state === 'over') return null;
    this.state = 'over';
    await this.close();
    return this.writer.takeEnd();
  }

  close(): Promise<void> {
    this.closed ??= this.end();
    return this.closed;
  }

  private async fill(): Promise<void> {
    for (;;) {
      const record = this.held ?? (await this.nextRecord());
      this.held = null;
      if (record === null) {
        this.state = 'end';
        return;
      }
      if (!this.writer.fits(record)) {
        this.held = record;
        return;
      }
      this.writer.add(record);
    }
  }

  private async nextRecord(): Promise<SnapshotRecord | null> {
    const record = await this.records.next();
    if (record === null) return null;
    const whole = await withItsData(this.chunks, record);
    unseal(whole.key, whole.sealed);
    return whole;
  }
}

/** A chunk that is in a file, as it is in a snapshot. */
async function withItsData(chunks: ChunkFiles, record: SnapshotRecord): Promise<SnapshotRecord> {
  const { key, sealed } = record;
  if (tableOf(key) !== 'chunk' || Buffer.isBuffer(openChunk(key, sealed))) return record;
  const [data] = await chunks.load([[key, sealed]]);
  assert(data !== undefined, 'a place has its data');
  return { key, sealed: seal(key, data) };
}

/** The tables' records, without the chunks of contents that are discarded and not freed yet. */
class LiveRecords {
  /** Chunks of this content are left out. */
  private discarded: string | null = null;

  constructor(private readonly iterator: RocksIterator) {}

  /** Not verified. */
  async next(): Promise<SnapshotRecord | null> {
    for (;;) {
      const record = await this.iterator.next();
      if (record === null) return null;
      const [key, sealed] = record;
      if (key < TABLES_FROM) continue;
      if (isMarker(key)) this.discarded = key;
      else if (this.discarded === null || !key.startsWith(this.discarded)) return { key, sealed };
    }
  }
}

class RocksImport implements SnapshotImport {
  private readonly reader = new ChunkReader();
  private over = false;

  constructor(
    private readonly opened: OpenDatabase,
    private readonly mark: SnapshotMark,
    private readonly replaceTree: () => Promise<void>,
  ) {}

  async write(chunk: Uint8Array): Promise<void> {
    this.checkOpen();
    const { database, chunks } = this.opened;
    const operations: Operation[] = [];
    const chunkPuts: KeyValue[] = [];
    for (const { key, sealed } of this.reader.read(chunk)) {
      const table = tableOf(key);
      if (table === undefined || isMarker(key)) {
        throw new MootError('BAD_MESSAGE', 'snapshot chunk: it has a record of no table');
      }
      const payload = unseal(key, sealed);
      if (table === 'chunk') chunkPuts.push([key, payload]);
      else operations.push({ type: 'put', key, value: sealed });
    }
    await chunks.exclusively(async () => {
      operations.push(...(await putChunks(chunks, chunkPuts)));
      if (operations.length > 0) await database.batch(operations, false);
    });
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
    await this.opened.database.batch([putMark(this.mark)], true);
    await this.replaceTree();
  }

  async abort(): Promise<void> {
    if (this.over) return;
    this.over = true;
    await closeDatabase(this.opened);
    await RocksDatabase.destroy(this.opened.database.directory);
  }

  private checkOpen(): void {
    if (this.over) throw new MootError('CLOSED', 'the import is over');
  }
}

async function closeTree(tree: Tree): Promise<void> {
  await tree.garbage.stop();
  await closeDatabase(tree);
}

async function closeDatabase({ database, chunks }: OpenDatabase): Promise<void> {
  await chunks.stop();
  // A read may go to the database more than once, and from there to the files.
  await chunks.readsEnd();
  await database.close();
  await chunks.close();
}

function chunkPut(change: Change): KeyValue[] {
  if (change.type !== 'put' || tableOf(change.key) !== 'chunk') return [];
  // The key's table says what the value is.
  const { buffer, byteOffset, length } = change.value as Tables['chunk'];
  return [[change.key, Buffer.from(buffer, byteOffset, length)]];
}

async function putChunks(chunks: ChunkFiles, puts: readonly KeyValue[]): Promise<Operation[]> {
  const values = await chunks.store(puts);
  return puts.flatMap(([key], i): Operation[] => {
    const value = values[i];
    return value === undefined ? [] : [{ type: 'put', key, value }];
  });
}

async function getRecords<T extends Table>(
  database: RocksDatabase,
  chunks: ChunkFiles,
  keys: readonly Key<T>[],
): Promise<(Tables[T] | undefined)[]> {
  const values = await database.getMany(keys).catch(async (error: unknown) => {
    throw isMootError(error, 'DATA_CORRUPT')
      ? await nameCorruptRecord(database, keys, error)
      : error;
  });
  const records = values.map((value, i): ReadRecord<T> | undefined => {
    const key = keys[i];
    return value === undefined || key === undefined ? undefined : readRecord<T>(key, value);
  });
  await loadChunks(
    chunks,
    records.flatMap((record) => record ?? []),
  );
  return records.map((record) => record?.value);
}

/** A record of the database; a chunk is loaded later, together with others. */
interface ReadRecord<T extends Table> {
  readonly key: Key<T>;
  readonly stored: Buffer;
  value: Tables[T] | undefined;
}

function readRecord<T extends Table>(key: Key<T>, stored: Buffer): ReadRecord<T> {
  if (tableOf(key) !== 'chunk') return { key, stored, value: decodeRecord<T>(key, stored) };
  openChunk(key, stored);
  return { key, stored, value: undefined };
}

async function loadChunks<T extends Table>(
  chunks: ChunkFiles,
  records: readonly ReadRecord<T>[],
): Promise<void> {
  const lacking = records.filter((record) => record.value === undefined);
  if (lacking.length === 0) return;
  const loaded = await chunks.load(lacking.map(({ key, stored }) => [key, stored] as const));
  // Only chunks lack their values.
  for (const [i, record] of lacking.entries()) record.value = loaded[i] as Uint8Array as Tables[T];
}

async function scanRecords<T extends Table>(
  database: RocksDatabase,
  chunks: ChunkFiles,
  range: KeyRange<T>,
  limit: number,
): Promise<(readonly [Key<T>, Tables[T]])[]> {
  const found: ReadRecord<T>[] = [];
  await database.using(database.iterate(range.from), async (iterator) => {
    while (found.length < limit) {
      const record = await iterator.next();
      if (record === null) break;
      const [key, value] = record;
      if (isMarker(key)) continue;
      // The record behind the range is checked as well: were it in truth one of the range, with
      // a damaged key, it would be missing without a word.
      const read = readRecord<T>(key, value);
      if (key >= range.to) break;
      found.push(read);
    }
  });
  // Iterators do not verify blocks, and a damaged one may be entered too far behind. A get does.
  const first = found[0];
  if (first !== undefined) await database.get(first.key);
  await loadChunks(chunks, found);
  return found.flatMap(({ key, value }) => (value === undefined ? [] : [[key, value] as const]));
}

/** RocksDB says in which file the damage is; which record cannot be read is found one by one. */
async function nameCorruptRecord(
  database: RocksDatabase,
  keys: readonly string[],
  error: MootError,
): Promise<MootError> {
  for (const key of keys) {
    try {
      await database.get(key);
    } catch (cause) {
      return corruptRecord(key, 'cannot be read', cause);
    }
  }
  return error;
}

function putMark({ index, term }: SnapshotMark): Operation {
  return { type: 'put', key: MARK_KEY, value: seal(MARK_KEY, pack([index, term])) };
}

async function readMark(database: RocksDatabase): Promise<SnapshotMark> {
  const sealed = await database.get(MARK_KEY);
  return sealed === undefined ? { index: 0, term: 0 } : decodeMark(sealed);
}

function decodeMark(sealed: Buffer): SnapshotMark {
  try {
    const r = new Reader(unpack(unseal(MARK_KEY, sealed)), 'mark');
    return { index: r.uint('index'), term: r.uint('term') };
  } catch (cause) {
    throw new MootError('DATA_CORRUPT', "the tree's applied mark is damaged", { cause });
  }
}
