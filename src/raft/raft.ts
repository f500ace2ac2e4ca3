import { assert } from '../base/assert.js';
import type { Random } from '../base/random.js';
import { Elections } from './elections.js';
import { Following } from './following.js';
import { HandOut } from './hand-out.js';
import { Leading } from './leading.js';
import { MemberChanges } from './member-changes.js';
import { NodeState } from './node-state.js';
import { Reads } from './reads.js';
import { Recovering } from './recovering.js';
import { Transfers } from './transfers.js';
import type {
  ChangeResult,
  ConfigurationAt,
  Entry,
  MemberChange,
  NodeId,
  ProposeResult,
  Raft,
  RaftConfig,
  RaftMessage,
  RaftStatus,
  Ready,
  Removed,
  RestoredState,
  SnapshotMark,
  TransferResult,
} from './types.js';
import { isWellFormed } from './well-formed.js';

export function createRaft(config: RaftConfig, restored: RestoredState, random: Random): Raft {
  return new Core(config, restored, random);
}

type Handlers = {
  readonly [T in RaftMessage['type']]: (message: Extract<RaftMessage, { type: T }>) => void;
};

/** Puts the parts together, and passes on to each what comes from outside. */
class Core implements Raft {
  private readonly node: NodeState;
  private readonly handOut: HandOut;
  private readonly elections: Elections;
  private readonly following: Following;
  private readonly leading: Leading;
  private readonly members: MemberChanges;
  private readonly transfers: Transfers;
  private readonly reads: Reads;
  private readonly recovering: Recovering;

  private readonly handlers: Handlers = {
    'pre-vote': (message) => this.elections.onPreVote(message),
    'pre-vote-reply': (message) => this.elections.onPreVoteReply(message),
    vote: (message) => this.elections.onVote(message),
    'vote-reply': (message) => this.elections.onVoteReply(message),
    append: (message) => this.following.onAppend(message),
    'append-reply': (message) => this.leading.onAppendReply(message),
    heartbeat: (message) => this.following.onHeartbeat(message),
    'heartbeat-reply': (message) => this.leading.onHeartbeatReply(message),
    'read-index': (message) => this.reads.onReadIndex(message),
    'read-index-reply': (message) => this.reads.onReadIndexReply(message),
    'timeout-now': (message) => this.transfers.onTimeoutNow(message),
    removed: () => this.members.onRemoved(),
  };

  constructor(config: RaftConfig, restored: RestoredState, random: Random) {
    assert(
      config.heartbeatTicks >= 1 &&
        config.electionTicksMin > config.heartbeatTicks &&
        config.electionTicksMax > config.electionTicksMin,
      'heartbeat < shortest election timeout < longest',
    );
    const node = new NodeState(config, restored, random, {
      onLeader: () => {
        this.recovering.forget();
        this.reads.answer(node.forwards.drop(), 0);
      },
      onReadersLeft: (readers) => this.reads.answerReaders(readers, 0),
      onCommit: () => this.recovering.maybeRecovered(),
    });
    this.node = node;
    this.handOut = new HandOut(node);
    this.elections = new Elections(node);
    this.following = new Following(node, this.handOut);
    this.reads = new Reads(node, (index) => this.recovering.onRecoveryIndex(index));
    this.recovering = new Recovering(node, this.handOut, this.reads, this.following);
    this.transfers = new Transfers(node, this.elections);
    this.members = new MemberChanges(node, this.transfers, this.reads);
    this.leading = new Leading(node, this.members, this.transfers, this.reads);
  }

  tick(): void {
    this.node.ticks++;
    this.node.silenceElapsed++;
    this.node.electionElapsed++;
    this.reads.answer(this.node.forwards.expired(this.node.ticks), 0);
    if (this.node.replication !== null) this.leading.tickLeader(this.node.replication);
    else if (this.node.recovering || !this.node.mayStand) this.tickBystander();
    else if (this.node.electionElapsed >= this.node.electionTimeout) this.elections.startPreVote();
    else if (
      this.node.role === 'pre-candidate' &&
      !this.node.standsAsLearner &&
      this.node.electionElapsed % this.node.config.heartbeatTicks === 0
    ) {
      this.elections.askForPreVotes();
    }
  }

