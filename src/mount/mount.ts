import type { AllocateMode, Lock } from '../filesystem/commands.js';
import type { Ino, Inode } from '../filesystem/records.js';

/**
 * A mounted directory. Adapters (fuse-kernel/, fuse-native.ts) translate what a kernel asks into
 * calls of `MountOperations` and their answers back; operations.ts turns those into commands and
 * queries of a FilesystemClient.
 */
export interface Mount {
  readonly directory: string;
  readonly capabilities: MountCapabilities;
  /** Resolves when the directory is no longer mounted, whoever unmounted it. */
  readonly ended: Promise<void>;
  /** Unmounts; falls back to a lazy unmount when programs still use it. Idempotent. */
  unmount(): Promise<void>;
}

/** What an adapter can do; the mounted suite leaves out, visibly, what is missing. */
export interface MountCapabilities {
  readonly renameFlags: boolean;
  readonly nonUtf8Names: boolean;
  readonly hardLinkIdentity: boolean;
  readonly notify: boolean;
  readonly openUnlinked: boolean;
  readonly interrupt: boolean;
  readonly symlinkOwnership: boolean;
  readonly specialFiles: boolean;
  /** New inodes belong to the program's user and group, not to the mount's. */
  readonly callerOwnership: boolean;
  /** utimensat(2): access and modification time, each by itself, to the nanosecond. */
  readonly setTimes: boolean;
  readonly xattrs: boolean;
  /** Each write says whether it appends: pages written back do not, and fcntl(2) may change it. */
  readonly writeFlags: boolean;
  /** Whoever is in a directory that is removed stays in it. */
  readonly removedDirectories: boolean;
  /** fallocate(2). */
  readonly allocate: boolean;
  /** lseek(2) with SEEK_DATA and SEEK_HOLE knows the holes; otherwise all is data. */
  readonly seekHoles: boolean;
  /** open(2) with O_TMPFILE. */
  readonly unnamedFiles: boolean;
  /** POSIX ACLs. */
  readonly acls: boolean;
  /** ioctl_iflags(2): immutable and append-only. */
  readonly inodeFlags: boolean;
  /** statx(2) with STATX_BTIME, since Linux 6.6. */
  readonly birthTime: boolean;
  /** flock(2) and fcntl(2) lock for the whole cluster, not within this mount only. */
  readonly clusterLocks: boolean;
}

/** Who asks, as the kernel says. */
export interface Caller {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  /** Aborted when the caller was interrupted (FUSE_INTERRUPT). */
  readonly signal: AbortSignal;
  /**
   * Which rename(2) it is in, with its arguments; '': in none; null: unknown.
   * Asked only while the caller waits for its answer.
   */
  renameCall?(): Promise<string | null>;
  /** What would be done twice if the caller asked again has begun: only who is killed is interrupted now. */
  begun?(): void;
}

/** An open file or directory, numbered by `MountOperations`. */
export type Handle = number;

/** Attributes with the time in seconds for which the kernel may believe them. */
export interface Attributes {
  readonly inode: Inode;
  readonly attrTimeoutSec: number;
  readonly entryTimeoutSec: number;
}

/** An entry of a directory, as readdir(3) gives it. */
export interface DirectoryEntry {
  readonly name: Uint8Array;
  readonly ino: Ino;
  readonly type: number;
  readonly cookie: number;
  /** null: not asked for, or the kernel has to ask for them. */
  readonly attributes: Attributes | null;
}

export interface Opened {
  readonly handle: Handle;
  /** The kernel's pages of this file are still right (FOPEN_KEEP_CACHE). */
  readonly keepCache: boolean;
}

export interface AttributeChange {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly size?: number;
  readonly atime?: { readonly sec: number; readonly nsec: number } | 'now';
  readonly mtime?: { readonly sec: number; readonly nsec: number } | 'now';
  readonly killPrivileges?: boolean;
  /** SETTABLE_FLAGS of inode-flags.ts, all of them. */
  readonly flags?: number;
}

/** What a program asks for when it makes an inode; the umask is not applied yet. */
export interface NewNode {
  readonly mode: number;
  readonly umask: number;
  readonly rdev: number;
}

/** What a program asks for by fcntl(2) or flock(2). */
export interface LockRequest
  extends Pick<Lock, 'kind' | 'mode' | 'owner' | 'pid' | 'first' | 'last'> {
  /** F_SETLKW, or flock(2) without LOCK_NB. */
  readonly waits: boolean;
}

