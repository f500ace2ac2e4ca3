import type { Inode } from './records.js';
import { refuse } from './refusal.js';

/**
 * Flags of an inode, as ioctl_iflags(2) numbers them. They hold for everybody on every mount; who
 * may change them is the kernel's to check.
 */
export const FLAG_IMMUTABLE = 0x10;
export const FLAG_APPEND = 0x20;
/** Kept for the programs that ask: dump(8), and readers that wish for no access times. */
export const FLAG_NODUMP = 0x40;
export const FLAG_NOATIME = 0x80;
/** What is made in a directory has these from it, as on ext4 and XFS. */
export const INHERITED_FLAGS = FLAG_NODUMP | FLAG_NOATIME;
/** What FS_IOC_SETFLAGS may set. */
export const SETTABLE_FLAGS = FLAG_IMMUTABLE | FLAG_APPEND | FLAG_NODUMP | FLAG_NOATIME;
/** Made without a name, with O_TMPFILE: link(2) may give it one. Never shown to programs. */
export const FLAG_UNNAMED = 0x1000_0000;

const FROZEN = FLAG_IMMUTABLE | FLAG_APPEND;

/** EPERM when the inode is immutable. */
export function refuseImmutable({ flags }: Inode): void {
  if ((flags & FLAG_IMMUTABLE) !== 0) refuse('EPERM');
}

/** EPERM when the inode is immutable, or may only be appended to. */
export function refuseFrozen({ flags }: Inode): void {
  if ((flags & FROZEN) !== 0) refuse('EPERM');
}
