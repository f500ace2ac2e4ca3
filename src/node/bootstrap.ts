import { type Random, randomBetween } from '../base/random.js';
import type { BootstrapMessage } from '../codec/peer-messages.js';
import type { NodeId } from '../raft/types.js';

/** A node that has forgotten what it promised asks this often: soon enough for a first start. */
const ASK_MS = 100;
/**
 * A node that is to begin a cluster of its own alone has nobody to ask. Should it have been the first
 * of a cluster that has grown, and have lost its disk, the others still call it: each at least once
 * in this time (REDIAL_MAX_MS of the transport, and some).
 */
const ALONE_MS = 1_500;

interface Other {
  /** Its term when it first answered, and when it last did. */
  readonly firstTerm: number;
  readonly lastTerm: number;
  readonly empty: boolean;
}

/**
 * What a node that started with an empty data directory asks all others. It may have promised
 * something before its disk was lost, so it neither votes nor stands until it has caught up with a
 * leader and knows in which terms it may have voted; or until every other node says that nothing was
 * ever in its log: then nothing was promised, and the cluster is new. A learner without a leader asks
 * the same (Runtime.askWhetherRemoved).
 */
export class Bootstrap {
  private readonly heardOf = new Map<NodeId, Other>();
  private isCalled = false;
  private askedMs = Number.NEGATIVE_INFINITY;
  /** What the node that ran here before was answered says nothing of now. */
  private readonly question: number;

  constructor(
    private readonly id: NodeId,
    random: Random,
    private readonly startedMs: number,
  ) {
    this.question = randomBetween(random, 1, 2 ** 48);
  }

  /** What a recovering node asks now. */
  tick(nowMs: number, others: readonly NodeId[]): readonly BootstrapMessage[] {
    if (nowMs - this.askedMs < ASK_MS) return [];
    this.askedMs = nowMs;
    const { id: from, question } = this;
    return others.map((to) => ({ type: 'bootstrap', from, to, question }));
  }

  /** Takes an answer in. */
  heard(reply: Extract<BootstrapMessage, { type: 'bootstrap-reply' }>): void {
    const { from, question, term: lastTerm, empty } = reply;
    if (question !== this.question) return;
    const firstTerm = this.heardOf.get(from)?.firstTerm ?? lastTerm;
    this.heardOf.set(from, { firstTerm, lastTerm, empty });
  }

  /** A member of some cluster said something, so that there is one. */
  called(): void {
    this.isCalled = true;
  }

  /** The highest term of all others when all of them are empty; null: not known, or not so. */
  termOfNewCluster(nowMs: number, others: readonly NodeId[]): number | null {
    if (others.length === 0) {
      return this.isCalled || nowMs - this.startedMs < ALONE_MS ? null : 0;
    }
    const heard = this.answersOf(others);
    if (heard === null || !heard.every(({ empty }) => empty)) return null;
    return Math.max(0, ...heard.map(({ lastTerm }) => lastTerm));
  }

  /** The terms in which those who answered were when they did so first. */
  get terms(): ReadonlyMap<NodeId, number> {
    return new Map([...this.heardOf].map(([id, { firstTerm }]) => [id, firstTerm]));
  }

  private answersOf(others: readonly NodeId[]): readonly Other[] | null {
    const heard = others.flatMap((id) => this.heardOf.get(id) ?? []);
    return heard.length === others.length ? heard : null;
  }
}
