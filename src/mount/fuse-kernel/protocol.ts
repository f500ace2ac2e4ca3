/**
 * Numbers of the FUSE kernel protocol, major version 7: opcodes, flags and the sizes of the
 * structures in linux/fuse.h, by the names they have there without the prefix FUSE_. All numbers
 * on the wire are in the machine's byte order, and every structure is padded to eight bytes.
 */

export const KERNEL_VERSION = 7;
/**
 * The newest minor version whose layouts are written here. A newer kernel is told this number and
 * then speaks it (linux/fuse.h, "Version negotiation").
 */
export const KERNEL_MINOR_VERSION = 45;
/**
 * The oldest one: since 7.28 (Linux 4.20) a request may carry more than 32 pages, and all
 * structures that are used here have their present size.
 */
export const KERNEL_MINOR_VERSION_MIN = 28;
/** Since 7.44 (Linux 6.16) the kernel takes FUSE_NOTIFY_INC_EPOCH, whatever version was agreed on. */
export const EPOCH_MINOR_VERSION = 44;

/** enum fuse_opcode, up to 7.45. */
export const OPCODE = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  GETLK: 31,
  SETLK: 32,
  SETLKW: 33,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  BMAP: 37,
  DESTROY: 38,
  IOCTL: 39,
  POLL: 40,
  NOTIFY_REPLY: 41,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  SETUPMAPPING: 48,
  REMOVEMAPPING: 49,
  SYNCFS: 50,
  TMPFILE: 51,
  STATX: 52,
  COPY_FILE_RANGE_64: 53,
} as const;

export type OpcodeName = keyof typeof OPCODE;

/** INIT flags that are used, FUSE_* of linux/fuse.h. */
export const INIT = {
  ASYNC_READ: 1n << 0n,
  POSIX_LOCKS: 1n << 1n,
  ATOMIC_O_TRUNC: 1n << 3n,
  BIG_WRITES: 1n << 5n,
  DONT_MASK: 1n << 6n,
  FLOCK_LOCKS: 1n << 10n,
  DO_READDIRPLUS: 1n << 13n,
  READDIRPLUS_AUTO: 1n << 14n,
  PARALLEL_DIROPS: 1n << 18n,
  POSIX_ACL: 1n << 20n,
  MAX_PAGES: 1n << 22n,
  HANDLE_KILLPRIV_V2: 1n << 28n,
  SETXATTR_EXT: 1n << 29n,
  /** The flags from bit 32 on are in a word of their own. */
  INIT_EXT: 1n << 30n,
  DIRECT_IO_ALLOW_MMAP: 1n << 36n,
} as const;

/** fuse_setattr_in.valid */
export const FATTR = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  FH: 1 << 6,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
  KILL_SUIDGID: 1 << 11,
} as const;

/** fuse_open_out.open_flags */
export const FOPEN = {
  DIRECT_IO: 1 << 0,
  KEEP_CACHE: 1 << 1,
  /** Since 7.35; older kernels ignore it. */
  NOFLUSH: 1 << 5,
} as const;

/** fuse_open_in.open_flags */
export const OPEN_KILL_SUIDGID = 1 << 0;
/** fuse_write_in.write_flags. Written back from the page cache: the handle is any one of the file. */
export const WRITE_CACHE = 1 << 0;
export const WRITE_KILL_SUIDGID = 1 << 2;
/** fuse_read_in.read_flags. */
export const READ_LOCKOWNER = 1 << 1;

/** fuse_lk_in.lk_flags: flock(2), not fcntl(2). */
export const LK_FLOCK = 1 << 0;
/** fuse_file_lock.type, as in fcntl(2) of the generic ABI, and the last byte of a lock to the end of the file. */
export const LOCK_TYPE = { RDLCK: 0, WRLCK: 1, UNLCK: 2 } as const;
export const OFFSET_MAX = 0x7fff_ffff_ffff_ffffn;

/** fuse_notify_inval_entry_out.flags, since Linux 6.2; before, the whole entry goes. */
export const EXPIRE_ONLY = 1 << 0;

/** fuse_setxattr_in.setxattr_flags */
export const SETXATTR_ACL_KILL_SGID = 1 << 0;

/** enum fuse_notify_code */
export const NOTIFY = { INVAL_INODE: 2, INVAL_ENTRY: 3, INC_EPOCH: 8 } as const;

/** open(2) flags that reach the server: the same numbers on x86-64 and arm64. */
export const OPEN_FLAG = {
  ACCMODE: 0o3,
  RDONLY: 0o0,
  WRONLY: 0o1,
  RDWR: 0o2,
  EXCL: 0o200,
  TRUNC: 0o1000,
  APPEND: 0o2000,
  DSYNC: 0o10000,
  /** The bit beside DSYNC in O_SYNC. */
  SYNC: 0o4000000,
} as const;

/** renameat2(2) flags. */
export const RENAME_FLAG = { NOREPLACE: 1, EXCHANGE: 2 } as const;

/** fallocate(2) modes. */
export const FALLOCATE = { KEEP_SIZE: 1, PUNCH_HOLE: 2, ZERO_RANGE: 16 } as const;

/** lseek(2): the others the kernel does itself. */
export const SEEK = { DATA: 3, HOLE: 4 } as const;

/**
 * ioctl(2) of linux/fs.h, as the kernel sends them for itself whatever a program said: it has
 * checked by then who may set what. The first two carry 32 bits, the others a struct fsxattr.
 */
export const IOCTL = {
  FS_IOC_GETFLAGS: 0x80086601,
  FS_IOC_SETFLAGS: 0x40086602,
  FS_IOC_FSGETXATTR: 0x801c581f,
  FS_IOC_FSSETXATTR: 0x401c5820,
} as const;

/** setxattr(2) flags. */
export const XATTR_FLAG = { CREATE: 1, REPLACE: 2 } as const;

/** Sizes of the structures, in bytes. */
export const SIZE = {
  IN_HEADER: 40,
  OUT_HEADER: 16,
  ATTR: 88,
  ENTRY_OUT: 128,
  ATTR_OUT: 104,
  OPEN_OUT: 16,
  WRITE_IN: 40,
  WRITE_OUT: 8,
  NUMBER_OUT: 8,
  STATX_OUT: 288,
  IOCTL_IN: 32,
  /** fuse_create_in, fuse_mknod_in */
  CREATE_IN: 16,
  STATFS_OUT: 80,
  LK_IN: 48,
  LK_OUT: 24,
  GETXATTR_OUT: 8,
  SETXATTR_IN: 16,
  /** Of a kernel without SETXATTR_EXT (7.33). */
  SETXATTR_IN_COMPAT: 8,
  INIT_OUT: 64,
  /** fuse_dirent without its name. */
  DIRENT: 24,
  NOTIFY_INVAL_INODE_OUT: 24,
  NOTIFY_INVAL_ENTRY_OUT: 16,
} as const;
