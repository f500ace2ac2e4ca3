import type { Clock, Timer, Timespec } from '../../src/base/clock.js';
import { type Random, randomBetween } from '../../src/base/random.js';
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
  private continuedAt: Micros = 0;
  /** What happened during a pause, in order for each source; null: everything else. */
  private waiting = new Map<object | null, (() => void)[]>();
  /** How much of what waited is still to happen, for each source: what is new comes behind it. */
  private readonly late = new Map<object | null, number>();
  /** Time that the monotonic clock did not count: the machine was asleep. */
  private sleptMicros = 0;
  private asleepSince: Micros | null = null;
  private wallOffsetMs: number;
  private wasSetBack = false;
  readonly clock: Clock;

  constructor(
    private readonly loop: Loop,
    readonly name: string,
    private readonly errors: ClockErrors,
    private readonly random: Random,
    /** Called after everything that happened to it, promises included. */
    private readonly happened: () => void = () => {},
  ) {
    this.wallOffsetMs = errors.wallOffsetMs;
    this.clock = {
      monotonicMs: () => this.monotonicMs(),
      now: () => this.wallClock(),
      setTimer: (delayMs, action) => this.setTimer(delayMs, action),
      soon: (action) => void this.after(0, 'soon', action),
    };
  }

  get nowMicros(): Micros {
    return this.loop.now;
  }

  get paused(): boolean {
    return this.pausedUntil !== null;
  }

  /** For how long it has been running since then, or since it was last continued. */
  awakeSince(then: Micros): Micros {
    return this.loop.now - Math.max(then, this.continuedAt);
  }

  /** Something outside happens to this process, after so long. */
  after(
    delayMicros: number,
    what: string,
    run: () => void,
    source: object | null = null,
  ): Happening {
    const happening = this.loop.after(delayMicros, what, () => {
      if (this.paused) {
        this.happen(() => {
          if (!happening.cancelled) run();
        }, source);
      } else this.happen(run, source);
    });
    return happening;
  }

  kill(): void {
    this.alive = false;
    this.waiting.clear();
    this.late.clear();
  }

  /** SIGSTOP, and SIGCONT after so long. `asleep`: the whole machine, with its monotonic clock. */
  pause(forMicros: number, asleep: boolean): void {
    if (this.paused) return;
    this.pausedUntil = this.loop.now + forMicros;
    if (asleep && !this.wasSetBack) this.asleepSince = this.loop.now;
    this.loop.after(forMicros, 'continue', () => {
      this.pausedUntil = null;
      this.continuedAt = this.loop.now;
      if (this.asleepSince !== null) this.sleptMicros += this.loop.now - this.asleepSince;
      this.asleepSince = null;
      this.catchUp();
    });
  }

  /**
   * The wall clock is set by somebody. Not back where the machine sleeps now and then: by both at once a
   * process could not tell that it slept, and need not (see base/lease-time.ts).
   */
  jump(ms: number): void {
    const hasSlept = this.asleepSince !== null || this.sleptMicros > 0;
    if (ms < 0 && hasSlept) return;
    if (ms < 0) this.wasSetBack = true;
    this.wallOffsetMs += ms;
  }

  /** Something outside happens to this process now, or as soon as it runs. */
  happen(run: () => void, source: object | null = null): void {
    if (!this.alive) return;
    if (this.paused) {
      const waiting = this.waiting.get(source);
      if (waiting === undefined) this.waiting.set(source, [run]);
      else waiting.push(run);
      return;
    }
    if (this.late.has(source)) {
      this.happenLate(run, source);
      return;
    }
    run();
    this.loop.afterStep(this.happened);
  }

  /** A process that comes back finds much to read at once, and takes one source after the other in any order. */
  private catchUp(): void {
    const sources = [...this.waiting];
    this.waiting.clear();
    while (sources.length > 0) {
      const at = randomBetween(this.random, 0, sources.length);
      const [source, waiting] = sources[at] ?? [null, []];
      const count = randomBetween(this.random, 1, waiting.length + 1);
      for (const run of waiting.splice(0, count)) this.happenLate(run, source);
      if (waiting.length === 0) sources.splice(at, 1);
    }
  }

  /** Behind what came before it from there, also when the process is paused once more. */
  private happenLate(run: () => void, source: object | null): void {
    this.late.set(source, (this.late.get(source) ?? 0) + 1);
    this.loop.after(0, 'late', () => {
      const left = (this.late.get(source) ?? 0) - 1;
      if (left > 0) this.late.set(source, left);
      else this.late.delete(source);
      if (this.paused || !this.alive) this.happen(run, source);
      else {
        run();
        this.loop.afterStep(this.happened);
      }
    });
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
