import { type Key, type KeyRange, tableOf } from '../filesystem/keys.js';
import type { Change } from '../filesystem/view.js';
import { recordBytes, type Stored } from './record-cache.js';

/** The letter of the table and the seven bytes of the first number: what a range never leaves. */
const GROUP_CHARS = 8;

/** Changes that are applied and not yet in the store: the last one of each key counts. */
export class Overlay {
  private readonly records = new Map<Key, Stored | null>();
  /** The keys of the tables that are read by range, by directory or content. */
  private readonly groups = new Map<string, Set<Key>>();
  private readonly discards: number[] = [];
  /** About the memory that the changes take. */
  bytes = 0;

  /** null: deleted; undefined: not changed here. */
  get(key: Key): Stored | null | undefined {
    return this.records.get(key);
  }

  put(key: Key, value: Stored | null): void {
    const before = this.records.get(key);
    if (before !== undefined) this.bytes -= recordBytes(key, before);
    this.records.set(key, value);
    this.bytes += recordBytes(key, value);
    if (before !== undefined || !isRanged(key)) return;
    const group = this.groups.get(key.slice(0, GROUP_CHARS));
    if (group === undefined) this.groups.set(key.slice(0, GROUP_CHARS), new Set([key]));
    else group.add(key);
  }

  /** The content is unreachable: its chunks that were not written yet need not be. */
  discard(content: number, contentRange: KeyRange<'chunk'>): void {
    this.discards.push(content);
    const name = contentRange.from.slice(0, GROUP_CHARS);
    for (const key of this.groups.get(name) ?? []) {
      this.bytes -= recordBytes(key, this.records.get(key) ?? null);
      this.records.delete(key);
    }
    this.groups.delete(name);
  }

  /** Changed keys in `range`, in no order. */
  *inRange(range: KeyRange): Iterable<readonly [Key, Stored | null]> {
    for (const key of this.groups.get(range.from.slice(0, GROUP_CHARS)) ?? []) {
      if (key < range.from || key >= range.to) continue;
      const value = this.records.get(key);
      if (value !== undefined) yield [key, value];
    }
  }

  entries(): Iterable<[Key, Stored | null]> {
    return this.records.entries();
  }

  changes(): Change[] {
    const changes: Change[] = [];
    for (const [key, value] of this.records) {
      changes.push(value === null ? { type: 'delete', key } : { type: 'put', key, value });
    }
    for (const content of this.discards) changes.push({ type: 'discard', content });
    return changes;
  }
}

function isRanged(key: Key): boolean {
  const table = tableOf(key);
  return table === 'cookie' || table === 'chunk';
}
