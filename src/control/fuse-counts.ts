import { DurationHistogram } from './histogram.js';

/** What a mount answered, by operation. */
export class FuseCounts {
  readonly operations = new Map<
    string,
    { readonly durations: DurationHistogram; errors: number }
  >();

  /** What the mount asked its client for: answered from memory, and by a node. */
  readonly queries = { kept: 0, asked: 0 };

  onQuery(isKept: boolean): void {
    if (isKept) this.queries.kept++;
    else this.queries.asked++;
  }

  onAnswered(operation: string, durationMs: number, errno: number): void {
    let one = this.operations.get(operation);
    if (one === undefined) {
      one = { durations: new DurationHistogram(), errors: 0 };
      this.operations.set(operation, one);
    }
    one.durations.observe(durationMs / 1000);
    if (errno !== 0) one.errors++;
  }
}
