import type { MemberChanges } from './member-changes.js';
import { isVoter } from './membership.js';
import type { NodeState } from './node-state.js';
import type { Reads } from './reads.js';
import type { Replication } from './replication.js';
import type { Transfers } from './transfers.js';
import type { AppendReply, HeartbeatReply, NodeId, ProposeResult } from './types.js';

/** What a node does while it leads: proposes, counts copies, commits, and sees whether it still leads. */
export class Leading {
  constructor(
    private readonly node: NodeState,
    private readonly members: MemberChanges,
    private readonly transfers: Transfers,
    private readonly reads: Reads,
  ) {}

  propose(data: readonly Uint8Array[]): ProposeResult {
    const { replication } = this.node;
    if (replication === null) return { ok: false, reason: 'not-leader' };
    if (this.node.transfer !== null) return { ok: false, reason: 'transferring' };
    let bytes = 0;
    for (const one of data) bytes += one.byteLength;
    // Something larger than the bound still gets through when it is alone.
    const { pinnedBytes } = this.node.log;
    if (pinnedBytes > 0 && pinnedBytes + bytes > this.node.config.uncommittedBytesMax) {
      return { ok: false, reason: 'full' };
    }
    const first = this.node.log.lastIndex + 1;
    const term = this.node.term;
    for (const one of data) this.node.append(replication, 'command', one);
    return { ok: true, first, term };
  }

  waitFor(followers: readonly NodeId[]): void {
    this.node.replication?.waitFor(followers);
    this.advanceLeaderCommit();
  }

  tickLeader(replication: Replication): void {
    if (this.node.electionElapsed >= this.node.config.electionTicksMax) {
      this.node.electionElapsed = 0;
      if (!replication.checkQuorum()) {
        this.node.becomeFollower(this.node.term);
        return;
      }
      this.members.promoteLearner(replication);
    }
    if (this.node.transfer !== null && this.node.ticks >= this.node.transfer.deadline) {
      this.node.transfer = null;
      if (isVoter(this.node.configuration, this.node.config.id))
        this.members.settleMembership(replication);
      else this.node.becomeFollower(this.node.term);
      if (this.node.replication === null) return;
    }
    if (++this.node.heartbeatElapsed >= this.node.config.heartbeatTicks) {
      this.node.heartbeatElapsed = 0;
      replication.heartbeat(this.node.commitIndex);
      // The word that it may stand may have been lost.
      this.transfers.handOver(replication);
    } else {
      replication.tellCommit(this.node.commitIndex);
    }
  }

  onAppendReply(message: AppendReply): void {
    if (this.node.replication === null) return;
    this.node.replication.onAppendReply(message);
    this.advanceLeaderCommit();
    if (this.node.replication !== null && message.from === this.node.transfer?.to) {
      this.transfers.handOver(this.node.replication);
    }
  }

  onHeartbeatReply(message: HeartbeatReply): void {
    this.node.replication?.onHeartbeatReply(message);
    this.reads.finishReadRound();
  }

  advanceLeaderCommit(): void {
    if (this.node.replication === null) return;
    const index = this.node.replication.replicatedIndex();
    // By counting, only entries of the own term are committed (thesis §3.6.2, figure 8).
    if (index <= this.node.commitIndex || this.node.log.terms.termAt(index) !== this.node.term)
      return;
    this.node.replication.committed();
    const before = this.node.configurations.committed;
    this.node.commitTo(index);
    this.members.tellRemoved(before, this.node.configurations.committed);
    this.members.settleMembership(this.node.replication);
  }
}
