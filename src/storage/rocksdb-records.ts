import { isMootError, MootError } from '../base/errors.js';
import { pack, unpack } from '../codec/msgpack.js';
import { Reader } from '../codec/reader.js';
import { corruptRecord, decodeRecord, seal, unseal } from '../codec/records.js';
import { type Key, type KeyRange, tableOf } from '../filesystem/keys.js';
import type { Table, Tables } from '../filesystem/records.js';
import type { SnapshotMark } from '../raft/types.js';
import type { ChunkFiles } from './chunk-files.js';
import { isMarker, openMarker } from './discarded.js';
import type { Operation, RocksDatabase } from './rocksdb.js';
import { openChunk } from './stored-chunk.js';

/** Keys below the tables' letters are this node's own and never leave it. */
export const MARK_KEY = '\u0001m';
/** The first key that may be a table's. */
export const TABLES_FROM = '\u0002';

/** Below the size of a block (rocksdb.ts): of a table that is read alone no block is left out. */
const WITNESS_BYTES = 4_096;

/**
 * Iterators do not verify blocks, and one flipped bit may hide a record from them (the type in its
 * internal key says then that it was deleted). A get does verify: of the records that an iterator saw,
 * one of every few is asked for, and so one of nearly each block.
 */
export class Witnesses {
  private keys: string[] = [];
  private bytes = WITNESS_BYTES;

  saw(key: string, bytes: number): void {
    if (this.bytes >= WITNESS_BYTES) {
      this.keys.push(key);
      this.bytes = 0;
    }
    this.bytes += key.length + bytes;
  }

  /** DATA_CORRUPT where a block does not hold. */
  async verify(database: Pick<RocksDatabase, 'getMany'>): Promise<void> {
    const { keys } = this;
    this.keys = [];
    await database.getMany(keys);
  }
}

export async function getRecords<T extends Table>(
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

export async function scanRecords<T extends Table>(
  database: RocksDatabase,
  chunks: ChunkFiles,
  range: KeyRange<T>,
  limit: number,
): Promise<(readonly [Key<T>, Tables[T]])[]> {
  const found: ReadRecord<T>[] = [];
  const witnesses = new Witnesses();
  await database.using(database.iterate(range.from), async (iterator) => {
    while (found.length < limit) {
      const record = await iterator.next();
      if (record === null) break;
      const [key, value] = record;
      if (isMarker(key)) {
        openMarker(key, value);
        continue;
      }
      // The record behind the range is checked as well: were it in truth one of the range, with
      // a damaged key, it would be missing without a word.
      const read = readRecord<T>(key, value);
      witnesses.saw(key, value.length);
      if (key >= range.to) break;
      found.push(read);
    }
  });
  await witnesses.verify(database);
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

export function putMark({ index, term }: SnapshotMark): Operation {
  return { type: 'put', key: MARK_KEY, value: seal(MARK_KEY, pack([index, term])) };
}

export async function readMark(database: RocksDatabase): Promise<SnapshotMark> {
  const sealed = await database.get(MARK_KEY);
  return sealed === undefined ? { index: 0, term: 0 } : decodeMark(sealed);
}

export function decodeMark(sealed: Buffer): SnapshotMark {
  try {
    const r = new Reader(unpack(unseal(MARK_KEY, sealed)), 'mark');
    return { index: r.uint('index'), term: r.uint('term') };
  } catch (cause) {
    throw new MootError('DATA_CORRUPT', "the tree's applied mark is damaged", { cause });
  }
}
