import { inheritAcl } from './acl.js';
import type {
  Link,
  MakeNode,
  MakeSymlink,
  MakeUnnamed,
  RemoveDirectory,
  Unlink,
} from './commands.js';
import { addEntry, inodeOfEntry, liveDirectory, removeEntry } from './directories.js';
import type { Draft } from './draft.js';
import { FLAG_UNNAMED, INHERITED_FLAGS, refuseFrozen, refuseImmutable } from './inode-flags.js';
import { entryKey, xattrsKey } from './keys.js';
import {
  fileType,
  isDirectory,
  PERMISSION_BITS,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFREG,
  S_IFSOCK,
  S_ISGID,
} from './mode.js';
import { entryName } from './name.js';
import { addOrphan } from './orphans.js';
import {
  type DirectoryEntry,
  type Ino,
  type Inode,
  LINKS_MAX,
  SYMLINK_BYTES_MAX,
  type Xattrs,
} from './records.js';
import { refuse } from './refusal.js';
import { ACCESS_ACL, DEFAULT_ACL, NO_XATTRS, putXattrs } from './xattr-record.js';

const NO_BYTES = new Uint8Array(0);

/** What make-node makes; symbolic links have a command of their own. */
export const NODE_TYPES: ReadonlySet<number> = new Set([
  S_IFREG,
  S_IFDIR,
  S_IFCHR,
  S_IFBLK,
  S_IFIFO,
  S_IFSOCK,
]);

/** mkdir(2), mknod(2), and open(2) with O_CREAT. */
export function makeNode(draft: Draft, command: MakeNode): { readonly inode: Inode } {
  const name = entryName(command.name);
  const parent = liveDirectory(draft, command.parent);
  const type = fileType(command.mode);
  if (!NODE_TYPES.has(type)) return refuse('EINVAL');
  refuseExisting(draft, parent.ino, name);
  const directory = type === S_IFDIR;
  const inherited = directory ? parent.mode & S_ISGID : 0;
  const device = type === S_IFCHR || type === S_IFBLK;
  const fresh = newInode(draft, parent, command.uid, command.gid);
  const { permissions, xattrs } = permissionsFor(draft, parent, command);
  if (xattrs.size > 0) putXattrs(draft, fresh.ino, xattrs);
  const inode: Inode = {
    ...fresh,
    mode: type | permissions | inherited,
    nlink: directory ? 2 : 1,
    xattrs: xattrs.size,
    rdev: device ? command.rdev : 0,
    content: type === S_IFREG ? draft.takeNumber() : 0,
    parent: directory ? parent.ino : 0,
    nextCookie: directory ? 1 : 0,
  };
  return { inode: addNew(draft, parent.ino, name, inode) };
}

/** open(2) with O_TMPFILE. */
export function makeUnnamed(draft: Draft, command: MakeUnnamed): { readonly inode: Inode } {
  const parent = liveDirectory(draft, command.parent);
  refuseImmutable(parent);
  const fresh = newInode(draft, parent, command.uid, command.gid);
  const mode = S_IFREG | (command.mode & PERMISSION_BITS);
  const { permissions, xattrs } = permissionsFor(draft, parent, { ...command, mode });
  if (xattrs.size > 0) putXattrs(draft, fresh.ino, xattrs);
  draft.counters.inodes++;
  const inode = addOrphan(draft, {
    ...fresh,
    mode: S_IFREG | permissions,
    content: draft.takeNumber(),
    xattrs: xattrs.size,
    flags: fresh.flags | FLAG_UNNAMED,
  });
  return { inode };
}

/** The permission bits of a new inode and the lists that it inherits: acl(5), "Object creation". */
function permissionsFor(
  draft: Draft,
  parent: Inode,
  { mode, umask = 0 }: { readonly mode: number; readonly umask?: number },
): { readonly permissions: number; readonly xattrs: Xattrs } {
  const defaultAcl =
    parent.xattrs === 0 ? undefined : draft.get(xattrsKey(parent.ino))?.get(DEFAULT_ACL);
  if (defaultAcl === undefined) {
    return { permissions: mode & PERMISSION_BITS & ~(umask & 0o777), xattrs: NO_XATTRS };
  }
  const { permissions, access } = inheritAcl(defaultAcl, mode);
  const xattrs = new Map<string, Uint8Array>();
  if (access !== null) xattrs.set(ACCESS_ACL, access);
  if (fileType(mode) === S_IFDIR) xattrs.set(DEFAULT_ACL, defaultAcl);
  return { permissions: (mode & PERMISSION_BITS & ~0o777) | permissions, xattrs };
}

