import { type Reply, SESSION_REPLIES_MAX, SESSION_REPLY_BYTES_MAX } from './records.js';

/**
 * The replies of a session that its client has not acknowledged: consecutive sequence numbers.
 * Reads like the Map that the record promises; adding one and forgetting the oldest makes a new
 * list without copying more than references.
 */
export class ReplyList implements ReadonlyMap<number, Reply> {
  readonly #first: number;
  readonly #replies: readonly Reply[];
  /** Of what is in them that may be large. */
  readonly #bytes: number;

  private constructor(first: number, replies: readonly Reply[], bytes: number) {
    this.#first = first;
    this.#replies = replies;
    this.#bytes = bytes;
  }

  /** The replies of a stored record, which come in ascending order of their numbers. */
  static of(replies: ReadonlyMap<number, Reply>): ReplyList {
    if (replies instanceof ReplyList) return replies;
    const [first] = replies.keys();
    const list = [...replies.values()];
    return new ReplyList(first ?? 0, list, largeBytes(list));
  }

  get size(): number {
    return this.#replies.length;
  }

  /** No more have a place, even when those up to `acknowledged` are forgotten. */
  isFullAfter(acknowledged: number): boolean {
    const forgotten = this.#forgotten(acknowledged);
    return (
      this.size - forgotten >= SESSION_REPLIES_MAX ||
      this.#bytesBehind(forgotten) >= SESSION_REPLY_BYTES_MAX
    );
  }

  /** With the reply of the next command, and without those up to `acknowledged`. */
  next(sequence: number, reply: Reply, acknowledged: number): ReplyList {
    const forgotten = this.#forgotten(acknowledged);
    const kept = this.#replies.slice(forgotten);
    kept.push(reply);
    const bytes = this.#bytesBehind(forgotten) + largeBytes([reply]);
    return new ReplyList(sequence - kept.length + 1, kept, bytes);
  }

  #bytesBehind(forgotten: number): number {
    if (this.#bytes === 0) return 0;
    return this.#bytes - largeBytes(this.#replies.slice(0, forgotten));
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

/** A lock in a record, beside its owner's name. */
const LOCK_BYTES = 36;
/** Of one UTF-16 unit in UTF-8, at most. */
const CHAR_BYTES = 3;

/** Of targets of symbolic links, and of locks that are handed over. */
function largeBytes(replies: readonly Reply[]): number {
  let bytes = 0;
  for (const reply of replies) {
    if (!reply.ok || reply.value === null) continue;
    const { value } = reply;
    if ('inode' in value) bytes += value.inode.target.length;
    else if ('removed' in value) bytes += value.removed?.target.length ?? 0;
    else if ('granted' in value) {
      bytes += value.file?.target.length ?? 0;
      for (const held of [value.takenOver?.posix ?? [], value.takenOver?.flock ?? []]) {
        for (const { owner } of held) bytes += LOCK_BYTES + CHAR_BYTES * owner.length;
      }
    }
  }
  return bytes;
}

export const NO_REPLIES = ReplyList.of(new Map());
