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
import type { StoreFigures } from './figures.js';
import { syncDirectory, writeFileDurably } from './files.js';
import {
  type DatabaseOptions,
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
const SYNC_KEY = '\u0001s';
/** The first key that may be a table's. */
const TABLES_FROM = '\u0002';
const EMPTY = Buffer.alloc(0);

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
}

export function createRocksStateStore(options: RocksStateOptions): StateStore & StoreFigures {
  return new RocksStateStore(options);
}

/** A database with what belongs to it as long as it is the present tree. */
interface Tree {
  readonly number: number;
  readonly database: RocksDatabase;
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
    const database = await this.openDatabase(number ?? 1, mustExist || number !== null);
    try {
      if (number === null) await this.makePresent(1);
      this.mark = await readMark(database);
    } catch (error) {
      await database.close();
      throw error;
    }
    this.tree = this.makeTree(number ?? 1, database);
    return this.mark;
  }

  async get<T extends Table>(keys: readonly Key<T>[]): Promise<(Tables[T] | undefined)[]> {
    const { database } = this.opened();
    const values = await database.getMany(keys).catch(async (error: unknown) => {
      throw isMootError(error, 'DATA_CORRUPT')
        ? await nameCorruptRecord(database, keys, error)
        : error;
    });
    return values.map((value, i) => {
      const key = keys[i];
      return value === undefined || key === undefined ? undefined : decodeRecord<T>(key, value);
    });
  }

  async scan<T extends Table>(
    range: KeyRange<T>,
    limit: number,
  ): Promise<(readonly [Key<T>, Tables[T]])[]> {
    if (limit <= 0) return [];
    const { database } = this.opened();
    const found: [Key<T>, Tables[T]][] = [];
    await database.using(database.iterate(range.from), async (iterator) => {
      while (found.length < limit) {
        const record = await iterator.next();
        if (record === null) break;
        const [key, value] = record;
        if (isMarker(key)) continue;
        // The record behind the range is checked as well: were it in truth one of the range, with
        // a damaged key, it would be missing without a word.
        const decoded = decodeRecord<T>(key, value);
        if (key >= range.to) break;
        found.push([key, decoded]);
      }
    });
    // Iterators do not verify blocks, and a damaged one may be entered too far behind. A get does.
    const first = found[0];
    if (first !== undefined) await database.get(first[0]);
    return found;
  }

  async write(changes: readonly Change[], mark: SnapshotMark): Promise<void> {
    const { database, garbage } = this.opened();
    const operations: Operation[] = [];
    let discards = false;
    for (const change of changes) {
      if (change.type === 'put') {
        const value = encodeRecord(change.key, change.value);
        operations.push({ type: 'put', key: change.key, value });
      } else if (change.type === 'delete') {
        operations.push({ type: 'del', key: change.key });
      } else {
        operations.push(...discardOperations(mark.index, change.content));
        discards = true;
      }
    }
    operations.push(putMark(mark));
    await database.batch(operations, false);
    if (discards) garbage.wake({ again: mark.index <= this.mark.index });
    this.mark = mark;
  }

  async sync(): Promise<void> {
    // A synced write syncs all write-ahead logs that are still needed (DBImpl::WriteToWAL).
    await this.opened().database.batch([{ type: 'put', key: SYNC_KEY, value: EMPTY }], true);
  }

  async exportSnapshot(): Promise<SnapshotExport> {
    const { database } = this.opened();
    const iterator = database.iterate(MARK_KEY);
    try {
      const record = await iterator.next();
      const hasMark = record !== null && record[0] === MARK_KEY;
      return new RocksExport(iterator, hasMark ? decodeMark(record[1]) : { index: 0, term: 0 });
    } catch (error) {
      await iterator.end();
      throw error;
    }
  }

  async importSnapshot(mark: SnapshotMark): Promise<SnapshotImport> {
    const { number } = this.opened();
    await this.importing?.abort();
    const next = number + 1;
    await RocksDatabase.destroy(this.pathOf(next));
    const database = await this.openDatabase(next, false);
    this.importing = new RocksImport(database, mark, () => this.replaceTree(next, database, mark));
    return this.importing;
  }

  async close(): Promise<void> {
    await this.importing?.abort();
    await this.tree?.garbage.stop();
    await this.tree?.database.close();
  }

  async readAll(visitor: RecordVisitor): Promise<void> {
    const { database } = this.opened();
    await database.using(database.iterate(TABLES_FROM), async (iterator) => {
      const live = new LiveRecords(iterator);
      for (let record = await live.next(); record !== null; record = await live.next()) {
        visitRecord(visitor, record);
      }
    });
  }

  private get readOnly(): boolean {
    return this.options.readOnly === true;
  }

  figures(): Readonly<Record<string, number>> {
    return this.tree?.database.figures() ?? {};
  }

  private opened(): Tree {
    if (this.tree === null) throw new MootError('CLOSED', 'the tree is not open');
    return this.tree;
  }

  private makeTree(number: number, database: RocksDatabase): Tree {
    const garbage = new GarbageCollector(database, this.options.onFailure);
    if (!this.readOnly) garbage.wake({ again: true });
    return { number, database, garbage };
  }

  private async replaceTree(
    number: number,
    database: RocksDatabase,
    mark: SnapshotMark,
  ): Promise<void> {
    const old = this.opened();
    await syncDirectory(this.options.directory);
    await this.makePresent(number);
    this.importing = null;
    this.mark = mark;
    this.tree = this.makeTree(number, database);
    await old.garbage.stop();
    await old.database.close();
    await RocksDatabase.destroy(this.pathOf(old.number));
  }

  private openDatabase(number: number, mustExist: boolean): Promise<RocksDatabase> {
    const { readOnly } = this;
    return RocksDatabase.open(this.pathOf(number), { ...DATABASE_OPTIONS, mustExist, readOnly });
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

  constructor(
    private readonly iterator: RocksIterator,
    readonly mark: SnapshotMark,
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
    return this.iterator.end();
  }

  private async fill(): Promise<void> {
    for (;;) {
      const record = this.held ?? (await this.records.next());
      this.held = null;
      if (record === null) {
        this.state = 'end';
        return;
      }
      if (!this.writer.fits(record)) {
        this.held = record;
        return;
      }
      unseal(record.key, record.sealed);
      this.writer.add(record);
    }
  }
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
    private readonly database: RocksDatabase,
    private readonly mark: SnapshotMark,
    private readonly replaceTree: () => Promise<void>,
  ) {}

  async write(chunk: Uint8Array): Promise<void> {
    this.checkOpen();
    const operations = this.reader.read(chunk).map(({ key, sealed }): Operation => {
      if (tableOf(key) === undefined || isMarker(key)) {
        throw new MootError('BAD_MESSAGE', 'snapshot chunk: it has a record of no table');
      }
      unseal(key, sealed);
      return { type: 'put', key, value: sealed };
    });
    if (operations.length > 0) await this.database.batch(operations, false);
  }

  async finish(): Promise<void> {
    this.checkOpen();
    if (!this.reader.isComplete) {
      throw new MootError('BAD_MESSAGE', 'the snapshot is not complete');
    }
    this.over = true;
    await this.database.batch([putMark(this.mark)], true);
    await this.replaceTree();
  }

  async abort(): Promise<void> {
    if (this.over) return;
    this.over = true;
    await this.database.close();
    await RocksDatabase.destroy(this.database.directory);
  }

  private checkOpen(): void {
    if (this.over) throw new MootError('CLOSED', 'the import is over');
  }
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
