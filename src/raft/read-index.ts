import { type Random, randomBetween } from '../base/random.js';
import type { NodeId } from './types.js';

/** Who asked a leader for a read index: this node itself (null) or a follower. */
export interface Reader {
  readonly from: NodeId | null;
  readonly context: number;
}

/**
 * ReadIndex at the leader (thesis §6.4). One round of heartbeats is on its way at a time; who asks
 * meanwhile shares the next one.
 */
export class LeaderReads {
  /** Number of the last round that began. A follower that answers it answers all before it. */
  round = 0;
  private index = 0;
  private asking: Reader[] = [];
  private waiting: Reader[] = [];

  ask(reader: Reader): void {
    this.waiting.push(reader);
  }

  get inRound(): boolean {
    return this.asking.length > 0;
  }

  get canBegin(): boolean {
    return this.waiting.length > 0 && !this.inRound;
  }

  /** The commit index at the beginning answers all who asked before. */
  begin(commitIndex: number): void {
    this.round++;
    this.index = commitIndex;
    this.asking = this.waiting;
    this.waiting = [];
  }

  /** A majority answered the round. */
  end(): { readonly readers: readonly Reader[]; readonly index: number } {
    const readers = this.asking;
    this.asking = [];
    return { readers, index: this.index };
  }

  /** Everybody who asked and was not answered. */
  drop(): readonly Reader[] {
    const readers = [...this.asking, ...this.waiting];
    this.asking = [];
    this.waiting = [];
    return readers;
  }
}

interface Forward {
  readonly contexts: readonly number[];
  readonly deadline: number;
}

/**
 * A follower's read requests. What was asked since the last flush goes to the leader in one
 * message, under a context of our own.
 */
export class ForwardedReads {
  private waiting: number[] = [];
  /** By context; in the order of their deadlines. */
  private readonly forwards = new Map<number, Forward>();
  private nextContext: number;

  constructor(random: Random) {
    // Starts anywhere: a late reply to a request from before a restart must not answer a new one,
    // because its index may be older than what the new reader must see.
    this.nextContext = randomBetween(random, 1, 2 ** 31) * 2 ** 20;
  }

  ask(context: number): void {
    this.waiting.push(context);
  }

  get canFlush(): boolean {
    return this.waiting.length > 0;
  }

  /** The context under which all waiting requests are to be sent. */
  flush(deadline: number): number {
    const context = this.nextContext++;
    this.forwards.set(context, { contexts: this.waiting, deadline });
    this.waiting = [];
    return context;
  }

  /** Who is answered by a reply; nobody when it comes twice or too late. */
  answered(context: number): readonly number[] {
    const forward = this.forwards.get(context);
    this.forwards.delete(context);
    return forward?.contexts ?? [];
  }

  expired(now: number): readonly number[] {
    const contexts: number[] = [];
    for (const [context, forward] of this.forwards) {
      if (forward.deadline > now) break;
      contexts.push(...forward.contexts);
      this.forwards.delete(context);
    }
    return contexts;
  }

  /** Everybody who asked and was not answered. */
  drop(): readonly number[] {
    const contexts: number[] = [];
    for (const forward of this.forwards.values()) contexts.push(...forward.contexts);
    contexts.push(...this.waiting);
    this.forwards.clear();
    this.waiting = [];
    return contexts;
  }
}
