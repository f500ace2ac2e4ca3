import { assert } from '../base/assert.js';
import { entryBytes, type Log } from './log.js';
import { membersOf } from './membership.js';
import type { Outbox } from './outbox.js';
import { InFlight, Progress } from './progress.js';
import { majorityOf, quorumIndex, voterSets } from './quorum.js';
import { LeaderReads, type Reader } from './read-index.js';
import type {
  AppendReply,
  Configuration,
  Entry,
  FollowerStatus,
  HeartbeatReply,
  LoadRequest,
  Member,
  NodeId,
  RaftConfig,
} from './types.js';

/**
 * What a node does and knows while it leads, in one term: streams its log to the followers, counts
 * their copies, and confirms by rounds of heartbeats that it still leads.
 */
export class Replication {
  readonly reads = new LeaderReads();
  /** Something may have to be sent: `flush` finds out what. */
  due = true;
  loads: LoadRequest[] = [];
  snapshotsTo: NodeId[] = [];

  /** All other members. */
  private followers: readonly Progress[] = [];
  private byId: ReadonlyMap<NodeId, Progress> = new Map();
  /** The voters whose majorities are needed; null stands for this node. */
  private quorums: readonly (readonly (Progress | null)[])[] = [];
  private awaited: readonly Progress[] = [];
  private readonly reached: number[] = [];
  /** The end of the log when the quorum was last checked. */
  private checkedLast = Number.POSITIVE_INFINITY;

  constructor(
    private readonly config: RaftConfig,
    private readonly log: Log,
    private readonly outbox: Outbox,
    private readonly term: number,
    configuration: Configuration,
  ) {
    this.configure(configuration);
  }

  /** From now on these are the members. What is known of those who stay is kept. */
  configure(configuration: Configuration): void {
    const { config, byId } = this;
    const others = membersOf(configuration).filter(({ id }) => id !== config.id);
    this.followers = others.map(({ id }) => byId.get(id) ?? this.createProgress(id));
    this.byId = new Map(this.followers.map((follower) => [follower.id, follower]));
    this.awaited = this.awaited.filter(({ id }) => this.byId.has(id));
    this.quorums = voterSets(configuration).map((ids) =>
      ids.map((id) => this.byId.get(id) ?? null),
    );
    this.due = true;
  }

  private createProgress(id: NodeId): Progress {
    const { inFlightMessagesMax, inFlightBytesMax } = this.config;
    const window = new InFlight(inFlightMessagesMax, inFlightBytesMax);
    return new Progress(id, this.log.lastIndex + 1, window);
  }

  append(entry: Entry): void {
    this.log.append(entry);
    this.due = true;
  }

  /** See Raft.waitFor. */
  waitFor(ids: readonly NodeId[]): void {
    this.awaited = this.followers.filter(({ id }) => ids.includes(id));
  }

  /**
   * The last index that every majority that is needed has on disk. The own copy counts like any
   * other: when it is saved, and where this node is a voter.
   */
  replicatedIndex(): number {
    const { reached, log } = this;
    let index = Number.POSITIVE_INFINITY;
    for (const voters of this.quorums) {
      reached.length = 0;
      for (const voter of voters) {
        reached.push(voter === null ? log.savedIndex : voter.counts ? voter.match : 0);
      }
      index = Math.min(index, quorumIndex(reached));
    }
    for (const { match } of this.awaited) index = Math.min(index, match);
    return index;
  }

  committed(): void {
    this.due = true;
  }

  /** True when a majority was heard from since the last call; an election timeout lies between two. */
  checkQuorum(): boolean {
    const held = this.everyMajority((follower) => follower.recentlyActive);
    for (const follower of this.followers) {
      follower.caughtUp =
        follower.recentlyActive && follower.counts && follower.match >= this.checkedLast;
      follower.wasActive = follower.recentlyActive;
      follower.recentlyActive = false;
    }
    this.checkedLast = this.log.lastIndex;
    return held;
  }

  isCaughtUp(id: NodeId): boolean {
    return this.byId.get(id)?.caughtUp ?? false;
  }

  /** It answers, and its copies count. */
  isAble(id: NodeId): boolean {
    const follower = this.byId.get(id);
    if (follower === undefined) return false;
    return follower.counts && follower.answers;
  }

  /** It has the whole log, and on disk: its election cannot fail for want of entries. */
  hasWholeLog(id: NodeId): boolean {
    const follower = this.byId.get(id);
    if (follower === undefined) return false;
    return follower.counts && follower.match === this.log.lastIndex;
  }

