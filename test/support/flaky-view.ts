import { type Random, randomBetween } from '../../src/base/random.js';
import type { Key, KeyRange } from '../../src/filesystem/keys.js';
import type { Table, Tables } from '../../src/filesystem/records.js';
import { Missing, type View } from '../../src/filesystem/view.js';

/**
 * A view like a node's, of which only a part is in memory: what was not loaded is `Missing`. What
 * is in memory is forgotten at random.
 */
export class FlakyView implements View {
  readonly #of: View;
  readonly #random: Random;
  readonly #loaded = new Set<string>();

  constructor(of: View, random: Random) {
    this.#of = of;
    this.#random = random;
  }

  get<T extends Table>(key: Key<T>): Tables[T] | undefined {
    if (!this.#loaded.has(key)) throw new Missing([key]);
    return this.#of.get(key);
  }

  scan<T extends Table>(
    range: KeyRange<T>,
    limit: number,
  ): readonly (readonly [Key<T>, Tables[T]])[] {
    if (!this.#loaded.has(rangeName(range, limit))) throw new Missing([], [{ range, limit }]);
    return this.#of.scan(range, limit);
  }

  /** Runs `action` until nothing is missing; returns its result and how often it ran. */
  run<R>(action: (view: View) => R): { readonly result: R; readonly rounds: number } {
    if (randomBetween(this.#random, 0, 3) === 0) this.#loaded.clear();
    for (let rounds = 1; ; rounds++) {
      try {
        return { result: action(this), rounds };
      } catch (thrown) {
        if (!(thrown instanceof Missing)) throw thrown;
        this.#load(thrown);
      }
    }
  }

  #load(missing: Missing): void {
    const names = [
      ...missing.keys,
      ...missing.ranges.map(({ range, limit }) => rangeName(range, limit)),
    ];
    if (names.every((name) => this.#loaded.has(name))) throw new Error('Missing names nothing new');
    for (const name of names) this.#loaded.add(name);
  }
}

function rangeName(range: KeyRange, limit: number): string {
  return `${range.from}..${range.to}#${limit}`;
}
