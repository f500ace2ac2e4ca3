import { statfs } from 'node:fs/promises';

export interface DiskSpace {
  readonly totalBytes: number;
  /** For who is not root, as everything here that looks at it leaves a reserve. */
  readonly freeBytes: number;
}

/** Of the disk that has this directory: statfs(2). */
export async function diskSpaceOf(directory: string): Promise<DiskSpace> {
  const { bsize, blocks, bavail } = await statfs(directory);
  return { totalBytes: bsize * blocks, freeBytes: bsize * bavail };
}
