import { assert } from '../base/assert.js';
import { type Random, randomBetween } from '../base/random.js';
import { Configurations } from './configurations.js';
import { Log } from './log.js';
import { isRemoved, isVoter, membersOf } from './membership.js';
import { Outbox } from './outbox.js';
import { voterSets } from './quorum.js';
import { ForwardedReads, type Reader } from './read-index.js';
import { Replication } from './replication.js';
import type {
  Configuration,
  Entry,
  EntryKind,
  NodeId,
  RaftConfig,
  RestoredState,
  Role,
} from './types.js';

const NO_DATA = new Uint8Array(0);
/** So many of the longest election timeouts voters have to elect one of them. */
const LEARNER_WAITS = 4;

export interface NodeEvents {
  /** Another leader is known, or none: what the last one was asked and has not answered, nobody answers. */
  onLeader(): void;
  /** This node leads no longer: they wait in vain. */
  onReadersLeft(readers: readonly Reader[]): void;
  /** More is known to be committed. */
  onCommit(): void;
}

/**
 * What one node is at the moment, with its log, and the steps by which that changes: the one thing
 * that all parts of the core share.
 */
export class NodeState {
  readonly log: Log;
  readonly outbox: Outbox;
  readonly forwards: ForwardedReads;
  readonly configurations: Configurations;
  role: Role = 'follower';
  leader: NodeId | null = null;
  /** Not null exactly while this node leads. */
  replication: Replication | null = null;
  /** The answers in this election, the own among them. */
  readonly votes = new Map<NodeId, boolean>();
  commitIndex: number;
  /** Up to here the own log is known to be the present leader's. */
  matchedIndex = 0;
  ticks = 0;
  electionElapsed = 0;
  electionTimeout = 0;
  heartbeatElapsed = 0;
  /** Since a leader was last heard from. */
  silenceElapsed = 0;
  readonly startedEmpty: boolean;
  /** While this leader hands over: nothing is proposed, so that the other one can have the whole log. */
  transfer: {
    readonly to: NodeId;
    readonly deadline: number;
    readonly grantsOver: boolean;
  } | null = null;
  /** The term for which this node was asked to stand by a leader that granted nothing any more. */
  grantsOverTerm = 0;
  /** A member says so, by a committed configuration. */
  toldRemoved = false;
  /** A learner whose entries voters lack, and nobody leads them: see `noteOlderLog`. */
  standsAsLearner = false;

  constructor(
    readonly config: RaftConfig,
    restored: RestoredState,
    readonly random: Random,
    private readonly events: NodeEvents,
  ) {
    this.log = new Log(restored, config.tailBytesMax);
    this.configurations = new Configurations(restored, config.configurations);
    this.outbox = new Outbox(restored.hardState, this.log);
    this.forwards = new ForwardedReads(random);
    this.commitIndex = restored.appliedIndex;
    this.startedEmpty = restored.hardState.recovering;
    this.resetElectionTimer();
  }

  get term(): number {
    return this.outbox.hardState.term;
  }

  get recovering(): boolean {
    return this.outbox.hardState.recovering;
  }

  get configuration(): Configuration {
    return this.configurations.latest.configuration;
  }

  /** All members but this node, by its own log. */
  get peers(): readonly NodeId[] {
    const ids = new Set(membersOf(this.configuration).map(({ id }) => id));
    ids.delete(this.config.id);
    return [...ids];
  }

  get voterPeers(): readonly NodeId[] {
    const ids = new Set(voterSets(this.configuration).flat());
    ids.delete(this.config.id);
    return [...ids];
  }

  /**
   * A voter by any configuration that may still turn out to be the one that counts: the others may
   * lack the entry that removes this node, and nobody but this node could then commit it (thesis
   * §4.2.2). Everybody else would only disturb.
   */
  get mayStand(): boolean {
    const { id } = this.config;
    if (this.removed) return false;
    return this.standsAsLearner || this.configurations.possible.some((one) => isVoter(one, id));
  }

