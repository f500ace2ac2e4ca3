import type { Timespec } from '../base/clock.js';
import type { HeldLock, HeldLocks, Ino, Inode, LockKind } from './records.js';

/**
 * The commands of the replicated log: operations on inodes and names, never on paths. Names are
 * bytes. Who may do what is the kernel's to check (default_permissions); the state machine checks
 * what would break the tree. Credentials say to whom a new inode belongs.
 */
export type Command =
  | OpenSession
  | KeepAlive
  | { readonly type: 'close-session' }
  /** Proposed by a leader that has heard nothing of the session since `lastIndex`. */
  | { readonly type: 'expire-session'; readonly session: number; readonly lastIndex: number }
  /** Takes the place of a command whose caller gave up; changes nothing. */
  | { readonly type: 'nothing' }
  | MakeNode
  | MakeUnnamed
  | MakeSymlink
  | Link
  | Unlink
  | RemoveDirectory
  | Rename
  | SetAttributes
  | Write
  | Allocate
  | CopyRange
  | SetXattr
  | RemoveXattr
  | Lock
  | CancelLock
  | RecallLocks
  | ReturnLocks
  | SetQuota;

export type CommandType = Command['type'];

/** Sent twice it opens two sessions, of which one expires. EBUSY above SESSIONS_MAX. */
export interface OpenSession {
  readonly type: 'open-session';
  /** For people: a mount's place, a command's name. */
  readonly name: string;
  /** This client may hold inodes open and will say so by keep-alives; orphans wait for it. */
  readonly holdsOpen: boolean;
}

/** I live; I have processed all changes up to `seenIndex`, and of the inodes unlinked until then I hold `holds` open. */
export interface KeepAlive {
  readonly type: 'keep-alive';
  readonly seenIndex: number;
  readonly holds: readonly Ino[];
}

/** mkdir, mknod and create: the file type is in `mode`. EEXIST when the name is there. */
export interface MakeNode {
  readonly type: 'make-node';
  readonly parent: Ino;
  readonly name: Uint8Array;
  readonly mode: number;
  /** Taken from `mode`, unless the directory has a default ACL: umask(2). Absent: 0. */
  readonly umask?: number;
  readonly rdev: number;
  readonly uid: number;
  readonly gid: number;
}

/**
 * open(2) with O_TMPFILE: a regular file that belongs into `parent` and has no name. It lives as an
 * unlinked one does; `link` may give it a name once.
 */
export interface MakeUnnamed {
  readonly type: 'make-unnamed';
  readonly parent: Ino;
  readonly mode: number;
  readonly umask?: number;
  readonly uid: number;
  readonly gid: number;
}

export interface MakeSymlink {
  readonly type: 'make-symlink';
  readonly parent: Ino;
  readonly name: Uint8Array;
  readonly target: Uint8Array;
  readonly uid: number;
  readonly gid: number;
}

export interface Link {
  readonly type: 'link';
  readonly ino: Ino;
  readonly parent: Ino;
  readonly name: Uint8Array;
}

/**
 * Takes a name away. When it was the last, the inode becomes an orphan: it lives on until every
 * watching session has said, by a keep-alive, whether it holds it open.
 */
export interface Unlink {
  readonly type: 'unlink';
  readonly parent: Ino;
  readonly name: Uint8Array;
}

export interface RemoveDirectory {
  readonly type: 'remove-directory';
  readonly parent: Ino;
  readonly name: Uint8Array;
}

/** renameat2(2). */
export interface Rename {
  readonly type: 'rename';
  readonly parent: Ino;
  readonly name: Uint8Array;
  readonly newParent: Ino;
  readonly newName: Uint8Array;
  readonly mode: 'replace' | 'no-replace' | 'exchange';
}

/**
 * Only what is named changes. 'now' is the replicated clock. E2BIG when `size` would cut off more
 * than CLEARED_BYTES_MAX of what is stored, unless next to nothing stays: cut in steps then.
 */
export interface SetAttributes {
  readonly type: 'set-attributes';
  readonly ino: Ino;
  /** Permission bits (07777); the file type stays. */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly size?: number;
  readonly atime?: Timespec | 'now';
  readonly mtime?: Timespec | 'now';
  readonly ctime?: Timespec;
  /** Of SETTABLE_FLAGS: all of them as they will be. */
  readonly flags?: number;
  /** Clear set-user-ID and set-group-ID as POSIX says for this change, by a caller without privilege. */
  readonly killPrivileges?: boolean;
  /** ESTALE, and nothing changes, when the inode has no name any more. */
  readonly named?: boolean;
}

export interface Write {
  readonly type: 'write';
  readonly ino: Ino;
  /** Ignored with `append`. */
  readonly offset: number;
  readonly data: Uint8Array;
  /** At the end of the file as it is when the command is applied (O_APPEND). */
  readonly append?: boolean;
  readonly killPrivileges?: boolean;
}

/**
 * fallocate(2). `reserve` makes the file reach to the end of the range, and keeps what is there; space
 * is taken only by what is written. `punch` and `zero` make zeros of the range, which then take no
 * space; `zero` makes the file reach to its end, too. At most CLEARED_BYTES_MAX at a time are zeroed.
 */
export interface Allocate {
  readonly type: 'allocate';
  readonly ino: Ino;
  readonly offset: number;
  readonly length: number;
  readonly mode: AllocateMode;
  readonly killPrivileges?: boolean;
}

export type AllocateMode = 'reserve' | 'reserve-keep-size' | 'punch' | 'zero';

