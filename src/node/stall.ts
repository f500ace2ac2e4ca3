import type { Saver } from './saver.js';
import type { Tree } from './tree.js';

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

/** Watches all that one node does with its disk. */
export class DiskWatch {
  private readonly saves = new Stall();
  private readonly reads = new Stall();
  private readonly writes = new Stall();

  /** True: something of it hangs. */
  hangs(
    nowMs: number,
    saver: Pick<Saver, 'waiting' | 'finished'>,
    tree: Pick<Tree, 'applied' | 'isWriting' | 'written'>,
    commitIndex: number,
  ): boolean {
    const { index } = tree.applied;
    const saves = this.saves.observe(nowMs, saver.waiting, saver.finished);
    const reads = this.reads.observe(nowMs, commitIndex > index, index);
    const writes = this.writes.observe(nowMs, tree.isWriting, tree.written.index);
    return saves || reads || writes;
  }
}
