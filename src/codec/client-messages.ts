import type { ErrorCode } from '../base/errors.js';
import type { Command } from '../filesystem/commands.js';
import type { Trace } from '../filesystem/facts.js';
import type { Effect } from '../filesystem/filesystem.js';
import type { Query, QueryResult } from '../filesystem/queries.js';
import type { Reply } from '../filesystem/records.js';
import type { Configuration, FollowerStatus, MemberChange, NodeId, Role } from '../raft/types.js';

/** How fresh an answer must be. */
export type ReadLevel =
  /** Confirmed by the leader: at least as new as everything acknowledged to anyone before. */
  | 'strong'
  /** The asked node's tree, never older than `minIndex`. */
  | 'session'
  /** The asked node's tree as it is; works without a quorum. */
  | 'local';

/** From a client to a node. `id` is the client's own number for the request; the answer carries it. */
export type ClientRequest =
  | SubmitRequest
  | QueryRequest
  | { readonly type: 'watch'; readonly id: number; readonly fromIndex: number }
  /** The stream that was asked for as `id` ends. No answer. */
  | { readonly type: 'unwatch'; readonly id: number }
  | { readonly type: 'status'; readonly id: number }
  | { readonly type: 'snapshot'; readonly id: number }
  /** To a leader: answered when the change is committed. */
  | { readonly type: 'members'; readonly id: number; readonly change: MemberChange }
  /** To a leader: hand over, to the best voter when none is named. Answered when it is done. */
  | { readonly type: 'transfer'; readonly id: number; readonly to: NodeId | null }
  /** Answered by a leader, with the right to keep answers for a while. Asked again it is prolonged. */
  | { readonly type: 'lease'; readonly id: number }
  /** What the push `id` and all before it ended is forgotten. No answer. */
  | { readonly type: 'change-ack'; readonly id: number };

/** A command for the log. Within a session commands are sent in order of `sequence`. */
export interface SubmitRequest {
  readonly type: 'submit';
  readonly id: number;
  readonly session: number;
  readonly sequence: number;
  readonly acknowledged: number;
  readonly command: Command;
}

export interface QueryRequest {
  readonly type: 'query';
  readonly id: number;
  readonly level: ReadLevel;
  readonly minIndex: number;
  readonly query: Query;
}

/** From a node to a client. */
export type ClientResponse =
  | SubmitResponse
  | QueryResponse
  | { readonly type: 'status-reply'; readonly id: number; readonly status: NodeStatus }
  | { readonly type: 'snapshot-reply'; readonly id: number; readonly index: number }
  | { readonly type: 'members-reply'; readonly id: number; readonly configuration: Configuration }
  | { readonly type: 'transfer-reply'; readonly id: number; readonly leader: NodeId }
  | WatchEvent
  | LeaseResponse
  | Changes
  | Refusal;

export interface SubmitResponse {
  readonly type: 'submit-reply';
  readonly id: number;
  /** The log index at which the outcome was decided. */
  readonly index: number;
  readonly outcome:
    | { readonly type: 'reply'; readonly reply: Reply }
    | { readonly type: 'gap'; readonly lastSequence: number }
    | { readonly type: 'no-session' };
  /** The reply was given before; inodes in it may have changed since, before `index`. */
  readonly repeated: boolean;
  /** To a client with a lease: what the reply does not say of the tree as the command left it. */
  readonly traces: readonly Trace[];
  /** What the command ended of what the client keeps; as if it had come by itself just before. */
  readonly changes: Changes | null;
}

export interface QueryResponse {
  readonly type: 'query-reply';
  readonly id: number;
  /** The applied index of the tree that answered. */
  readonly index: number;
  readonly result: QueryResult;
}

/**
 * From when the request was sent, for `durationMs` (0: this cluster has no leases), strong answers
 * that come over this connection may be kept; `changes` say which of them ended. See Leases.
 */
export interface LeaseResponse {
  readonly type: 'lease-reply';
  readonly id: number;
  /** The applied index of the leader. */
  readonly index: number;
  readonly durationMs: number;
}

/**
 * To a connection with a lease: what was kept of these inodes and names, from answers of indexes
 * below `index`, is over; with `reset` everything is. Comes before any answer that shows the
 * change, and is acknowledged at once: others wait for that.
 */
export interface Changes {
  readonly type: 'changes';
  /** Counts up; goes into the acknowledgement. */
  readonly id: number;
  readonly index: number;
  readonly reset: boolean;
  readonly effects: readonly Effect[];
}

/** What changed up to `index`. `reset`: events in between are gone; forget everything cached. */
export interface WatchEvent {
  readonly type: 'watch-event';
  readonly id: number;
  readonly index: number;
  readonly reset: boolean;
  readonly effects: readonly Effect[];
}

/**
 * The request was not carried out, and certainly has no effect later, except with OUTCOME_UNKNOWN:
 * then the node cannot say. `leader` helps with NOT_LEADER.
 */
export interface Refusal {
  readonly type: 'refusal';
  readonly id: number;
  readonly code: ErrorCode;
  readonly message: string;
  readonly leader: { readonly id: NodeId; readonly address: string } | null;
}

/** Who must have a change on disk before it counts: a majority, or besides every voter that lives. */
export type WriteConcern = 'majority' | 'all';

/** What a node says of itself. */
export interface NodeStatus {
  readonly version: string;
  readonly cluster: string;
  readonly id: NodeId;
  readonly address: string;
  readonly role: Role;
  readonly term: number;
  readonly leader: NodeId | null;
  readonly recovering: boolean;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly lastIndex: number;
  readonly snapshotIndex: number;
  /** Digest of all changes up to appliedIndex, as eight hexadecimal digits. */
  readonly stateHash: string;
  readonly inodes: number;
  readonly bytes: number;
  /** The first ones, of `sessionCount`. */
  readonly sessions: readonly { readonly id: number; readonly name: string }[];
  readonly sessionCount: number;
  /** Who decides, by this node's log. */
  readonly configuration: Configuration;
  /** All members. */
  readonly peers: readonly {
    readonly id: NodeId;
    readonly address: string;
    readonly connected: boolean;
  }[];
  readonly followers: readonly FollowerStatus[];
  /** host:port of its page, events and metrics; null: it has none. */
  readonly control: string | null;
  readonly uptimeMs: number;
  readonly memoryBytes: number;
  /** For how long clients may keep strong answers; 0: not at all, and any node answers strong reads. */
  readonly leaseMs: number;
  /** After so long a silence of a client its session ends. */
  readonly sessionTimeoutMs: number;
  readonly writeConcern: WriteConcern;
  /** At a leader that waits for all: the other voters that live; it commits nothing without them. */
  readonly liveVoters: readonly NodeId[];
}
