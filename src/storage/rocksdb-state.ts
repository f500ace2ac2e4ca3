import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { assert } from '../base/assert.js';
import type { DiskSpace } from '../base/disk-space.js';
import { MootError } from '../base/errors.js';
import { encodeRecord } from '../codec/records.js';
import { type Key, type KeyRange, tableOf } from '../filesystem/keys.js';
import type { Table, Tables } from '../filesystem/records.js';
import type { Change } from '../filesystem/view.js';
import type { SnapshotMark } from '../raft/types.js';
import { ChunkFiles } from './chunk-files.js';
import { discardOperations } from './discarded.js';
import { diskSpaceOf } from './disk-space.js';
import type { StoreFigures } from './figures.js';
import { syncDirectory, writeFileDurably } from './files.js';
import { type DatabaseOptions, type KeyValue, type Operation, RocksDatabase } from './rocksdb.js';
import { RocksExport, visitRecords } from './rocksdb-export.js';
import { GarbageCollector } from './rocksdb-garbage.js';
import { RocksImport } from './rocksdb-import.js';
import {
  decodeMark,
  getRecords,
  MARK_KEY,
  putMark,
  readMark,
  scanRecords,
} from './rocksdb-records.js';
import type { RecordVisitor, SnapshotExport, SnapshotImport, StateStore } from './state-store.js';
import { hasPresentFormat, putFormat, sealQueue } from './tree-format.js';

/**
 * The directory holds one database per number, and the file `present` with the number of the one
 * that counts: a snapshot is taken in under the next number, and writing `present` makes it the
 * tree.
 */
const PRESENT_FILE = 'present';
/** Below a database's directory: its large chunks. */
const CHUNKS_DIRECTORY = 'data';
const GARBAGE_BYTES_MAX = 268_435_456;

const DATABASE_OPTIONS: Omit<DatabaseOptions, 'mustExist'> = {
  synced: false,
  // Large enough that a burst of small commands becomes one table file; twice this is in memory.
  writeBufferBytes: 8 * 1_048_576,
  // What is hot is in the node's own cache; this one spares reads for the rest.
  blockCacheBytes: 16 * 1_048_576,
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
  /** Bytes of data files that may be unused in any case; see ChunkFilesOptions.slackBytes. Default: 256 MiB. */
  readonly garbageBytesMax?: number;
  /** Of the disk that has `directory`. Default: what statfs(2) says. */
  readonly diskSpace?: () => Promise<DiskSpace>;
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
    const opened = await this.openDatabase(number ?? 1, mustExist || number !== null);
    try {
      // Now that no other process can be at work here.
      if (!this.readOnly && number !== null) await this.removeAllBut(number);
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
    const deleted = changes.filter((change) => change.type === 'delete' && isChunk(change.key));
    const stored = await chunks.store(changes.flatMap(chunkPut), deleted.length);
    let next = 0;
    const operations = changes.flatMap((change): readonly Operation[] => {
      const { type } = change;
      if (type === 'delete') return [{ type: 'del', key: change.key }];
      if (type === 'discard') return discardOperations(mark.index, change.content);
      const { key } = change;
      const value = isChunk(key) ? stored.values[next++] : encodeRecord(key, change.value);
      assert(value !== undefined, 'each chunk was stored');
      return [{ type: 'put', key, value }];
    });
    operations.push(...stored.operations, putMark(mark));
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
      return new RocksExport(database, iterator, chunks, mark, end);
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
    this.importing = new RocksImport({
      ...opened,
      mark,
      replaceTree: () => this.replaceTree(next, opened, mark),
      drop: async () => {
        await closeDatabase(opened);
        await RocksDatabase.destroy(this.pathOf(next));
      },
    });
    return this.importing;
  }

  async close(): Promise<void> {
    await this.importing?.abort();
    if (this.tree !== null) await closeTree(this.tree);
  }

  async readAll(visitor: RecordVisitor): Promise<void> {
    const { database, chunks } = this.opened();
    await chunks.reading(visitRecords({ database, chunks }, visitor));
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
    const garbage = new GarbageCollector(database, chunks, this.options.onFailure);
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
      diskSpace: this.options.diskSpace ?? (() => diskSpaceOf(path)),
      onFailure: this.options.onFailure,
    });
    try {
      const registered = await hasPresentFormat(database);
      if (!registered && readOnly) throw olderFormat(path);
      if (!registered) await sealQueue(database);
      await chunks.open({ registered });
      if (!registered) await putFormat(database);
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
  private async removeAllBut(number: number): Promise<void> {
    const { directory } = this.options;
    for (const name of await readdir(directory)) {
      if (/^\d+$/.test(name) && name !== String(number)) {
        await RocksDatabase.destroy(join(directory, name));
      }
    }
  }
}

function olderFormat(path: string): MootError {
  const what = `the tree in ${path} has an older format`;
  return new MootError('DATA_DIR_FOREIGN', `${what}: start its node once, which takes it over`);
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

function isChunk(key: Key): boolean {
  return tableOf(key) === 'chunk';
}

function chunkPut(change: Change): KeyValue[] {
  if (change.type !== 'put' || !isChunk(change.key)) return [];
  // The key's table says what the value is.
  const { buffer, byteOffset, length } = change.value as Tables['chunk'];
  return [[change.key, Buffer.from(buffer, byteOffset, length)]];
}
