import type { NodeId, RaftMessage, SnapshotMark } from '../raft/types.js';

/** What nodes say to each other. The connection's greeting says who speaks, for which cluster and group. */
export type PeerMessage =
  | RaftMessage
  | SnapshotMessage
  | BootstrapMessage
  | StateHashMessage
  | DiskSpaceMessage
  | ReadLeaseMessage;

/**
 * A snapshot travels in chunks, in order, a window of them unanswered at a time; each carries a
 * checksum of its own. The receiver keeps what arrived and says from where to go on, so a broken
 * connection costs no more than the chunks on their way.
 */
export type SnapshotMessage =
  | {
      readonly type: 'snapshot-chunk';
      readonly from: NodeId;
      readonly to: NodeId;
      readonly term: number;
      /** Names this stream: a new one for every attempt that starts from nothing. */
      readonly stream: number;
      readonly mark: SnapshotMark;
      /** 0, 1, 2, … */
      readonly sequence: number;
      readonly last: boolean;
      /** CRC-32 of `data`. */
      readonly checksum: number;
      readonly data: Uint8Array;
    }
  | {
      readonly type: 'snapshot-ack';
      readonly from: NodeId;
      readonly to: NodeId;
      readonly term: number;
      readonly stream: number;
      /** Chunks up to here are kept. -1: none; start again. */
      readonly sequence: number;
      readonly state: 'receiving' | 'installed' | 'refused';
    };

/** A node that started with an empty data directory asks the others what they know (see node/bootstrap.ts). */
export type BootstrapMessage =
  | {
      readonly type: 'bootstrap';
      readonly from: NodeId;
      readonly to: NodeId;
      /** Comes back with the answer; another one after every start. */
      readonly question: number;
    }
  | {
      readonly type: 'bootstrap-reply';
      readonly from: NodeId;
      readonly to: NodeId;
      readonly question: number;
      readonly term: number;
      /** Nothing was ever in this node's log. */
      readonly empty: boolean;
    };

/** A follower asks its leader for the right to answer strong reads by itself (see node/read-lease.ts). */
export type ReadLeaseMessage =
  | {
      readonly type: 'read-lease';
      readonly from: NodeId;
      readonly to: NodeId;
      readonly term: number;
      /** Counts up at the follower. */
      readonly id: number;
    }
  | {
      readonly type: 'read-lease-reply';
      readonly from: NodeId;
      readonly to: NodeId;
      readonly term: number;
      readonly id: number;
      /** From when it was asked for. */
      readonly durationMs: number;
    };

/** To the leader: how full the sender's disk is (see node/disk-room.ts). */
export interface DiskSpaceMessage {
  readonly type: 'disk-space';
  readonly from: NodeId;
  readonly to: NodeId;
  readonly term: number;
  readonly totalBytes: number;
  readonly freeBytes: number;
  /** All changes up to this index were in the sender's tree when it looked. */
  readonly written: number;
}

/** Digests of the state at an index, to be compared (see node/state-hash.ts). */
export type StateHashMessage =
  /** The leader's, which asks for the other's. */
  | {
      readonly type: 'state-hash';
      readonly from: NodeId;
      readonly to: NodeId;
      readonly term: number;
      readonly index: number;
      readonly hash: number;
      /** It is that of a majority. */
      readonly agreed: boolean;
    }
  | {
      readonly type: 'state-hash-reply';
      readonly from: NodeId;
      readonly to: NodeId;
      readonly term: number;
      readonly index: number;
      readonly hash: number;
    };
