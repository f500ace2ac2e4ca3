/**
 * What goes into the consensus core and what comes out of it. Words are those of the Raft thesis
 * (Ongaro, "Consensus: Bridging Theory and Practice", 2014). All indexes and terms are whole
 * numbers below 2^53; index 0 and term 0 stand before the first entry.
 */

/** A node's name within its cluster, for ever: 1–64 characters of [A-Za-z0-9._-]. */
export type NodeId = string;

export type EntryKind = 'command' | 'empty' | 'configuration';

/** One record of the replicated log. The core looks into `data` of kind 'configuration' only. */
export interface Entry {
  readonly index: number;
  readonly term: number;
  readonly kind: EntryKind;
  readonly data: Uint8Array;
}

/** What must be on disk before any message that depends on it leaves. One atomic record. */
export interface HardState {
  readonly term: number;
  readonly vote: NodeId | null;
  /**
   * True on a node that started with an empty data directory and has not yet caught up: it may
   * have promised something before its disk was lost, so it neither votes nor stands, and its
   * copies of entries do not count towards a commit. It ends when a majority of others has
   * confirmed a leader after this node's start, this node has all that was committed by then, and
   * every other voter has said, since the start, that its term is not beyond the present one: so a
   * vote that was given before the loss is from a term in which this node votes no more.
   */
  readonly recovering: boolean;
  /**
   * Of the cluster that this node is of (see Configuration); 0: not known yet. Here as well, since a
   * node that starts does not know at once what of its log is committed, and must know by then whom
   * it may listen to.
   */
  readonly incarnation: number;
}

/** The log's last index that a snapshot stands for, and that entry's term. */
export interface SnapshotMark {
  readonly index: number;
  readonly term: number;
}

/** A run of entries with one term: `first` is the first index of `term`; it lasts until the next run. */
export interface TermRun {
  readonly term: number;
  readonly first: number;
}

/** A node, and where other nodes and clients reach it. */
export interface Member {
  readonly id: NodeId;
  /** host:port */
  readonly address: string;
}

/** A member that is sent the log and counts for nothing yet (thesis §4.2.1). */
export interface Learner extends Member {
  /** The leader makes it a voter as soon as it has caught up. */
  readonly promote: boolean;
  /** The voter that leaves in the same step, so that no majority has to do with both. */
  readonly replaces: NodeId | null;
}

/**
 * Who decides. Changes go by joint consensus (thesis §4.3): between the entry of the joint
 * configuration and that of the new one, both the old and the new majority are needed. A
 * configuration is in force as soon as its entry is in the log, committed or not (thesis §4.1), and
 * goes with the entry when that is replaced. Before the first such entry (index 0) it is the set of
 * nodes that the cluster was made with.
 */
export interface Configuration {
  readonly voters: readonly Member[];
  /** While a change is under way, the voters before it; empty otherwise. */
  readonly outgoing: readonly Member[];
  readonly learners: readonly Learner[];
  /**
   * Every id that ever left, or leaves with the change under way. An id stands for what its node
   * has promised, so none is used again.
   */
  readonly removed: readonly NodeId[];
  /**
   * Which cluster this is, whatever it is called: drawn by its first leader, and anew when it is
   * rebuilt from one survivor (node/recover.ts). What was committed in one incarnation says nothing
   * in another, so nodes of two refuse each other. 0: not drawn yet.
   */
  readonly incarnation: number;
}

/** A configuration and the index of its entry; 0: the first one. */
export interface ConfigurationAt {
  readonly index: number;
  readonly configuration: Configuration;
}

/** The form of a configuration in an entry. */
export interface ConfigurationCodec {
  encode(configuration: Configuration): Uint8Array;
  /** null for bytes that are none. */
  decode(data: Uint8Array): Configuration | null;
}

/** What may be asked for; what is already so is granted without a change. */
export type MemberChange =
  /** A learner; for a member, its new address. */
  | ({ readonly type: 'add' } & Learner)
  /** A learner that has caught up becomes a voter. */
  | { readonly type: 'promote'; readonly id: NodeId }
  | { readonly type: 'remove'; readonly id: NodeId };

