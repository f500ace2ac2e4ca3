import { assert } from '../base/assert.js';
import type { SnapshotMark, TermRun } from './types.js';

/**
 * The terms of all entries behind a snapshot, as runs: as many records as there were leaders, not
 * as there are entries. Terms never fall along a log (thesis §3.5), so both `first` and `term` rise.
 */
export class TermRuns {
  private runs: TermRun[];

  constructor(
    public snapshot: SnapshotMark,
    public lastIndex: number,
    runs: readonly TermRun[],
  ) {
    this.runs = [...runs];
    let previous: TermRun | undefined;
    for (const run of this.runs) {
      assert(
        previous === undefined
          ? run.first === snapshot.index + 1 && run.term >= snapshot.term
          : run.first > previous.first && run.term > previous.term,
        'term runs start behind the snapshot and rise',
      );
      previous = run;
    }
    assert(
      previous === undefined ? lastIndex === snapshot.index : lastIndex >= previous.first,
      'term runs cover the log',
    );
  }

  get lastTerm(): number {
    return this.runs.at(-1)?.term ?? this.snapshot.term;
  }

  /** The term of the entry at `index`; null when it is compacted away or not there yet. */
  termAt(index: number): number | null {
    if (index > this.lastIndex || index < this.snapshot.index) return null;
    const last = this.runs.at(-1);
    if (last !== undefined && index >= last.first) return last.term;
    if (index === this.snapshot.index) return this.snapshot.term;
    return this.runs[this.lastRunWhere((run) => run.first <= index)]?.term ?? null;
  }

  /**
   * The last place at or before `index` whose term is at most `term`: two logs cannot agree between
   * there and `index` if the other one has `term` at `index`. Never before the snapshot, unless
   * `index` is.
   */
  lastAtMost(index: number, term: number): number {
    const from = Math.min(index, this.lastIndex);
    if (from <= this.snapshot.index) return from;
    const run = this.lastRunWhere((r) => r.first <= from && r.term <= term);
    if (run < 0) return this.snapshot.index;
    const next = this.runs[run + 1];
    return next === undefined ? from : Math.min(from, next.first - 1);
  }

  append(term: number): void {
    assert(term >= this.lastTerm, 'terms never fall along the log');
    this.lastIndex++;
    if (this.runs.length === 0 || term > this.lastTerm) {
      this.runs.push({ term, first: this.lastIndex });
    }
  }

  /** Forgets entries at and behind `index`. */
  truncate(index: number): void {
    while ((this.runs.at(-1)?.first ?? 0) >= index) this.runs.pop();
    this.lastIndex = index - 1;
  }

  /** Forgets entries up to `mark`, which is one of them. */
  compact(mark: SnapshotMark): void {
    const run = this.lastRunWhere((r) => r.first <= mark.index + 1);
    const kept = this.runs.slice(Math.max(run, 0));
    const first = kept[0];
    if (mark.index === this.lastIndex) this.runs = [];
    else if (first !== undefined) {
      kept[0] = { term: first.term, first: mark.index + 1 };
      this.runs = kept;
    }
    this.snapshot = mark;
  }

  /** An empty log behind `mark`. */
  reset(mark: SnapshotMark): void {
    this.runs = [];
    this.snapshot = mark;
    this.lastIndex = mark.index;
  }

  /** Binary search: `holds` is true for some first runs and false for all others. -1: for none. */
  private lastRunWhere(holds: (run: TermRun) => boolean): number {
    let low = 0;
    let high = this.runs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const run = this.runs[middle];
      if (run !== undefined && holds(run)) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}
