import type { NodeDocument } from './document.js';
import type { Monitor } from './monitor.js';

/** Rates are over about this much time. */
const WINDOW_MS = 1_000;

interface Mark {
  readonly atMs: number;
  readonly commitIndex: number;
  readonly bytes: number;
}

/** What happened in the last second or two, whoever asks and however often. */
export class Rates {
  private older: Mark;
  private newer: Mark;

  constructor(
    private readonly monitor: Monitor,
    private readonly commitIndex: () => number,
  ) {
    this.older = this.mark();
    this.newer = this.older;
  }

  now(): NodeDocument['rates'] {
    const now = this.mark();
    if (now.atMs - this.newer.atMs >= WINDOW_MS) {
      this.older = this.newer;
      this.newer = now;
    }
    const seconds = Math.max(0.001, (now.atMs - this.older.atMs) / 1000);
    const [p50, p99] = this.monitor.latencies.quantiles(this.older.atMs, [0.5, 0.99]);
    return {
      commitsPerSecond: Math.max(0, now.commitIndex - this.older.commitIndex) / seconds,
      bytesPerSecond: (now.bytes - this.older.bytes) / seconds,
      commitP50Ms: p50 ?? null,
      commitP99Ms: p99 ?? null,
    };
  }

  private mark(): Mark {
    const { traffic } = this.monitor;
    return {
      atMs: performance.now(),
      commitIndex: this.commitIndex(),
      bytes: traffic.bytesSent,
    };
  }
}
