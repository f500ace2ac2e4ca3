import type { Following } from './following.js';
import type { HandOut } from './hand-out.js';
import { isVoter, membersOf } from './membership.js';
import type { NodeState } from './node-state.js';
import type { Reads } from './reads.js';
import type { NodeId } from './types.js';

/** How a node that started empty comes to count again (see HardState.recovering). */
export class Recovering {
  /** A leader that was confirmed after our start had committed up to here. 0: not known yet. */
  private recoveryIndex = 0;
  private recoveryAsked = false;
  /** See `othersTerms`. */
  private termsOfOthers: ReadonlyMap<NodeId, number> = new Map();

  constructor(
    private readonly node: NodeState,
    private readonly handOut: HandOut,
    private readonly reads: Reads,
    private readonly following: Following,
  ) {}

  /** Another leader, or none: what the last one said does not count. */
  forget(): void {
    this.recoveryIndex = 0;
  }

  bootstrap(termMin: number): void {
    // A log that is not empty came from a leader: then the cluster is not new.
    if (!this.node.recovering || this.node.log.lastIndex > 0) return;
    const term = Math.max(this.node.term, termMin);
    const { incarnation } = this.node.outbox.hardState;
    this.node.outbox.setHardState({
      term,
      vote: this.node.config.id,
      recovering: false,
      incarnation,
    });
  }

  othersTerms(terms: ReadonlyMap<NodeId, number>): void {
    this.termsOfOthers = terms;
    this.maybeRecovered();
    // Who was in that term may have forgotten it, with its disk, before it told anybody else: the others
    // would never get there by themselves.
    const { termMaxOfVotes } = this;
    if (this.caughtUpWith === null || !Number.isFinite(termMaxOfVotes)) return;
    if (termMaxOfVotes > this.node.term) this.node.becomeFollower(termMaxOfVotes);
  }

  /**
   * A read index that was asked for after the start proves that a majority of others, which have
   * forgotten nothing, followed this leader after the disk was lost. So it has all that was committed
   * with copies that are lost.
   */
  askRecoveryIndex(): void {
    if (this.recoveryAsked || this.recoveryIndex > 0 || this.node.leader === null) return;
    this.recoveryAsked = true;
    this.reads.askForRecovery();
  }

  onRecoveryIndex(index: number): void {
    this.recoveryAsked = false;
    this.recoveryIndex = index;
    this.maybeRecovered();
  }

  /**
   * Before its disk was lost it may have voted for any other member, in terms up to the present one of
   * that: also for a learner, which may stand, or be a voter by a configuration that this node has not got.
   * A learner itself was asked by nobody: no voter becomes a learner, and no id is used twice.
   * Infinity: not known yet.
   */
  private get termMaxOfVotes(): number {
    const { id } = this.node.config;
    const terms = this.node.configurations.possible
      .filter((configuration) => isVoter(configuration, id))
      .flatMap((configuration) => membersOf(configuration))
      .filter((member) => member.id !== id)
      .map((member) => this.termsOfOthers.get(member.id) ?? Number.POSITIVE_INFINITY);
    return Math.max(0, ...terms);
  }

  /** Whom it has caught up with; null: nobody. */
  private get caughtUpWith(): NodeId | null {
    if (!this.node.recovering || this.recoveryIndex === 0) return null;
    return this.handOut.committableIndex < this.recoveryIndex ? null : this.node.leader;
  }

  maybeRecovered(): void {
    const leader = this.caughtUpWith;
    if (leader === null || this.termMaxOfVotes > this.node.term) return;
    // The leader won this term: a vote for anybody else in it could only be a second one. A vote that
    // is remembered stays given.
    const vote = this.node.outbox.hardState.vote ?? leader;
    const { term } = this.node;
    this.node.outbox.setHardState({ ...this.node.outbox.hardState, term, vote, recovering: false });
    // From now on what it acknowledged counts.
    this.following.sendAppendReply(leader, {
      prevIndex: this.node.matchedIndex,
      match: this.node.matchedIndex,
    });
  }
}
