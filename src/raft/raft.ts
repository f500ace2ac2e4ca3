import { assert } from '../base/assert.js';
import { MootError } from '../base/errors.js';
import { type Random, randomBetween } from '../base/random.js';
import { Configurations } from './configurations.js';
import { entryBytes, Log } from './log.js';
import { changed, isJoint, isRemoved, isVoter, leaveJoint, membersOf } from './membership.js';
import { Outbox } from './outbox.js';
import { tally, voterSets } from './quorum.js';
import { ForwardedReads, type Reader } from './read-index.js';
import { Replication } from './replication.js';
import type {
  Append,
  AppendReply,
  ChangeResult,
  Configuration,
  ConfigurationAt,
  Entry,
  EntryKind,
  Heartbeat,
  HeartbeatReply,
  MemberChange,
  NodeId,
  PreVote,
  PreVoteReply,
  ProposeResult,
  Raft,
  RaftConfig,
  RaftMessage,
  RaftStatus,
  ReadConfirmation,
  ReadIndexReply,
  ReadIndexRequest,
  Ready,
  Removed,
  RestoredState,
  Role,
  SnapshotMark,
  TimeoutNow,
  TransferResult,
  Vote,
  VoteReply,
} from './types.js';
import { isWellFormed } from './well-formed.js';

export function createRaft(config: RaftConfig, restored: RestoredState, random: Random): Raft {
  return new Core(config, restored, random);
}

const NO_DATA = new Uint8Array(0);

/** The context of a recovering node's own read request; a runtime's are its own, so never negative. */
const RECOVERY_CONTEXT = -1;

/** Of a read request whose answer nobody waits for. */
const NO_CONTEXT = 0;

type Handlers = {
  readonly [T in RaftMessage['type']]: (message: Extract<RaftMessage, { type: T }>) => void;
};

class Core implements Raft {
  private readonly log: Log;
  private readonly outbox: Outbox;
  private readonly forwards: ForwardedReads;
  private readonly configurations: Configurations;

  private role: Role = 'follower';
  private leader: NodeId | null = null;
  /** Not null exactly while this node leads. */
  private replication: Replication | null = null;
  /** The answers in this election, the own among them. */
  private readonly votes = new Map<NodeId, boolean>();

  private commitIndex: number;
  /** Entries up to here were given out for apply. */
  private handedOutIndex: number;
  /** Of what was given out and is not applied; entries read from disk by the runtime not counted. */
  private unappliedBytes = 0;
  /** Up to here the own log is known to be the present leader's. */
  private matchedIndex = 0;

  private ticks = 0;
  private electionElapsed = 0;
  private electionTimeout = 0;
  private heartbeatElapsed = 0;
  /** Since a leader was last heard from. */
  private silenceElapsed = 0;

  /** Recovering: a leader that was confirmed after our start had committed up to here. 0: not known yet. */
  private recoveryIndex = 0;
  private recoveryAsked = false;
  private readonly startedEmpty: boolean;
  /** Recovering: see `othersTerms`. */
  private termsOfOthers: ReadonlyMap<NodeId, number> = new Map();

  /** While this leader hands over: nothing is proposed, so that the other one can have the whole log. */
  private transfer: {
    readonly to: NodeId;
    readonly deadline: number;
    readonly grantsOver: boolean;
  } | null = null;
  /** The term for which this node was asked to stand by a leader that granted nothing any more. */
  private grantsOverTerm = 0;
  /** A member says so, by a committed configuration. */
  private toldRemoved = false;

  private confirmations: ReadConfirmation[] = [];

  private readonly handlers: Handlers = {
    'pre-vote': (message) => this.onPreVote(message),
    'pre-vote-reply': (message) => this.onPreVoteReply(message),
    vote: (message) => this.onVote(message),
    'vote-reply': (message) => this.onVoteReply(message),
    append: (message) => this.onAppend(message),
    'append-reply': (message) => this.onAppendReply(message),
    heartbeat: (message) => this.onHeartbeat(message),
    'heartbeat-reply': (message) => this.onHeartbeatReply(message),
    'read-index': (message) => this.onReadIndex(message),
    'read-index-reply': (message) => this.onReadIndexReply(message),
    'timeout-now': (message) => this.onTimeoutNow(message),
    removed: () => this.onRemoved(),
  };

