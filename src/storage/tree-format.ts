import { MootError } from '../base/errors.js';
import { pack, unpack } from '../codec/msgpack.js';
import { Reader } from '../codec/reader.js';
import { seal, unseal } from '../codec/records.js';
import { QUEUE_PREFIX, sealQueued } from './discarded.js';
import type { Operation, RocksDatabase } from './rocksdb.js';

/**
 * 1: what is discarded is queued without checksums, and the data files are in no register; such a
 * database does not name its format. A database that is made today goes the same way, from nothing.
 */
const FORMAT = 2;
const FORMAT_KEY = '\u0001f';
/** Records of the queue that are sealed in one batch. */
const SEALED_TOGETHER = 1_000;

/** False: it is of format 1. */
export async function hasPresentFormat(database: RocksDatabase): Promise<boolean> {
  const sealed = await database.get(FORMAT_KEY);
  if (sealed === undefined) return false;
  const format = new Reader(unpack(unseal(FORMAT_KEY, sealed)), "the tree's format").uint('format');
  if (format !== FORMAT) {
    throw new MootError('DATA_CORRUPT', `${database.directory} has the unknown format ${format}`);
  }
  return true;
}

/** Seals what format 1 has queued. May be interrupted and done again. */
export async function sealQueue(database: RocksDatabase): Promise<void> {
  await database.using(database.iterate(QUEUE_PREFIX), async (iterator) => {
    let operations: Operation[] = [];
    for (let record = await iterator.next(); record !== null; record = await iterator.next()) {
      if (!record[0].startsWith(QUEUE_PREFIX)) break;
      operations.push(...sealQueued(record[0]));
      if (operations.length < SEALED_TOGETHER) continue;
      await database.batch(operations, false);
      operations = [];
    }
    await database.batch(operations, false);
  });
}

/** From here on it is of the present format. */
export async function putFormat(database: RocksDatabase): Promise<void> {
  const value = seal(FORMAT_KEY, pack([FORMAT]));
  await database.batch([{ type: 'put', key: FORMAT_KEY, value }], true);
}
