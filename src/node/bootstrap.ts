import type { BootstrapMessage } from '../codec/peer-messages.js';
import type { NodeId } from '../raft/types.js';

/** A node that does not know whether its cluster is new asks this often: soon enough for a first start. */
const ASK_MS = 100;

/**
 * How a node that started with an empty data directory learns that it is not alone in that. It may
 * have promised something before its disk was lost, so it neither votes nor stands until it has
 * caught up with a leader, or until every other node says that nothing was ever in its log: then
 * nothing was promised, and the cluster is new.
 */
export class Bootstrap {
  private readonly termOf = new Map<NodeId, number>();
  private askedMs = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly id: NodeId,
    private readonly others: readonly NodeId[],
  ) {}

  /** What a recovering node asks now. */
  tick(nowMs: number): readonly BootstrapMessage[] {
    if (nowMs - this.askedMs < ASK_MS) return [];
    this.askedMs = nowMs;
    return this.others.map((to) => ({ type: 'bootstrap', from: this.id, to }));
  }

  /** Takes an answer in. */
  heard(reply: Extract<BootstrapMessage, { type: 'bootstrap-reply' }>): void {
    if (reply.empty) this.termOf.set(reply.from, reply.term);
    else this.termOf.delete(reply.from);
  }

  /** The highest term of all others when all of them are empty; null: not known, or not so. */
  termOfNewCluster(): number | null {
    if (!this.others.every((id) => this.termOf.has(id))) return null;
    return Math.max(0, ...this.termOf.values());
  }
}
