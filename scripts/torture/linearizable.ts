import type { Answer, Operation, Request } from './history.js';

/** One object's behaviour, when one operation comes after another. */
export interface Model {
  /** States are compared as strings. */
  readonly first: string;
  /**
   * The state behind the request when this is its answer; null: it cannot be. An answer of null is
   * one that nobody got.
   */
  step(state: string, request: Request, answer: Answer | null): string | null;
}

export type Verdict =
  | { readonly type: 'linearizable' }
  | { readonly type: 'violation'; readonly operation: Operation }
  /** The search took too long. */
  | { readonly type: 'undecided' };

interface Call {
  readonly operation: Operation;
  /** Place in the bit set. */
  readonly number: number;
}

/** Begin and end of a call, in a list from which both can be taken out and put back. */
interface Event {
  readonly call: Call;
  readonly isEnd: boolean;
  /** The call's end, at its beginning. */
  end: Event | null;
  previous: Event | null;
  next: Event | null;
}

/**
 * Looks for an order of one object's operations in which each takes effect between its beginning
 * and its end and every answer is right (Wing and Gong, "Testing and Verifying Concurrent Objects",
 * 1993; with memory of what was tried, as Lowe, "Testing for Linearizability", 2017). An operation
 * that never came back may have taken effect at any later time, or not at all.
 */
export function checkLinearizable(
  operations: readonly Operation[],
  model: Model,
  timeMs: number,
): Verdict {
  const limitMs = performance.now() + timeMs;
  const head = makeList(operations);
  const done = new Bits(operations.length);
  const tried = new Set<string>();
  const taken: { readonly begin: Event; readonly state: string }[] = [];
  let state = model.first;
  let at = head.next;
  let deepest = 0;
  let culprit = operations[0];
  for (let steps = 0; head.next !== null; steps++) {
    if (steps % 1024 === 0 && performance.now() > limitMs) return { type: 'undecided' };
    if (at === null || at.isEnd) {
      // Only calls are left that never came back: they need not have happened.
      if (at === null) return { type: 'linearizable' };
      // Something ended that has no place yet: the last choice was wrong.
      if (taken.length >= deepest) {
        deepest = taken.length;
        culprit = at.call.operation;
      }
      const last = taken.pop();
      if (last === undefined) {
        return culprit === undefined
          ? { type: 'linearizable' }
          : { type: 'violation', operation: culprit };
      }
      state = last.state;
      done.clear(last.begin.call.number);
      putBack(last.begin);
      at = last.begin.next;
      continue;
    }
    const { operation, number } = at.call;
    const next = model.step(state, operation.request, operation.answer);
    if (next !== null) {
      done.set(number);
      const key = `${done.text}|${next}`;
      if (!tried.has(key)) {
        tried.add(key);
        taken.push({ begin: at, state });
        state = next;
        takeOut(at);
        at = head.next;
        continue;
      }
      done.clear(number);
    }
    at = at.next;
  }
  return { type: 'linearizable' };
}

function makeList(operations: readonly Operation[]): Event {
  const sorted = [...operations].sort((a, b) => (a.invokedNs < b.invokedNs ? -1 : 1));
  const events: { readonly ns: bigint; readonly event: Event }[] = [];
  for (const [number, operation] of sorted.entries()) {
    const call = { operation, number };
    const begin: Event = { call, isEnd: false, end: null, previous: null, next: null };
    events.push({ ns: operation.invokedNs, event: begin });
    if (operation.endedNs === null) continue;
    begin.end = { call, isEnd: true, end: null, previous: null, next: null };
    events.push({ ns: operation.endedNs, event: begin.end });
  }
  // At the same moment nothing is known to be over: beginnings come first.
  events.sort((a, b) =>
    a.ns < b.ns ? -1 : a.ns > b.ns ? 1 : Number(a.event.isEnd) - Number(b.event.isEnd),
  );
  const nobody = { operation: sorted[0] as Operation, number: -1 };
  const head: Event = { call: nobody, isEnd: false, end: null, previous: null, next: null };
  let last = head;
  for (const { event } of events) {
    event.previous = last;
    last.next = event;
    last = event;
  }
  return head;
}

function takeOut(begin: Event): void {
  for (const event of [begin, begin.end]) {
    if (event === null) continue;
    if (event.previous !== null) event.previous.next = event.next;
    if (event.next !== null) event.next.previous = event.previous;
  }
}

/** In the opposite order, so that each finds its neighbours as they were. */
function putBack(begin: Event): void {
  for (const event of [begin.end, begin]) {
    if (event === null) continue;
    if (event.previous !== null) event.previous.next = event;
    if (event.next !== null) event.next.previous = event;
  }
}

/** A set of small numbers whose text is short when it is all up to some number, and little besides. */
class Bits {
  private readonly words: Uint32Array;
  /** Words below are full. */
  private full = 0;
  /** Words behind are empty. */
  private top = 0;

  constructor(size: number) {
    this.words = new Uint32Array(Math.ceil(size / 32) + 1);
  }

  set(at: number): void {
    const word = at >>> 5;
    this.words[word] = (this.words[word] ?? 0) | (1 << (at & 31));
    this.top = Math.max(this.top, word);
  }

  clear(at: number): void {
    const word = at >>> 5;
    this.words[word] = (this.words[word] ?? 0) & ~(1 << (at & 31));
    this.full = Math.min(this.full, word);
  }

  get text(): string {
    while (this.words[this.full] === 0xffffffff) this.full++;
    while (this.top > this.full && this.words[this.top] === 0) this.top--;
    return `${this.full}:${this.words.subarray(this.full, this.top + 1).join()}`;
  }
}