/** What a node remembers when it starts. */
export interface RestoredState {
  readonly hardState: HardState;
  /** Everything up to here is compacted away and lives in the state store. */
  readonly snapshot: SnapshotMark;
  readonly lastIndex: number;
  /** The terms of the entries from snapshot.index + 1 to lastIndex. Empty for an empty log. */
  readonly termRuns: readonly TermRun[];
  /**
   * What the state store has applied; from snapshot.index to lastIndex. A crash between the import
   * of a snapshot and LogStore.reset leaves a log that does not hold the state store's mark: the
   * runtime resets the log to that mark first.
   */
  readonly appliedIndex: number;
  /** In force at appliedIndex. Without voters on a node that waits to be made a member. */
  readonly configuration: ConfigurationAt;
  /** All entries of kind 'configuration' in the log, in order. */
  readonly configurationEntries: readonly Entry[];
}

export interface RaftConfig {
  readonly id: NodeId;
  readonly configurations: ConfigurationCodec;
  /** An election times out after a random number of ticks in [min, max). */
  readonly electionTicksMin: number;
  readonly electionTicksMax: number;
  readonly heartbeatTicks: number;
  /** Per follower: AppendEntries on the way and unanswered. */
  readonly inFlightMessagesMax: number;
  readonly inFlightBytesMax: number;
  /** Entries' bytes in one AppendEntries (one entry may be larger). */
  readonly appendBytesMax: number;
  /**
   * Bytes in the log that are not committed, not durable here or not applied: they are in memory.
   * Beyond it a leader's `propose` refuses. A follower takes no more when so much is committed and
   * not applied.
   */
  readonly uncommittedBytesMax: number;
  /** Entries' bytes kept in memory behind the applied index, for followers that lag a little. */
  readonly tailBytesMax: number;
}

export type Role = 'follower' | 'pre-candidate' | 'candidate' | 'leader';

interface MessageBase {
  readonly from: NodeId;
  readonly to: NodeId;
  /** The sender's term; for pre-votes, the term that the sender would stand in. */
  readonly term: number;
}

/** Thesis §9.6: would you vote for me? Changes nothing at the receiver. */
export interface PreVote extends MessageBase {
  readonly type: 'pre-vote';
  readonly lastIndex: number;
  readonly lastTerm: number;
}
export interface PreVoteReply extends MessageBase {
  readonly type: 'pre-vote-reply';
  readonly granted: boolean;
}
/** Thesis §3.4. */
export interface Vote extends MessageBase {
  readonly type: 'vote';
  readonly lastIndex: number;
  readonly lastTerm: number;
  /** The leader asked for this election: its followers need not protect it (thesis §4.2.3). */
  readonly transfer: boolean;
}
export interface VoteReply extends MessageBase {
  readonly type: 'vote-reply';
  readonly granted: boolean;
}
/** AppendEntries, thesis §3.5. */
export interface Append extends MessageBase {
  readonly type: 'append';
  readonly prevIndex: number;
  readonly prevTerm: number;
  readonly commit: number;
  readonly entries: readonly Entry[];
}
export interface AppendReply extends MessageBase {
  readonly type: 'append-reply';
  /** The prevIndex of the append that is answered. */
  readonly prevIndex: number;
  readonly success: boolean;
  /** On success: the last index that is on this follower's disk and known to match. */
  readonly match: number;
  /** On failure: where the follower's log may agree; the leader goes back by whole terms. */
  readonly hintIndex: number;
  readonly hintTerm: number;
  /** HardState.recovering of the sender: its copies do not count towards a commit yet. */
  readonly recovering: boolean;
}
/** Keeps followers from standing and carries the commit index; `context` confirms ReadIndex rounds. */
export interface Heartbeat extends MessageBase {
  readonly type: 'heartbeat';
  readonly commit: number;
  readonly context: number;
}
export interface HeartbeatReply extends MessageBase {
  readonly type: 'heartbeat-reply';
  readonly context: number;
}
/** A follower asks the leader for a read index on behalf of its own readers (thesis §6.4). */
export interface ReadIndexRequest extends MessageBase {
  readonly type: 'read-index';
  readonly context: number;
}
export interface ReadIndexReply extends MessageBase {
  readonly type: 'read-index-reply';
  readonly context: number;
  /** 0: cannot be answered now; ask again. */
  readonly index: number;
}

/** From a leader that hands over to a follower that has its whole log: stand now (thesis §3.10). */
export interface TimeoutNow extends MessageBase {
  readonly type: 'timeout-now';
  /** See Raft.transferLeadership. */
  readonly grantsOver: boolean;
}
/** To a node that is no longer a member, by a committed configuration: it may stop. */
export interface Removed extends MessageBase {
  readonly type: 'removed';
}

