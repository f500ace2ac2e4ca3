import type { Reply } from './records.js';

/**
 * The replies of a session that its client has not acknowledged: consecutive sequence numbers.
 * Reads like the Map that the record promises; adding one and forgetting the oldest makes a new
 * list without copying more than references.
 */
export class ReplyList implements ReadonlyMap<number, Reply> {
  readonly #first: number;
  readonly #replies: readonly Reply[];

  private constructor(first: number, replies: readonly Reply[]) {
    this.#first = first;
    this.#replies = replies;
  }

  /** The replies of a stored record, which come in ascending order of their numbers. */
  static of(replies: ReadonlyMap<number, Reply>): ReplyList {
    if (replies instanceof ReplyList) return replies;
    const [first] = replies.keys();
    return new ReplyList(first ?? 0, [...replies.values()]);
  }

  get size(): number {
    return this.#replies.length;
  }

  /** How many are left when those up to `acknowledged` are forgotten. */
  sizeAfter(acknowledged: number): number {
    return this.size - this.#forgotten(acknowledged);
  }

  /** With the reply of the next command, and without those up to `acknowledged`. */
  next(sequence: number, reply: Reply, acknowledged: number): ReplyList {
    const kept = this.#replies.slice(this.#forgotten(acknowledged));
    kept.push(reply);
    return new ReplyList(sequence - kept.length + 1, kept);
  }

  #forgotten(acknowledged: number): number {
    return Math.min(this.size, Math.max(0, acknowledged - this.#first + 1));
  }

  get(sequence: number): Reply | undefined {
    return this.#replies[sequence - this.#first];
  }

  has(sequence: number): boolean {
    return this.get(sequence) !== undefined;
  }

  forEach(action: (reply: Reply, sequence: number, map: ReadonlyMap<number, Reply>) => void): void {
    for (const [sequence, reply] of this) action(reply, sequence, this);
  }

  *entries(): Generator<[number, Reply], undefined, unknown> {
    for (const [i, reply] of this.#replies.entries()) yield [this.#first + i, reply];
  }

  *keys(): Generator<number, undefined, unknown> {
    for (const [sequence] of this.entries()) yield sequence;
  }

  *values(): Generator<Reply, undefined, unknown> {
    yield* this.#replies;
  }

  [Symbol.iterator](): Generator<[number, Reply], undefined, unknown> {
    return this.entries();
  }
}

export const NO_REPLIES = ReplyList.of(new Map());
