import type { Clock } from '../base/clock.js';
import { type Random, randomBetween } from '../base/random.js';
import type { ReadConfirmation } from '../raft/types.js';

/**
 * ReadIndex rounds under way at one time. All reads that arrive meanwhile share the next one, so
 * that many readers cost a few heartbeats a round trip and not one each.
 */
const ROUNDS_MAX = 4;

interface Waiting {
  readonly deadlineMs: number;
  /** 0: not confirmed yet. */
  readonly index: number;
  readonly run: () => void;
  /** The wait was too long. */
  readonly giveUp: () => void;
}

/**
 * Reads that wait: for a confirmation that the cluster has nothing newer (ReadIndex, thesis §6.4),
 * then until the tree has come to the index that they need.
 */
export class Reads {
  private collected: Waiting[] = [];
  /** Refused or lost rounds' reads; asked again at the next tick. */
  private again: Waiting[] = [];
  private readonly rounds = new Map<
    number,
    { readonly reads: Waiting[]; readonly askedMs: number }
  >();
  private forIndex: Waiting[] = [];
  private nextContext: number;

  constructor(
    private readonly clock: Clock,
    random: Random,
    private readonly askReadIndex: (context: number) => void,
    private readonly limits: { readonly waitMs: number; readonly roundMs: number },
  ) {
    // A late answer to the process that ran here before must not confirm a read of this one.
    this.nextContext = randomBetween(random, 1, 2 ** 31) * 2 ** 20;
  }

  /** Runs when this node's tree has all that was acknowledged to anyone before this call. */
  strong(run: () => void, giveUp: () => void): void {
    this.collected.push({ deadlineMs: this.deadline(), index: 0, run, giveUp });
  }

  /** Runs when the tree has come to `index`. */
  atLeast(index: number, appliedIndex: number, run: () => void, giveUp: () => void): void {
    if (index <= appliedIndex) run();
    else this.forIndex.push({ deadlineMs: this.deadline(), index, run, giveUp });
  }

  /** Starts a round for what was collected. */
  flush(): void {
    if (this.collected.length === 0 || this.rounds.size >= ROUNDS_MAX) return;
    const context = this.nextContext++;
    this.rounds.set(context, { reads: this.collected, askedMs: this.clock.monotonicMs() });
    this.collected = [];
    this.askReadIndex(context);
  }

  confirm(confirmations: readonly ReadConfirmation[], appliedIndex: number): void {
    for (const { context, index } of confirmations) {
      const round = this.rounds.get(context);
      if (round === undefined) continue;
      this.rounds.delete(context);
      if (index === 0) this.again.push(...round.reads);
      else if (index <= appliedIndex) for (const read of round.reads) read.run();
      else for (const read of round.reads) this.forIndex.push({ ...read, index });
    }
  }

  applied(index: number): void {
    if (this.forIndex.length === 0) return;
    const ready = this.forIndex.filter((read) => read.index <= index);
    if (ready.length === 0) return;
    this.forIndex = this.forIndex.filter((read) => read.index > index);
    for (const read of ready) read.run();
  }

  /** Asks again what was refused or got no answer, and gives up what waited too long. */
  tick(): void {
    const nowMs = this.clock.monotonicMs();
    for (const [context, round] of this.rounds) {
      if (nowMs - round.askedMs < this.limits.roundMs) continue;
      this.rounds.delete(context);
      this.again.push(...round.reads);
    }
    this.collected = [...this.again.splice(0), ...this.collected];
    this.collected = dropLate(this.collected, nowMs);
    this.forIndex = dropLate(this.forIndex, nowMs);
  }

  /** Nothing is answered any more. */
  stop(): void {
    const waiting = [...this.collected, ...this.again, ...this.forIndex];
    for (const round of this.rounds.values()) waiting.push(...round.reads);
    this.collected = [];
    this.again = [];
    this.forIndex = [];
    this.rounds.clear();
    for (const read of waiting) read.giveUp();
  }

  private deadline(): number {
    return this.clock.monotonicMs() + this.limits.waitMs;
  }
}

function dropLate(reads: Waiting[], nowMs: number): Waiting[] {
  if (!reads.some((read) => read.deadlineMs <= nowMs)) return reads;
  for (const read of reads) if (read.deadlineMs <= nowMs) read.giveUp();
  return reads.filter((read) => read.deadlineMs > nowMs);
}