export type RaftMessage =
  | PreVote
  | PreVoteReply
  | Vote
  | VoteReply
  | Append
  | AppendReply
  | Heartbeat
  | HeartbeatReply
  | ReadIndexRequest
  | ReadIndexReply
  | TimeoutNow
  | Removed;

/** A read that was asked for with `readIndex(context)`. */
export interface ReadConfirmation {
  readonly context: number;
  /**
   * The state at this applied index or later answers the read. 0 when it was refused because the
   * leader is unknown or changed: the reader asks again.
   */
  readonly index: number;
}

/** Entries that the core needs again and no longer holds; the answer goes to `loaded`. */
export interface LoadRequest {
  readonly to: NodeId;
  readonly first: number;
  readonly last: number;
  readonly bytesMax: number;
}

/**
 * All that happened since the last call of `ready`. The runtime
 *   1. sends `messages` at once (they promise nothing that is not on disk already),
 *   2. writes `save` in one durable batch and then calls `saved` with its number, in order
 *      (several saves may be collected into one disk sync),
 *   3. after that save is durable, sends `messagesAfterSave` (there are none without a `save`),
 *   4. applies `committed`, in order, and calls `applied`.
 * Sends and saves run in parallel: a leader's disk works while its followers' do.
 */
export interface Ready {
  readonly messages: readonly RaftMessage[];
  readonly messagesAfterSave: readonly RaftMessage[];
  readonly save: Save | null;
  /**
   * Committed entries not handed out before, in order; all are durable in this node's own log, so
   * that the state store never gets ahead of it.
   */
  readonly committed: readonly Entry[];
  /** A committed range that is no longer in memory: the runtime reads it from the log and applies it first. */
  readonly committedFromLog: { readonly first: number; readonly last: number } | null;
  readonly reads: readonly ReadConfirmation[];
  readonly loads: readonly LoadRequest[];
  /** Followers whose next entry is compacted away: the runtime streams a snapshot to each. */
  readonly snapshotsTo: readonly NodeId[];
}

export interface Save {
  /** Counts up by one with every save. */
  readonly number: number;
  readonly hardState: HardState | null;
  /** Entries at and behind this index are to be deleted first; null when nothing conflicts. */
  readonly truncateFrom: number | null;
  readonly entries: readonly Entry[];
}

/** What a person or a test may look at; nothing in the core depends on it. */
export interface RaftStatus {
  readonly id: NodeId;
  readonly role: Role;
  readonly term: number;
  readonly vote: NodeId | null;
  readonly leader: NodeId | null;
  readonly recovering: boolean;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly lastIndex: number;
  readonly snapshotIndex: number;
  /** The one in force. */
  readonly configuration: ConfigurationAt;
  /** See HardState. */
  readonly incarnation: number;
  /** This node was removed from the cluster, for ever: there is nothing more that it could do. */
  readonly removed: boolean;
  /** At a leader that hands over: to whom. */
  readonly transferringTo: NodeId | null;
  /** This leader took over from one that granted nothing any more; see Raft.transferLeadership. */
  readonly grantsOver: boolean;
  /** Ticks since the election timer was set, and at how many it runs out. A leader has none that matters. */
  readonly electionElapsedTicks: number;
  readonly electionTimeoutTicks: number;
  /** At the leader: what it knows of every other member. */
  readonly followers: readonly FollowerStatus[];
}

export interface FollowerStatus {
  readonly id: NodeId;
  readonly match: number;
  readonly next: number;
  readonly state: 'probe' | 'replicate' | 'snapshot';
  readonly inFlightMessages: number;
  readonly inFlightBytes: number;
  readonly recentlyActive: boolean;
  /** False while it recovers: its copies are not part of a majority. */
  readonly counts: boolean;
}

export type ProposeResult =
  | { readonly ok: true; readonly first: number; readonly term: number }
  | { readonly ok: false; readonly reason: 'not-leader' | 'full' | 'transferring' };

/** `reason` 'busy' and 'behind' may be tried again as they are; 'refused' never helps. */
export type ChangeResult =
  /**
   * The change is complete when the configuration at `index` or a later one is committed and has no
   * `outgoing`.
   */
  | { readonly ok: true; readonly index: number }
  | {
      readonly ok: false;
      readonly reason: 'not-leader' | 'busy' | 'behind' | 'refused';
      /** For people. */
      readonly message: string;
    };

export type TransferResult =
  | { readonly ok: true; readonly to: NodeId }
  | {
      readonly ok: false;
      readonly reason: 'not-leader' | 'busy' | 'refused';
      readonly message: string;
    };

