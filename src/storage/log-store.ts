import type { Entry, RestoredState, Save, SnapshotMark } from '../raft/types.js';

/** What a log says at the start. The rest of RestoredState is the tree's. */
export interface RestoredLog extends Omit<RestoredState, 'appliedIndex' | 'configuration'> {
  /** See LogStore.prepareReset. */
  readonly preparedReset: SnapshotMark | null;
}

/**
 * Where a node keeps its log, its term and its vote. One owner, which calls one write at a time
 * (append, compact, prepareReset, reset); reads may run beside it. Every entry is stored with a
 * checksum, and one that does not hold makes the call fail with DATA_CORRUPT, naming the index: a
 * corrupt entry is never taken for the end of the log. A failed write is DISK_FAILED and final: the owner stops.
 */
export interface LogStore {
  /** Reads and verifies everything. Nothing else may be called before. */
  open(): Promise<RestoredLog>;
  /**
   * All the saves in one durable batch: on disk, synced, when the promise resolves. Unless there is
   * much, the disk has its work when this returns: the caller applies and answers beside it.
   */
  append(saves: readonly Save[]): Promise<void>;
  /** Entries from `first` to `last`, fewer when `bytesMax` is reached (at least one). Compacted ones: empty. */
  read(first: number, last: number, bytesMax: number): Promise<readonly Entry[]>;
  /** Forgets entries up to `mark`, which the state store holds durably. Their place is still taken. */
  compact(mark: SnapshotMark): Promise<void>;
  /** Frees the place of what was forgotten. Not a write in the sense above: all others may run beside it. */
  sweep(): Promise<void>;
  /**
   * Says, durably, that the tree is about to be replaced by one at `mark`, and the log then to be reset to
   * it: who finds that tree and this log goes on with the reset. null: it has come to nothing. `reset` and
   * `compact` end it, too.
   */
  prepareReset(mark: SnapshotMark | null): Promise<void>;
  /** Empties the log, which starts again behind `mark` (a snapshot was installed). Durable. */
  reset(mark: SnapshotMark): Promise<void>;
  close(): Promise<void>;
}