/** symlink(2). */
export function makeSymlink(draft: Draft, command: MakeSymlink): { readonly inode: Inode } {
  const name = entryName(command.name);
  if (command.target.length === 0) return refuse('ENOENT');
  if (command.target.length > SYMLINK_BYTES_MAX) return refuse('ENAMETOOLONG');
  if (command.target.includes(0)) return refuse('EINVAL');
  const parent = liveDirectory(draft, command.parent);
  refuseExisting(draft, parent.ino, name);
  const inode: Inode = {
    ...newInode(draft, parent, command.uid, command.gid),
    mode: S_IFLNK | 0o777,
    nlink: 1,
    size: command.target.length,
    target: new Uint8Array(command.target),
  };
  return { inode: addNew(draft, parent.ino, name, inode) };
}

/** link(2). Only an inode that was made without a name may come back from having none. */
export function link(draft: Draft, command: Link): { readonly inode: Inode } {
  const name = entryName(command.name);
  const parent = liveDirectory(draft, command.parent);
  const inode = draft.inode(command.ino);
  if (inode === undefined) return refuse('ESTALE');
  if (isDirectory(inode)) return refuse('EPERM');
  refuseExisting(draft, parent.ino, name);
  if (inode.nlink === 0 && (inode.flags & FLAG_UNNAMED) === 0) return refuse('ENOENT');
  if (inode.nlink >= LINKS_MAX) return refuse('EMLINK');
  refuseFrozen(inode);
  const flags = inode.flags & ~FLAG_UNNAMED;
  const linked = { ...inode, nlink: inode.nlink + 1, ctime: draft.time, flags };
  draft.putInode(linked, false);
  addEntry(draft, parent.ino, name, linked);
  return { inode: linked };
}

/** unlink(2). Linux's EISDIR for a directory, where POSIX says EPERM. */
export function unlink(draft: Draft, command: Unlink): { readonly removed: Inode } {
  const name = entryName(command.name);
  const parent = liveDirectory(draft, command.parent);
  const entry = existing(draft, parent.ino, name);
  const inode = inodeOfEntry(draft, entry);
  if (isDirectory(inode)) return refuse('EISDIR');
  refuseFrozen(inode);
  removeEntry(draft, parent.ino, name, entry);
  return { removed: loseName(draft, inode) };
}

/** rmdir(2). */
export function removeDirectory(
  draft: Draft,
  command: RemoveDirectory,
): { readonly removed: Inode } {
  const name = entryName(command.name);
  const parent = liveDirectory(draft, command.parent);
  const entry = existing(draft, parent.ino, name);
  const inode = inodeOfEntry(draft, entry);
  if (!isDirectory(inode)) return refuse('ENOTDIR');
  refuseFrozen(inode);
  if (inode.entries > 0) return refuse('ENOTEMPTY');
  removeEntry(draft, parent.ino, name, entry);
  return { removed: loseName(draft, inode) };
}

export function existing(draft: Draft, parent: Ino, name: string): DirectoryEntry {
  return draft.get(entryKey(parent, name)) ?? refuse('ENOENT');
}

/** One name of the inode is gone: with the last it becomes an orphan. Returns it as it is now. */
export function loseName(draft: Draft, inode: Inode): Inode {
  const nlink = isDirectory(inode) ? 0 : inode.nlink - 1;
  const after = { ...inode, nlink, ctime: draft.time };
  if (nlink === 0) return addOrphan(draft, after);
  draft.putInode(after, false);
  return after;
}

function refuseExisting(draft: Draft, parent: Ino, name: string): void {
  if (draft.get(entryKey(parent, name)) !== undefined) refuse('EEXIST');
}

/** In a set-group-ID directory a new inode belongs to the directory's group: inode(7). */
function newInode(draft: Draft, parent: Inode, uid: number, gid: number): Inode {
  return {
    ino: draft.takeNumber(),
    mode: 0,
    uid,
    gid: (parent.mode & S_ISGID) !== 0 ? parent.gid : gid,
    nlink: 0,
    size: 0,
    bytes: 0,
    rdev: 0,
    atime: draft.time,
    mtime: draft.time,
    ctime: draft.time,
    btime: draft.time,
    dataVersion: draft.index,
    content: 0,
    parent: 0,
    entries: 0,
    nextCookie: 0,
    target: NO_BYTES,
    holds: 0,
    xattrs: 0,
    flags: parent.flags & INHERITED_FLAGS,
  };
}

function addNew(draft: Draft, parent: Ino, name: string, inode: Inode): Inode {
  draft.putInode(inode, false);
  draft.counters.inodes++;
  addEntry(draft, parent, name, inode);
  return inode;
}
