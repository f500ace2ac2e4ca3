/** Thrown when something happened that only a bug in mootfs can cause. Never caught: the process ends. */
export class AssertionFailed extends Error {
  override readonly name = 'AssertionFailed';
}

/**
 * States an invariant. What the outside world can cause (bad input, a full disk, a lost connection)
 * is a typed error instead, see errors.ts.
 */
export function assert(condition: boolean, invariant: string): asserts condition {
  if (!condition) throw new AssertionFailed(`broken invariant: ${invariant}`);
}

/** Makes a switch over a closed set exhaustive: a missing case does not compile. */
export function unreachable(value: never): never {
  throw new AssertionFailed(`unreachable: ${JSON.stringify(value)}`);
}
