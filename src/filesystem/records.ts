import type { Timespec } from '../base/clock.js';
import type { FilesystemErrorCode } from '../base/errors.js';
import type { CommandValue } from './commands.js';

/** An inode number: from the replicated counter, never reused, below 2^53. */
export type Ino = number;

/** The root directory, as the kernel knows it (FUSE_ROOT_ID in fuse.h). */
export const ROOT_INO: Ino = 1;

export const NAME_BYTES_MAX = 255;
export const SYMLINK_BYTES_MAX = 4095;
export const LINKS_MAX = 65_000;
/** XATTR_NAME_MAX and XATTR_SIZE_MAX of linux/limits.h. */
export const XATTR_NAME_BYTES_MAX = 255;
export const XATTR_VALUE_BYTES_MAX = 65_536;
/** All extended attributes of one inode together: they live in one record. */
export const XATTR_TOTAL_BYTES_MAX = 262_144;
/** 16 TiB: chunk indexes then fit in 32 bits. Writing beyond it is EFBIG. */
export const FILE_BYTES_MAX = 2 ** 44;
/** The largest write command: what one FUSE_WRITE carries at most. */
export const WRITE_BYTES_MAX = 1_048_576;
/** The largest read query: as much as one write carries. */
export const READ_BYTES_MAX = WRITE_BYTES_MAX;
/** The largest limit of a read-directory query. */
export const LISTED_ENTRIES_MAX = 4_096;
/**
 * Names, inodes and targets in one answer to it: as many entries with the longest names and their
 * inodes fit, and four times as much fits a frame. Long targets make the answer end earlier.
 */
export const LISTED_BYTES_MAX = 2 * 1_048_576;
/**
 * Content is stored in chunks of this many bytes. A small write rewrites one chunk, so a smaller
 * chunk costs a database less, and a larger one makes fewer records of a big file.
 */
export const CHUNK_BYTES = 32_768;
/**
 * What one command may free of a range or behind a new end, and one copy-range may copy: bounds how
 * long a single command keeps every node, at a record for each chunk. Who wants more sends several.
 */
export const CLEARED_BYTES_MAX = 2 ** 30;
export const COPIED_BYTES_MAX = 16 * 1_048_576;

/**
 * What a command may carry. Longer than any name, target or extended attribute, so that a program
 * gets its errno from apply; what is beyond is refused before it enters the log, and nowhere decoded.
 */
export const COMMAND_NAME_BYTES_MAX = 16 * (NAME_BYTES_MAX + 1);
export const COMMAND_VALUE_BYTES_MAX = 131_072;
/** A session's name is for people. */
export const SESSION_NAME_CHARS_MAX = 1_024;

/** Each session costs memory on every node and is read when the slowest one is looked for. */
export const SESSIONS_MAX = 4096;
/**
 * Replies kept for a client that does not acknowledge, and targets of symbolic links and locks in them:
 * beyond it commands are answered `gap`. With all that it may hold, a session fits into a chunk of a
 * snapshot.
 */
export const SESSION_REPLIES_MAX = 1024;
export const SESSION_REPLY_BYTES_MAX = 131_072;
/** Unlinked inodes that one session may hold open: as many as a process may have open files. */
export const SESSION_HOLDS_MAX = 65_536;

/** Of one inode and kind: they are one record, which every change writes anew. */
export const LOCKS_PER_INODE_MAX = 4_096;
/** Inodes on which one session holds locks, before what it waits for: as many as a busy host has. */
export const LOCKED_INODES_MAX = 16_384;
/** Inodes that one session decides about: they stand in its record, which every command writes anew. */
export const DELEGATED_INODES_MAX = 256;
/** Locks that are handed over with the right to decide, there and back: both are one command or reply. */
export const DELEGATED_LOCKS_MAX = 128;
/** Requests that wait for a lock, in the whole tree: they are one record, too. */
export const LOCKS_WAITING_MAX = 4_096;
/** Whose a lock is: what the client makes of the kernel's number. */
export const LOCK_OWNER_CHARS_MAX = 32;

export interface Inode {
  readonly ino: Ino;
  /** File type and permission bits, as st_mode. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly nlink: number;
  readonly size: number;
  /** Bytes that are stored, for st_blocks: holes cost nothing. */
  readonly bytes: number;
  readonly rdev: number;
  readonly atime: Timespec;
  readonly mtime: Timespec;
  readonly ctime: Timespec;
  readonly btime: Timespec;
  /** Log index of the last command that changed the content (of a directory: its entries). Caches compare it. */
  readonly dataVersion: number;
  /** Regular file: which content is this inode's; replaced when next to nothing of a large file is left. */
  readonly content: number;
  /** Directory: its parent (the root is its own); otherwise 0. */
  readonly parent: Ino;
  /** Directory: number of entries, and the cookie that the next one gets. */
  readonly entries: number;
  readonly nextCookie: number;
  /** How many extended attributes it has: mostly none, and then nobody needs to ask for one. */
  readonly xattrs: number;
  /** Symbolic link: where it points; otherwise empty. */
  readonly target: Uint8Array;
  /**
   * What keeps this inode alive when it has no name: one for each session that holds it open, and one
   * for the orphan queue while it is there. It is reclaimed when this comes down to 0. A linked inode
   * has holds only when it was made without a name and got one later.
   */
  readonly holds: number;
  /** See inode-flags.ts. */
  readonly flags: number;
}

