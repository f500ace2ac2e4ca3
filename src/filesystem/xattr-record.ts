import type { Draft } from './draft.js';
import { xattrsKey } from './keys.js';
import type { Ino, Xattrs } from './records.js';

/** The attributes that the state machine itself understands: acl(5). */
export const ACCESS_ACL = 'system.posix_acl_access';
export const DEFAULT_ACL = 'system.posix_acl_default';

export const NO_XATTRS: Xattrs = new Map();

/** All extended attributes of an inode; their number in the inode is the caller's to keep. */
export function putXattrs(draft: Draft, ino: Ino, xattrs: Xattrs): void {
  if (xattrs.size === 0) draft.delete(xattrsKey(ino));
  else draft.put(xattrsKey(ino), xattrs);
}
