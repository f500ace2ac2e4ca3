import type { Clock, Timer } from '../base/clock.js';
import { MootError } from '../base/errors.js';
import type { CallOptions } from './filesystem-client.js';

/** Longest delay of a timer in Node (2^31 - 1 ms, 24 days): beyond it a deadline means for ever. */
const TIMER_MS_MAX = 2_147_483_647;

/**
 * What may end a call before its answer: a deadline and a signal. `expired` may say how many more
 * milliseconds to wait instead.
 */
export class CallLimits {
  private timer: Timer | null = null;

  constructor(
    private readonly clock: Clock,
    deadlineMs: number,
    private readonly signal: AbortSignal | undefined,
    private readonly expired: () => number,
    private readonly interrupted: () => void,
  ) {
    this.arm(deadlineMs);
    signal?.addEventListener('abort', interrupted, { once: true });
  }

  /** The call has ended. */
  release(): void {
    this.timer?.cancel();
    this.signal?.removeEventListener('abort', this.interrupted);
  }

  private arm(delayMs: number): void {
    if (delayMs > TIMER_MS_MAX) return;
    this.timer = this.clock.setTimer(delayMs, () => {
      const moreMs = this.expired();
      if (moreMs > 0) this.arm(moreMs);
    });
  }
}

/** Refuses calls that cannot be made any more. */
export function callRefusal(closed: boolean, options: CallOptions): MootError | null {
  if (closed) return new MootError('CLOSED', 'the client was closed');
  if (options.signal?.aborted) return new MootError('INTERRUPTED', 'interrupted before it began');
  return null;
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