/** A directory entry, found by (parent, name). */
export interface DirectoryEntry {
  readonly ino: Ino;
  /** The S_IFMT bits of the inode's mode. */
  readonly type: number;
  /** Position for readdir: grows for ever within a directory, starts at 1. */
  readonly cookie: number;
}

/** The same entry under (parent, cookie), so that readdir goes in a stable order. */
export interface CookieEntry {
  readonly ino: Ino;
  readonly type: number;
  readonly name: Uint8Array;
}

/** All extended attributes of one inode; names as latin1 strings. */
export type Xattrs = ReadonlyMap<string, Uint8Array>;

/** What was answered, kept until the client has it. */
export type Reply =
  | { readonly ok: true; readonly value: CommandValue }
  | { readonly ok: false; readonly code: FilesystemErrorCode };

/** A client as the cluster knows it (thesis §6.3, with first-in-first-out order per session). */
export interface Session {
  readonly id: number;
  readonly name: string;
  /** Sequence number of the last command that took effect; the next must be one more. */
  readonly lastSequence: number;
  /** Replies of commands in (acknowledged, lastSequence]. */
  readonly replies: ReadonlyMap<number, Reply>;
  /**
   * The client has processed all changes up to this log index, and `holds` says what it holds of
   * the inodes unlinked until then. null: a client that never holds anything open.
   */
  readonly seenIndex: number | null;
  /** Log index of this session's last command; expiry compares it. */
  readonly lastIndex: number;
  /** Unlinked inodes that this client has open. */
  readonly holds: readonly Ino[];
  /** Inodes on which it holds locks, or decides about them. */
  readonly locks: readonly Ino[];
}

/** The two kinds of lock take no notice of each other, as on Linux. */
export type LockKind = 'posix' | 'flock';

/** Locks on one inode, of each owner those next to each other. */
export type HeldLocks = { readonly [Kind in LockKind]: readonly HeldLock[] };

/** All that the cluster knows of the locks on one inode. */
export interface Locks extends HeldLocks {
  /**
   * The session that alone has locks here, and decides by itself which. Nobody waits then, and the
   * locks are those that it had when it began to. null: each is a command.
   */
  readonly delegate: number | null;
}

/** Of the bytes from `first` to `last`, both among them; LOCK_LAST_MAX: to the end of the file. */
export interface HeldLock {
  readonly session: number;
  /** A process, or an open file (flock(2), F_OFD_SETLK): within its session. */
  readonly owner: string;
  /** For F_GETLK on the same mount. */
  readonly pid: number;
  readonly exclusive: boolean;
  readonly first: number;
  readonly last: number;
}

/** What somebody asked for, and waits for. */
export interface WaitingLock extends HeldLock {
  readonly ino: Ino;
  readonly kind: LockKind;
  /** The client's number for it. */
  readonly request: number;
}

/** An inode without a name, in the order of unlinking: (sequence) -> inode. */
export interface Orphan {
  readonly ino: Ino;
  /** Log index of the command that took the last name away. */
  readonly index: number;
}

/** `holdersSeenIndex` when no session may hold an inode open: an orphan is reclaimed at once. */
export const HOLDERS_NONE = Number.MAX_SAFE_INTEGER;

/** One record for all counters. */
export interface Counters {
  readonly nextIno: Ino;
  readonly nextSession: number;
  /** Ids of the sessions that are alive, ascending. */
  readonly sessions: readonly number[];
  /** The replicated clock: never goes back. */
  readonly time: Timespec;
  readonly inodes: number;
  /** Bytes of all stored chunks. */
  readonly bytes: number;
  /** The orphan queue: sequences in [orphanHead, orphanTail). */
  readonly orphanHead: number;
  readonly orphanTail: number;
  /**
   * The least `seenIndex` of all sessions that may hold inodes open: orphans of indexes up to it can
   * leave the queue. HOLDERS_NONE without such a session.
   */
  readonly holdersSeenIndex: number;
  /** The quota, see quota.ts; null: none. */
  readonly bytesMax: number | null;
  readonly inodesMax: number | null;
  /** Digest over all changes of all commands so far: equal on all nodes at the same index. */
  readonly hash: number;
}

/** Which kind of record a key names, and what it holds. */
export interface Tables {
  counters: Counters;
  inode: Inode;
  entry: DirectoryEntry;
  cookie: CookieEntry;
  chunk: Uint8Array;
  xattrs: Xattrs;
  session: Session;
  orphan: Orphan;
  locks: Locks;
  /** All that wait for a lock, in the order in which they came. */
  waiting: readonly WaitingLock[];
  /** Who decides, at the tree's index: kept with the tree, and nothing that a command could see or change. */
  members: Uint8Array;
}

export type Table = keyof Tables;
