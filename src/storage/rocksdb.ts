import { existsSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type openRocksdb from 'rocksdb';
import { type ErrorCode, MootError } from '../base/errors.js';
import { refuseInUse } from './in-use.js';
import { checkDatabaseFiles } from './rocksdb-check.js';

/** What the owner of a database chooses; a node has two, and must stay below 300 MiB in all. */
export interface DatabaseOptions {
  /** Refuse a directory that has no database, instead of making one. */
  readonly mustExist: boolean;
  /** Every batch that matters is synced before the next is written; see rocksdb-check.ts. */
  readonly synced: boolean;
  /**
   * Written to disk when full, while a second one fills: at most twice this is in memory. The
   * write-ahead log is read whole at the next start and is about as large.
   */
  readonly writeBufferBytes: number;
  readonly blockCacheBytes: number;
  /** Snappy. */
  readonly compression: boolean;
  /** Nothing in the directory is changed, not even what a crash has torn; no lock is taken. */
  readonly readOnly?: boolean;
}

/** Larger than RocksDB's 4 KiB: an index entry for each block of an open file is in memory. */
const BLOCK_BYTES = 16_384;
/** Each open table file keeps its index and bloom filter in memory, up to about 1 MiB for small records. */
const OPEN_FILES_MAX = 256;
/** How much an iterator reads ahead in one visit to the thread pool. */
const READ_AHEAD_BYTES = 262_144;

/** Written by `sync`, not sealed; behind all other keys that are no table's. */
export const SYNC_KEY = '\u0001s';

export type Operation =
  | { readonly type: 'put'; readonly key: string; readonly value: Buffer }
  | { readonly type: 'del'; readonly key: string };

export type KeyValue = readonly [key: string, value: Buffer];

type Handle = ReturnType<typeof openRocksdb>;

/** Node of this version and later aborts in the package's prebuilt binary; see native-notes/rocksdb.md. */
const COMPILED_FROM_MAJOR = 22;

/** Loaded when it is needed, and with a sentence instead of an abort of the process. */
async function loadPackage(): Promise<typeof openRocksdb> {
  const major = Number(process.versions.node.split('.')[0]);
  const base = dirname(createRequire(import.meta.url).resolve('rocksdb/package.json'));
  if (major >= COMPILED_FROM_MAJOR && !existsSync(join(base, 'build', 'Release'))) {
    throw new MootError(
      'NATIVE_UNUSABLE',
      `the prebuilt rocksdb does not work with Node ${process.versions.node}: build it where mootfs ` +
        'is installed (npm_config_build_from_source=true npm rebuild rocksdb), or use Node 20',
    );
  }
  return (await import('rocksdb')).default;
}

/** One RocksDB database. Keys are binary strings: a character is a byte. The only user of the package. */
export class RocksDatabase {
  private failed: MootError | null = null;
  private readonly running = new Set<Promise<unknown>>();
  /** Batches that RocksDB has not returned from. */
  private readonly writing = new Set<(error: Error) => void>();
  private watching: NodeJS.Timeout | null = null;
  private closing: Promise<void> | null = null;

  private constructor(
    private readonly handle: Handle,
    readonly directory: string,
  ) {}

  static async open(directory: string, options: DatabaseOptions): Promise<RocksDatabase> {
    if (options.mustExist && !existsSync(directory)) {
      throw new MootError('DATA_CORRUPT', `${directory} is missing`);
    }
    try {
      if (options.readOnly !== true) {
        await mkdir(directory, { recursive: true });
        // RocksDB's own lock is taken when it opens, which is behind all that is mended here.
        await refuseInUse(directory);
      }
      await checkDatabaseFiles(directory, {
        synced: options.synced,
        mend: options.readOnly !== true,
      });
    } catch (error) {
      throw translate(directory, error);
    }
    if (options.mustExist && !existsSync(join(directory, 'CURRENT'))) {
      throw new MootError('DATA_CORRUPT', `${join(directory, 'CURRENT')} is missing`);
    }
    const handle = (await loadPackage())(directory);
    await call<void>(directory, (done) =>
      handle.open(
        {
          createIfMissing: !options.mustExist,
          readOnly: options.readOnly === true,
          compression: options.compression,
          cacheSize: options.blockCacheBytes,
          writeBufferSize: options.writeBufferBytes,
          blockSize: BLOCK_BYTES,
          maxOpenFiles: OPEN_FILES_MAX,
        },
        done,
      ),
    );
    const database = new RocksDatabase(handle, directory);
    try {
      database.checkTables();
    } catch (error) {
      await database.close();
      throw error;
    }
    if (options.readOnly !== true) database.watch();
    return database;
  }

  static async destroy(directory: string): Promise<void> {
    await rm(directory, { recursive: true, force: true });
  }

  /**
   * All or nothing. `sync`: this and everything before is on disk when the promise resolves. After
   * a failure nothing can be written any more: RocksDB itself would go on as if nothing had
   * happened (WriteStatusCheck without paranoid_checks), and what is on disk is not known.
   */
  async batch(operations: readonly Operation[], sync: boolean): Promise<void> {
    if (this.failed !== null) throw this.failed;
    const encoded = operations.map((operation) => ({
      ...operation,
      key: Buffer.from(operation.key, 'latin1'),
    }));
    try {
      await this.run<void>((done) => {
        const end = (error: Error | null) => done(error, undefined);
        this.writing.add(end);
        this.handle.batch(encoded, { sync }, (error) => {
          this.writing.delete(end);
          end(error);
        });
      });
    } catch (error) {
      if (error instanceof MootError && error.code !== 'CLOSED') this.failed ??= error;
      throw error;
    }
  }

  /** Everything written so far is on disk when the promise resolves. */
  sync(): Promise<void> {
    // A synced write syncs all write-ahead logs that are still needed (DBImpl::WriteToWAL).
    return this.batch([{ type: 'put', key: SYNC_KEY, value: Buffer.alloc(0) }], true);
  }

  async get(key: string): Promise<Buffer | undefined> {
    return (await this.getMany([key]))[0];
  }

  /** Values in the order of `keys`, as they are at one moment. */
  getMany(keys: readonly string[]): Promise<(Buffer | undefined)[]> {
    if (keys.length === 0) return Promise.resolve([]);
    const encoded = keys.map((key) => Buffer.from(key, 'latin1'));
    return this.run((done) => this.handle.getMany(encoded, {}, done));
  }

  /** Records with keys at and behind `from`, ascending, as they are at this call. The caller ends it. */
  iterate(from: string, options: { readonly values?: boolean } = {}): RocksIterator {
    if (this.closing !== null) throw closed(this.directory);
    const iterator = this.handle.iterator({
      ...(from === '' ? {} : { gte: Buffer.from(from, 'latin1') }),
      values: options.values ?? true,
      highWaterMark: READ_AHEAD_BYTES,
      fillCache: false,
    });
    return new RocksIterator(iterator, this.directory);
  }

  /** Counts as one running call: `close` waits for it. */
  async using<T>(
    iterator: RocksIterator,
    use: (iterator: RocksIterator) => Promise<T>,
  ): Promise<T> {
    const running = use(iterator);
    this.track(running);
    try {
      return await running;
    } finally {
      await iterator.end();
    }
  }

  /** Properties that are cheap to ask for and that an operator looks at. */
  figures(): Readonly<Record<string, number>> {
    if (this.closing !== null) return {};
    return Object.fromEntries(
      FIGURES.map((name) => [name, Number(this.handle.getProperty(`rocksdb.${name}`))]),
    );
  }

  /** Waits for what is running. Iterators that are still open fail from then on. */
  close(): Promise<void> {
    clearInterval(this.watching ?? undefined);
    this.closing ??= Promise.allSettled(this.running).then(async () => {
      // RocksDB would wait for batches that it never returns from (see `watch`).
      if (this.writing.size === 0) await call<void>(this.directory, (d) => this.handle.close(d));
    });
    return this.closing;
  }

  /**
   * Without paranoid_checks RocksDB tries a merge of tables that fails once a second for ever, and tells
   * nobody; in the end it lets nobody write, and nobody hears of that either. So it is asked.
   */
  private watch(): void {
    this.watching = setInterval(() => {
      if (Number(this.handle.getProperty('rocksdb.background-errors')) === 0) return;
      clearInterval(this.watching ?? undefined);
      const error = new MootError(
        'DISK_FAILED',
        `the database ${this.directory} cannot write or merge its tables: one of them is damaged, or the disk fails`,
      );
      this.failed ??= error;
      for (const end of this.writing) end(error);
    }, BACKGROUND_MS);
    this.watching.unref();
  }

  private run<T>(start: (done: Done<T>) => void): Promise<T> {
    if (this.closing !== null) return Promise.reject(closed(this.directory));
    const running = call<T>(this.directory, start);
    this.track(running);
    return running;
  }

  private track(running: Promise<unknown>): void {
    this.running.add(running);
    const forget = () => this.running.delete(running);
    running.then(forget, forget);
  }

  /** RocksDB opens table files when they are first read; a missing one shall be known at once. */
  private checkTables(): void {
    const missing = this.missingTables();
    // A compaction may have replaced a file since it was listed, so it is listed again.
    const still = missing.length === 0 ? [] : this.missingTables();
    const [first] = still.filter((path) => missing.includes(path));
    if (first !== undefined) throw new MootError('DATA_CORRUPT', `${first} is missing`);
  }

  private missingTables(): string[] {
    const lines = [
      ...this.handle.getProperty('rocksdb.sstables').matchAll(/^ (\d+):\d+\[\d+ \.\. \d+\]\[/gm),
    ];
    // Keys are printed as they are. Who makes names that look like such lines gets no check.
    if (lines.length !== this.countTables()) return [];
    return lines
      .map((line) => join(this.directory, `${line[1]?.padStart(6, '0')}.sst`))
      .filter((path) => !existsSync(path));
  }

  private countTables(): number {
    let count = 0;
    for (let level = 0; level < LEVELS; level++) {
      count += Number(this.handle.getProperty(`rocksdb.num-files-at-level${level}`));
    }
    return count;
  }
}

/** See rocksdb/db.h, DB::Properties. */
const FIGURES = [
  'cur-size-all-mem-tables',
  'total-sst-files-size',
  'estimate-live-data-size',
  'estimate-num-keys',
  'estimate-pending-compaction-bytes',
  'num-running-compactions',
  'num-running-flushes',
  'block-cache-usage',
];

/** Sooner than what is written could fill the tables that RocksDB allows (36 in level 0) before they are merged. */
const BACKGROUND_MS = 100;

/** RocksDB's num_levels. */
const LEVELS = 7;

/**
 * A view of the database as it was when the iterator was made. RocksDB does not verify the blocks
 * that it reads here (verify_checksums is off in binding.cc): the caller checks each record, and
 * reads on to the first record behind what it wants, since a damaged key may end a range early.
 */
export class RocksIterator {
  private ended: Promise<void> | null = null;

  constructor(
    private readonly iterator: ReturnType<Handle['iterator']>,
    private readonly directory: string,
  ) {}

  next(): Promise<KeyValue | null> {
    return new Promise((resolve, reject) => {
      if (this.ended !== null) {
        reject(closed(this.directory));
        return;
      }
      this.iterator.next((error, key, value) => {
        if (error) reject(translate(this.directory, error));
        else if (key === undefined) resolve(null);
        else resolve([key.toString('latin1'), value ?? Buffer.alloc(0)]);
      });
    });
  }

  end(): Promise<void> {
    this.ended ??= call<void>(this.directory, (done) => this.iterator.end(done));
    return this.ended;
  }
}

type Done<T> = (error: Error | null, result: T) => void;

function call<T>(
  directory: string,
  start: (done: (error: Error | null, result?: T) => void) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, result) => {
      if (error) reject(translate(directory, error));
      // T is void for the calls that have no result.
      else resolve(result as T);
    });
  });
}

function closed(directory: string): MootError {
  return new MootError('CLOSED', `the database ${directory} is closed`);
}

/** The binding passes on RocksDB's Status::ToString, whose first words name the kind. */
function translate(directory: string, error: unknown): MootError {
  if (error instanceof MootError) return error;
  const cause = error instanceof Error ? error : new Error(String(error));
  const text = cause.message;
  if (/iterator has ended|not open|cannot call/.test(text)) return closed(directory);
  if (/lock hold by current process|While lock file/.test(text)) {
    return new MootError(
      'DATA_DIR_IN_USE',
      `${directory} is in use by another process: stop that node first, or give this one another data directory`,
    );
  }
  const code: ErrorCode = isCorruption(text) ? 'DATA_CORRUPT' : 'DISK_FAILED';
  return new MootError(code, `the database ${directory}`, { cause });
}

function isCorruption(text: string): boolean {
  return (
    /^Corruption|^Invalid argument.*does not exist|^Not implemented/.test(text) ||
    (/^IO error/.test(text) && /No such file or directory/.test(text))
  );
}
