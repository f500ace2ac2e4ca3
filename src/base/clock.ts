/** Time as a thing that is handed in, so that the same code runs on simulated time. */
export interface Clock {
  /** Milliseconds that never go back; only differences mean anything. */
  monotonicMs(): number;
  /** The wall clock, in whole seconds and nanoseconds since 1970. May jump. */
  now(): Timespec;
  /** Calls `action` once, after at least `delayMs` milliseconds. */
  setTimer(delayMs: number, action: () => void): Timer;
  /** Calls `action` once, behind all that has come in by now and is not handed out yet. */
  soon(action: () => void): void;
}

export interface Timer {
  /** Nothing happens when it has fired or was cancelled before. */
  cancel(): void;
}

/** A moment as POSIX's struct timespec: `sec` may be negative, 0 <= nsec < 1e9. */
export interface Timespec {
  readonly sec: number;
  readonly nsec: number;
}

export function compareTimespec(a: Timespec, b: Timespec): number {
  return a.sec - b.sec || a.nsec - b.nsec;
}
