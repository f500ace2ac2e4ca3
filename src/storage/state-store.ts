import { isMootError, type MootError } from '../base/errors.js';
import { decodeRecord } from '../codec/records.js';
import type { Key, KeyRange } from '../filesystem/keys.js';
import type { Table, Tables } from '../filesystem/records.js';
import type { Change } from '../filesystem/view.js';
import type { SnapshotMark } from '../raft/types.js';

/**
 * Where a node keeps its tree. One writer at a time; reads may run beside it and see the state
 * before or after a write, never a part of it. Records go in and come out decoded.
 */
export interface StateStore {
  /** The mark of the last command whose changes are here; index 0 for an empty store. */
  open(): Promise<SnapshotMark>;
  get<T extends Table>(keys: readonly Key<T>[]): Promise<(Tables[T] | undefined)[]>;
  /** Records in ascending order of keys, at most `limit`. */
  scan<T extends Table>(
    range: KeyRange<T>,
    limit: number,
  ): Promise<(readonly [Key<T>, Tables[T]])[]>;
  /** All changes and the new mark, or nothing of them. Survives the process; the machine only after `sync`. */
  write(changes: readonly Change[], mark: SnapshotMark): Promise<void>;
  /** Everything written so far is durable when the promise resolves. Needed before the log is compacted. */
  sync(): Promise<void>;
  /** The tree as it is at this call, for another node. Bounded memory; ended by `close` or by its end. */
  exportSnapshot(): Promise<SnapshotExport>;
  /** Takes in a snapshot beside the present tree, which stays until `finish`. Only one at a time: a new one drops the old. */
  importSnapshot(mark: SnapshotMark): Promise<SnapshotImport>;
  /** Every record that a snapshot would carry, verified, in ascending order of keys. Bounded memory. */
  readAll(visitor: RecordVisitor): Promise<void>;
  close(): Promise<void>;
}

export interface RecordVisitor {
  onRecord(key: Key, value: Tables[Table]): void;
  /** DATA_CORRUPT, naming the record: its checksum or its form does not hold. */
  onDamaged(error: MootError): void;
}

export interface SnapshotExport {
  readonly mark: SnapshotMark;
  /** The next chunk, of about SNAPSHOT_CHUNK_BYTES or one larger record; null after the last. Opaque to all but `write` of an import. */
  next(): Promise<Uint8Array | null>;
  close(): Promise<void>;
}

export interface SnapshotImport {
  /** All chunks of the export were written. */
  readonly isComplete: boolean;
  /** BAD_MESSAGE or DATA_CORRUPT when the chunk is not what was exported: then there is only `abort`. */
  write(chunk: Uint8Array): Promise<void>;
  /** BAD_MESSAGE when it is not complete. Atomically and durably makes the imported tree the present one. */
  finish(): Promise<void>;
  abort(): Promise<void>;
}

/** A chunk of a stream that waits for no other one: over 1 MB/s it delays a heartbeat by an eighth of a second. */
export const SNAPSHOT_CHUNK_BYTES = 131_072;

/** One sealed record for a visitor. */
export function visitRecord(
  visitor: RecordVisitor,
  { key, sealed }: { readonly key: Key; readonly sealed: Buffer },
): void {
  let value: Tables[Table];
  try {
    value = decodeRecord(key, sealed);
  } catch (error) {
    if (!isMootError(error, 'DATA_CORRUPT')) throw error;
    visitor.onDamaged(error);
    return;
  }
  visitor.onRecord(key, value);
}
