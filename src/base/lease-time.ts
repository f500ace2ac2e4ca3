import type { Clock } from './clock.js';

/**
 * A lease is used for this part of its time: clocks of two machines may run apart by the rest, a
 * tenth in all, of which half is left to CLOCK_TOLERANCE.
 */
const USED_PART = 0.9;
/**
 * The monotonic clock stands still while a machine is suspended, the wall clock does not: when they
 * have advanced differently by more than this part of the lease, the lease counts as over.
 */
const CLOCK_TOLERANCE = 0.05;

/** By both clocks, which go apart while the machine is suspended. */
export interface Moment {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

type Clocks = Pick<Clock, 'monotonicMs' | 'now'>;

export function momentOf(clock: Clocks): Moment {
  const { sec, nsec } = clock.now();
  return { monotonicMs: clock.monotonicMs(), wallMs: sec * 1_000 + nsec / 1e6 };
}

/** For how long who was given a lease may still use it, when it asked for it at `since`; 0 or less: it is over. */
export function leaseRemainingMs(clock: Clocks, since: Moment, durationMs: number): number {
  const now = momentOf(clock);
  const passedMs = now.monotonicMs - since.monotonicMs;
  const apartMs = Math.abs(now.wallMs - since.wallMs - passedMs);
  return apartMs <= durationMs * CLOCK_TOLERANCE ? durationMs * USED_PART - passedMs : 0;
}
