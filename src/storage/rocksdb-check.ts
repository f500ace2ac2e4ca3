import { readdir, readFile, truncate, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { MootError } from '../base/errors.js';
import { crc32c } from './crc32c.js';

/**
 * Looks at a database's files before RocksDB opens it. The binding opens RocksDB with
 * paranoid_checks off (binding.cc), and then recovery steps over damaged records of the write-ahead
 * log (DBImpl::RecoverLogFiles): batches in the middle would be missing without a word. So what is
 * a torn tail, which a crash leaves behind and which was never acknowledged, is told from
 * corruption here. Formats: RocksDB's db/log_format.h, db/version_edit.h, db/write_batch.cc.
 */

const BLOCK_BYTES = 32_768;
const HEADER_BYTES = 7;
/** A disk writes at least this much at once or not at all; what was never written reads as zeros. */
const SECTOR_BYTES = 512;
/** A batch starts with its sequence number and its number of operations. */
const BATCH_HEADER_BYTES = 12;
/** More operations than the write-ahead log of one write buffer has. */
const OPERATIONS_MAX = 1n << 24n;
const TYPE_FULL = 1;
const TYPE_FIRST = 2;
const TYPE_LAST = 4;

export interface FileCheck {
  readonly synced: boolean;
  readonly mend: boolean;
}

/**
 * `synced`: every batch that matters was synced before the next was written, so nothing may stand
 * behind a damaged record. Otherwise a crash of the machine may have lost any of the last batches:
 * the log is cut before the first that is missing, so that what is left is a state that once was.
 * Without `mend` nothing is cut, and a log that should be is refused.
 */
export async function checkDatabaseFiles(directory: string, options: FileCheck): Promise<void> {
  try {
    await checkFiles(directory, options);
  } catch (error) {
    // A file that was listed is gone: another process works here. Opening will say so.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

async function checkFiles(directory: string, options: FileCheck): Promise<void> {
  const names = await readdir(directory);
  const logs = names
    .flatMap((name) => /^(\d+)\.log$/.exec(name)?.[1] ?? [])
    .map((digits) => ({ number: Number(digits), path: join(directory, `${digits}.log`) }))
    .sort((a, b) => a.number - b.number);
  if (!names.includes('CURRENT')) {
    if (logs.length === 0 && !names.some((name) => name.endsWith('.sst'))) return;
    throw new MootError('DATA_CORRUPT', `${join(directory, 'CURRENT')} is missing`);
  }

  const manifest = (await readFile(join(directory, 'CURRENT'), 'latin1')).trimEnd();
  if (!names.includes(manifest)) {
    throw new MootError('DATA_CORRUPT', `${join(directory, manifest)} is missing`);
  }
  const oldest = oldestLogNeeded(await readFile(join(directory, manifest)));
  // A recovery gives the log a number to come and removes the old ones only when there is a new one.
  if (oldest > 0 && logs.length === 0) {
    throw new MootError('DATA_CORRUPT', `${directory}: the write-ahead log (*.log) is missing`);
  }
  await checkLogs(
    logs.filter((log) => log.number >= oldest),
    options,
  );
}

/** A place in a log where a whole record should be and is not. */
interface Damage {
  readonly path: string;
  readonly index: number;
  /** Where the record starts that is damaged. */
  readonly offset: number;
}

async function checkLogs(
  logs: readonly { readonly path: string }[],
  { synced, mend }: FileCheck,
): Promise<void> {
  let damage: Damage | null = null;
  let nextSequence: bigint | null = null;
  for (const [index, { path }] of logs.entries()) {
    for (const found of readLog(await readFile(path))) {
      if (found.type === 'damaged' && found.whole) {
        throw corrupt(path, found.offset, 'does not match its checksum');
      }
      if (found.type === 'damaged') {
        damage ??= { path, index, offset: found.offset };
        continue;
      }
      const isFirst = nextSequence === null && damage === null;
      if (isFirst || found.sequence === nextSequence) {
        // An earlier recovery has gone on from before the damage: it was a torn tail then.
        damage = null;
      } else if (damage === null || synced) {
        const at = damage ?? { path, offset: found.offset };
        throw corrupt(at.path, at.offset, 'and what follows leave out a part');
      } else {
        if (!mend) throw torn(damage);
        await cut(logs, damage);
        return;
      }
      nextSequence = found.sequence + BigInt(found.count);
    }
  }
}

async function cut(logs: readonly { readonly path: string }[], damage: Damage): Promise<void> {
  for (const { path } of logs.slice(damage.index + 1).reverse()) await unlink(path);
  await truncate(damage.path, damage.offset);
}

function torn({ path, offset }: Damage): MootError {
  return new MootError(
    'DATA_CORRUPT',
    `${path}: torn at byte ${offset}, as a loss of power leaves it. The node cuts it there at its next start`,
  );
}

function corrupt(path: string, offset: number, why: string): MootError {
  return new MootError('DATA_CORRUPT', `${path}: the record at byte ${offset} ${why}`);
}

type Found =
  /** A whole batch, with its sequence number and number of operations. */
  | {
      readonly type: 'batch';
      readonly offset: number;
      readonly sequence: bigint;
      readonly count: number;
    }
  /** `whole`: all its bytes were written, so that it was damaged afterwards. */
  | { readonly type: 'damaged'; readonly offset: number; readonly whole: boolean };

/**
 * The batches of a log and its damages, in order. A log is as large as one write buffer, so it is
 * read as a whole.
 */
function* readLog(file: Buffer): Generator<Found> {
  let batch: { readonly offset: number; head: Buffer } | null = null;
  for (const fragment of readFragments(file)) {
    if (fragment.type === 'damaged') {
      yield { ...fragment, offset: batch?.offset ?? fragment.offset };
      batch = null;
      continue;
    }
    if (fragment.kind === TYPE_FULL || fragment.kind === TYPE_FIRST) {
      if (batch !== null) yield { type: 'damaged', offset: batch.offset, whole: false };
      batch = { offset: fragment.offset, head: fragment.payload };
    } else if (batch !== null && batch.head.length < BATCH_HEADER_BYTES) {
      batch.head = Buffer.concat([batch.head, fragment.payload]);
    }
    if (batch !== null && (fragment.kind === TYPE_FULL || fragment.kind === TYPE_LAST)) {
      yield readBatch(batch.offset, batch.head);
      batch = null;
    }
  }
  if (batch !== null) yield { type: 'damaged', offset: batch.offset, whole: false };
}

function readBatch(offset: number, head: Buffer): Found {
  if (head.length < BATCH_HEADER_BYTES) return { type: 'damaged', offset, whole: true };
  return {
    type: 'batch',
    offset,
    sequence: head.readBigUInt64LE(),
    count: head.readUInt32LE(8),
  };
}

type Fragment =
  | {
      readonly type: 'fragment';
      readonly offset: number;
      readonly kind: number;
      readonly payload: Buffer;
    }
  | Extract<Found, { type: 'damaged' }>;

function* readFragments(file: Buffer): Generator<Fragment> {
  let sequence: bigint | null = null;
  for (let block = 0; block < file.length; block += BLOCK_BYTES) {
    const end = Math.min(block + BLOCK_BYTES, file.length);
    let at = block;
    while (at + HEADER_BYTES <= end) {
      const kind = file.readUInt8(at + 6);
      const stop = at + HEADER_BYTES + file.readUInt16LE(at + 4);
      const known = kind >= TYPE_FULL && kind <= TYPE_LAST;
      if (known && stop <= end && checksumHolds(file, at, stop)) {
        const payload = file.subarray(at + HEADER_BYTES, stop);
        sequence = sequenceOf(kind, payload) ?? sequence;
        yield { type: 'fragment', offset: at, kind, payload };
        at = stop;
        continue;
      }
      const cutOff = end === file.length && end < block + BLOCK_BYTES && stop > end;
      const whole = !cutOff && !hasUnwrittenSector(file, at, Math.min(stop, end));
      yield { type: 'damaged', offset: at, whole };
      // Its length may be wrong, so that the next place where a record surely starts is a block.
      // But when the length is right, what follows in this block counts as well.
      if (known && stop + HEADER_BYTES <= end && looksWhole(file, stop, end)) at = stop;
      else if (cutOff) at = nextBatch(file, at + 1, end, sequence);
      else break;
    }
    if (end === file.length && at < end && end - at < HEADER_BYTES && end < block + BLOCK_BYTES) {
      yield { type: 'damaged', offset: at, whole: false };
    }
  }
}

/**
 * Behind a record that seems to be cut off by the end of the file: where a whole batch starts all the same, so
 * that its length was damaged; else the end. Bytes that a program has stored may look like a batch, but
 * not like one of the next few.
 */
function nextBatch(file: Buffer, from: number, end: number, before: bigint | null): number {
  for (let at = from; at + HEADER_BYTES + BATCH_HEADER_BYTES <= end; at++) {
    const kind = file.readUInt8(at + 6);
    const stop = at + HEADER_BYTES + file.readUInt16LE(at + 4);
    if (stop > end) continue;
    const sequence = sequenceOf(kind, file.subarray(at + HEADER_BYTES, stop));
    if (sequence === null) continue;
    const isNext = before === null || (sequence > before && sequence < before + OPERATIONS_MAX);
    if (isNext && checksumHolds(file, at, stop)) return at;
  }
  return end;
}

/** Of the batch that begins here; null: none does. */
function sequenceOf(kind: number, payload: Buffer): bigint | null {
  const begins = kind === TYPE_FULL || kind === TYPE_FIRST;
  return begins && payload.length >= BATCH_HEADER_BYTES ? payload.readBigUInt64LE() : null;
}

function looksWhole(file: Buffer, at: number, end: number): boolean {
  const stop = at + HEADER_BYTES + file.readUInt16LE(at + 4);
  return stop <= end && checksumHolds(file, at, stop);
}

/** Checksums are stored rotated and shifted, see Mask in RocksDB's util/crc32c.h. */
function checksumHolds(file: Buffer, at: number, stop: number): boolean {
  const rotated = (file.readUInt32LE(at) - 0xa282ead8) >>> 0;
  const expected = ((rotated >>> 17) | (rotated << 15)) >>> 0;
  return crc32c(file.subarray(at + 6, stop)) === expected;
}

function hasUnwrittenSector(file: Buffer, from: number, to: number): boolean {
  for (let at = from; at < to; ) {
    const next = Math.min((Math.floor(at / SECTOR_BYTES) + 1) * SECTOR_BYTES, to);
    if (file.subarray(at, next).every((byte) => byte === 0)) return true;
    at = next;
  }
  return false;
}

const TAG_COMPARATOR = 1;
const TAG_LOG_NUMBER = 2;
const TAG_DB_ID = 0x2001;
/** Tags with one number: log, next file, last sequence, previous log, least log to keep, column family. */
const NUMBER_TAGS = new Set([2, 3, 4, 9, 10, 200, 203]);

/**
 * The number of the oldest write-ahead log that is still needed, 0 when none is named. Logs are
 * named at the front of a version edit; what comes behind (files) is not looked at.
 */
function oldestLogNeeded(manifest: Buffer): number {
  let oldest = 0;
  for (const fragment of readFragments(manifest)) {
    if (fragment.type !== 'fragment') continue;
    if (fragment.kind !== TYPE_FULL && fragment.kind !== TYPE_FIRST) continue;
    const { payload } = fragment;
    for (let at = 0; at < payload.length; ) {
      const tag = readVarint(payload, at);
      const number = readVarint(payload, tag.next);
      if (tag.value === TAG_DB_ID || tag.value === TAG_COMPARATOR) at = number.next + number.value;
      else if (!NUMBER_TAGS.has(tag.value)) break;
      else at = number.next;
      if (tag.value === TAG_LOG_NUMBER) oldest = Math.max(oldest, number.value);
    }
  }
  return oldest;
}

function readVarint(bytes: Buffer, from: number): { value: number; next: number } {
  let value = 0;
  let scale = 1;
  let at = from;
  for (; at < bytes.length; at++, scale *= 128) {
    const byte = bytes.readUInt8(at);
    value += (byte & 127) * scale;
    if (byte < 128) break;
  }
  return { value, next: at + 1 };
}
