import type { NodeStatus } from '../codec/client-messages.js';
import type { NodeId } from '../raft/types.js';

/** All that a node says of itself to those who watch it: GET /api/status, and the stream's first word. */
export interface NodeDocument extends NodeStatus {
  /** The node's wall clock, in milliseconds since 1970. */
  readonly at: number;
  /** Whom it voted for in this term. */
  readonly vote: NodeId | null;
  readonly election: {
    /** Since the timer was set, and when it runs out. */
    readonly elapsedMs: number;
    readonly timeoutMs: number;
    readonly timeoutMinMs: number;
    readonly timeoutMaxMs: number;
    readonly heartbeatMs: number;
  };
  /** The end of the log: the term of each entry from index `first` on. */
  readonly log: { readonly first: number; readonly terms: readonly number[] };
  /** Entries that stay behind a compaction. */
  readonly snapshotTailEntries: number;
  readonly queues: {
    /** Commands of clients that are not decided. */
    readonly proposals: number;
    /** Committed and not applied. */
    readonly unapplied: number;
    /** Bytes that wait for the network, by peer. */
    readonly peers: readonly { readonly id: NodeId; readonly bytes: number }[];
  };
  /** Over the last second or two. Latencies are from proposal to apply, at the leader; null: nothing was proposed. */
  readonly rates: {
    readonly commitsPerSecond: number;
    readonly bytesPerSecond: number;
    readonly commitP50Ms: number | null;
    readonly commitP99Ms: number | null;
  };
  /** Since the node started. */
  readonly totals: {
    readonly entriesReceived: number;
    readonly entriesSent: number;
    readonly snapshotsSent: number;
    readonly snapshotsInstalled: number;
  };
  readonly clients: number;
  readonly faults: {
    readonly allowed: boolean;
    readonly slowMs: number;
    readonly cutFrom: readonly NodeId[];
  };
  /** Where the other nodes' documents are. */
  readonly members: readonly MemberDocument[];
  /** Where to ask for nodes to be killed and started, and for scenes; null: nobody can. */
  readonly director: string | null;
}

export interface MemberDocument {
  readonly id: NodeId;
  readonly address: string;
  /** host:port of its control server; null: not known. */
  readonly control: string | null;
}

/** An entry of the log, for people: the call `log`. */
export interface LogLine {
  readonly index: number;
  readonly term: number;
  /** The leader's clock when it was proposed, in milliseconds since 1970; null: no command. */
  readonly timeMs: number | null;
  readonly session: number | null;
  readonly command: string;
  readonly committed: boolean;
}