/**
 * The consensus core: a synchronous state machine without time, disk, network or chance of its own.
 * Implemented by `createRaft` in raft.ts.
 */
export interface Raft {
  /** One unit of time passed. */
  tick(): void;
  /** Throws DATA_CORRUPT when a leader has something else than what is committed here. */
  step(message: RaftMessage): void;
  /**
   * Appends entries with these payloads, in order, if this node leads. Full: too much is not
   * committed, saved or applied; worth another try after the next `saved` or `applied`.
   */
  propose(data: readonly Uint8Array[]): ProposeResult;
  /**
   * Begins a change of the members, all of `changes` as one. One at a time, and only after an entry
   * of the leader's own term is committed: otherwise two leaders could each begin one from a
   * different past, and have majorities that do not meet (thesis §4.1 and its erratum).
   */
  changeMembers(changes: readonly MemberChange[]): ChangeResult;
  /**
   * Hands leadership over to a voter, the best one when none is named (thesis §3.10). Until that is
   * done, or an election timeout has passed, nothing can be proposed. `grantsOver`: what this leader
   * and those before it promised to clients for some time (leases) is over, and it promises nothing
   * more in this term, whatever becomes of the transfer; the next leader learns that.
   */
  transferLeadership(to: NodeId | null, options?: { readonly grantsOver: boolean }): TransferResult;
  /** What to answer to any message from `from` when it is no member any more; null: it may be one. */
  removedNotice(from: NodeId): Removed | null;
  /**
   * From now on, as long as this node leads in this term, nothing is committed that these followers
   * do not have on disk, besides a majority. A new leader waits for nobody until it is told.
   */
  waitFor(followers: readonly NodeId[]): void;
  /** Asks for a read index; the answer comes in `ready().reads` under the same context. */
  readIndex(context: number): void;
  /** Stand at once, as if the election timeout had passed (pre-vote first). */
  campaign(): void;
  /** Leads no longer and does not stand until `tick` has run an election timeout: its disk stalls or fails. */
  stepDown(): void;
  /** A node that started empty learns that the whole cluster is new (see HardState.recovering). */
  bootstrap(termMin: number): void;
  /**
   * A recovering node learns in which term others were when it asked them after its start. Whoever
   * had asked it for a vote before that was in the term of that vote by then, or in a later one. All
   * that is known by now, at every call; none of what others sent to the node that ran here before
   * this one may arrive after the answer (a new connection ends the older one).
   */
  othersTerms(terms: ReadonlyMap<NodeId, number>): void;
  /** True when `ready` has something to say. */
  hasReady(): boolean;
  ready(): Ready;
  /** The save with this number is durable; so are all before it. */
  saved(number: number): void;
  /** All entries up to here are applied; their memory may go. */
  applied(index: number): void;
  /** The one answer to each LoadRequest; empty when they are compacted away meanwhile. */
  loaded(to: NodeId, entries: readonly Entry[]): void;
  /** The log was compacted: nothing up to `mark` can be loaded any more. */
  compacted(mark: SnapshotMark): void;
  /** The snapshot stream to `to` ended: once for each of `snapshotsTo`. On success the follower has state up to `index`. */
  snapshotSent(to: NodeId, outcome: { readonly ok: boolean; readonly index: number }): void;
  /**
   * False when the own log holds that entry or it is known to be committed: then a snapshot there
   * would throw away entries that this node has promised to keep. Such a stream is answered as
   * installed without being installed; the leader goes on from the log.
   */
  wantsSnapshot(mark: SnapshotMark): boolean;
  /**
   * This node's state store now stands at a snapshot from leader `from` in `term`, which says the
   * configuration; the log starts again behind it. The runtime, in this order: asks `wantsSnapshot` when the stream is complete;
   * from then on steps no 'append' and calls no `ready`; waits for the saves and applies under way,
   * and reports them as always; finishes the import; calls LogStore.reset(mark); then this. What
   * the core has not handed out by then it forgets, and `saved` for what it has changes nothing.
   */
  snapshotInstalled(
    from: NodeId,
    term: number,
    mark: SnapshotMark,
    configuration: ConfigurationAt,
  ): void;
  /** Nothing is known to arrive at this peer: probe it instead of streaming to it. */
  unreachable(peer: NodeId): void;
  status(): RaftStatus;
  /** The term of the entry at `index`; null when it is compacted away or not there. */
  termAt(index: number): number | null;
}
