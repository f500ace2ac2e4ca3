import { assert } from '../base/assert.js';
import { TermRuns } from './term-runs.js';
import type { Entry, RestoredState, SnapshotMark } from './types.js';

/** What an entry costs beside its data, in a message and on disk: so that empty ones count, too. */
export const ENTRY_OVERHEAD_BYTES = 64;
/**
 * The same in memory: the objects of V8 for the entry and its buffer, and what a decoder hangs on
 * that. Seen in a heap of 50,000 small entries.
 */
export const ENTRY_MEMORY_BYTES = 512;

export function entryBytes(entry: Entry): number {
  return entry.data.byteLength + ENTRY_OVERHEAD_BYTES;
}

function memoryBytes(entry: Entry): number {
  return entry.data.byteLength + ENTRY_MEMORY_BYTES;
}

/** Takes the place of an entry that has left memory, so that its data can be collected. */
const FORGOTTEN: Entry = { index: 0, term: 0, kind: 'empty', data: new Uint8Array(0) };

/** Forgotten places at the front of the array that are worth a copy of the rest. */
const FORGOTTEN_MAX = 1024;

interface OutstandingSave {
  readonly number: number;
  /** What is durable once this save is: the last of its entries that was not replaced since. */
  lastIndex: number;
}

/**
 * The log as the core sees it: the terms of all entries, and the newest entries themselves.
 *
 *   snapshot ... (on disk only) ... memoryFirst ... tail ... applied and saved ... lastIndex
 *
 * Entries stay in memory until they are both applied and durable, and `tailBytesMax` of them for longer.
 */
export class Log {
  readonly terms: TermRuns;
  /** Durable in this node's log store, and not replaced since. */
  savedIndex: number;
  appliedIndex: number;

  private entries: Entry[] = [];
  /** Where the entry at `memoryFirst` is in `entries`. */
  private head = 0;
  private memoryFirst: number;
  /** Given to the disk in some save. */
  private handedIndex: number;
  private truncateFrom: number | null = null;
  private saves: OutstandingSave[] = [];
  /** Entries up to here are applied and durable: those in memory are the tail. */
  private tailLast: number;
  private tailBytes = 0;
  private pinned = 0;

  constructor(
    restored: RestoredState,
    private readonly tailBytesMax: number,
  ) {
    this.terms = new TermRuns(restored.snapshot, restored.lastIndex, restored.termRuns);
    assert(
      restored.appliedIndex >= restored.snapshot.index &&
        restored.appliedIndex <= restored.lastIndex,
      'what is applied is in the log or in its snapshot',
    );
    this.savedIndex = restored.lastIndex;
    this.handedIndex = restored.lastIndex;
    this.appliedIndex = restored.appliedIndex;
    this.tailLast = restored.appliedIndex;
    this.memoryFirst = restored.lastIndex + 1;
  }

  get lastIndex(): number {
    return this.terms.lastIndex;
  }
  get lastTerm(): number {
    return this.terms.lastTerm;
  }
  get snapshot(): SnapshotMark {
    return this.terms.snapshot;
  }
  /** The first index whose entry is in memory; lastIndex + 1 when none is. */
  get firstInMemory(): number {
    return this.memoryFirst;
  }

  /** What must stay in memory: entries that are not both applied and durable. */
  get pinnedBytes(): number {
    return this.pinned;
  }

  append(entry: Entry): void {
    assert(entry.index === this.lastIndex + 1, 'the log has no gaps');
    this.terms.append(entry.term);
    this.entries.push(entry);
    this.pinned += memoryBytes(entry);
  }

  /** Drops the entries at and behind `index`, which conflict with a leader's. */
  truncate(index: number): void {
    assert(
      index > this.appliedIndex && index > this.snapshot.index && index <= this.lastIndex,
      'only entries that are not applied are truncated',
    );
    for (let i = index; i <= this.lastIndex; i++) this.pinned -= this.memoryAt(i);
    this.terms.truncate(index);
    if (index <= this.memoryFirst) {
      this.entries = [];
      this.head = 0;
      this.memoryFirst = index;
    } else {
      this.entries.length = this.head + index - this.memoryFirst;
    }
    if (index <= this.handedIndex) {
      this.handedIndex = index - 1;
      this.truncateFrom = Math.min(this.truncateFrom ?? index, index);
    }
    // A save that is still on its way to disk no longer says anything of what was replaced.
    for (const save of this.saves) save.lastIndex = Math.min(save.lastIndex, index - 1);
    this.savedIndex = Math.min(this.savedIndex, index - 1);
  }