/** Who keeps somebody from a lock: F_GETLK. */
export interface LockHolder {
  readonly exclusive: boolean;
  readonly first: number;
  readonly last: number;
  /** 0: a program on another mount. */
  readonly pid: number;
}

export interface WriteFlags {
  /** Written back from the kernel's pages: by whomever, through any handle of the file. */
  readonly cached?: boolean;
  /** At the end of the file, wherever that is by now (O_APPEND). */
  readonly append: boolean;
  /** Clear set-user-ID and set-group-ID: the caller may not keep them. */
  readonly killPrivileges: boolean;
  /** O_SYNC, O_DSYNC or RWF_DSYNC. */
  readonly sync?: boolean;
}

/** Bytes of an open file. */
export interface FileRange {
  readonly ino: Ino;
  readonly handle: Handle;
  readonly offset: number;
}

export interface OpenFlags {
  readonly read: boolean;
  readonly write: boolean;
  readonly append: boolean;
  readonly truncate: boolean;
  /** With `truncate`: clear set-user-ID and set-group-ID, the caller may not keep them. */
  readonly killPrivileges?: boolean;
  /** What is written goes past the kernel's pages. */
  readonly direct?: boolean;
}

/**
 * The operations of a mounted filesystem on inodes. Every one may fail with a MootError, whose
 * code errno.ts translates. Buffers given in belong to the caller again after the returned
 * promise settles, unless said otherwise.
 */
export interface MountOperations {
  /**
   * What a listing says of inodes the kernel may keep, and asking for one after the other would cost
   * much more: so it shall always ask for it.
   */
  readonly listsAttributes: boolean;
  /** Seconds for which the kernel may believe that `lookup` found no such name. */
  absenceTimeoutSec(parent: Ino, name: Uint8Array): number;
  lookup(parent: Ino, name: Uint8Array, caller: Caller): Promise<Attributes>;
  /** The kernel dropped `count` references to the inode. */
  forget(ino: Ino, count: number): void;
  getAttributes(ino: Ino, caller: Caller): Promise<Attributes>;
  /** `handle`: of an open file, by which it is asked (ftruncate(2)). */
  setAttributes(
    ino: Ino,
    change: AttributeChange,
    caller: Caller,
    handle?: Handle,
  ): Promise<Attributes>;
  readLink(ino: Ino, caller: Caller): Promise<Uint8Array>;
  makeNode(parent: Ino, name: Uint8Array, node: NewNode, caller: Caller): Promise<Attributes>;
  makeSymlink(
    parent: Ino,
    name: Uint8Array,
    target: Uint8Array,
    caller: Caller,
  ): Promise<Attributes>;
  link(ino: Ino, parent: Ino, name: Uint8Array, caller: Caller): Promise<Attributes>;
  unlink(parent: Ino, name: Uint8Array, caller: Caller): Promise<void>;
  removeDirectory(parent: Ino, name: Uint8Array, caller: Caller): Promise<void>;
  rename(
    parent: Ino,
    name: Uint8Array,
    newParent: Ino,
    newName: Uint8Array,
    mode: 'replace' | 'no-replace' | 'exchange',
    caller: Caller,
  ): Promise<void>;
  /** Makes the file when it is not there (EEXIST with `exclusive` when it is), and opens it. */
  create(
    parent: Ino,
    name: Uint8Array,
    node: Omit<NewNode, 'rdev'>,
    flags: OpenFlags & { readonly exclusive: boolean },
    caller: Caller,
  ): Promise<Attributes & Opened>;
  /** open(2) with O_TMPFILE: a file without a name, to which `link` may give one. */
  createUnnamed(
    parent: Ino,
    node: Omit<NewNode, 'rdev'>,
    flags: OpenFlags,
    caller: Caller,
  ): Promise<Attributes & Opened>;
  open(ino: Ino, flags: OpenFlags, caller: Caller): Promise<Opened>;
  /** At most `size` bytes; shorter only at the end of the file. `isPast`: they go past the kernel's pages. */
  read(
    ino: Ino,
    handle: Handle,
    offset: number,
    size: number,
    caller: Caller,
    isPast?: boolean,
  ): Promise<Uint8Array>;
  /** Takes `data` over: the adapter must not use it again. Returns when it is visible on this mount. */
  write(
    ino: Ino,
    handle: Handle,
    offset: number,
    data: Uint8Array,
    flags: WriteFlags,
    caller: Caller,
  ): Promise<number>;
  /** fallocate(2). */
  allocate(range: FileRange, length: number, mode: AllocateMode, caller: Caller): Promise<void>;
  /** lseek(2) with SEEK_DATA or SEEK_HOLE. */
  seek(range: FileRange, what: 'data' | 'hole', caller: Caller): Promise<number>;
  /** copy_file_range(2): how many bytes were copied, perhaps fewer than asked for. */
  copyRange(from: FileRange, to: FileRange, length: number, caller: Caller): Promise<number>;
  /**
   * Resolves when the lock is held or let go. EAGAIN: somebody else's is in the way, and the request
   * does not wait. EDEADLK: it would wait for itself. EINTR when the caller is interrupted; the
   * request waits no longer then.
   */
  setLock(ino: Ino, handle: Handle, lock: LockRequest, caller: Caller): Promise<void>;
  /** null: nobody. */
  getLock(ino: Ino, handle: Handle, lock: LockRequest, caller: Caller): Promise<LockHolder | null>;
  /**
   * close(2): everything written is committed, and an error of a delayed write surfaces here. `owner`
   * lets go of what it has locked in the file by fcntl(2).
   */
  flush(ino: Ino, handle: Handle, caller: Caller, owner?: string): Promise<void>;
  fsync(ino: Ino, handle: Handle, caller: Caller): Promise<void>;
  /** The last close(2). What was locked by this open file is let go. */
  release(ino: Ino, handle: Handle): Promise<void>;
  openDirectory(ino: Ino, caller: Caller): Promise<Handle>;
  /**
   * Entries behind `cookie`, among them '.' and '..'; empty at the end. With `plus`, every entry
   * with attributes counts as one lookup; the adapter calls `forget` for those that it could not
   * hand on.
   */
  readDirectory(
    ino: Ino,
    handle: Handle,
    cookie: number,
    bytesMax: number,
    plus: boolean,
    caller: Caller,
  ): Promise<readonly DirectoryEntry[]>;
  releaseDirectory(ino: Ino, handle: Handle): void;
  fsyncDirectory(ino: Ino, handle: Handle, caller: Caller): Promise<void>;
  statfs(caller: Caller): Promise<FilesystemFigures>;
  /** syncfs(2): all that was written on this mount is committed. */
  sync(caller: Caller): Promise<void>;
  setXattr(
    ino: Ino,
    name: Uint8Array,
    value: Uint8Array,
    mode: 'set' | 'create' | 'replace',
    /** With an access ACL: the caller may not keep set-group-ID. */
    killSetGid: boolean,
    caller: Caller,
  ): Promise<void>;
  getXattr(ino: Ino, name: Uint8Array, caller: Caller): Promise<Uint8Array>;
  listXattrs(ino: Ino, caller: Caller): Promise<readonly Uint8Array[]>;
  removeXattr(ino: Ino, name: Uint8Array, caller: Caller): Promise<void>;
}