  constructor(
    private readonly config: RaftConfig,
    restored: RestoredState,
    private readonly random: Random,
  ) {
    assert(
      config.heartbeatTicks >= 1 &&
        config.electionTicksMin > config.heartbeatTicks &&
        config.electionTicksMax > config.electionTicksMin,
      'heartbeat < shortest election timeout < longest',
    );
    this.log = new Log(restored, config.tailBytesMax);
    this.configurations = new Configurations(restored, config.configurations);
    this.outbox = new Outbox(restored.hardState, this.log);
    this.forwards = new ForwardedReads(random);
    this.commitIndex = restored.appliedIndex;
    this.handedOutIndex = restored.appliedIndex;
    this.startedEmpty = restored.hardState.recovering;
    this.resetElectionTimer();
    // There is nobody whom it could have promised anything.
    const members = membersOf(this.configuration);
    if (members.length === 1 && members[0]?.id === config.id) this.bootstrap(0);
  }

  // --- What the runtime calls -------------------------------------------------------------------

  tick(): void {
    this.ticks++;
    this.silenceElapsed++;
    this.electionElapsed++;
    this.answer(this.forwards.expired(this.ticks), 0);
    if (this.replication !== null) this.tickLeader(this.replication);
    else if (this.recovering || !this.mayStand) this.tickBystander();
    else if (this.electionElapsed >= this.electionTimeout) this.startPreVote();
    else if (
      this.role === 'pre-candidate' &&
      this.electionElapsed % this.config.heartbeatTicks === 0
    ) {
      this.askForPreVotes();
    }
  }

  step(message: RaftMessage): void {
    const { config } = this;
    if (message.to !== config.id || message.from === config.id) return;
    if (!isWellFormed(message, config.configurations)) return;
    if (message.type === 'removed') {
      this.onRemoved();
      return;
    }
    // Everybody else is listened to, member or not by this node's own log: that log may be behind
    // (thesis §4.1). So is a leader that has removed itself, until it has handed over.
    const notice = message.from === this.leader ? null : this.removedNotice(message.from);
    if (notice !== null) {
      this.outbox.sendDurably(notice, 0);
      return;
    }
    if (message.type === 'pre-vote') {
      this.onPreVote(message);
      return;
    }
    if (message.term < this.term) {
      this.onPastTerm(message);
      return;
    }
    // A granted pre-vote speaks of a term that nobody may ever reach.
    const changesTerm = !(message.type === 'pre-vote-reply' && message.granted);
    if (message.term > this.term && changesTerm) {
      if (message.type === 'vote' && this.ignoresVotes(message)) return;
      this.becomeFollower(message.term);
    }
    // The record is complete by its type; the compiler cannot relate the key to the message.
    (this.handlers[message.type] as (message: RaftMessage) => void)(message);
  }

  propose(data: readonly Uint8Array[]): ProposeResult {
    const { replication } = this;
    if (replication === null) return { ok: false, reason: 'not-leader' };
    if (this.transfer !== null) return { ok: false, reason: 'transferring' };
    let bytes = 0;
    for (const one of data) bytes += one.byteLength;
    // Something larger than the bound still gets through when it is alone.
    const { pinnedBytes } = this.log;
    if (pinnedBytes > 0 && pinnedBytes + bytes > this.config.uncommittedBytesMax) {
      return { ok: false, reason: 'full' };
    }
    const first = this.log.lastIndex + 1;
    const term = this.term;
    for (const one of data) this.append(replication, 'command', one);
    return { ok: true, first, term };
  }

  waitFor(followers: readonly NodeId[]): void {
    this.replication?.waitFor(followers);
    this.advanceLeaderCommit();
  }

  changeMembers(changes: readonly MemberChange[]): ChangeResult {
    const { replication, transfer } = this;
    const { latest } = this.configurations;
    if (replication === null) {
      return { ok: false, reason: 'not-leader', message: 'this node does not lead' };
    }
    if (!this.hasCommittedInTerm || transfer !== null) {
      return { ok: false, reason: 'busy', message: 'the leader is taking or leaving office' };
    }
    if (latest.index > this.commitIndex || isJoint(latest.configuration)) {
      return { ok: false, reason: 'busy', message: 'another change of the members is under way' };
    }
    const next = changed(latest.configuration, changes);
    if (typeof next === 'string') return { ok: false, reason: 'refused', message: next };
    if (next === latest.configuration) return { ok: true, index: latest.index };
    const behind = next.voters.find(
      ({ id }) => !isVoter(latest.configuration, id) && !replication.isCaughtUp(id),
    );
    if (behind !== undefined) {
      return { ok: false, reason: 'behind', message: `'${behind.id}' has not caught up yet` };
    }
    // Whoever is away or without memory now may stay so, and then nothing could be decided any more.
    const able = next.voters.filter(({ id }) => id === this.config.id || replication.isAble(id));
    if (next.voters !== latest.configuration.voters && able.length * 2 <= next.voters.length) {
      const message = `of the voters after it only ${able.length} of ${next.voters.length} answer`;
      return { ok: false, reason: 'busy', message };
    }
    return { ok: true, index: this.appendConfiguration(replication, next) };
  }

