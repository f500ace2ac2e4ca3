import type { ChangedInode, SetAttributes, Write } from './commands.js';
import { cutContent, writeContent } from './content.js';
import type { Draft } from './draft.js';
import { isDirectory, isRegular, PERMISSION_BITS, withoutPrivileges } from './mode.js';
import { FILE_BYTES_MAX, type Ino, type Inode } from './records.js';
import { refuse } from './refusal.js';

/** Any inode that is there, with or without a name. */
export function anyInode(draft: Draft, ino: Ino): Inode {
  return draft.inode(ino) ?? refuse('ESTALE');
}

/** chmod(2), chown(2), truncate(2), utimensat(2), in any combination and all at once. */
export function setAttributes(draft: Draft, command: SetAttributes): ChangedInode {
  const inode = anyInode(draft, command.ino);
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
  };
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
  draft.count({ bytes: stored.bytes - inode.bytes });
  return { ...inode, ...stored, size, dataVersion: draft.index };
}

/**
 * pwrite(2), or write(2) with O_APPEND. All or nothing: EFBIG when the last byte would lie beyond
 * FILE_BYTES_MAX. Nothing written is nothing changed.
 */
export function write(draft: Draft, command: Write): ChangedInode {
  const inode = anyInode(draft, command.ino);
  refuseContentless(inode);
  const { data } = command;
  const offset = command.append === true ? inode.size : command.offset;
  if (data.length === 0) return { inode, dataVersionBefore: inode.dataVersion };
  if (offset + data.length > FILE_BYTES_MAX) return refuse('EFBIG');
  const stored = writeContent(draft, inode, offset, data);
  draft.count({ bytes: stored.bytes - inode.bytes });
  const after: Inode = {
    ...inode,
    ...stored,
    mode: command.killPrivileges === true ? withoutPrivileges(inode.mode) : inode.mode,
    size: Math.max(inode.size, offset + data.length),
    mtime: draft.time,
    ctime: draft.time,
    dataVersion: draft.index,
  };
  draft.putInode(after, true);
  return { inode: after, dataVersionBefore: inode.dataVersion };
}

function refuseContentless(inode: Inode): void {
  if (isDirectory(inode)) refuse('EISDIR');
  if (!isRegular(inode)) refuse('EINVAL');
}
