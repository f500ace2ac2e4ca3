import { DurationHistogram } from './histogram.js';

/** Proposals whose end is not known; older ones are forgotten: this node leads no longer. */
const PENDING_MAX = 65_536;
/** So many that are over are cut off at once. */
const OVER_MAX = 1_024;
/** The latest latencies, for quantiles that a person looks at. */
const RECENT_MAX = 1_024;

interface Batch {
  readonly first: number;
  readonly last: number;
  readonly proposedMs: number;
}

/** How long commands take at the leader, from proposal to apply. */
export class CommitLatencies {
  readonly histogram = new DurationHistogram();
  private pending: Batch[] = [];
  private head = 0;
  private readonly recent = new Float64Array(RECENT_MAX);
  private readonly recentAtMs = new Float64Array(RECENT_MAX);
  private next = 0;

  proposed(first: number, count: number, nowMs: number): void {
    const before = this.pending.at(-1);
    // Another leader's entries took the place of what was proposed in an earlier term.
    if (before !== undefined && first <= before.last) this.forget();
    if (this.pending.length - this.head >= PENDING_MAX) this.forget();
    this.pending.push({ first, last: first + count - 1, proposedMs: nowMs });
  }

  applied(index: number, nowMs: number): void {
    let batch = this.pending[this.head];
    while (batch !== undefined && batch.last < index) batch = this.pending[++this.head];
    if (batch === undefined) {
      if (this.head > 0) this.forget();
      return;
    }
    if (batch.first > index) return;
    if (batch.last === index) this.head++;
    if (this.head >= OVER_MAX) {
      this.pending.splice(0, this.head);
      this.head = 0;
    }
    const ms = nowMs - batch.proposedMs;
    this.histogram.observe(ms / 1000);
    this.recent[this.next] = ms;
    this.recentAtMs[this.next] = nowMs;
    this.next = (this.next + 1) % RECENT_MAX;
  }

  /** Quantiles of the commands applied since then; null: there were none. */
  quantiles(sinceMs: number, shares: readonly number[]): readonly (number | null)[] {
    const values = this.recent.filter((_, i) => (this.recentAtMs[i] ?? 0) > sinceMs).sort();
    return shares.map((share) => values[Math.floor(share * (values.length - 1))] ?? null);
  }

  /** What was proposed is another leader's to decide. */
  forget(): void {
    this.pending = [];
    this.head = 0;
  }
}
