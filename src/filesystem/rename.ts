import { assert } from '../base/assert.js';
import type { Rename } from './commands.js';
import { addEntry, inodeOfEntry, liveDirectory, removeEntry } from './directories.js';
import type { Draft } from './draft.js';
import { refuseFrozen } from './inode-flags.js';
import { entryKey } from './keys.js';
import { isDirectory } from './mode.js';
import { entryName } from './name.js';
import { existing, loseName } from './names.js';
import { type DirectoryEntry, type Ino, type Inode, ROOT_INO } from './records.js';
import { refuse } from './refusal.js';

/** A name that is there, with what it means. */
interface Place {
  readonly parent: Ino;
  readonly name: string;
  readonly entry: DirectoryEntry;
  readonly inode: Inode;
}

/** renameat2(2). Errors come in the order in which Linux finds them. */
export function rename(draft: Draft, command: Rename): { readonly removed: Inode | null } {
  const name = entryName(command.name);
  const newName = entryName(command.newName);
  const parent = liveDirectory(draft, command.parent);
  const newParent = liveDirectory(draft, command.newParent);
  const source = place(draft, parent.ino, name, existing(draft, parent.ino, name));
  const newEntry = draft.get(entryKey(newParent.ino, newName));
  refuseFrozen(source.inode);
  if (newEntry === undefined) {
    if (command.mode === 'exchange') return refuse('ENOENT');
    refuseCycle(draft, source, newParent.ino);
    move(draft, source, newParent.ino, newName, null);
    return { removed: null };
  }
  if (command.mode === 'no-replace') return refuse('EEXIST');
  const target = place(draft, newParent.ino, newName, newEntry);
  refuseFrozen(target.inode);
  refuseCycle(draft, source, newParent.ino);
  return command.mode === 'exchange'
    ? exchange(draft, source, target)
    : replace(draft, source, target);
}

function replace(draft: Draft, source: Place, target: Place): { readonly removed: Inode | null } {
  if (source.inode.ino === target.inode.ino) return { removed: null };
  if (isDirectory(source.inode) && !isDirectory(target.inode)) return refuse('ENOTDIR');
  if (!isDirectory(source.inode) && isDirectory(target.inode)) return refuse('EISDIR');
  if (target.inode.entries > 0) return refuse('ENOTEMPTY');
  removeEntry(draft, target.parent, target.name, target.entry);
  const removed = loseName(draft, target.inode);
  move(draft, source, target.parent, target.name, target.entry.cookie);
  return { removed };
}

function exchange(draft: Draft, source: Place, target: Place): { readonly removed: Inode | null } {
  refuseCycle(draft, target, source.parent);
  if (source.inode.ino === target.inode.ino) return { removed: null };
  removeEntry(draft, source.parent, source.name, source.entry);
  removeEntry(draft, target.parent, target.name, target.entry);
  settle(draft, source.inode.ino, target.parent, target.name, target.entry.cookie);
  const { name, entry } = source;
  return { removed: settle(draft, target.inode.ino, source.parent, name, entry.cookie) };
}

function place(draft: Draft, parent: Ino, name: string, entry: DirectoryEntry): Place {
  return { parent, name, entry, inode: inodeOfEntry(draft, entry) };
}

function move(
  draft: Draft,
  source: Place,
  newParent: Ino,
  newName: string,
  cookie: number | null,
): void {
  removeEntry(draft, source.parent, source.name, source.entry);
  settle(draft, source.inode.ino, newParent, newName, cookie);
}

/** Gives the inode, whose old entry is gone, its new place. `cookie`: see addEntry. */
function settle(draft: Draft, ino: Ino, parent: Ino, name: string, cookie: number | null): Inode {
  // As it is now: an orphan that left the queue may have been this very inode.
  const inode = draft.inode(ino);
  assert(inode !== undefined, 'an inode with a name is there');
  const settled = {
    ...inode,
    parent: isDirectory(inode) ? parent : 0,
    ctime: draft.time,
  };
  draft.putInode(settled, false);
  addEntry(draft, parent, name, settled, cookie);
  return settled;
}

/** EINVAL when `directory` would come to lie in `moved` or below it: it would lose its way to the root. */
function refuseCycle(draft: Draft, moved: Place, directory: Ino): void {
  if (!isDirectory(moved.inode) || moved.parent === directory) return;
  for (let ino = directory; ino !== ROOT_INO; ) {
    if (ino === moved.inode.ino) refuse('EINVAL');
    const inode = draft.inode(ino);
    assert(inode !== undefined, 'every directory with a name has a way to the root');
    ino = inode.parent;
  }
}