  transferLeadership(to: NodeId | null, { grantsOver } = { grantsOver: false }): TransferResult {
    const { replication, configuration } = this;
    if (replication === null) {
      return { ok: false, reason: 'not-leader', message: 'this node does not lead' };
    }
    if (to === this.config.id) return { ok: true, to };
    if (this.transfer !== null) {
      if (to === null || to === this.transfer.to) return { ok: true, to: this.transfer.to };
      const message = `leadership is being handed over to '${this.transfer.to}'`;
      return { ok: false, reason: 'busy', message };
    }
    const { voters } = configuration;
    const target = to ?? replication.bestSuccessor(voters);
    if (target === null) {
      return { ok: false, reason: 'refused', message: 'no other voter could take over' };
    }
    if (!voters.some(({ id }) => id === target)) {
      return { ok: false, reason: 'refused', message: `'${target}' is no voter` };
    }
    const deadline = this.ticks + this.config.electionTicksMax;
    this.transfer = { to: target, deadline, grantsOver };
    this.handOver(replication);
    return { ok: true, to: target };
  }

  removedNotice(from: NodeId): Removed | null {
    if (!isRemoved(this.configurations.committed.configuration, from)) return null;
    return { type: 'removed', ...this.sender(), to: from };
  }

  readIndex(context: number): void {
    if (this.replication !== null) this.replication.reads.ask({ from: null, context });
    else if (this.leader !== null) this.forwards.ask(context);
    else this.answer([context], 0);
    this.markDue();
  }

  campaign(): void {
    if (this.role !== 'leader' && !this.recovering && this.mayStand) this.startPreVote();
  }

  stepDown(): void {
    if (this.role !== 'follower') this.becomeFollower(this.term);
    this.resetElectionTimer();
  }

  bootstrap(termMin: number): void {
    // A log that is not empty came from a leader: then the cluster is not new.
    if (!this.recovering || this.log.lastIndex > 0) return;
    const term = Math.max(this.term, termMin);
    this.outbox.setHardState({ term, vote: this.config.id, recovering: false });
  }

  othersTerms(terms: ReadonlyMap<NodeId, number>): void {
    this.termsOfOthers = terms;
    this.maybeRecovered();
  }

  hasReady(): boolean {
    return (
      this.outbox.hasReady ||
      this.confirmations.length > 0 ||
      this.forwards.canFlush ||
      this.handedOutIndex < this.committableIndex ||
      (this.replication !== null &&
        (this.replication.due ||
          this.replication.loads.length > 0 ||
          this.replication.snapshotsTo.length > 0))
    );
  }

  ready(): Ready {
    this.flushReads();
    const { replication } = this;
    if (replication?.due) replication.flush(this.commitIndex);
    const saving = this.outbox.takeSave();
    const committed = this.takeCommitted();
    const ready: Ready = {
      messages: this.outbox.takeMessages(),
      messagesAfterSave: saving?.messages ?? [],
      save: saving?.save ?? null,
      ...committed,
      reads: this.confirmations,
      loads: replication?.loads ?? [],
      snapshotsTo: replication?.snapshotsTo ?? [],
    };
    this.confirmations = [];
    if (replication !== null) {
      replication.loads = [];
      replication.snapshotsTo = [];
    }
    return ready;
  }

  saved(number: number): void {
    this.outbox.saved(number);
    if (this.role === 'candidate' && this.outbox.hardStateDurable) {
      this.votes.set(this.config.id, true);
      this.countVotes();
    }
    this.advanceLeaderCommit();
    this.maybeRecovered();
  }

  applied(index: number): void {
    assert(index <= this.handedOutIndex, 'only what was given out is applied');
    if (index <= this.log.appliedIndex) return;
    for (let i = this.log.appliedIndex + 1; i <= index; i++) {
      this.unappliedBytes -= this.log.bytesAt(i);
    }
    this.log.applied(index);
  }

  loaded(to: NodeId, entries: readonly Entry[]): void {
    this.replication?.loaded(to, entries, this.commitIndex);
  }

  compacted(mark: SnapshotMark): void {
    if (mark.index > this.log.snapshot.index) this.log.compact(mark);
  }

  snapshotSent(to: NodeId, outcome: { readonly ok: boolean; readonly index: number }): void {
    this.replication?.snapshotSent(to, outcome.ok ? outcome.index : null);
  }

  wantsSnapshot(mark: SnapshotMark): boolean {
    return mark.index > this.commitIndex && this.log.terms.termAt(mark.index) !== mark.term;
  }

