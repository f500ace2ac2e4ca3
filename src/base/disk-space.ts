export interface DiskSpace {
  readonly totalBytes: number;
  /** For who is not root. */
  readonly freeBytes: number;
}

const RESERVE_PART = 1 / 20;
const RESERVE_BYTES_MAX = 512 * 1_048_576;

/**
 * What is kept free on every disk: removing takes space, too, until the log is compacted. A part of
 * small disks, and no more than so much of large ones.
 */
export function reserveOf(totalBytes: number): number {
  return Math.min(RESERVE_BYTES_MAX, totalBytes * RESERVE_PART);
}