  step(message: RaftMessage): void {
    const { config } = this.node;
    if (message.to !== config.id || message.from === config.id) return;
    if (!isWellFormed(message, config.configurations)) return;
    if (message.type === 'removed') {
      this.members.onRemoved();
      return;
    }
    // Everybody else is listened to, member or not by this node's own log: that log may be behind
    // (thesis §4.1). So is a leader that has removed itself, until it has handed over.
    const notice =
      message.from === this.node.leader ? null : this.members.removedNotice(message.from);
    if (notice !== null) {
      this.node.outbox.sendDurably(notice, 0);
      return;
    }
    if (message.type === 'pre-vote') {
      this.elections.onPreVote(message);
      return;
    }
    if (message.term < this.node.term) {
      this.onPastTerm(message);
      return;
    }
    // A granted pre-vote speaks of a term that nobody may ever reach.
    const changesTerm = !(message.type === 'pre-vote-reply' && message.granted);
    if (message.term > this.node.term && changesTerm) {
      if (message.type === 'vote' && this.elections.ignoresVotes(message)) return;
      this.node.becomeFollower(message.term);
    }
    // The record is complete by its type; the compiler cannot relate the key to the message.
    (this.handlers[message.type] as (message: RaftMessage) => void)(message);
  }

  propose(data: readonly Uint8Array[]): ProposeResult {
    return this.leading.propose(data);
  }

  waitFor(followers: readonly NodeId[]): void {
    this.leading.waitFor(followers);
  }

  changeMembers(changes: readonly MemberChange[]): ChangeResult {
    return this.members.changeMembers(changes);
  }

  transferLeadership(to: NodeId | null, options = { grantsOver: false }): TransferResult {
    return this.transfers.transferLeadership(to, options);
  }

  removedNotice(from: NodeId): Removed | null {
    return this.members.removedNotice(from);
  }

  readIndex(context: number): void {
    this.reads.readIndex(context);
  }

  bootstrap(termMin: number): void {
    this.recovering.bootstrap(termMin);
  }

  othersTerms(terms: ReadonlyMap<NodeId, number>): void {
    this.recovering.othersTerms(terms);
  }

  applied(index: number): void {
    this.handOut.applied(index);
  }

  campaign(): void {
    if (this.node.role !== 'leader' && !this.node.recovering && this.node.mayStand)
      this.elections.startPreVote();
  }

  stepDown(): void {
    if (this.node.role !== 'follower') this.node.becomeFollower(this.node.term);
    this.node.resetElectionTimer();
  }

  hasReady(): boolean {
    return (
      this.node.outbox.hasReady ||
      this.reads.confirmations.length > 0 ||
      this.node.forwards.canFlush ||
      this.handOut.due ||
      (this.node.replication !== null &&
        (this.node.replication.due ||
          this.node.replication.loads.length > 0 ||
          this.node.replication.snapshotsTo.length > 0))
    );
  }

  ready(): Ready {
    this.reads.flushReads();
    const { replication } = this.node;
    if (replication?.due) replication.flush(this.node.commitIndex);
    const saving = this.node.outbox.takeSave();
    const committed = this.handOut.takeCommitted();
    const ready: Ready = {
      messages: this.node.outbox.takeMessages(),
      messagesAfterSave: saving?.messages ?? [],
      save: saving?.save ?? null,
      ...committed,
      reads: this.reads.confirmations,
      loads: replication?.loads ?? [],
      snapshotsTo: replication?.snapshotsTo ?? [],
    };
    this.reads.confirmations = [];
    if (replication !== null) {
      replication.loads = [];
      replication.snapshotsTo = [];
    }
    return ready;
  }

