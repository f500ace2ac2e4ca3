import type {
  Entry,
  HardState,
  RestoredState,
  Save,
  SnapshotMark,
  TermRun,
} from '../../src/raft/types.js';

/** What a simulated node has on disk: the meaning of LogStore, without time. */
export class Disk {
  hardState: HardState;
  snapshot: SnapshotMark = { index: 0, term: 0 };
  entries: Entry[] = [];

  constructor(recovering: boolean) {
    this.hardState = { term: 0, vote: null, recovering };
  }

  get lastIndex(): number {
    return this.snapshot.index + this.entries.length;
  }

  at(index: number): Entry | undefined {
    return this.entries[index - this.snapshot.index - 1];
  }

  termAt(index: number): number | undefined {
    return index === this.snapshot.index ? this.snapshot.term : this.at(index)?.term;
  }

  append(save: Save): void {
    if (save.hardState !== null) this.hardState = save.hardState;
    if (save.truncateFrom !== null) {
      if (save.truncateFrom <= this.snapshot.index) throw new Error('truncated below the snapshot');
      this.entries.length = Math.min(
        this.entries.length,
        save.truncateFrom - this.snapshot.index - 1,
      );
    }
    for (const entry of save.entries) {
      if (entry.index !== this.lastIndex + 1) throw new Error(`a gap before ${entry.index}`);
      this.entries.push(entry);
    }
  }

  read(first: number, last: number, bytesMax: number): Entry[] {
    if (first <= this.snapshot.index) return [];
    const entries: Entry[] = [];
    let bytes = 0;
    for (let i = first; i <= last; i++) {
      const entry = this.at(i);
      if (entry === undefined) break;
      bytes += entry.data.byteLength;
      if (entries.length > 0 && bytes > bytesMax) break;
      entries.push(entry);
    }
    return entries;
  }

  compact(mark: SnapshotMark): void {
    this.entries = this.entries.slice(mark.index - this.snapshot.index);
    this.snapshot = mark;
  }

  reset(mark: SnapshotMark): void {
    this.entries = [];
    this.snapshot = mark;
  }

  restored(appliedIndex: number): RestoredState {
    const termRuns: TermRun[] = [];
    for (const { term, index } of this.entries) {
      if (termRuns.at(-1)?.term !== term) termRuns.push({ term, first: index });
    }
    const { hardState, snapshot, lastIndex } = this;
    return { hardState, snapshot, lastIndex, termRuns, appliedIndex };
  }
}
