/** Upper bounds in seconds: from a local sync on a fast disk to an outage, a factor of 2 to 2.5 apart. */
const BOUNDS_SECONDS = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];

/** Counts of durations by size, cheap enough for every command. */
export class DurationHistogram {
  readonly boundsSeconds: readonly number[] = BOUNDS_SECONDS;
  /** One more than bounds: the last is for what is longer. */
  readonly counts = new Float64Array(BOUNDS_SECONDS.length + 1);
  sumSeconds = 0;
  count = 0;

  observe(seconds: number): void {
    let i = 0;
    while (i < BOUNDS_SECONDS.length && seconds > (BOUNDS_SECONDS[i] ?? 0)) i++;
    this.counts[i] = (this.counts[i] ?? 0) + 1;
    this.sumSeconds += seconds;
    this.count++;
  }
}
