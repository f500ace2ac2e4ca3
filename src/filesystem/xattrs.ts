import { anyInode } from './attributes.js';
import type { RemoveXattr, SetXattr } from './commands.js';
import type { Draft } from './draft.js';
import { xattrsKey } from './keys.js';
import { latin1 } from './name.js';
import {
  type Inode,
  XATTR_NAME_BYTES_MAX,
  XATTR_TOTAL_BYTES_MAX,
  XATTR_VALUE_BYTES_MAX,
  type Xattrs,
} from './records.js';
import { refuse } from './refusal.js';

/** xattr(7). Which namespaces a caller may use is the kernel's to check. */

const NO_XATTRS: Xattrs = new Map();

/** setxattr(2): ERANGE for the name, E2BIG for the value, ENOSPC when all together are too much. */
export function setXattr(draft: Draft, command: SetXattr): null {
  const name = xattrName(command.name);
  if (command.value.length > XATTR_VALUE_BYTES_MAX) return refuse('E2BIG');
  const inode = anyInode(draft, command.ino);
  const before = draft.get(xattrsKey(inode.ino)) ?? NO_XATTRS;
  if (command.mode === 'create' && before.has(name)) return refuse('EEXIST');
  if (command.mode === 'replace' && !before.has(name)) return refuse('ENODATA');
  const after = new Map(before).set(name, new Uint8Array(command.value));
  if (totalBytes(after) > XATTR_TOTAL_BYTES_MAX) return refuse('ENOSPC');
  draft.put(xattrsKey(inode.ino), after);
  touch(draft, inode, after.size);
  return null;
}

/** removexattr(2). */
export function removeXattr(draft: Draft, command: RemoveXattr): null {
  const name = xattrName(command.name);
  const inode = anyInode(draft, command.ino);
  const after = new Map(draft.get(xattrsKey(inode.ino)) ?? NO_XATTRS);
  if (!after.delete(name)) return refuse('ENODATA');
  if (after.size === 0) draft.delete(xattrsKey(inode.ino));
  else draft.put(xattrsKey(inode.ino), after);
  touch(draft, inode, after.size);
  return null;
}

/** The name as a latin1 string: ERANGE for none or too long a one, as Linux says. */
export function xattrName(name: Uint8Array): string {
  if (name.length === 0 || name.length > XATTR_NAME_BYTES_MAX) refuse('ERANGE');
  if (name.includes(0)) refuse('EINVAL');
  return latin1(name);
}

function totalBytes(xattrs: Xattrs): number {
  let total = 0;
  for (const [name, value] of xattrs) total += name.length + value.length;
  return total;
}

function touch(draft: Draft, inode: Inode, xattrs: number): void {
  draft.putInode({ ...inode, ctime: draft.time, xattrs }, false);
}
