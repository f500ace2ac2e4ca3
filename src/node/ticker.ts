import type { Clock, Timer } from '../base/clock.js';
import { MootError } from '../base/errors.js';
import type { NodeConfig } from './node.js';

/** Random election timeouts are whole ticks: so many to the shortest, so that they differ. */
const TICKS_PER_ELECTION_MIN = 15;

/** The core's time: how long a tick is, and what the configured times are in ticks. */
export interface TickPlan {
  readonly tickMs: number;
  readonly electionTicksMin: number;
  readonly electionTicksMax: number;
  readonly heartbeatTicks: number;
}

export function planTicks(config: NodeConfig): TickPlan {
  const { electionTimeoutMinMs, electionTimeoutMaxMs, heartbeatMs } = config;
  if (electionTimeoutMaxMs <= electionTimeoutMinMs || heartbeatMs * 2 > electionTimeoutMinMs) {
    throw new MootError(
      'BAD_ARGUMENT',
      `an election timeout of ${electionTimeoutMinMs} to ${electionTimeoutMaxMs} ms and a heartbeat of ` +
        `${heartbeatMs} ms do not go together: the range must not be empty, and two heartbeats must fit`,
    );
  }
  const tickMs = Math.max(
    1,
    Math.floor(Math.min(electionTimeoutMinMs / TICKS_PER_ELECTION_MIN, heartbeatMs)),
  );
  const electionTicksMin = Math.ceil(electionTimeoutMinMs / tickMs);
  return {
    tickMs,
    electionTicksMin,
    electionTicksMax: Math.max(electionTicksMin + 1, Math.ceil(electionTimeoutMaxMs / tickMs)),
    heartbeatTicks: Math.max(1, Math.floor(heartbeatMs / tickMs)),
  };
}

/** Calls `onTicks` with the number of ticks that passed. */
export class Ticker {
  private timer: Timer | null = null;
  private countedMs = 0;

  constructor(
    private readonly clock: Clock,
    private readonly plan: TickPlan,
    private readonly onTicks: (count: number) => void,
  ) {}

  start(): void {
    this.countedMs = this.clock.monotonicMs();
    this.wait();
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = null;
  }

  private wait(): void {
    const { tickMs, electionTicksMin } = this.plan;
    const nowMs = this.clock.monotonicMs();
    const delayMs = Math.max(0, this.countedMs + tickMs - nowMs);
    this.timer = this.clock.setTimer(delayMs, () => {
      const passed = Math.floor((this.clock.monotonicMs() - this.countedMs) / tickMs);
      this.countedMs += passed * tickMs;
      this.wait();
      // After a long pause (a busy or stopped process) the messages that came meanwhile are still
      // unread: half a timeout at most passes at once, so that a live leader is heard first.
      this.onTicks(Math.min(passed, Math.ceil(electionTicksMin / 2)));
    });
  }
}