  /** Who of `voters` could take over soonest; null when nobody answers. */
  bestSuccessor(voters: readonly Member[]): NodeId | null {
    let best: Progress | null = null;
    for (const { id } of voters) {
      const follower = this.byId.get(id);
      if (!follower?.counts || !follower.answers) continue;
      if (best === null || follower.match > best.match) best = follower;
    }
    return best?.id ?? null;
  }

  private everyMajority(holds: (follower: Progress) => boolean): boolean {
    return this.quorums.every((voters) => {
      let count = 0;
      for (const voter of voters) if (voter === null || holds(voter)) count++;
      return count >= majorityOf(voters.length);
    });
  }

  /** The regular heartbeat: from now on an append that stays unanswered is suspected to be lost. */
  heartbeat(commitIndex: number): void {
    for (const follower of this.followers) {
      this.sendHeartbeat(follower, commitIndex);
      follower.silent = true;
    }
  }

  /**
   * Followers that no append has told of the commit index by now, so that their readers need not
   * wait for the regular heartbeat. Under load the next append tells them in time: a message of its
   * own for every commit would take the processors from the commits.
   */
  tellCommit(commitIndex: number): void {
    for (const follower of this.followers) {
      if (follower.commitTold < Math.min(follower.match, commitIndex)) {
        this.sendHeartbeat(follower, commitIndex);
      }
    }
  }

  beginReadRound(commitIndex: number): void {
    this.reads.begin(commitIndex);
    for (const follower of this.followers) this.sendHeartbeat(follower, commitIndex);
  }

  /** Who may read at which index now. */
  endReadRound(): { readonly readers: readonly Reader[]; readonly index: number } | null {
    if (!this.reads.inRound) return null;
    const confirmed = this.everyMajority((follower) => follower.readRound >= this.reads.round);
    return confirmed ? this.reads.end() : null;
  }

  flush(commitIndex: number): void {
    this.due = false;
    for (const follower of this.followers) this.stream(follower, commitIndex);
  }

  onAppendReply(reply: AppendReply): void {
    const follower = this.byId.get(reply.from);
    if (follower === undefined) return;
    follower.recentlyActive = true;
    follower.silent = false;
    follower.counts = !reply.recovering;
    this.due = true;
    if (reply.success) this.onSuccess(follower, reply);
    else this.onFailure(follower, reply);
  }

  onHeartbeatReply(reply: HeartbeatReply): void {
    const follower = this.byId.get(reply.from);
    if (follower === undefined) return;
    // Its snapshot may have waited for a sign of life.
    if (!follower.recentlyActive) this.due = true;
    follower.recentlyActive = true;
    if (reply.context <= this.reads.round) {
      follower.readRound = Math.max(follower.readRound, reply.context);
    }
    if (!follower.silent) return;
    follower.silent = false;
    this.recoverFromLoss(follower);
  }

  loaded(to: NodeId, entries: readonly Entry[], commitIndex: number): void {
    const follower = this.byId.get(to);
    if (follower === undefined || !follower.loading) return;
    follower.loading = false;
    this.due = true;
    if (follower.state !== 'replicate') return;
    const last = entries.at(-1);
    if (last === undefined) {
      // Compacted away, or will be in a moment: a round trip of a probe later we know.
      follower.becomeProbe(follower.match + 1);
      return;
    }
    // An answer to a question of long ago may be of a log that was replaced since; by the log
    // matching property its last entry speaks for all before it.
    if (entries[0]?.index !== follower.next || this.log.terms.termAt(last.index) !== last.term)
      return;
    // Compacted away meanwhile: what stands before them is not known any more.
    if (follower.next <= this.log.snapshot.index) return;
    let bytes = 0;
    for (const entry of entries) bytes += entryBytes(entry);
    this.sendEntries(follower, entries, bytes, commitIndex);
  }

  snapshotSent(to: NodeId, index: number | null): void {
    const follower = this.byId.get(to);
    if (follower?.state !== 'snapshot') return;
    this.due = true;
    if (index === null) {
      // Tried again when it shows the next sign of life.
      follower.becomeProbe(follower.match + 1);
      follower.awaiting = true;
    } else {
      follower.becomeProbe(Math.min(Math.max(follower.match, index), this.log.lastIndex) + 1);
    }
  }

  unreachable(peer: NodeId): void {
    const follower = this.byId.get(peer);
    if (follower?.state !== 'replicate') return;
    follower.becomeProbe(follower.match + 1);
    this.due = true;
  }

  status(): FollowerStatus[] {
    return this.followers.map((follower) => ({
      id: follower.id,
      match: follower.match,
      next: follower.next,
      state: follower.state,
      inFlightMessages: follower.inFlight.messages,
      inFlightBytes: follower.inFlight.bytes,
      recentlyActive: follower.recentlyActive,
      counts: follower.counts,
    }));
  }

