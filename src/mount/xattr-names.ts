import { MootError } from '../base/errors.js';

/** xattr(7). 'system.' is for what the kernel itself understands: here nothing yet. */
const NAMESPACES = ['user.', 'trusted.', 'security.'];

/** EOPNOTSUPP for a name outside the namespaces that are stored, ACLs among them. */
export function checkXattrName(name: Uint8Array): void {
  const text = Buffer.from(name.buffer, name.byteOffset, name.length).toString('latin1');
  if (!NAMESPACES.some((namespace) => text.startsWith(namespace))) {
    throw new MootError('EOPNOTSUPP', 'extended attributes are user., trusted. and security.');
  }
}