  /** The entries from `first` to `last`, all in memory. */
  slice(first: number, last: number): Entry[] {
    assert(first >= this.memoryFirst && last <= this.lastIndex, 'the slice is in memory');
    const offset = this.head - this.memoryFirst;
    return this.entries.slice(first + offset, last + 1 + offset);
  }

  /** The last index that fits into `bytesMax` when the slice starts at `first`; at least `first`. */
  lastWithin(first: number, bytesMax: number): { readonly last: number; readonly bytes: number } {
    let last = first;
    let bytes = this.bytesAt(first);
    for (; last < this.lastIndex; last++) {
      const more = this.bytesAt(last + 1);
      if (bytes + more > bytesMax) break;
      bytes += more;
    }
    return { last, bytes };
  }

  /** In a message or on disk; 0 for an entry that is not in memory. */
  bytesAt(index: number): number {
    const entry = this.entryAt(index);
    return entry === undefined ? 0 : entryBytes(entry);
  }

  private memoryAt(index: number): number {
    const entry = this.entryAt(index);
    return entry === undefined ? 0 : memoryBytes(entry);
  }

  private entryAt(index: number): Entry | undefined {
    if (index < this.memoryFirst) return undefined;
    return this.entries[this.head + index - this.memoryFirst];
  }

  get hasUnsaved(): boolean {
    return this.truncateFrom !== null || this.handedIndex < this.lastIndex;
  }

  /** All that the disk was not told yet goes into the save with this number. */
  takeUnsaved(number: number): {
    readonly truncateFrom: number | null;
    readonly entries: readonly Entry[];
  } {
    const entries =
      this.handedIndex < this.lastIndex ? this.slice(this.handedIndex + 1, this.lastIndex) : [];
    const truncateFrom = this.truncateFrom;
    this.truncateFrom = null;
    this.handedIndex = this.lastIndex;
    this.saves.push({ number, lastIndex: this.lastIndex });
    return { truncateFrom, entries };
  }

  /** The save that makes the entry at `index` durable: 0 when it is, `next` when it is in none yet. */
  saveOf(index: number, next: number): number {
    if (index <= this.savedIndex) return 0;
    return this.saves.find((save) => save.lastIndex >= index)?.number ?? next;
  }

  saved(number: number): void {
    let done = 0;
    for (const save of this.saves) {
      if (save.number > number) break;
      this.savedIndex = Math.max(this.savedIndex, save.lastIndex);
      done++;
    }
    if (done > 0) this.saves.splice(0, done);
    this.shrinkTail();
  }

  applied(index: number): void {
    this.appliedIndex = index;
    this.shrinkTail();
  }

  compact(mark: SnapshotMark): void {
    assert(mark.index <= this.appliedIndex, 'only applied entries are compacted');
    assert(mark.index <= this.savedIndex, 'only saved entries are compacted');
    assert(this.terms.termAt(mark.index) === mark.term, 'the log is compacted at its own entry');
    this.terms.compact(mark);
    while (this.memoryFirst <= mark.index) this.forgetFirst();
  }

  /** Starts again, empty, behind a snapshot that is durable; what is still being saved means nothing now. */
  reset(mark: SnapshotMark): void {
    this.terms.reset(mark);
    this.entries = [];
    this.head = 0;
    this.memoryFirst = mark.index + 1;
    this.handedIndex = mark.index;
    this.savedIndex = mark.index;
    this.appliedIndex = mark.index;
    this.truncateFrom = null;
    this.tailLast = mark.index;
    this.tailBytes = 0;
    this.pinned = 0;
    for (const save of this.saves) save.lastIndex = 0;
  }

  private shrinkTail(): void {
    const last = Math.min(this.appliedIndex, this.savedIndex);
    for (let i = Math.max(this.tailLast + 1, this.memoryFirst); i <= last; i++) {
      const bytes = this.memoryAt(i);
      this.tailBytes += bytes;
      this.pinned -= bytes;
    }
    this.tailLast = Math.max(this.tailLast, last);
    while (this.tailBytes > this.tailBytesMax) this.forgetFirst();
  }

  private forgetFirst(): void {
    const bytes = this.memoryAt(this.memoryFirst);
    if (this.memoryFirst <= this.tailLast) this.tailBytes -= bytes;
    this.memoryFirst++;
    assert(bytes > 0, 'what is forgotten was in memory');
    this.entries[this.head++] = FORGOTTEN;
    if (this.head >= FORGOTTEN_MAX && this.head * 2 >= this.entries.length) {
      this.entries = this.entries.slice(this.head);
      this.head = 0;
    }
  }
}
