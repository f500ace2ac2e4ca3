/** Randomness as a thing that is handed in, so that a run can be repeated from its seed. */
export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
}

/** Uniform whole number in [low, high). */
export function randomBetween(random: Random, low: number, high: number): number {
  return low + Math.floor(random.next() * (high - low));
}

/** A small generator for elections and simulations (Weyl sequence, then a 32-bit finaliser). Not for secrets. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return {
    next() {
      state = (state + 0x9e3779b9) >>> 0;
      let z = state;
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
      return ((z ^ (z >>> 16)) >>> 0) / 2 ** 32;
    },
  };
}

export const systemRandom: Random = { next: () => Math.random() };
