import { WRITE_BYTES_MAX } from '../../filesystem/records.js';
import {
  INIT,
  KERNEL_MINOR_VERSION,
  KERNEL_MINOR_VERSION_MIN,
  KERNEL_VERSION,
} from './protocol.js';
import type { InitReply } from './replies.js';

/** Pages of the kernel, on all machines that we run on. */
const PAGE_BYTES = 4096;

/**
 * What is asked of the kernel. Left out on purpose:
 * - WRITEBACK_CACHE: the kernel would own size and times, and a write(2) would be visible to no one.
 * - CACHE_SYMLINKS: nothing would tell us when the cached target of a link is read.
 * - NO_OPEN_SUPPORT: opens are ours, for open unlinked files and delayed errors.
 * - AUTO_INVAL_DATA: every read(2) of cached pages would first ask for attributes whose time is
 *   over, a round trip to the leader each at the level `strong`.
 * - EXPORT_SUPPORT: a handle of name_to_handle_at(2) would have to be found again after the kernel has
 *   forgotten the inode; numbers are never used again, but an old one may have no name any more.
 * - ALLOW_IDMAP: owners would come already mapped, and our checks of set-group-ID know the caller's groups.
 * - SECURITY_CTX: labels of new inodes, which nobody here keeps apart from other attributes.
 * - EXPLICIT_INVAL_DATA: the kernel would keep the last page, with zeros behind the old end, when
 *   attributes show that somebody else appended. With neither, a new size drops a file's pages
 *   (fuse_change_attributes), and so do an open without FOPEN_KEEP_CACHE and our notifications.
 */
const WANTED_FLAGS =
  // Reads of one file in parallel, and readahead beyond one request.
  INIT.ASYNC_READ |
  // open(2) with O_TRUNC is one request and one command.
  INIT.ATOMIC_O_TRUNC |
  INIT.BIG_WRITES |
  // `ls -l` is one request per many entries.
  INIT.DO_READDIRPLUS |
  // Lookups and listings in one directory in parallel.
  INIT.PARALLEL_DIROPS |
  // Requests of more than 32 pages.
  INIT.MAX_PAGES |
  // The umask comes with the request: a default ACL takes its place.
  INIT.DONT_MASK |
  // The kernel checks permissions by the ACLs that it asks for as extended attributes.
  INIT.POSIX_ACL |
  // With an ACL it says whether set-group-ID has to go.
  INIT.SETXATTR_EXT |
  // Set-user-ID bits are cleared by us where the kernel says so. Without it the kernel asks for
  // the attribute security.capability before every write.
  INIT.HANDLE_KILLPRIV_V2 |
  // Files that go past the kernel's pages can be mapped all the same (Linux 6.6).
  INIT.INIT_EXT |
  INIT.DIRECT_IO_ALLOW_MMAP;

/** With it the kernel asks for inodes at the start of a directory, and where names were looked up since. */
const CHOOSING_FLAG = INIT.READDIRPLUS_AUTO;

/** Without them the kernel keeps locks itself, within this mount. */
const LOCK_FLAGS = INIT.POSIX_LOCKS | INIT.FLOCK_LOCKS;

/** Background requests (readahead, release) that the kernel sends at once. The default is 12. */
const BACKGROUND_MAX = 64;
/** Above this many, writeback slows down. The kernel's default is three quarters, too. */
const CONGESTION_THRESHOLD = 48;

/**
 * What to answer the kernel's INIT. `major-mismatch`: the kernel speaks a newer major version; it
 * is told ours and sends INIT again. `too-old`: a kernel before 4.20, or none.
 */
export function negotiate(
  kernel: {
    readonly major: number;
    readonly minor: number;
    readonly readaheadBytesMax: number;
    readonly flags: bigint;
  },
  { clusterLocks, listsAttributes }: { clusterLocks: boolean; listsAttributes: boolean },
): InitReply | 'major-mismatch' | 'too-old' {
  if (kernel.major > KERNEL_VERSION) return 'major-mismatch';
  if (kernel.major < KERNEL_VERSION || kernel.minor < KERNEL_MINOR_VERSION_MIN) return 'too-old';
  // Every kernel since 7.28 offers it.
  if ((kernel.flags & INIT.MAX_PAGES) === 0n) return 'too-old';
  const wanted =
    WANTED_FLAGS | (clusterLocks ? LOCK_FLAGS : 0n) | (listsAttributes ? 0n : CHOOSING_FLAG);
  return {
    minor: Math.min(kernel.minor, KERNEL_MINOR_VERSION),
    readaheadBytesMax: kernel.readaheadBytesMax,
    flags: kernel.flags & wanted,
    backgroundMax: BACKGROUND_MAX,
    congestionThreshold: CONGESTION_THRESHOLD,
    writeBytesMax: WRITE_BYTES_MAX,
    // mtime and the like are kept to the nanosecond.
    timeGranularityNs: 1,
    pagesMax: WRITE_BYTES_MAX / PAGE_BYTES,
  };
}
