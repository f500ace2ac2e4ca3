import { isMinimalAcl, modeOfAcl, parseAcl } from './acl.js';
import { anyInode } from './attributes.js';
import type { RemoveXattr, SetXattr } from './commands.js';
import type { Draft } from './draft.js';
import { refuseFrozen } from './inode-flags.js';
import { xattrsKey } from './keys.js';
import { isDirectory, isSymlink, S_ISGID } from './mode.js';
import { latin1 } from './name.js';
import {
  type Inode,
  XATTR_NAME_BYTES_MAX,
  XATTR_TOTAL_BYTES_MAX,
  XATTR_VALUE_BYTES_MAX,
  type Xattrs,
} from './records.js';
import { refuse } from './refusal.js';
import { ACCESS_ACL, DEFAULT_ACL, NO_XATTRS, putXattrs } from './xattr-record.js';

/** xattr(7). Which namespaces a caller may use is the kernel's to check. */

/** setxattr(2): ERANGE for the name, E2BIG for the value, ENOSPC when all together are too much. */
export function setXattr(draft: Draft, command: SetXattr): null {
  const name = xattrName(command.name);
  if (command.value.length > XATTR_VALUE_BYTES_MAX) return refuse('E2BIG');
  const inode = anyInode(draft, command.ino);
  refuseFrozen(inode);
  if (name === ACCESS_ACL || name === DEFAULT_ACL) return setAcl(draft, command, name, inode);
  const before = draft.get(xattrsKey(inode.ino)) ?? NO_XATTRS;
  if (command.mode === 'create' && before.has(name)) return refuse('EEXIST');
  if (command.mode === 'replace' && !before.has(name)) return refuse('ENODATA');
  const after = new Map(before).set(name, new Uint8Array(command.value));
  if (totalBytes(after) > XATTR_TOTAL_BYTES_MAX) return refuse('ENOSPC');
  putXattrs(draft, inode.ino, after);
  touch(draft, inode, after.size);
  return null;
}

/**
 * An ACL: what of an access list the permission bits can say goes to them, and a list that says no
 * more is not stored. EINVAL for what is no list, EACCES for a default list of what is no directory.
 */
function setAcl(
  draft: Draft,
  command: SetXattr,
  name: typeof ACCESS_ACL | typeof DEFAULT_ACL,
  inode: Inode,
): null {
  if (isSymlink(inode)) return refuse('EOPNOTSUPP');
  const acl = parseAcl(command.value) ?? refuse('EINVAL');
  if (name === DEFAULT_ACL && !isDirectory(inode)) return refuse('EACCES');
  const after = new Map(draft.get(xattrsKey(inode.ino)) ?? NO_XATTRS);
  const access = name === ACCESS_ACL && acl.length > 0;
  if (acl.length === 0 || (access && isMinimalAcl(acl))) after.delete(name);
  else after.set(name, new Uint8Array(command.value));
  if (totalBytes(after) > XATTR_TOTAL_BYTES_MAX) return refuse('ENOSPC');
  putXattrs(draft, inode.ino, after);
  const killed = command.killSetGid === true ? S_ISGID : 0;
  const mode = access ? (inode.mode & ~0o777 & ~killed) | modeOfAcl(acl) : inode.mode;
  touch(draft, { ...inode, mode }, after.size);
  return null;
}

/** removexattr(2). An ACL that is not there is gone already: acl_delete_def_file(3). */
export function removeXattr(draft: Draft, command: RemoveXattr): null {
  const name = xattrName(command.name);
  const inode = anyInode(draft, command.ino);
  refuseFrozen(inode);
  const after = new Map(draft.get(xattrsKey(inode.ino)) ?? NO_XATTRS);
  if (!after.delete(name))
    return name === DEFAULT_ACL || name === ACCESS_ACL ? null : refuse('ENODATA');
  putXattrs(draft, inode.ino, after);
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