  snapshotInstalled(
    from: NodeId,
    term: number,
    mark: SnapshotMark,
    configuration: ConfigurationAt,
  ): void {
    assert(this.wantsSnapshot(mark), 'only a snapshot that is wanted is installed');
    if (term > this.term) this.becomeFollower(term);
    // A leader's log holds all that is committed: nothing there is to be installed.
    else if (this.replication !== null) this.becomeFollower(this.term);
    this.outbox.dropAppendReplies();
    this.log.reset(mark);
    this.configurations.reset(configuration);
    this.commitIndex = mark.index;
    this.handedOutIndex = mark.index;
    this.unappliedBytes = 0;
    if (term === this.term) {
      this.matchedIndex = Math.max(this.matchedIndex, mark.index);
      this.sendAppendReply(from, { prevIndex: mark.index, match: mark.index });
    }
    this.maybeRecovered();
  }

  unreachable(peer: NodeId): void {
    this.replication?.unreachable(peer);
  }

  status(): RaftStatus {
    return {
      id: this.config.id,
      role: this.role,
      term: this.term,
      vote: this.outbox.hardState.vote,
      leader: this.leader,
      recovering: this.recovering,
      commitIndex: this.commitIndex,
      appliedIndex: this.log.appliedIndex,
      lastIndex: this.log.lastIndex,
      snapshotIndex: this.log.snapshot.index,
      configuration: this.configurations.latest,
      removed: this.removed,
      transferringTo: this.transfer?.to ?? null,
      grantsOver: this.role === 'leader' && this.grantsOverTerm === this.term,
      electionElapsedTicks: this.electionElapsed,
      electionTimeoutTicks: this.electionTimeout,
      followers: this.replication?.status() ?? [],
    };
  }

  termAt(index: number): number | null {
    return this.log.terms.termAt(index);
  }

  // --- Elections (thesis §3.4, §9.6, §4.2.3) -----------------------------------------------------

  private get term(): number {
    return this.outbox.hardState.term;
  }

  private get recovering(): boolean {
    return this.outbox.hardState.recovering;
  }

  private get configuration(): Configuration {
    return this.configurations.latest.configuration;
  }

  private get voterPeers(): readonly NodeId[] {
    const ids = new Set(voterSets(this.configuration).flat());
    ids.delete(this.config.id);
    return [...ids];
  }

  /**
   * A voter by any configuration that may still turn out to be the one that counts: the others may
   * lack the entry that removes this node, and nobody but this node could then commit it (thesis
   * §4.2.2). Everybody else would only disturb.
   */
  private get mayStand(): boolean {
    const { id } = this.config;
    return !this.removed && this.configurations.possible.some((one) => isVoter(one, id));
  }

  private get removed(): boolean {
    const { id } = this.config;
    // While it leads it still has to hand over.
    if (this.replication !== null) return false;
    return this.toldRemoved || isRemoved(this.configurations.committed.configuration, id);
  }

  /** Leader stickiness: while a leader is there, nobody is helped to replace it (thesis §4.2.3). */
  private get hasLeader(): boolean {
    return (
      this.role === 'leader' ||
      (this.leader !== null && this.silenceElapsed < this.config.electionTicksMin)
    );
  }

  private isUpToDate(candidate: PreVote | Vote): boolean {
    const { lastTerm, lastIndex } = this.log;
    return (
      candidate.lastTerm > lastTerm ||
      (candidate.lastTerm === lastTerm && candidate.lastIndex >= lastIndex)
    );
  }

  private startPreVote(): void {
    this.role = 'pre-candidate';
    this.setLeader(null);
    this.resetElectionTimer();
    this.votes.clear();
    this.votes.set(this.config.id, true);
    this.askForPreVotes();
    this.countVotes();
  }

  /**
   * Asks whoever has not answered. Again and again: who heard from the lost leader a little later
   * than this node says nothing yet, and to wait another timeout for that is time without service.
   */
  private askForPreVotes(): void {
    for (const to of this.voterPeers) {
      if (this.votes.has(to)) continue;
      this.outbox.send({ type: 'pre-vote', to, ...this.candidacy(this.term + 1) });
    }
  }

  private startElection({ transfer }: Pick<Vote, 'transfer'>): void {
    const term = this.term + 1;
    this.role = 'candidate';
    this.setLeader(null);
    this.resetElectionTimer();
    this.votes.clear();
    this.outbox.setHardState({ ...this.outbox.hardState, term, vote: this.config.id });
    // The own vote counts, and others are asked for theirs, once it is durable: after a crash this
    // node must not vote for somebody else in a term in which it was elected.
    for (const to of this.voterPeers) {
      this.outbox.sendDurably({ type: 'vote', to, transfer, ...this.candidacy(term) }, 0);
    }
  }

  private candidacy(term: number) {
    const { lastIndex, lastTerm } = this.log;
    return { from: this.config.id, term, lastIndex, lastTerm };
  }

