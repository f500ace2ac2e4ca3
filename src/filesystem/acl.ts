/**
 * POSIX access control lists, as acl(5) describes them, in the form of Linux's extended attributes
 * (struct posix_acl_xattr_header and _entry of linux/posix_acl_xattr.h): a version, then a tag, the
 * permissions and an id for each entry, low end first. Who may do what by them is the kernel's to
 * check; here they are kept true to the mode, and inherited.
 */
export interface AclEntry {
  readonly tag: number;
  readonly permissions: number;
  readonly id: number;
}

const VERSION = 2;
const HEADER_BYTES = 4;
const ENTRY_BYTES = 8;

const USER_OBJ = 0x01;
const USER = 0x02;
const GROUP_OBJ = 0x04;
const GROUP = 0x08;
const MASK = 0x10;
const OTHER = 0x20;
/** In the order that a valid list has them. */
const TAGS = [USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER];
const RWX = 7;

/** The entries in their order, an empty list for one without any; null for what is no valid list: acl_valid(3). */
export function parseAcl(value: Uint8Array): readonly AclEntry[] | null {
  const view = new DataView(value.buffer, value.byteOffset, value.length);
  const count = (value.length - HEADER_BYTES) / ENTRY_BYTES;
  if (!Number.isInteger(count) || count < 0 || view.getUint32(0, true) !== VERSION) return null;
  const entries: AclEntry[] = [];
  for (let at = HEADER_BYTES; at < value.length; at += ENTRY_BYTES) {
    entries.push({
      tag: view.getUint16(at, true),
      permissions: view.getUint16(at + 2, true),
      id: view.getUint32(at + 4, true),
    });
  }
  return entries.length === 0 || isValid(entries) ? entries : null;
}

function isValid(entries: readonly AclEntry[]): boolean {
  let last = -1;
  for (const { tag, permissions } of entries) {
    const place = TAGS.indexOf(tag);
    const repeats = place === last && (tag === USER || tag === GROUP);
    if (place < 0 || permissions > RWX || place < last || (place === last && !repeats))
      return false;
    last = place;
  }
  const has = (tag: number) => entries.some((entry) => entry.tag === tag);
  const needsMask = has(USER) || has(GROUP);
  return has(USER_OBJ) && has(GROUP_OBJ) && has(OTHER) && (has(MASK) || !needsMask);
}

export function encodeAcl(entries: readonly AclEntry[]): Uint8Array {
  const value = new Uint8Array(HEADER_BYTES + ENTRY_BYTES * entries.length);
  const view = new DataView(value.buffer);
  view.setUint32(0, VERSION, true);
  for (const [i, { tag, permissions, id }] of entries.entries()) {
    const at = HEADER_BYTES + ENTRY_BYTES * i;
    view.setUint16(at, tag, true);
    view.setUint16(at + 2, permissions, true);
    view.setUint32(at + 4, id, true);
  }
  return value;
}

/** A list that says no more than the nine bits of a mode. */
export function isMinimalAcl(entries: readonly AclEntry[]): boolean {
  return entries.every(({ tag }) => tag === USER_OBJ || tag === GROUP_OBJ || tag === OTHER);
}

/** The nine permission bits that belong to a list: the group's are the mask, where there is one. */
export function modeOfAcl(entries: readonly AclEntry[]): number {
  const of = (tag: number) => entries.find((entry) => entry.tag === tag)?.permissions;
  const group = of(MASK) ?? of(GROUP_OBJ) ?? 0;
  return ((of(USER_OBJ) ?? 0) << 6) | (group << 3) | (of(OTHER) ?? 0);
}

/** The stored list after chmod(2). */
export function aclWithMode(value: Uint8Array, mode: number): Uint8Array {
  const entries = parseAcl(value) ?? [];
  return encodeAcl(withBits(entries, () => mode));
}

export interface InheritedAcl {
  /** The nine permission bits of the new inode. */
  readonly permissions: number;
  /** Its access list; null when the bits say all of it. */
  readonly access: Uint8Array | null;
}

/**
 * What a new inode gets from the default list of its directory, which then replaces the umask: no
 * more than the program asked for, and no more than the list gives (acl(5), "Object creation").
 */
export function inheritAcl(defaultAcl: Uint8Array, mode: number): InheritedAcl {
  const entries = withBits(parseAcl(defaultAcl) ?? [], (bits) => bits & mode);
  const permissions = modeOfAcl(entries);
  return { permissions, access: isMinimalAcl(entries) ? null : encodeAcl(entries) };
}

/** With the entries that correspond to a mode's bits changed: `change` gets and gives nine bits. */
function withBits(entries: readonly AclEntry[], change: (bits: number) => number): AclEntry[] {
  const bits = change(modeOfAcl(entries));
  const groupTag = entries.some(({ tag }) => tag === MASK) ? MASK : GROUP_OBJ;
  const shiftOf = new Map([
    [USER_OBJ, 6],
    [groupTag, 3],
    [OTHER, 0],
  ]);
  return entries.map((entry) => {
    const shift = shiftOf.get(entry.tag);
    return shift === undefined ? entry : { ...entry, permissions: (bits >> shift) & RWX };
  });
}
