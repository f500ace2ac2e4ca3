import { statfs } from 'node:fs/promises';
import type { DiskSpace } from '../base/disk-space.js';

/** Of the disk that has this directory: statfs(2). */
export async function diskSpaceOf(directory: string): Promise<DiskSpace> {
  const { bsize, blocks, bavail } = await statfs(directory);
  return { totalBytes: bsize * blocks, freeBytes: bsize * bavail };
}
