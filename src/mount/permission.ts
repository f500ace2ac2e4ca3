import { MootError } from '../base/errors.js';
import { FLAG_APPEND, FLAG_IMMUTABLE } from '../filesystem/inode-flags.js';
import type { Inode } from '../filesystem/records.js';
import type { Caller, OpenFlags } from './mount.js';

const READ = 4;
const WRITE = 2;

/**
 * Whether the mode surely lets the caller open the file (path_resolution(7)). The caller's
 * supplementary groups are not known here: false may mean yes.
 */
export function mayOpen(inode: Inode, flags: OpenFlags, caller: Caller): boolean {
  if (caller.uid === 0) return true;
  // An ACL may say less than the mode, whose group bits are only its mask then.
  if (caller.uid !== inode.uid && inode.xattrs > 0) return false;
  const wanted = (flags.read ? READ : 0) | (flags.write || flags.truncate ? WRITE : 0);
  return (grantedTo(inode, caller) & wanted) === wanted;
}

function grantedTo({ mode, uid, gid }: Inode, caller: Caller): number {
  if (caller.uid === uid) return mode >> 6;
  if (caller.gid === gid) return mode >> 3;
  // An unknown group of the caller's may be the file's, and then the group's bits count.
  return mode & (mode >> 3);
}

/** EPERM for opening to write what is immutable, or what may only be appended to: open(2). */
export function refuseForFlags(inode: Inode, { write, append, truncate }: OpenFlags): void {
  const immutable = (inode.flags & FLAG_IMMUTABLE) !== 0 && (write || truncate);
  const appendOnly = (inode.flags & FLAG_APPEND) !== 0 && ((write && !append) || truncate);
  if (immutable || appendOnly)
    throw new MootError('EPERM', `inode ${inode.ino} may not be written`);
}
