import type { QueryValues } from '../filesystem/queries.js';
import { NAME_BYTES_MAX } from '../filesystem/records.js';
import type { FilesystemFigures } from './mount.js';

/** The unit of statfs's figures: the page of the kernel, as most filesystems have it. */
const STATFS_BLOCK_BYTES = 4_096;
/** Inodes are numbered, not reserved: this many free ones are shown, whatever is used. */
const INODES_FREE = 2 ** 30;

/** What statfs(2) is told. */
export function figuresOf(found: QueryValues['statfs']): FilesystemFigures {
  const { inodes, bytes, inodesMax, bytesMax, diskBytesFree } = found;
  const bytesFree = Math.min(diskBytesFree, roomOf(bytes, bytesMax));
  const blocksFree = Math.floor(bytesFree / STATFS_BLOCK_BYTES);
  const inodesFree = Math.min(INODES_FREE, roomOf(inodes, inodesMax));
  return {
    blockBytes: STATFS_BLOCK_BYTES,
    // Of the nodes' disks only what is ours and what is free: the difference is what is stored.
    blocks: Math.ceil(bytes / STATFS_BLOCK_BYTES) + blocksFree,
    blocksFree,
    inodes: inodes + inodesFree,
    inodesFree,
    nameBytesMax: NAME_BYTES_MAX,
  };
}

/** What is left under a quota. */
function roomOf(used: number, max: number | null): number {
  return max === null ? Number.POSITIVE_INFINITY : Math.max(0, max - used);
}
