import type { PeerMessage } from '../codec/peer-messages.js';
import type { SnapshotNotice } from '../node/observer.js';
import type { NodeId, Role } from '../raft/types.js';

/** What a node tells those who watch it. `at` is the node's wall clock in milliseconds since 1970. */
export type NodeEvent =
  | RoleEvent
  | VoteEvent
  | MessagesEvent
  | CommitEvent
  | CommandEvent
  | TruncatedEvent
  | SnapshotEvent
  | SessionEvent
  | FaultEvent;

export interface RoleEvent {
  readonly type: 'role';
  readonly at: number;
  readonly role: Role;
  readonly term: number;
  readonly leader: NodeId | null;
}

/** This node gave its vote of `term`. */
export interface VoteEvent {
  readonly type: 'vote';
  readonly at: number;
  readonly term: number;
  readonly candidate: NodeId;
}

/** Messages of one kind to one peer since the last such event. */
export interface MessagesEvent {
  readonly type: 'messages';
  readonly at: number;
  readonly to: NodeId;
  readonly kind: PeerMessage['type'];
  readonly count: number;
  /** Of votes: so many said yes. */
  readonly granted: number;
  /** Entries in them, and their bytes; of snapshots the bytes. */
  readonly entries: number;
  readonly bytes: number;
  /** 0: no entries. */
  readonly firstIndex: number;
  readonly lastIndex: number;
}

/** The commit index moved to `last`. */
export interface CommitEvent {
  readonly type: 'commit';
  readonly at: number;
  readonly first: number;
  readonly last: number;
  readonly term: number;
}

/** A command was applied. Under load only some are told, and `skipped` counts the others before it. */
export interface CommandEvent {
  readonly type: 'command';
  readonly at: number;
  readonly index: number;
  readonly term: number;
  readonly session: number;
  readonly command: string;
  readonly skipped: number;
}

/** Entries that were never committed gave way to another leader's. */
export interface TruncatedEvent {
  readonly type: 'truncated';
  readonly at: number;
  readonly fromIndex: number;
  readonly lastIndex: number;
}

export interface SnapshotEvent {
  readonly type: 'snapshot';
  readonly at: number;
  readonly notice: SnapshotNotice;
}

export interface SessionEvent {
  readonly type: 'session';
  readonly at: number;
  readonly action: 'opened' | 'closed' | 'expired';
  /** Its name when it opens, its number when it ends. */
  readonly session: string;
}

export interface FaultEvent {
  readonly type: 'fault';
  readonly at: number;
  readonly slowMs: number;
  readonly cutFrom: readonly NodeId[];
}