  saved(number: number): void {
    this.node.outbox.saved(number);
    if (this.node.role === 'candidate' && this.node.outbox.hardStateDurable) {
      this.node.votes.set(this.node.config.id, true);
      this.elections.countVotes();
    }
    this.leading.advanceLeaderCommit();
    this.recovering.maybeRecovered();
  }

  loaded(to: NodeId, entries: readonly Entry[]): void {
    this.node.replication?.loaded(to, entries, this.node.commitIndex);
  }

  compacted(mark: SnapshotMark): void {
    if (mark.index > this.node.log.snapshot.index) this.node.log.compact(mark);
  }

  snapshotSent(to: NodeId, outcome: { readonly ok: boolean; readonly index: number }): void {
    this.node.replication?.snapshotSent(to, outcome.ok ? outcome.index : null);
  }

  wantsSnapshot(mark: SnapshotMark): boolean {
    return (
      mark.index > this.node.commitIndex && this.node.log.terms.termAt(mark.index) !== mark.term
    );
  }

  snapshotInstalled(
    from: NodeId,
    term: number,
    mark: SnapshotMark,
    configuration: ConfigurationAt,
  ): void {
    assert(this.wantsSnapshot(mark), 'only a snapshot that is wanted is installed');
    if (term > this.node.term) this.node.becomeFollower(term);
    // A leader's log holds all that is committed: nothing there is to be installed.
    else if (this.node.replication !== null) this.node.becomeFollower(this.node.term);
    this.node.outbox.dropAppendReplies();
    this.node.log.reset(mark);
    this.node.configurations.reset(configuration);
    this.node.learnIncarnation();
    this.node.commitIndex = mark.index;
    this.handOut.reset(mark.index);
    if (term === this.node.term) {
      this.node.matchedIndex = Math.max(this.node.matchedIndex, mark.index);
      this.following.sendAppendReply(from, { prevIndex: mark.index, match: mark.index });
    }
    this.recovering.maybeRecovered();
  }

  unreachable(peer: NodeId): void {
    this.node.replication?.unreachable(peer);
  }

  status(): RaftStatus {
    return {
      id: this.node.config.id,
      role: this.node.role,
      term: this.node.term,
      vote: this.node.outbox.hardState.vote,
      leader: this.node.leader,
      recovering: this.node.recovering,
      commitIndex: this.node.commitIndex,
      appliedIndex: this.node.log.appliedIndex,
      lastIndex: this.node.log.lastIndex,
      snapshotIndex: this.node.log.snapshot.index,
      configuration: this.node.configurations.latest,
      incarnation: this.node.outbox.hardState.incarnation,
      removed: this.node.removed,
      transferringTo: this.node.transfer?.to ?? null,
      grantsOver: this.node.role === 'leader' && this.node.grantsOverTerm === this.node.term,
      electionElapsedTicks: this.node.electionElapsed,
      electionTimeoutTicks: this.node.electionTimeout,
      followers: this.node.replication?.status() ?? [],
    };
  }

  termAt(index: number): number | null {
    return this.node.log.terms.termAt(index);
  }

  /** A leader or candidate of the past learns from the answer that it is one. */
  private onPastTerm(message: RaftMessage): void {
    const reply = { from: this.node.config.id, to: message.from, term: this.node.term };
    if (message.type === 'append' || message.type === 'heartbeat') {
      this.node.outbox.sendDurably({ type: 'heartbeat-reply', ...reply, context: 0 }, 0);
    } else if (message.type === 'vote' && !this.node.recovering && !this.node.hasLeader) {
      this.elections.replyToVote(message, false);
    } else if (message.type === 'read-index') {
      this.reads.refuseRead({ from: message.from, context: message.context });
    }
  }

  private tickBystander(): void {
    if (this.node.recovering) this.recovering.askRecoveryIndex();
    this.members.askWhetherRemoved();
  }
}
