import type { Key, KeyRange } from './keys.js';
import type { Table, Tables } from './records.js';

/**
 * The tree as a command sees it: synchronous, and perhaps not all in memory. A record or a range
 * that is not at hand is named by throwing `Missing`; the runtime loads it and runs the command
 * again. That is harmless, because a command has no effect until its changes are taken.
 */
export interface View {
  get<T extends Table>(key: Key<T>): Tables[T] | undefined;
  /** Keys with their records in ascending order, at most `limit`. */
  scan<T extends Table>(
    range: KeyRange<T>,
    limit: number,
  ): readonly (readonly [Key<T>, Tables[T]])[];
}

/** What the view lacks. Not an error: the runtime catches it, loads, and tries again. */
export class Missing {
  constructor(
    readonly keys: readonly Key[],
    readonly ranges: readonly { readonly range: KeyRange; readonly limit: number }[] = [],
  ) {}
}

/** One step from the tree before a command to the tree after it. */
export type Change =
  | { readonly type: 'put'; readonly key: Key; readonly value: Tables[Table] }
  | { readonly type: 'delete'; readonly key: Key }
  /**
   * All chunks of this content are unreachable from now on. The store frees them in its own time:
   * content numbers are never used again, so nobody can tell when.
   */
  | { readonly type: 'discard'; readonly content: number };
