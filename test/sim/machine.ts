import type { Clock, Timer, Timespec } from '../../src/base/clock.js';
import type { Happening, Loop, Micros } from './loop.js';

/** The worlds begin in 2020, so that times look like times. */
const EPOCH_SEC = 1_577_836_800;

export interface ClockErrors {
  /** How fast its monotonic clock runs: 1 is right. */
  readonly rate: number;
  /** How far its wall clock is off at the start. */
  readonly wallOffsetMs: number;
}

/**
 * One process of the simulated world and its clocks. All that ever happens to a process goes through
 * here: a killed one hears of nothing any more, a paused one hears of it later.
 */
export class Machine {
  alive = true;
  private pausedUntil: Micros | null = null;
  private waiting: (() => void)[] = [];
  /** Time that the monotonic clock did not count: the machine was asleep. */
  private sleptMicros = 0;
  private asleepSince: Micros | null = null;
  private wallOffsetMs: number;
  readonly clock: Clock;

  constructor(
    private readonly loop: Loop,
    readonly name: string,
    private readonly errors: ClockErrors,
    /** Called after everything that happened to it, promises included. */
    private readonly happened: () => void = () => {},
  ) {
    this.wallOffsetMs = errors.wallOffsetMs;
    this.clock = {
      monotonicMs: () => this.monotonicMs(),
      now: () => this.wallClock(),
      setTimer: (delayMs, action) => this.setTimer(delayMs, action),
    };
  }

  get nowMicros(): Micros {
    return this.loop.now;
  }

  get paused(): boolean {
    return this.pausedUntil !== null;
  }

  /** Something outside happens to this process, after so long. */
  after(delayMicros: number, what: string, run: () => void): Happening {
    const happening = this.loop.after(delayMicros, what, () => {
      if (happening.cancelled) return;
      this.happen(() => {
        if (!happening.cancelled) run();
      });
    });
    return happening;
  }

  kill(): void {
    this.alive = false;
    this.waiting = [];
  }

  /** SIGSTOP, and SIGCONT after so long. `asleep`: the whole machine, with its monotonic clock. */
  pause(forMicros: number, asleep: boolean): void {
    if (this.paused) return;
    this.pausedUntil = this.loop.now + forMicros;
    if (asleep) this.asleepSince = this.loop.now;
    this.loop.after(forMicros, 'continue', () => {
      this.pausedUntil = null;
      if (this.asleepSince !== null) this.sleptMicros += this.loop.now - this.asleepSince;
      this.asleepSince = null;
      const waiting = this.waiting;
      this.waiting = [];
      // In the order in which it happened, and one after another as the process's loop would take them.
      for (const run of waiting) this.after(0, 'late', run);
    });
  }

  /** The wall clock is set by somebody. */
  jump(ms: number): void {
    this.wallOffsetMs += ms;
  }

  /** Something outside happens to this process now, or as soon as it runs. */
  happen(run: () => void): void {
    if (!this.alive) return;
    if (this.paused) {
      this.waiting.push(run);
      return;
    }
    run();
    this.loop.afterStep(this.happened);
  }

  private monotonicMs(): number {
    const until = this.asleepSince ?? this.loop.now;
    return ((until - this.sleptMicros) * this.errors.rate) / 1_000;
  }

  private wallClock(): Timespec {
    // The wall clock goes on while the machine sleeps, and runs as fast as the monotonic one.
    const micros = this.loop.now * this.errors.rate + this.wallOffsetMs * 1_000;
    const sec = Math.floor(micros / 1e6);
    return { sec: EPOCH_SEC + sec, nsec: Math.floor((micros - sec * 1e6) * 1_000) };
  }

  private setTimer(delayMs: number, action: () => void): Timer {
    const dueMs = this.monotonicMs() + delayMs;
    // Rounded up, and one more: a timer is never early on its own clock.
    const wait = (ms: number) =>
      this.after((ms * 1_000) / this.errors.rate + 1, 'timer', () => {
        const restMs = dueMs - this.monotonicMs();
        if (restMs > 0) happening = wait(restMs);
        else action();
      });
    let happening = wait(delayMs);
    return {
      cancel: () => {
        happening.cancelled = true;
      },
    };
  }
}
