import { aclWithMode } from './acl.js';
import type { ChangedInode, SetAttributes, Write } from './commands.js';
import { cutContent, type Stored, writeContent } from './content.js';
import type { Draft } from './draft.js';
import { FLAG_UNNAMED, refuseFrozen, refuseImmutable } from './inode-flags.js';
import { xattrsKey } from './keys.js';
import { isDirectory, isRegular, PERMISSION_BITS, withoutPrivileges } from './mode.js';
import { FILE_BYTES_MAX, type Ino, type Inode } from './records.js';
import { refuse } from './refusal.js';
import { ACCESS_ACL, putXattrs } from './xattr-record.js';

/** Any inode that is there, with or without a name. */
export function anyInode(draft: Draft, ino: Ino): Inode {
  return draft.inode(ino) ?? refuse('ESTALE');
}

/** chmod(2), chown(2), truncate(2), utimensat(2), in any combination and all at once. */
export function setAttributes(draft: Draft, command: SetAttributes): ChangedInode {
  const found = anyInode(draft, command.ino);
  if (command.named === true && found.nlink === 0) return refuse('ESTALE');
  refuseForFlags(found, command);
  const inode = takesCapability(found, command) ? withoutCapability(draft, found) : found;
  const now = draft.time;
  const resized = command.size === undefined ? inode : resize(draft, inode, command.size);
  const mtime = command.mtime ?? (command.size === undefined ? inode.mtime : 'now');
  const atime = command.atime ?? inode.atime;
  const after: Inode = {
    ...resized,
    mode: changedMode(inode.mode, command),
    uid: command.uid ?? inode.uid,
    gid: command.gid ?? inode.gid,
    atime: atime === 'now' ? now : atime,
    mtime: mtime === 'now' ? now : mtime,
    ctime: command.ctime ?? now,
    flags: command.flags === undefined ? inode.flags : flagsAfter(inode, command.flags),
  };
  if (command.mode !== undefined) changeAclMode(draft, after);
  draft.putInode(after, after.size !== inode.size);
  return { inode: after, dataVersionBefore: inode.dataVersion };
}

function changedMode(mode: number, command: SetAttributes): number {
  if (command.mode !== undefined) {
    return (mode & ~PERMISSION_BITS) | (command.mode & PERMISSION_BITS);
  }
  return command.killPrivileges === true ? withoutPrivileges(mode) : mode;
}

function resize(draft: Draft, inode: Inode, size: number): Inode {
  refuseContentless(inode);
  if (size > FILE_BYTES_MAX) return refuse('EFBIG');
  if (size === inode.size) return inode;
  if (size > inode.size) return { ...inode, size, dataVersion: draft.index };
  const stored = cutContent(draft, inode, size);
  draft.counters.bytes += stored.bytes - inode.bytes;
  return { ...inode, ...stored, size, dataVersion: draft.index };
}

/**
 * pwrite(2), or write(2) with O_APPEND. All or nothing: EFBIG when the last byte would lie beyond
 * FILE_BYTES_MAX. Nothing written is nothing changed. That an inode may only be appended to open(2) looks at: as
 * on Linux it does not bind who has opened it before.
 */
export function write(draft: Draft, command: Write): ChangedInode {
  const inode = anyInode(draft, command.ino);
  refuseContentless(inode);
  const { data } = command;
  const offset = command.append === true ? inode.size : command.offset;
  refuseImmutable(inode);
  if (data.length === 0) return { inode, dataVersionBefore: inode.dataVersion };
  if (offset + data.length > FILE_BYTES_MAX) return refuse('EFBIG');
  const stored = writeContent(draft, inode, offset, data);
  const size = Math.max(inode.size, offset + data.length);
  return changedContent(draft, inode, { ...stored, size }, command.killPrivileges === true);
}

/** Takes the new content of a regular file over, with all that a change of content changes beside it. */
export function changedContent(
  draft: Draft,
  inode: Inode,
  stored: Stored & { readonly size: number },
  killPrivileges: boolean,
): ChangedInode {
  draft.counters.bytes += stored.bytes - inode.bytes;
  const after: Inode = {
    ...withoutCapability(draft, inode),
    ...stored,
    mode: killPrivileges ? withoutPrivileges(inode.mode) : inode.mode,
    mtime: draft.time,
    ctime: draft.time,
    dataVersion: draft.index,
  };
  draft.putInode(after, true);
  return { inode: after, dataVersionBefore: inode.dataVersion };
}

/** What chown(2) and a change of the content take away, whoever makes it: capabilities(7). */
const CAPABILITY = 'security.capability';

function takesCapability(inode: Inode, command: SetAttributes): boolean {
  const { uid, gid, size } = command;
  return !isDirectory(inode) && (uid !== undefined || gid !== undefined || size !== undefined);
}

/** Most inodes have no extended attribute at all, and then nothing is looked for. */
function withoutCapability(draft: Draft, inode: Inode): Inode {
  if (inode.xattrs === 0) return inode;
  const before = draft.get(xattrsKey(inode.ino));
  if (before === undefined || !before.has(CAPABILITY)) return inode;
  const after = new Map(before);
  after.delete(CAPABILITY);
  putXattrs(draft, inode.ino, after);
  return { ...inode, xattrs: after.size };
}

/** chmod(2) changes the access ACL, too: acl(5), "Correspondence between ACL entries and file permission bits". */
function changeAclMode(draft: Draft, inode: Inode): void {
  if (inode.xattrs === 0) return;
  const xattrs = draft.get(xattrsKey(inode.ino));
  const acl = xattrs?.get(ACCESS_ACL);
  if (xattrs === undefined || acl === undefined) return;
  putXattrs(draft, inode.ino, new Map(xattrs).set(ACCESS_ACL, aclWithMode(acl, inode.mode)));
}

/** The flags that programs see may change; the others stay. */
function flagsAfter({ flags }: Inode, settable: number): number {
  return (flags & FLAG_UNNAMED) | settable;
}

/** What an immutable or append-only inode refuses: ioctl_iflags(2) and notify_change of Linux. */
function refuseForFlags(inode: Inode, command: SetAttributes): void {
  const { mode, uid, gid, size, atime, mtime } = command;
  const explicit = (time: SetAttributes['atime']) => time !== undefined && time !== 'now';
  const named = [mode, uid, gid, size].some((value) => value !== undefined);
  // Both times set to now is touch(1); only one of them is an explicit time, too (do_utimes).
  const isOne = (atime === 'now') !== (mtime === 'now');
  if (named || explicit(atime) || explicit(mtime) || isOne) refuseFrozen(inode);
  if (atime === 'now' || mtime === 'now') refuseImmutable(inode);
}

export function refuseContentless(inode: Inode): void {
  if (isDirectory(inode)) refuse('EISDIR');
  if (!isRegular(inode)) refuse('EINVAL');
}
