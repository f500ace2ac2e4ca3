import { type Random, randomBetween } from '../../src/base/random.js';

/** One of them; there must be one. */
export function pick<T>(random: Random, of: readonly T[]): T {
  return of[randomBetween(random, 0, of.length)] as T;
}

/** `count` of them, or all when there are fewer, in any order. */
export function some<T>(random: Random, of: readonly T[], count: number): T[] {
  const rest = [...of];
  const chosen: T[] = [];
  while (chosen.length < count && rest.length > 0) {
    chosen.push(...rest.splice(randomBetween(random, 0, rest.length), 1));
  }
  return chosen;
}

/**
 * What is drawn comes in any order, and everything comes: of a full bag first each kind once, then
 * the further copies of those that have some. An empty bag is filled again.
 */
export class Bag<T> {
  private rest: T[] = [];

  constructor(
    private readonly kinds: readonly (readonly [kind: T, copies: number])[],
    private readonly random: Random,
  ) {}

  /** null: there are no kinds. */
  draw(): T | null {
    if (this.rest.length === 0) this.rest = [...this.inAnyOrder(0, 1), ...this.inAnyOrder(1)];
    return this.rest.shift() ?? null;
  }

  private inAnyOrder(from: number, to = Number.POSITIVE_INFINITY): T[] {
    const copies = this.kinds.flatMap(([kind, count]) =>
      Array<T>(Math.max(0, Math.min(count, to) - from)).fill(kind),
    );
    return some(this.random, copies, copies.length);
  }
}