/**
 * copy_file_range(2) of at most COPIED_BYTES_MAX: the bytes are where every node has them already.
 * Holes are copied as holes. EINVAL when the ranges of one file overlap.
 */
export interface CopyRange {
  readonly type: 'copy-range';
  readonly ino: Ino;
  readonly offset: number;
  readonly toIno: Ino;
  readonly toOffset: number;
  readonly length: number;
  readonly killPrivileges?: boolean;
}

export interface SetXattr {
  readonly type: 'set-xattr';
  readonly ino: Ino;
  readonly name: Uint8Array;
  readonly value: Uint8Array;
  readonly mode: 'set' | 'create' | 'replace';
  /** With an access ACL: the caller may not keep set-group-ID. */
  readonly killSetGid?: boolean;
}

export interface RemoveXattr {
  readonly type: 'remove-xattr';
  readonly ino: Ino;
  readonly name: Uint8Array;
}

/**
 * fcntl(2) with F_SETLK and the like, flock(2). What is not free is answered as not granted. Where
 * another session decides, it is asked to return that, and nothing else is done.
 */
export interface Lock {
  readonly type: 'lock';
  readonly ino: Ino;
  readonly kind: LockKind;
  readonly mode: 'shared' | 'exclusive' | 'unlock';
  readonly owner: string;
  readonly pid: number;
  /** As in HeldLock. For flock: all bytes. */
  readonly first: number;
  readonly last: number;
  /** null: does not wait. Otherwise a number of its own among the session's requests. */
  readonly wait: number | null;
  /** With the lock the session takes over the decision about all locks of the inode, if it alone has any. */
  readonly takesOver?: boolean;
}

/** The session's request does not wait any more. */
export interface CancelLock {
  readonly type: 'cancel-lock';
  readonly ino: Ino;
  readonly request: number;
}

/** Who decides about the locks of this inode is asked to return that. */
export interface RecallLocks {
  readonly type: 'recall-locks';
  readonly ino: Ino;
}

/** The session, which decided about this inode's locks, does so no longer. */
export interface ReturnLocks {
  readonly type: 'return-locks';
  readonly ino: Ino;
  /** What it has granted by now; null: it never began to decide. */
  readonly held: ReturnedLocks | null;
}

export type ReturnedLocks = { readonly [Kind in LockKind]: readonly Omit<HeldLock, 'session'>[] };

/** How much the tree may hold: bytes as stored, and inodes with those that are removed and still open. */
export interface SetQuota {
  readonly type: 'set-quota';
  /** null: as much as the disks take. */
  readonly bytes: number | null;
  readonly inodes: number | null;
}

/**
 * What a command answers when it succeeds. Inodes come back as they are after the command, so that
 * a mount need not ask again.
 */
export type CommandValue =
  | null
  /** open-session */
  | { readonly session: number }
  /** make-node, make-unnamed, make-symlink, link */
  | { readonly inode: Inode }
  /** set-attributes, write, allocate */
  | ChangedInode
  /** copy-range */
  | CopiedRange
  /** lock, cancel-lock */
  | LockOutcome
  /** unlink, remove-directory: the inode that lost the name; rename: what was replaced or exchanged. */
  | { readonly removed: Inode | null };

/**
 * The inode after the command, and its dataVersion before: who knows the content of that version
 * knows that nobody else changed it in between.
 */
export interface ChangedInode {
  readonly inode: Inode;
  readonly dataVersionBefore: number;
}

/** What copy-range made of its target; fewer bytes than asked for only at the end of the source. */
export interface CopiedRange extends ChangedInode {
  readonly copied: number;
}

/** Not granted: somebody else's is in the way; a request that waits has its place in the queue now. */
export interface LockOutcome {
  readonly granted: boolean;
  /** The lock's: when it ends, so does the lock. */
  readonly session: number;
  /** What was granted protects the content of this dataVersion. null: not granted, or let go. */
  readonly file: Inode | null;
  /** Granted, and from now on the session decides. The inode's locks by now, which are all its own. */
  readonly takenOver: HeldLocks | null;
  /** Not decided: another session does, and was asked to return that. */
  readonly recalled: boolean;
}

/** Which value belongs to which command. */
export interface CommandValues {
  'open-session': { readonly session: number };
  'keep-alive': null;
  'close-session': null;
  'expire-session': null;
  nothing: null;
  'make-node': { readonly inode: Inode };
  'make-unnamed': { readonly inode: Inode };
  'make-symlink': { readonly inode: Inode };
  link: { readonly inode: Inode };
  unlink: { readonly removed: Inode | null };
  'remove-directory': { readonly removed: Inode | null };
  rename: { readonly removed: Inode | null };
  'set-attributes': ChangedInode;
  write: ChangedInode;
  allocate: ChangedInode;
  'copy-range': CopiedRange;
  'set-xattr': null;
  'remove-xattr': null;
  lock: LockOutcome;
  'cancel-lock': LockOutcome;
  'recall-locks': null;
  'return-locks': null;
  'set-quota': null;
}

/** A command with all that the log adds to it. */
export interface LogCommand {
  /** 0 for commands outside a session: open-session and expire-session. */
  readonly session: number;
  /** Counts up by one within a session, from 1. 0 outside. */
  readonly sequence: number;
  /** The client has the replies of all commands up to this one: they may be forgotten. */
  readonly acknowledged: number;
  /** Set by the leader when it proposed; the replicated clock is never behind it. */
  readonly time: Timespec;
  readonly command: Command;
}
