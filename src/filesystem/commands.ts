import type { Timespec } from '../base/clock.js';
import type { Ino, Inode } from './records.js';

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
  | MakeSymlink
  | Link
  | Unlink
  | RemoveDirectory
  | Rename
  | SetAttributes
  | Write
  | SetXattr
  | RemoveXattr;

export type CommandType = Command['type'];

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
  readonly rdev: number;
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

/** Only what is named changes. 'now' is the replicated clock. */
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
  /** Clear set-user-ID and set-group-ID as POSIX says for this change, by a caller without privilege. */
  readonly killPrivileges?: boolean;
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

export interface SetXattr {
  readonly type: 'set-xattr';
  readonly ino: Ino;
  readonly name: Uint8Array;
  readonly value: Uint8Array;
  readonly mode: 'set' | 'create' | 'replace';
}

export interface RemoveXattr {
  readonly type: 'remove-xattr';
  readonly ino: Ino;
  readonly name: Uint8Array;
}

/**
 * What a command answers when it succeeds. Inodes come back as they are after the command, so that
 * a mount need not ask again.
 */
export type CommandValue =
  | null
  /** open-session */
  | { readonly session: number }
  /** make-node, make-symlink, link */
  | { readonly inode: Inode }
  /** set-attributes, write */
  | ChangedInode
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

/** Which value belongs to which command. */
export interface CommandValues {
  'open-session': { readonly session: number };
  'keep-alive': null;
  'close-session': null;
  'expire-session': null;
  nothing: null;
  'make-node': { readonly inode: Inode };
  'make-symlink': { readonly inode: Inode };
  link: { readonly inode: Inode };
  unlink: { readonly removed: Inode | null };
  'remove-directory': { readonly removed: Inode | null };
  rename: { readonly removed: Inode | null };
  'set-attributes': ChangedInode;
  write: ChangedInode;
  'set-xattr': null;
  'remove-xattr': null;
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