  /**
   * A candidate is refused whose log is older. It may need the vote of this node, by a configuration
   * that only the candidate has, and nobody else may have so much: a voter was lost that had told a
   * learner more than the others. Then the learner stands, which is as safe as if it were none: it
   * needs the voters' majority, and does not count itself. Voters come first; and who leads and is
   * none hands over at once.
   */
  noteOlderLog(): void {
    const { learners } = this.configuration;
    if (this.silenceElapsed < LEARNER_WAITS * this.config.electionTicksMax) return;
    this.standsAsLearner = learners.some(({ id }) => id === this.config.id);
  }

  get removed(): boolean {
    const { id } = this.config;
    // While it leads it still has to hand over.
    if (this.replication !== null) return false;
    return this.toldRemoved || isRemoved(this.configurations.committed.configuration, id);
  }

  /** Leader stickiness: while a leader is there, nobody is helped to replace it (thesis §4.2.3). */
  get hasLeader(): boolean {
    return (
      this.role === 'leader' ||
      (this.leader !== null && this.silenceElapsed < this.config.electionTicksMin)
    );
  }

  becomeLeader(): void {
    this.role = 'leader';
    this.votes.clear();
    this.setLeader(this.config.id);
    this.resetElectionTimer();
    this.silenceElapsed = 0;
    this.heartbeatElapsed = 0;
    const { config, log, outbox, term, configuration } = this;
    this.replication = new Replication(config, log, outbox, term, configuration);
    // Its commit commits what earlier terms left, and lets readers in (thesis §3.6.2, §6.4).
    this.append(this.replication, 'empty', NO_DATA);
  }

  becomeFollower(term: number): void {
    if (term > this.term) {
      this.outbox.setHardState({ ...this.outbox.hardState, term, vote: null });
    }
    const { replication } = this;
    this.replication = null;
    this.transfer = null;
    this.role = 'follower';
    this.votes.clear();
    this.setLeader(null);
    this.resetElectionTimer();
    if (replication !== null) this.events.onReadersLeft(replication.reads.drop());
  }

  followLeader(leader: NodeId): boolean {
    if (this.role === 'leader' || (this.leader !== null && this.leader !== leader)) return false;
    if (this.role !== 'follower') this.becomeFollower(this.term);
    this.setLeader(leader);
    this.resetElectionTimer();
    this.silenceElapsed = 0;
    return true;
  }

  setLeader(leader: NodeId | null): void {
    if (leader !== null) this.standsAsLearner = false;
    if (this.leader === leader) return;
    this.leader = leader;
    this.matchedIndex = 0;
    this.events.onLeader();
  }

  resetElectionTimer(): void {
    const { electionTicksMin, electionTicksMax } = this.config;
    this.electionElapsed = 0;
    this.electionTimeout = randomBetween(this.random, electionTicksMin, electionTicksMax);
  }

  sender() {
    return { from: this.config.id, term: this.term };
  }

  get hasCommittedInTerm(): boolean {
    return this.log.terms.termAt(this.commitIndex) === this.term;
  }

  append(replication: Replication, kind: EntryKind, data: Uint8Array): Entry {
    const entry = { index: this.log.lastIndex + 1, term: this.term, kind, data };
    replication.append(entry);
    return entry;
  }

  commitTo(index: number): void {
    if (index <= this.commitIndex) return;
    assert(index <= this.log.lastIndex, 'what is committed is in the log');
    this.commitIndex = index;
    this.configurations.commit(index);
    this.learnIncarnation();
    this.events.onCommit();
  }

  /** What is committed nobody takes back; an entry that is only in the log another one may replace. */
  learnIncarnation(): void {
    const { incarnation } = this.configurations.committed.configuration;
    const { hardState } = this.outbox;
    // Entries of before a recovery say another one than the node that was recovered.
    if (incarnation === 0 || hardState.incarnation !== 0) return;
    this.outbox.setHardState({ ...hardState, incarnation });
  }
}
