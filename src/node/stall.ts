/**
 * Work that waits and makes no progress for so long has a disk that hangs: its node steps down,
 * since others may have better ones. Half of the 5 s after which nobody may wait for such a leader
 * any more; ordinary disks take that long only when they fail.
 */
export const STALL_MS = 2_500;

/** Tells work that takes its time from work that has come to a halt. */
export class Stall {
  private sinceMs: number | null = null;
  private progress = 0;

  /** `waiting`: there is work; `progress` changes whenever a part of it is done. True: it hangs. */
  observe(nowMs: number, waiting: boolean, progress: number): boolean {
    if (!waiting) {
      this.sinceMs = null;
      return false;
    }
    if (this.sinceMs === null || progress !== this.progress) this.sinceMs = nowMs;
    this.progress = progress;
    return nowMs - this.sinceMs >= STALL_MS;
  }
}
