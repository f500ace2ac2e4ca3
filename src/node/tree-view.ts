import type { Key, KeyRange } from '../filesystem/keys.js';
import type { Table, Tables } from '../filesystem/records.js';
import { Missing, type View } from '../filesystem/view.js';
import type { Stored } from './record-cache.js';

/** What one command or query sees. Ranges belong to it alone; records are everybody's. */
export class TreeView implements View {
  private ranges: LoadedRange[] = [];

  /** `peek` answers for a record: undefined when it is not in memory. */
  constructor(private readonly peek: (key: Key) => Stored | null | undefined) {}

  get<T extends Table>(key: Key<T>): Tables[T] | undefined {
    const value = this.peek(key);
    if (value === undefined) throw new Missing([key]);
    // A key's letter says its table, and only records of that table are put under it.
    return (value ?? undefined) as Tables[T] | undefined;
  }

  scan<T extends Table>(
    range: KeyRange<T>,
    limit: number,
  ): readonly (readonly [Key<T>, Tables[T]])[] {
    const loaded = this.ranges.find((r) => r.range.from === range.from && r.range.to === range.to);
    const records = loaded?.read(limit);
    if (!records) throw new Missing([], [{ range, limit }]);
    // As above, for every record of the range; the compiler cannot relate the two pairs.
    return records as readonly (readonly [Key, Stored])[] as readonly (readonly [Key<T>, never])[];
  }

  changed(key: Key, value: Stored | null): void {
    for (const range of this.ranges) {
      if (key >= range.range.from && key < range.range.to) range.changed(key, value);
    }
  }

  /** A range is about to be read from the store; from now on changes reach it. */
  expect(range: KeyRange): LoadedRange {
    const before = this.ranges.find((r) => r.range.from === range.from && r.range.to === range.to);
    const loaded = new LoadedRange(range, before?.nextSurplus ?? 0);
    this.ranges = this.ranges.filter((r) => r !== before);
    this.ranges.push(loaded);
    return loaded;
  }

  forget(): void {
    this.ranges = [];
  }
}

const SURPLUS_MIN = 64;
/** Records of ranges are small: names, and maps of chunks. */
const SURPLUS_MAX = 4_096;

/**
 * A range as the store had it at some moment of the read, under all changes that were not in the
 * store when the read began or came since. So it does not matter which writes the read saw.
 */
export class LoadedRange {
  readonly changes = new Map<Key, Stored | null>();
  private records: readonly (readonly [Key, Stored])[] | null = null;
  private storeLimit = 0;

  /** `surplus`: so many more records than wanted are read, for those that go meanwhile. */
  constructor(
    readonly range: KeyRange,
    readonly surplus: number,
  ) {}

  /** For another read, when this one was overtaken by changes: steady removing must not starve it. */
  get nextSurplus(): number {
    const wanted = Math.max(SURPLUS_MIN, 2 * this.changes.size, 2 * this.surplus);
    return Math.min(SURPLUS_MAX, wanted);
  }

  changed(key: Key, value: Stored | null): void {
    this.changes.set(key, value);
  }

  arrived(records: readonly (readonly [Key, Stored])[], storeLimit: number): void {
    this.records = records;
    this.storeLimit = storeLimit;
  }

  /** null: must be read (again). */
  read(limit: number): (readonly [Key, Stored])[] | null {
    if (this.records === null) return null;
    const merged = new Map<Key, Stored>(this.records);
    // Behind the last record that was read, the store may have more: changes there prove nothing.
    const full = this.records.length >= this.storeLimit;
    const end = full ? this.records.at(-1)?.[0] : undefined;
    for (const [key, value] of this.changes) {
      if (end !== undefined && key > end) continue;
      if (value === null) merged.delete(key);
      else merged.set(key, value);
    }
    if (full && merged.size < limit) return null;
    return [...merged].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).slice(0, limit);
  }
}

/** Runs `action`, which reads a view, and gives what it lacks instead of throwing it. */
export function runOrMissing<T>(action: () => T): T | Missing {
  try {
    return action();
  } catch (error) {
    if (error instanceof Missing) return error;
    throw error;
  }
}
