import { MootError } from '../base/errors.js';
import { ACCESS_ACL, DEFAULT_ACL } from '../filesystem/xattr-record.js';

/** xattr(7). Of 'system.', which is for what the kernel itself understands, there are the ACLs. */
const NAMESPACES = ['user.', 'trusted.', 'security.'];

/** EOPNOTSUPP for a name outside the namespaces that are stored. */
export function checkXattrName(name: Uint8Array): void {
  const text = Buffer.from(name.buffer, name.byteOffset, name.length).toString('latin1');
  if (text === ACCESS_ACL || text === DEFAULT_ACL) return;
  if (!NAMESPACES.some((namespace) => text.startsWith(namespace))) {
    throw new MootError(
      'EOPNOTSUPP',
      'extended attributes are user., trusted., security. and POSIX ACLs',
    );
  }
}
