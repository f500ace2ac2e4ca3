import { crc32 } from 'node:zlib';
import { MootError } from '../base/errors.js';

/**
 * The chunks of a snapshot, the same for every store. A chunk is
 *   checksum u32 · version u8 · kind u8 · number u32 · then, all numbers little end first,
 *   kind 0: records, each key length u16 · value length u32 · key · sealed value
 *   kind 1: the end: number of all records u64
 * The checksum is the CRC-32 of all behind it. Chunks count up from 0, so that a missing, doubled or
 * exchanged one is found.
 */

const VERSION = 1;
const KIND_RECORDS = 0;
const KIND_END = 1;
const HEADER_BYTES = 10;
const RECORD_HEADER_BYTES = 6;

export interface SnapshotRecord {
  readonly key: string;
  /** As encodeRecord made it. */
  readonly sealed: Buffer;
}

/** Collects records into one chunk. */
export class ChunkWriter {
  private parts: Buffer[] = [];
  private bytes = HEADER_BYTES;
  private number = 0;
  private records = 0;

  constructor(private readonly bytesMax: number) {}

  /** Whether the record has a place in this chunk. An empty chunk takes any record. */
  fits({ key, sealed }: SnapshotRecord): boolean {
    const bytes = RECORD_HEADER_BYTES + key.length + sealed.length;
    return this.parts.length === 0 || this.bytes + bytes <= this.bytesMax;
  }

  add({ key, sealed }: SnapshotRecord): void {
    const head = Buffer.allocUnsafe(RECORD_HEADER_BYTES + key.length);
    head.writeUInt16LE(key.length, 0);
    head.writeUInt32LE(sealed.length, 2);
    head.write(key, RECORD_HEADER_BYTES, 'latin1');
    this.parts.push(head, sealed);
    this.bytes += head.length + sealed.length;
    this.records++;
  }

  get isEmpty(): boolean {
    return this.parts.length === 0;
  }

  take(): Buffer {
    const chunk = this.finish(KIND_RECORDS, this.parts);
    this.parts = [];
    this.bytes = HEADER_BYTES;
    return chunk;
  }

  takeEnd(): Buffer {
    const total = Buffer.alloc(8);
    total.writeBigUInt64LE(BigInt(this.records));
    return this.finish(KIND_END, [total]);
  }

  private finish(kind: number, parts: readonly Buffer[]): Buffer {
    const chunk = Buffer.concat([Buffer.alloc(HEADER_BYTES), ...parts]);
    chunk.writeUInt8(VERSION, 4);
    chunk.writeUInt8(kind, 5);
    chunk.writeUInt32LE(this.number++, 6);
    chunk.writeUInt32LE(crc32(chunk.subarray(4)), 0);
    return chunk;
  }
}

/** Takes chunks apart, in order, and knows at the end whether all was there. */
export class ChunkReader {
  private number = 0;
  private records = 0;
  private ended = false;

  /** Values are views into `bytes`. BAD_MESSAGE when the chunk is not what was sent. */
  read(bytes: Uint8Array): SnapshotRecord[] {
    const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    if (chunk.length < HEADER_BYTES || crc32(chunk.subarray(4)) !== chunk.readUInt32LE(0)) {
      throw bad('does not match its checksum');
    }
    const version = chunk.readUInt8(4);
    if (version !== VERSION) throw bad(`has the unknown version ${version}`);
    const number = chunk.readUInt32LE(6);
    if (this.ended || number !== this.number) throw bad(`has number ${number}, not ${this.number}`);
    this.number++;
    if (chunk.readUInt8(5) === KIND_RECORDS) return this.readRecords(chunk);
    this.readEnd(chunk);
    return [];
  }

  /** Everything that was exported has been read. */
  get isComplete(): boolean {
    return this.ended;
  }

  private readRecords(chunk: Buffer): SnapshotRecord[] {
    const records: SnapshotRecord[] = [];
    for (let at = HEADER_BYTES; at < chunk.length; ) {
      if (at + RECORD_HEADER_BYTES > chunk.length) throw bad('ends within a record');
      const keyEnd = at + RECORD_HEADER_BYTES + chunk.readUInt16LE(at);
      const end = keyEnd + chunk.readUInt32LE(at + 2);
      if (end > chunk.length) throw bad('ends within a record');
      const key = chunk.toString('latin1', at + RECORD_HEADER_BYTES, keyEnd);
      records.push({ key, sealed: chunk.subarray(keyEnd, end) });
      at = end;
    }
    this.records += records.length;
    return records;
  }

  private readEnd(chunk: Buffer): void {
    const known = chunk.readUInt8(5) === KIND_END && chunk.length === HEADER_BYTES + 8;
    if (!known) throw bad('is of an unknown kind');
    const total = chunk.readBigUInt64LE(HEADER_BYTES);
    if (total !== BigInt(this.records))
      throw bad(`says ${total} records came, not ${this.records}`);
    this.ended = true;
  }
}

function bad(why: string): MootError {
  return new MootError('BAD_MESSAGE', `snapshot chunk: it ${why}`);
}
