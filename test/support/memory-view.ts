import { chunkRange, type Key, type KeyRange } from '../../src/filesystem/keys.js';
import type { Table, Tables } from '../../src/filesystem/records.js';
import type { Change, View } from '../../src/filesystem/view.js';

/** A tree that is all in memory, for tests. */
export class MemoryView implements View {
  readonly #records = new Map<Key, Tables[Table]>();
  /** All keys ascending; null when some have come or gone since. */
  #sorted: Key[] | null = null;

  get<T extends Table>(key: Key<T>): Tables[T] | undefined {
    // A key's table says the type of its value.
    return this.#records.get(key) as Tables[T] | undefined;
  }

  scan<T extends Table>(
    range: KeyRange<T>,
    limit: number,
  ): readonly (readonly [Key<T>, Tables[T]])[] {
    this.#sorted ??= [...this.#records.keys()].sort(compareKeys);
    const found: (readonly [Key<T>, Tables[T]])[] = [];
    for (let i = lowerBound(this.#sorted, range.from); found.length < limit; i++) {
      const key = this.#sorted[i];
      if (key === undefined || key >= range.to) break;
      found.push([key as Key<T>, this.#records.get(key) as Tables[T]]);
    }
    return found;
  }

  take(changes: readonly Change[]): void {
    for (const change of changes) {
      switch (change.type) {
        case 'put':
          if (!this.#records.has(change.key)) this.#sorted = null;
          this.#records.set(change.key, change.value);
          break;
        case 'delete':
          if (this.#records.delete(change.key)) this.#sorted = null;
          break;
        case 'discard':
          for (const [key] of this.scan(chunkRange(change.content), Infinity)) {
            this.#records.delete(key);
            this.#sorted = null;
          }
          break;
      }
    }
  }

  /** All records in ascending order of their keys. */
  all(): readonly (readonly [Key, Tables[Table]])[] {
    return [...this.#records].sort(([a], [b]) => compareKeys(a, b));
  }
}

function compareKeys(a: Key, b: Key): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The first place in `sorted` that is not before `key`. */
function lowerBound(sorted: readonly Key[], key: Key): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] as Key) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
