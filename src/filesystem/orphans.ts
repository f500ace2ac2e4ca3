import { assert } from '../base/assert.js';
import { discardContent } from './content.js';
import type { Draft } from './draft.js';
import { inodeKey, orphanKey, xattrsKey } from './keys.js';
import { HOLDERS_NONE, type Ino, type Inode } from './records.js';

/**
 * Unlinked inodes wait in a queue until every session that may hold inodes open has seen the
 * unlinking. What is then held by nobody is reclaimed; what is held leaves the queue and is
 * reclaimed with its last hold.
 */

/** Orphans that a keep-alive or the end of a session takes from the queue: bounds the work of one command. */
export const SWEEP_ORPHANS_MAX = 1024;
/** Orphans that each new orphan takes along: more than one, so that the queue drains while files are removed. */
const SWEEP_PER_ORPHAN = 4;

/** `inode` has lost its last name. Returns it as it is now, for the reply. */
export function addOrphan(draft: Draft, inode: Inode): Inode {
  assert(inode.nlink === 0, 'an orphan has no name');
  const { orphanHead, orphanTail, holdersSeenIndex } = draft.counters;
  if (holdersSeenIndex === HOLDERS_NONE && orphanHead === orphanTail && inode.holds === 0) {
    draft.putInode(inode, false);
    reclaim(draft, inode);
    return inode;
  }
  const queued = { ...inode, holds: inode.holds + 1 };
  draft.putInode(queued, false);
  draft.put(orphanKey(orphanTail), { ino: inode.ino, index: draft.index });
  draft.counters.orphanTail++;
  sweepOrphans(draft, SWEEP_PER_ORPHAN);
  return queued;
}

/** Takes up to `limit` orphans that all holders have seen from the head of the queue. */
export function sweepOrphans(draft: Draft, limit: number): void {
  const { orphanHead, orphanTail, holdersSeenIndex } = draft.counters;
  const keys = [];
  for (let at = orphanHead; at < Math.min(orphanTail, orphanHead + limit); at++) {
    keys.push(orphanKey(at));
  }
  const seen: Ino[] = [];
  for (const orphan of draft.getAll(keys)) {
    assert(orphan !== undefined, 'the orphan queue has no gaps');
    if (orphan.index > holdersSeenIndex) break;
    seen.push(orphan.ino);
  }
  if (seen.length === 0) return;
  dropHolds(draft, seen);
  for (let i = 0; i < seen.length; i++) draft.delete(orphanKey(orphanHead + i));
  draft.counters.orphanHead += seen.length;
}

/** The orphans among `inos` get one more hold each; returns which they are. */
export function addHolds(draft: Draft, inos: readonly Ino[]): Ino[] {
  const held: Ino[] = [];
  for (const inode of draft.getAll(inos.map(inodeKey))) {
    if (inode === undefined || inode.nlink > 0) continue;
    draft.put(inodeKey(inode.ino), { ...inode, holds: inode.holds + 1 });
    held.push(inode.ino);
  }
  return held;
}

export function dropHolds(draft: Draft, inos: readonly Ino[]): void {
  draft.getAll(inos.map(inodeKey));
  // One by one: the same inode may come twice, when it lost its name twice.
  for (const ino of inos) {
    const inode = draft.inode(ino);
    assert(inode !== undefined && inode.holds > 0, 'a held inode is there');
    if (inode.holds === 1 && inode.nlink === 0) reclaim(draft, inode);
    else draft.put(inodeKey(ino), { ...inode, holds: inode.holds - 1 });
  }
}

function reclaim(draft: Draft, inode: Inode): void {
  discardContent(draft, inode);
  draft.delete(inodeKey(inode.ino));
  draft.delete(xattrsKey(inode.ino));
  draft.counters.inodes--;
  draft.counters.bytes -= inode.bytes;
}