/** statvfs(3), in blocks of `blockBytes`. */
export interface FilesystemFigures {
  readonly blockBytes: number;
  readonly blocks: number;
  readonly blocksFree: number;
  readonly inodes: number;
  readonly inodesFree: number;
  readonly nameBytesMax: number;
}

/** Looks on while a kernel's requests are answered. Called for each: must be cheap. */
export interface RequestObserver {
  /** `operation` as in linux/fuse.h, FUSE_ left out. `errno` 0: it succeeded. */
  onAnswered(operation: string, durationMs: number, errno: number): void;
}

/** What the kernel side can be told, afterwards and from outside any request. */
export interface KernelNotifier {
  /** Attributes; and content when `data`. `onUnknown`: the kernel does not have the inode, or not yet. */
  invalidateInode(ino: Ino, data: boolean, onUnknown?: () => void): void;
  /**
   * Resolves when the kernel has done it, or is not told; it waits for calls that have the directory's lock.
   * `asksOnly`: it asks for the name again, and keeps what it has of it: a directory that somebody works in
   * still has its path (getcwd(2)).
   */
  invalidateEntry(parent: Ino, name: Uint8Array, asksOnly?: boolean): Promise<void>;
  /** As `invalidateInode` with `data`; resolves when the kernel has done it. May wait for READs under way. */
  dropPages(ino: Ino): Promise<void>;
  /**
   * The kernel asks for the inode's attributes before it believes them again, once the promise
   * resolves; answers that were on their way count for nothing. Waits for no operation. false: the
   * kernel does not have the inode; it may be about to take it from an answer.
   */
  expireInode(ino: Ino): Promise<boolean>;
  /** It asks for all names, at once; null: this kernel cannot. */
  readonly expireNames: (() => void) | null;
}
