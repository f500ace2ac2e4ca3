import { changed, drawIncarnation, isJoint, isRemoved, isVoter, leaveJoint } from './membership.js';
import type { NodeState } from './node-state.js';
import type { Reads } from './reads.js';
import type { Replication } from './replication.js';
import type { Transfers } from './transfers.js';
import type {
  ChangeResult,
  Configuration,
  ConfigurationAt,
  MemberChange,
  NodeId,
  Removed,
} from './types.js';

/** Of a read request whose answer nobody waits for. */
const NO_CONTEXT = 0;

/** Changes of the members, by joint consensus (thesis §4.2, §4.3). */
export class MemberChanges {
  constructor(
    private readonly node: NodeState,
    private readonly transfers: Transfers,
    private readonly reads: Reads,
  ) {}

  changeMembers(changes: readonly MemberChange[]): ChangeResult {
    const { replication, transfer } = this.node;
    const { latest } = this.node.configurations;
    if (replication === null) {
      return { ok: false, reason: 'not-leader', message: 'this node does not lead' };
    }
    if (!this.node.hasCommittedInTerm || transfer !== null) {
      return { ok: false, reason: 'busy', message: 'the leader is taking or leaving office' };
    }
    if (latest.index > this.node.commitIndex || isJoint(latest.configuration)) {
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
    const able = next.voters.filter(
      ({ id }) => id === this.node.config.id || replication.isAble(id),
    );
    if (next.voters !== latest.configuration.voters && able.length * 2 <= next.voters.length) {
      const message = `of the voters after it only ${able.length} of ${next.voters.length} answer`;
      return { ok: false, reason: 'busy', message };
    }
    return { ok: true, index: this.appendConfiguration(replication, next) };
  }

  removedNotice(from: NodeId): Removed | null {
    if (!isRemoved(this.node.configurations.committed.configuration, from)) return null;
    return { type: 'removed', ...this.node.sender(), to: from };
  }

  private appendConfiguration(replication: Replication, configuration: Configuration): number {
    const data = this.node.config.configurations.encode(configuration);
    const entry = this.node.append(replication, 'configuration', data);
    this.node.configurations.append(entry);
    replication.configure(configuration);
    // Those whose answer was missing may be needed no more.
    this.reads.finishReadRound();
    return entry.index;
  }

  /** What follows for a leader from what is committed now. */
  settleMembership(replication: Replication): void {
    const { latest } = this.node.configurations;
    if (
      latest.index > this.node.commitIndex ||
      !this.node.hasCommittedInTerm ||
      this.node.transfer !== null
    ) {
      return;
    }
    if (isJoint(latest.configuration)) {
      this.appendConfiguration(replication, leaveJoint(latest.configuration));
    } else if (latest.configuration.incarnation === 0) {
      const incarnation = drawIncarnation(this.node.random);
      this.appendConfiguration(replication, { ...latest.configuration, incarnation });
    } else if (!isVoter(latest.configuration, this.node.config.id)) {
      // Removed by what it has just committed: it goes (thesis §4.2.2), and leaves a leader behind.
      // Should that fail, the others' election timeouts find one.
      if (this.transfers.transferLeadership(null).ok) return;
      this.node.becomeFollower(this.node.term);
    }
  }

  /** They get no entry any more, so they would not learn it from the log. */
  tellRemoved(before: ConfigurationAt, after: ConfigurationAt): void {
    if (before === after) return;
    for (const to of after.configuration.removed) {
      const left = isRemoved(after.configuration, to) && !isRemoved(before.configuration, to);
      if (!left || to === this.node.config.id) continue;
      this.node.outbox.sendDurably({ type: 'removed', ...this.node.sender(), to }, 0);
    }
  }

  /** One at a time: the next one when this change is through. */
  promoteLearner(replication: Replication): void {
    const { learners } = this.node.configuration;
    const ready = learners.find(({ id, promote }) => promote && replication.isCaughtUp(id));
    if (ready !== undefined) this.changeMembers([{ type: 'promote', id: ready.id }]);
  }

  /**
   * Who does not stand hears nothing any more once it is removed, so it asks now and then: to the
   * others it is one that wants to read, and they tell one that they have removed.
   */
  askWhetherRemoved(): void {
    if (this.node.removed || this.node.silenceElapsed % this.node.config.electionTicksMax !== 0)
      return;
    for (const to of this.node.peers) {
      this.node.outbox.sendDurably(
        { type: 'read-index', ...this.node.sender(), to, context: NO_CONTEXT },
        0,
      );
    }
  }

  onRemoved(): void {
    this.node.toldRemoved = true;
    if (this.node.role !== 'follower') this.node.becomeFollower(this.node.term);
  }
}