  private onPreVote(message: PreVote): void {
    if (this.recovering || this.hasLeader) return;
    const granted = message.term > this.term && this.isUpToDate(message);
    this.outbox.sendDurably(
      {
        type: 'pre-vote-reply',
        from: this.config.id,
        to: message.from,
        term: granted ? message.term : this.term,
        granted,
      },
      0,
    );
  }

  private onPreVoteReply(message: PreVoteReply): void {
    if (this.role !== 'pre-candidate') return;
    if (message.granted && message.term !== this.term + 1) return;
    this.votes.set(message.from, message.granted);
    this.countVotes();
  }

  /** It does not even learn the term from them. */
  private ignoresVotes(message: Vote): boolean {
    return this.recovering || (this.hasLeader && !message.transfer);
  }

  private onVote(message: Vote): void {
    if (this.recovering) return;
    const { vote } = this.outbox.hardState;
    const free = vote === message.from || (vote === null && this.leader === null);
    const granted = free && this.isUpToDate(message);
    if (granted) {
      if (vote === null) {
        this.outbox.setHardState({ ...this.outbox.hardState, vote: message.from });
      }
      this.resetElectionTimer();
    }
    this.replyToVote(message, granted);
  }

  private replyToVote(message: Vote, granted: boolean): void {
    const { from, term } = this.sender();
    this.outbox.sendDurably({ type: 'vote-reply', from, to: message.from, term, granted }, 0);
  }

  private onVoteReply(message: VoteReply): void {
    if (this.role !== 'candidate') return;
    this.votes.set(message.from, message.granted);
    this.countVotes();
  }

  private countVotes(): void {
    const result = tally(this.votes, voterSets(this.configuration));
    if (result === 'lost') this.becomeFollower(this.term);
    else if (result === 'won' && this.role === 'pre-candidate')
      this.startElection({ transfer: false });
    // With others' votes alone it could win before its own is durable; then it waits for that.
    else if (result === 'won' && this.votes.has(this.config.id)) this.becomeLeader();
  }

  private becomeLeader(): void {
    this.role = 'leader';
    this.votes.clear();
    this.setLeader(this.config.id);
    this.resetElectionTimer();
    this.heartbeatElapsed = 0;
    const { config, log, outbox, term, configuration } = this;
    this.replication = new Replication(config, log, outbox, term, configuration);
    // Its commit commits what earlier terms left, and lets readers in (thesis §3.6.2, §6.4).
    this.append(this.replication, 'empty', NO_DATA);
  }

  private becomeFollower(term: number): void {
    if (term > this.term) {
      this.outbox.setHardState({ term, vote: null, recovering: this.recovering });
    }
    const { replication } = this;
    this.replication = null;
    this.transfer = null;
    this.role = 'follower';
    this.votes.clear();
    this.setLeader(null);
    this.resetElectionTimer();
    if (replication !== null) this.answerReaders(replication.reads.drop(), 0);
  }

  private followLeader(leader: NodeId): boolean {
    if (this.role === 'leader' || (this.leader !== null && this.leader !== leader)) return false;
    if (this.role !== 'follower') this.becomeFollower(this.term);
    this.setLeader(leader);
    this.resetElectionTimer();
    this.silenceElapsed = 0;
    return true;
  }

  /** What the old leader was asked and has not answered, nobody answers any more. */
  private setLeader(leader: NodeId | null): void {
    if (this.leader === leader) return;
    this.leader = leader;
    this.matchedIndex = 0;
    this.recoveryIndex = 0;
    this.answer(this.forwards.drop(), 0);
  }

  private resetElectionTimer(): void {
    const { electionTicksMin, electionTicksMax } = this.config;
    this.electionElapsed = 0;
    this.electionTimeout = randomBetween(this.random, electionTicksMin, electionTicksMax);
  }

  private tickLeader(replication: Replication): void {
    if (this.electionElapsed >= this.config.electionTicksMax) {
      this.electionElapsed = 0;
      if (!replication.checkQuorum()) {
        this.becomeFollower(this.term);
        return;
      }
      this.promoteLearner(replication);
    }
    if (this.transfer !== null && this.ticks >= this.transfer.deadline) {
      this.transfer = null;
      if (isVoter(this.configuration, this.config.id)) this.settleMembership(replication);
      else this.becomeFollower(this.term);
      if (this.replication === null) return;
    }
    if (++this.heartbeatElapsed >= this.config.heartbeatTicks) {
      this.heartbeatElapsed = 0;
      replication.heartbeat(this.commitIndex);
      // The word that it may stand may have been lost.
      this.handOver(replication);
    } else {
      replication.tellCommit(this.commitIndex);
    }
  }

