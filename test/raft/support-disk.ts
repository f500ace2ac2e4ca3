import { configurationCodec, decodeConfiguration } from '../../src/codec/configuration.js';
import type {
  Configuration,
  ConfigurationAt,
  Entry,
  HardState,
  NodeId,
  RestoredState,
  Save,
  SnapshotMark,
  TermRun,
} from '../../src/raft/types.js';

export { configurationCodec };

/** Members whose addresses are their ids. */
export function configurationOf(voters: readonly NodeId[]): Configuration {
  return {
    voters: voters.map((id) => ({ id, address: id })),
    outgoing: [],
    learners: [],
    removed: [],
    incarnation: 1,
  };
}

/** What a simulated node has on disk: the meaning of LogStore, without time. */
export class Disk {
  hardState: HardState;
  snapshot: SnapshotMark = { index: 0, term: 0 };
  entries: Entry[] = [];
  /** In force at the snapshot. */
  private base: ConfigurationAt;

  constructor(recovering: boolean, first: Configuration) {
    this.hardState = { term: 0, vote: null, recovering, incarnation: 0 };
    this.base = { index: 0, configuration: first };
  }

  /** In force at `index`, by the log. */
  configurationAt(index: number): ConfigurationAt {
    const entry = this.entries.findLast((e) => e.kind === 'configuration' && e.index <= index);
    if (entry === undefined) return this.base;
    return { index: entry.index, configuration: decodeConfiguration(entry.data) };
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
    this.base = this.configurationAt(mark.index);
    this.entries = this.entries.slice(mark.index - this.snapshot.index);
    this.snapshot = mark;
  }

  reset(mark: SnapshotMark, configuration: ConfigurationAt): void {
    this.entries = [];
    this.snapshot = mark;
    this.base = configuration;
  }

  restored(appliedIndex: number): RestoredState {
    const termRuns: TermRun[] = [];
    for (const { term, index } of this.entries) {
      if (termRuns.at(-1)?.term !== term) termRuns.push({ term, first: index });
    }
    const { hardState, snapshot, lastIndex } = this;
    return {
      hardState,
      snapshot,
      lastIndex,
      termRuns,
      appliedIndex,
      configuration: this.configurationAt(appliedIndex),
      configurationEntries: this.entries.filter(({ kind }) => kind === 'configuration'),
    };
  }
}
