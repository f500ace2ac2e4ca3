import type { Clock, Timespec } from './clock.js';

/**
 * A wall clock that counts whole milliseconds, told to fractions of one with a monotonic one beside
 * it: always within the present millisecond, and going back only when the wall clock itself does.
 * Two changes within one millisecond get different times.
 */
export function fineWallClock(): (wallMs: number, monotonicMs: number) => number {
  let apartMs = Number.NaN;
  return (wallMs, monotonicMs) => {
    const fineMs = monotonicMs + apartMs;
    if (fineMs >= wallMs && fineMs < wallMs + 1) return fineMs;
    const nearestMs = fineMs >= wallMs + 1 && fineMs < wallMs + 2 ? wallMs + LAST_PART : wallMs;
    apartMs = nearestMs - monotonicMs;
    return nearestMs;
  };
}

/** The end of a millisecond, as far as a number of today's size tells. */
const LAST_PART = 0.999;

function timespecOf(ms: number): Timespec {
  const sec = Math.floor(ms / 1_000);
  return { sec, nsec: Math.floor((ms - sec * 1_000) * 1e6) };
}

const fineWallMs = fineWallClock();

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  now: () => timespecOf(fineWallMs(Date.now(), performance.now())),
  setTimer(delayMs, action) {
    const timer = setTimeout(action, delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
  soon: (action) => void setImmediate(action),
};