  /** A leader or candidate of the past learns from the answer that it is one. */
  private onPastTerm(message: RaftMessage): void {
    const reply = { from: this.config.id, to: message.from, term: this.term };
    if (message.type === 'append' || message.type === 'heartbeat') {
      this.outbox.sendDurably({ type: 'heartbeat-reply', ...reply, context: 0 }, 0);
    } else if (message.type === 'vote' && !this.recovering && !this.hasLeader) {
      this.replyToVote(message, false);
    } else if (message.type === 'read-index') {
      this.refuseRead({ from: message.from, context: message.context });
    }
  }

  // --- Replication (thesis §3.5, §3.6) -----------------------------------------------------------

  private onAppend(message: Append): void {
    if (!this.followLeader(message.from)) return;
    const { log } = this;
    const { prevIndex, prevTerm, entries } = message;
    this.checkCommitted(prevIndex, prevTerm);
    for (const { index, term } of entries) this.checkCommitted(index, term);
    const last = prevIndex + entries.length;
    // What is committed is the same everywhere: only what lies behind it is looked at.
    if (prevIndex > this.commitIndex && log.terms.termAt(prevIndex) !== prevTerm) {
      this.refuseAppend(message.from, prevIndex, prevTerm);
      return;
    }
    // Too far behind with applying: dropped as if the network had, and sent again in a while. What is
    // not committed must not count: more of it may be what a commit waits for.
    if (entries.length > 0 && this.unappliedBytes > this.config.uncommittedBytesMax) return;
    for (let i = Math.max(0, this.commitIndex - prevIndex); i < entries.length; i++) {
      const entry = entries[i];
      assert(entry !== undefined, 'entries have no holes');
      if (log.terms.termAt(entry.index) === entry.term) continue;
      if (entry.index <= log.lastIndex) {
        log.truncate(entry.index);
        this.configurations.truncate(entry.index);
      }
      log.append(entry);
      if (entry.kind === 'configuration') this.configurations.append(entry);
    }
    const match = Math.max(last, this.commitIndex);
    this.matchedIndex = Math.max(this.matchedIndex, match);
    this.commitTo(Math.min(message.commit, match));
    this.sendAppendReply(message.from, { prevIndex, match });
  }

  /**
   * What is committed here is committed everywhere, as long as all nodes are of one cluster. Another
   * one that goes by the same name must not be mixed with it.
   */
  private checkCommitted(index: number, term: number): void {
    if (index > this.commitIndex) return;
    const own = this.log.terms.termAt(index);
    if (own === null || own === term) return;
    throw new MootError(
      'DATA_CORRUPT',
      `entry ${index} is committed, with term ${own} here and ${term} at the leader '${this.leader}': ` +
        'they are of different clusters, or one of them has lost data',
    );
  }

  private refuseAppend(leader: NodeId, prevIndex: number, prevTerm: number): void {
    const { terms, lastIndex } = this.log;
    const hintIndex = Math.max(
      Math.min(this.commitIndex, lastIndex),
      terms.lastAtMost(Math.min(prevIndex, lastIndex), prevTerm),
    );
    this.outbox.sendDurably(
      {
        type: 'append-reply',
        ...this.sender(),
        to: leader,
        prevIndex,
        success: false,
        match: 0,
        hintIndex,
        hintTerm: terms.termAt(hintIndex) ?? 0,
        recovering: this.recovering,
      },
      0,
    );
  }

  private sendAppendReply(
    to: NodeId,
    { prevIndex, match }: Pick<AppendReply, 'prevIndex' | 'match'>,
  ) {
    const { recovering } = this;
    const reply = { prevIndex, match, success: true, hintIndex: 0, hintTerm: 0, recovering };
    this.outbox.sendDurably({ type: 'append-reply', ...this.sender(), to, ...reply }, match);
  }

  private sender() {
    return { from: this.config.id, term: this.term };
  }

  private onAppendReply(message: AppendReply): void {
    if (this.replication === null) return;
    this.replication.onAppendReply(message);
    this.advanceLeaderCommit();
    if (this.replication !== null && message.from === this.transfer?.to) {
      this.handOver(this.replication);
    }
  }

  private onHeartbeat(message: Heartbeat): void {
    if (!this.followLeader(message.from)) return;
    // The leader says no more than what this node has acknowledged in this term. Acknowledgements
    // from before a restart are in the log; those from before a loss of the disk are not.
    const held = this.startedEmpty
      ? Math.max(this.matchedIndex, this.commitIndex)
      : this.log.lastIndex;
    if (message.commit <= held) this.commitTo(message.commit);
    // So it must look again.
    else this.refuseAppend(message.from, message.commit, this.term);
    const { recovering } = this;
    // To a leader's claim that it leads still, a node that forgot what it promised says nothing.
    const context = recovering ? 0 : message.context;
    const reply = { type: 'heartbeat-reply', ...this.sender(), to: message.from, context } as const;
    this.outbox.sendDurably(reply, 0);
  }

