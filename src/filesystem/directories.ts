import { assert } from '../base/assert.js';
import type { Draft } from './draft.js';
import { refuseFrozen, refuseImmutable } from './inode-flags.js';
import { cookieKey, entryKey } from './keys.js';
import { fileType, isDirectory } from './mode.js';
import { bytesOfLatin1 } from './name.js';
import type { DirectoryEntry, Ino, Inode } from './records.js';
import { refuse } from './refusal.js';

/** Directories and their entries: each entry is stored under its name and under its cookie. */

/** A directory that still has its name: ENOENT when it is gone or removed, ENOTDIR when it is none. */
export function liveDirectory(draft: Draft, ino: Ino): Inode {
  const inode = draft.inode(ino);
  if (inode === undefined) return refuse('ENOENT');
  if (!isDirectory(inode)) return refuse('ENOTDIR');
  if (inode.nlink === 0) return refuse('ENOENT');
  return inode;
}

/** The inode that a stored entry names. */
export function inodeOfEntry(draft: Draft, entry: DirectoryEntry): Inode {
  const inode = draft.inode(entry.ino);
  assert(inode !== undefined, 'an entry names an inode that is there');
  return inode;
}

/**
 * Adds an entry for `inode` to a directory. A new name gets a new cookie, so that a listing that has
 * passed the old place of a renamed entry may meet it again under its new name, but never misses
 * another. A name that stays, and means another inode, keeps its `place`: a listing meets it once.
 */
export function addEntry(
  draft: Draft,
  parent: Ino,
  name: string,
  inode: Inode,
  place: number | null = null,
): void {
  const directory = liveDirectory(draft, parent);
  refuseImmutable(directory);
  const type = fileType(inode.mode);
  const cookie = place ?? directory.nextCookie;
  const bytes = bytesOfLatin1(name);
  draft.put(entryKey(parent, name), { ino: inode.ino, type, cookie });
  draft.put(cookieKey(parent, cookie), { ino: inode.ino, type, name: bytes });
  draft.putInode(
    {
      ...directory,
      entries: directory.entries + 1,
      nextCookie: Math.max(directory.nextCookie, cookie + 1),
      nlink: directory.nlink + (isDirectory(inode) ? 1 : 0),
      mtime: draft.time,
      ctime: draft.time,
      dataVersion: draft.index,
    },
    true,
  );
  draft.entryChanged(parent, bytes);
}

/** Takes the entry away; the link count of what it named is the caller's to change. */
export function removeEntry(draft: Draft, parent: Ino, name: string, entry: DirectoryEntry): void {
  const directory = liveDirectory(draft, parent);
  refuseFrozen(directory);
  draft.delete(entryKey(parent, name));
  draft.delete(cookieKey(parent, entry.cookie));
  draft.putInode(
    {
      ...directory,
      entries: directory.entries - 1,
      nlink: directory.nlink - (isDirectory({ mode: entry.type }) ? 1 : 0),
      mtime: draft.time,
      ctime: draft.time,
      dataVersion: draft.index,
    },
    true,
  );
  draft.entryChanged(parent, bytesOfLatin1(name));
}
