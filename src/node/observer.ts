import type { LogCommand } from '../filesystem/commands.js';
import type { NodeId, RaftStatus, SnapshotMark } from '../raft/types.js';

/**
 * What happens in a node, for whoever looks on. Calls come from the node's own loop, some of them
 * for every command: they must be cheap, must not throw and must not call back. Messages between
 * nodes are not here; whoever wants to see those stands around the transport.
 */
export interface NodeObserver {
  /** The core has done all it had to do in a turn: who leads, terms and indexes may be others. */
  onTurn(status: RaftStatus): void;
  /** Commands of clients were given the indexes `first` to `first + count - 1`. */
  onProposed(first: number, count: number): void;
  /** One entry was applied in memory; null: it held no command. */
  onApplied(mark: SnapshotMark, command: LogCommand | null): void;
  /** Entries from here on are replaced by another leader's: they were never committed. */
  onTruncated(fromIndex: number): void;
  onSnapshot(event: SnapshotNotice): void;
}

export type SnapshotNotice =
  /** The tree is durable up to here, and the log was compacted as far as it may be. */
  | { readonly type: 'taken'; readonly index: number }
  | { readonly type: 'sending'; readonly to: NodeId }
  | { readonly type: 'sent'; readonly to: NodeId; readonly ok: boolean; readonly index: number }
  | { readonly type: 'installed'; readonly from: NodeId; readonly index: number };