  private onHeartbeatReply(message: HeartbeatReply): void {
    this.replication?.onHeartbeatReply(message);
    this.finishReadRound();
  }

  private advanceLeaderCommit(): void {
    if (this.replication === null) return;
    const index = this.replication.replicatedIndex();
    // By counting, only entries of the own term are committed (thesis §3.6.2, figure 8).
    if (index <= this.commitIndex || this.log.terms.termAt(index) !== this.term) return;
    this.replication.committed();
    const before = this.configurations.committed;
    this.commitTo(index);
    this.tellRemoved(before, this.configurations.committed);
    this.settleMembership(this.replication);
  }

  private get hasCommittedInTerm(): boolean {
    return this.log.terms.termAt(this.commitIndex) === this.term;
  }

  private append(replication: Replication, kind: EntryKind, data: Uint8Array): Entry {
    const entry = { index: this.log.lastIndex + 1, term: this.term, kind, data };
    replication.append(entry);
    return entry;
  }

  private commitTo(index: number): void {
    if (index <= this.commitIndex) return;
    assert(index <= this.log.lastIndex, 'what is committed is in the log');
    this.commitIndex = index;
    this.configurations.commit(index);
    this.maybeRecovered();
  }

  /** Committed, and durable here. */
  private get committableIndex(): number {
    return Math.min(this.commitIndex, this.log.savedIndex);
  }

  private takeCommitted(): Pick<Ready, 'committed' | 'committedFromLog'> {
    const first = this.handedOutIndex + 1;
    const last = this.committableIndex;
    if (first > last) return { committed: [], committedFromLog: null };
    const { firstInMemory } = this.log;
    const committed =
      last >= firstInMemory ? this.log.slice(Math.max(first, firstInMemory), last) : [];
    for (const entry of committed) this.unappliedBytes += entryBytes(entry);
    this.handedOutIndex = last;
    const committedFromLog =
      first < firstInMemory ? { first, last: Math.min(last, firstInMemory - 1) } : null;
    return { committed, committedFromLog };
  }

  // --- Members and handing over (thesis §4.2, §4.3, §3.10) ----------------------------------------

  private appendConfiguration(replication: Replication, configuration: Configuration): number {
    const data = this.config.configurations.encode(configuration);
    const entry = this.append(replication, 'configuration', data);
    this.configurations.append(entry);
    replication.configure(configuration);
    // Those whose answer was missing may be needed no more.
    this.finishReadRound();
    return entry.index;
  }

  /** What follows for a leader from what is committed now. */
  private settleMembership(replication: Replication): void {
    const { latest } = this.configurations;
    if (latest.index > this.commitIndex || !this.hasCommittedInTerm || this.transfer !== null) {
      return;
    }
    if (isJoint(latest.configuration)) {
      this.appendConfiguration(replication, leaveJoint(latest.configuration));
    } else if (!isVoter(latest.configuration, this.config.id)) {
      // Removed by what it has just committed: it goes (thesis §4.2.2), and leaves a leader behind.
      // Should that fail, the others' election timeouts find one.
      if (this.transferLeadership(null).ok) return;
      this.becomeFollower(this.term);
    }
  }

  /** They get no entry any more, so they would not learn it from the log. */
  private tellRemoved(before: ConfigurationAt, after: ConfigurationAt): void {
    if (before === after) return;
    for (const to of after.configuration.removed) {
      const left = isRemoved(after.configuration, to) && !isRemoved(before.configuration, to);
      if (!left || to === this.config.id) continue;
      this.outbox.sendDurably({ type: 'removed', ...this.sender(), to }, 0);
    }
  }

  /** One at a time: the next one when this change is through. */
  private promoteLearner(replication: Replication): void {
    const { learners } = this.configuration;
    const ready = learners.find(({ id, promote }) => promote && replication.isCaughtUp(id));
    if (ready !== undefined) this.changeMembers([{ type: 'promote', id: ready.id }]);
  }

  private handOver(replication: Replication): void {
    const { transfer } = this;
    if (transfer === null || !replication.hasWholeLog(transfer.to)) return;
    const { to, grantsOver } = transfer;
    this.outbox.sendDurably({ type: 'timeout-now', ...this.sender(), to, grantsOver }, 0);
  }

  private onTimeoutNow(message: TimeoutNow): void {
    if (!this.followLeader(message.from) || this.recovering || !this.mayStand) return;
    this.startElection({ transfer: true });
    // No other leader can have been between.
    if (message.grantsOver) this.grantsOverTerm = this.term;
  }

