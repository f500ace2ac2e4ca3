import type { Clock } from '../base/clock.js';
import type { DiskSpace } from '../base/disk-space.js';
import type { Random } from '../base/random.js';
import type { Report } from '../base/report.js';
import type { NodeStatus, WriteConcern } from '../codec/client-messages.js';
import type { Digest } from '../filesystem/filesystem.js';
import type { Configuration, Entry, MemberChange, NodeId, RaftStatus } from '../raft/types.js';
import type { LogStore } from '../storage/log-store.js';
import type { StateStore } from '../storage/state-store.js';
import type { ClientConnection, ClientHandlers, Transport } from '../transport/transport.js';
import type { NodeObserver } from './observer.js';

/** One member of the cluster. Made by `createNode` in runtime.ts out of interfaces only. */
export interface Node {
  /** Opens the stores, joins the cluster, and serves. Fails with a typed error that says what to do. */
  start(): Promise<void>;
  /** Serves a client that is in this process: the same door as the network's. */
  connect(client: ClientConnection): ClientHandlers;
  /** As it introduces itself; incarnation 0: not known yet. */
  readonly cluster: { readonly cluster: string; readonly incarnation: number };
  status(): NodeStatus;
  /** What only a person or a monitor wants to know beside the status. */
  inspect(): NodeInspection;
  /** The last entries of the own log, committed or not, the newest last: so many, or what can be shown of them. */
  lastEntries(countMax: number): Promise<readonly Entry[]>;
  /** Stands for election at once, as if its timeout had passed. */
  campaign(): void;
  /** Asked of the leader: resolves, when the change is committed, to who is a member then. */
  changeMembers(change: MemberChange): Promise<Configuration>;
  /** Asked of the leader: resolves to who leads instead; the best voter when none is named. */
  transferLeadership(to: NodeId | null): Promise<NodeId>;
  /**
   * Before a polite stop: hands over when this node leads, and waits until its clients know what
   * became of their commands. Never fails, and takes a second at most.
   */
  handOver(): Promise<void>;
  /** Makes the tree durable and compacts the log; resolves to the index. */
  snapshot(): Promise<number>;
  /** Resolves, with the reason, when the node stopped by itself: its disk failed, its data is corrupt, it diverged. */
  readonly failed: Promise<Error>;
  /** Stops serving and closes everything. Idempotent. */
  stop(): Promise<void>;
}

export interface NodeInspection {
  readonly raft: RaftStatus;
  /** Length of one tick of the core's time, which `raft` counts in. */
  readonly tickMs: number;
  /** Commands of clients that are not decided. */
  readonly proposals: number;
  /** The term of each entry of the log from `first` on; the log's end is the last. */
  readonly terms: { readonly first: number; readonly terms: readonly number[] };
}

export interface NodeParts {
  readonly config: NodeConfig;
  readonly log: LogStore;
  readonly state: StateStore;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  readonly digest: Digest;
  /** Log and tree exist. The node says nothing to anybody before the promise resolves. */
  readonly onOpened?: () => Promise<void>;
  /** Free and total bytes of the disk that holds the data. */
  readonly diskSpace: () => Promise<DiskSpace>;
  /** The program's version, for the status. */
  readonly version: string;
  /** Memory that the process takes, for the status. */
  readonly memoryBytes: () => number;
  /** Who looks on; nobody: null. */
  readonly observer?: NodeObserver;
  /** One line for the node's log. */
  readonly report: Report;
}

export interface NodeConfig {
  readonly cluster: string;
  readonly id: NodeId;
  /** Where this node listens, as others reach it. */
  readonly address: string;
  /**
   * The members that the cluster is made with, this node among them; none on a node that waits to be
   * made a member. Means nothing once there is something in the log.
   */
  readonly peers: readonly { readonly id: NodeId; readonly address: string }[];
  readonly electionTimeoutMinMs: number;
  readonly electionTimeoutMaxMs: number;
  readonly heartbeatMs: number;
  /** The log is compacted when it holds more than this behind the applied index. */
  readonly snapshotLogBytes: number;
  readonly snapshotLogEntries: number;
  /** Entries kept behind a compaction for followers that lag a little. */
  readonly snapshotTailEntries: number;
  /** A session that was silent for this long is expired. */
  readonly sessionTimeoutMs: number;
  /** Where this node's page, events and metrics are, as others reach them. */
  readonly control?: string | null;
  /**
   * For how long clients may keep strong answers without asking (see Leases). A new leader answers
   * nothing for so long, so it must be the same on all nodes. 0: not at all. Default:
   * LEASE_MS_DEFAULT.
   */
  readonly leaseMs?: number;
  /**
   * `all`: nothing is committed before every live voter has it on disk (see LiveVoters), and every
   * live voter answers strong reads from its own tree. Then clients keep no answers: they would have
   * to be told by whoever answers. The same on all nodes. Default: majority.
   */
  readonly writeConcern?: WriteConcern;
}

/** A voter that lives may answer strong reads for so long without asking (`writeConcern` all). */
export const READ_LEASE_MS = 500;

/**
 * A client that vanished keeps those waiting that change what it may have kept, once and no longer
 * than this; an election takes about as long.
 */
export const LEASE_MS_DEFAULT = 200;