  private onSuccess(follower: Progress, reply: AppendReply): void {
    const { match } = reply;
    if (match > this.log.lastIndex) return;
    const late = match < follower.match;
    follower.match = Math.max(follower.match, match);
    follower.next = Math.max(follower.next, follower.match + 1);
    follower.inFlight.acknowledge(match);
    if (late) return;
    if (follower.state === 'probe') follower.becomeReplicate();
    // The log is enough again, whatever the stream of the snapshot does.
    else if (follower.state === 'snapshot' && match >= this.log.snapshot.index) {
      follower.becomeReplicate();
    }
  }

  /**
   * Back-up by term (thesis §3.5, end): the follower names the last place that may agree from its
   * side, we go on to the last that may agree from ours. So each round trip skips a whole term.
   */
  private onFailure(follower: Progress, reply: AppendReply): void {
    const { prevIndex, hintIndex, hintTerm } = reply;
    if (hintIndex > prevIndex) return;
    const next = Math.max(
      1,
      Math.min(prevIndex, this.log.terms.lastAtMost(hintIndex, hintTerm) + 1),
    );
    if (follower.state === 'replicate') {
      // Refusing what it once had: an old reply, or its disk was lost. The probe tells which.
      follower.becomeProbe(Math.max(next, follower.match + 1));
    } else if (follower.state === 'probe' && prevIndex === follower.next - 1) {
      follower.becomeProbe(next);
      // A probe at `match` was refused: what we knew of this follower is not so any more.
      follower.match = Math.min(follower.match, next - 1);
    }
  }

  /** It answers heartbeats and not appends: an append or its reply was lost, or its disk is slow. */
  private recoverFromLoss(follower: Progress): void {
    const compacted = follower.next <= this.log.snapshot.index;
    if (follower.state === 'probe' || compacted) {
      follower.awaiting = false;
      this.due = true;
    } else if (follower.state === 'replicate' && follower.match < follower.next - 1) {
      // An empty append behind all that was sent: it is refused if something before it was lost.
      this.sendAppend(follower, [], 0);
    }
  }

  private stream(follower: Progress, commitIndex: number): void {
    const { log, config } = this;
    if (follower.state === 'snapshot' || follower.awaiting) return;
    if (follower.next <= log.snapshot.index) {
      // Nobody is there to take it otherwise.
      if (!follower.recentlyActive) return;
      follower.becomeSnapshot();
      this.snapshotsTo.push(follower.id);
      return;
    }
    if (follower.state === 'probe') {
      const { next } = follower;
      const inMemory = next >= log.firstInMemory && next <= log.lastIndex;
      const last = inMemory ? log.lastWithin(next, config.appendBytesMax).last : next - 1;
      follower.awaiting = true;
      this.sendAppend(follower, inMemory ? log.slice(next, last) : [], commitIndex);
      return;
    }
    while (follower.next <= log.lastIndex && !follower.inFlight.full && !follower.loading) {
      const first = follower.next;
      if (first < log.firstInMemory) {
        follower.loading = true;
        this.loads.push({
          to: follower.id,
          first,
          last: log.firstInMemory - 1,
          bytesMax: config.appendBytesMax,
        });
        break;
      }
      const { last, bytes } = log.lastWithin(first, config.appendBytesMax);
      this.sendEntries(follower, log.slice(first, last), bytes, commitIndex);
    }
  }

  private sendEntries(
    follower: Progress,
    entries: readonly Entry[],
    bytes: number,
    commitIndex: number,
  ): void {
    const last = follower.next + entries.length - 1;
    this.sendAppend(follower, entries, commitIndex);
    follower.inFlight.add(last, bytes);
    follower.next = last + 1;
    follower.commitTold = Math.max(follower.commitTold, Math.min(commitIndex, last));
  }

  private sendAppend(follower: Progress, entries: readonly Entry[], commit: number): void {
    const prevIndex = follower.next - 1;
    const prevTerm = this.log.terms.termAt(prevIndex);
    assert(prevTerm !== null, 'the entry before an append is in the log');
    this.outbox.send({
      type: 'append',
      from: this.config.id,
      to: follower.id,
      term: this.term,
      prevIndex,
      prevTerm,
      commit,
      entries,
    });
  }

  private sendHeartbeat(follower: Progress, commitIndex: number): void {
    const commit = Math.min(follower.match, commitIndex);
    follower.commitTold = Math.max(follower.commitTold, commit);
    this.outbox.send({
      type: 'heartbeat',
      from: this.config.id,
      to: follower.id,
      term: this.term,
      commit,
      context: this.reads.round,
    });
  }
}