  private tickBystander(): void {
    if (this.recovering) this.askRecoveryIndex();
    this.askWhetherRemoved();
  }

  /**
   * Who does not stand hears nothing any more once it is removed, so it asks now and then: to the
   * others it is one that wants to read, and they tell one that they have removed.
   */
  private askWhetherRemoved(): void {
    if (this.removed || this.silenceElapsed % this.config.electionTicksMax !== 0) return;
    for (const to of this.voterPeers) {
      this.outbox.sendDurably({ type: 'read-index', ...this.sender(), to, context: NO_CONTEXT }, 0);
    }
  }

  private onRemoved(): void {
    this.toldRemoved = true;
    if (this.role !== 'follower') this.becomeFollower(this.term);
  }

  // --- Reads (thesis §6.4) -----------------------------------------------------------------------

  private onReadIndex({ from, context }: ReadIndexRequest): void {
    if (this.replication === null) {
      this.refuseRead({ from, context });
      return;
    }
    this.replication.reads.ask({ from, context });
    this.markDue();
  }

  private onReadIndexReply(message: ReadIndexReply): void {
    if (message.from === this.leader) {
      this.answer(this.forwards.answered(message.context), message.index);
    }
  }

  private flushReads(): void {
    const { replication, leader } = this;
    if (replication !== null) {
      // Before that it does not know what the leaders before it have committed.
      if (this.hasCommittedInTerm && replication.reads.canBegin) {
        replication.beginReadRound(this.commitIndex);
        // A majority of one.
        this.finishReadRound();
      }
    } else if (leader !== null && this.forwards.canFlush) {
      const context = this.forwards.flush(this.ticks + this.config.electionTicksMin);
      this.outbox.sendDurably({ type: 'read-index', ...this.sender(), to: leader, context }, 0);
    }
  }

  private finishReadRound(): void {
    const done = this.replication?.endReadRound() ?? null;
    if (done === null) return;
    this.answerReaders(done.readers, done.index);
    this.markDue();
  }

  private markDue(): void {
    if (this.replication !== null) this.replication.due = true;
  }

  private answerReaders(readers: readonly Reader[], index: number): void {
    for (const { from, context } of readers) {
      if (from === null) this.confirmations.push({ context, index });
      else this.replyToRead(from, context, index);
    }
  }

  private answer(contexts: readonly number[], index: number): void {
    for (const context of contexts) {
      if (context === RECOVERY_CONTEXT) this.onRecoveryIndex(index);
      else this.confirmations.push({ context, index });
    }
  }

  private refuseRead({ from, context }: { from: NodeId; context: number }): void {
    this.replyToRead(from, context, 0);
  }

  private replyToRead(to: NodeId, context: number, index: number): void {
    this.outbox.sendDurably({ type: 'read-index-reply', ...this.sender(), to, context, index }, 0);
  }

  // --- Recovering (see HardState.recovering) -----------------------------------------------------

  /**
   * A read index that was asked for after the start proves that a majority of others, which have
   * forgotten nothing, followed this leader after the disk was lost. So it has all that was committed
   * with copies that are lost.
   */
  private askRecoveryIndex(): void {
    if (this.recoveryAsked || this.recoveryIndex > 0 || this.leader === null) return;
    this.recoveryAsked = true;
    this.forwards.ask(RECOVERY_CONTEXT);
  }

  private onRecoveryIndex(index: number): void {
    this.recoveryAsked = false;
    this.recoveryIndex = index;
    this.maybeRecovered();
  }

  /**
   * Before its disk was lost it may have voted for any other voter, in terms up to the present one of
   * that. A learner was asked by nobody: no voter becomes a learner, and no id is used twice.
   */
  private mayHaveVotedBeyond(term: number): boolean {
    const { id } = this.config;
    return this.configurations.possible
      .filter((configuration) => isVoter(configuration, id))
      .flatMap((configuration) => voterSets(configuration).flat())
      .some(
        (voter) =>
          voter !== id && (this.termsOfOthers.get(voter) ?? Number.POSITIVE_INFINITY) > term,
      );
  }

  private maybeRecovered(): void {
    if (!this.recovering || this.recoveryIndex === 0 || this.leader === null) return;
    if (this.committableIndex < this.recoveryIndex) return;
    if (this.mayHaveVotedBeyond(this.term)) return;
    // The leader won this term: a vote for anybody else in it could only be a second one. A vote that
    // is remembered, given before a crash in the middle of taking in a snapshot, stays given.
    const vote = this.outbox.hardState.vote ?? this.leader;
    this.outbox.setHardState({ term: this.term, vote, recovering: false });
    // From now on what it acknowledged counts.
    this.sendAppendReply(this.leader, { prevIndex: this.matchedIndex, match: this.matchedIndex });
  }
}
