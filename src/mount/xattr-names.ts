import { MootError } from '../base/errors.js';
import { latin1 } from '../filesystem/name.js';
import { ACCESS_ACL, DEFAULT_ACL } from '../filesystem/xattr-record.js';
import type { Caller } from './mount.js';

/** xattr(7). Of 'system.', which is for what the kernel itself understands, there are the ACLs. */
const NAMESPACES = ['user.', 'trusted.', 'security.'];

/** EOPNOTSUPP for a name outside the namespaces that are stored. */
export function checkXattrName(name: Uint8Array): void {
  const text = latin1(name);
  if (text === ACCESS_ACL || text === DEFAULT_ACL) return;
  if (!NAMESPACES.some((namespace) => text.startsWith(namespace))) {
    throw new MootError(
      'EOPNOTSUPP',
      'extended attributes are user., trusted., security. and POSIX ACLs',
    );
  }
}

/** What the caller may know of: others than root are not shown 'trusted.' ones, xattr(7). */
export function visibleXattrs(
  names: readonly Uint8Array[],
  { uid }: Caller,
): readonly Uint8Array[] {
  return uid === 0 ? names : names.filter((name) => !latin1(name).startsWith('trusted.'));
}
