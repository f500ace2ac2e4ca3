import { checksumOf, seal, unseal } from '../codec/records.js';
import { tableOf } from '../filesystem/keys.js';
import { decodePlace, encodePlace, type Place } from './data-files.js';
import { type KeyValue, SYNC_KEY } from './rocksdb.js';

/** A chunk as the tree's database has it: its bytes, or their place in the data files. */

const CHECKSUM_BYTES = 4;

/** Sealed like any record, but with the complement of the checksum: so it is told from a chunk's own bytes. */
export function sealPlace(key: string, place: Place): Buffer {
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

/** How much of these chunks is in files. */
export function placedBytes(chunks: readonly KeyValue[]): number {
  let bytes = 0;
  for (const chunk of chunks) {
    const found = openChunk(...chunk);
    if (isPlace(found)) bytes += found.length;
  }
  return bytes;
}

export function isPlace(found: Buffer | Place): found is Place {
  return !Buffer.isBuffer(found);
}

/** The record behind a range is sound, and so not in truth one of the range with a damaged key. */
export function checkBehind(record: KeyValue | null): void {
  if (record === null || record[0] === SYNC_KEY) return;
  const [key, sealed] = record;
  // A chunk that is in a file has its seal in another form.
  if (tableOf(key) === 'chunk') openChunk(key, sealed);
  else unseal(key, sealed);
}
