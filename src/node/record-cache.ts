import type { Key } from '../filesystem/keys.js';
import type {
  Inode,
  Locks,
  Session,
  Table,
  Tables,
  WaitingLock,
  Xattrs,
} from '../filesystem/records.js';

/** A record of any table. */
export type Stored = Tables[Table];

/** What JavaScript's objects and the map's slot cost, about; measured for inodes, generous for the rest. */
const RECORD_BYTES = 256;
const INODE_BYTES = 768;
const REPLY_BYTES = 896;
const LOCK_BYTES = 192;

/** About how much memory a record takes. */
export function recordBytes(key: Key, value: Stored | null): number {
  if (value === null) return RECORD_BYTES;
  switch (key.charAt(0)) {
    case 'c':
      return RECORD_BYTES + (value as Uint8Array).length;
    case 'i':
      return INODE_BYTES + (value as Inode).target.length;
    case 's':
      return RECORD_BYTES + (value as Session).replies.size * REPLY_BYTES;
    case 'l': {
      const { posix, flock } = value as Locks;
      return RECORD_BYTES + (posix.length + flock.length) * LOCK_BYTES;
    }
    case 'w':
      return RECORD_BYTES + (value as readonly WaitingLock[]).length * LOCK_BYTES;
    case 'x': {
      let bytes = RECORD_BYTES;
      for (const xattr of (value as Xattrs).values()) bytes += RECORD_BYTES + xattr.length;
      return bytes;
    }
    default:
      return RECORD_BYTES;
  }
}

/**
 * Records as the store has them (null: known to be absent), within a bound of bytes. Two
 * generations instead of a list: what is used moves to the young one, and when that has half of the
 * bytes the old one is dropped. So a record just loaded outlives at least half a cache of others,
 * and a hit costs one or two look-ups.
 */
export class RecordCache {
  private young = new Map<Key, Stored | null>();
  private old = new Map<Key, Stored | null>();
  private youngBytes = 0;

  constructor(private readonly bytesMax: number) {}

  /** undefined: not known here. */
  get(key: Key): Stored | null | undefined {
    const value = this.young.get(key);
    if (value !== undefined) return value;
    const aged = this.old.get(key);
    if (aged === undefined) return undefined;
    this.old.delete(key);
    this.insert(key, aged);
    return aged;
  }

  set(key: Key, value: Stored | null): void {
    const before = this.young.get(key);
    if (before !== undefined) this.youngBytes -= recordBytes(key, before);
    else this.old.delete(key);
    this.insert(key, value instanceof Uint8Array ? compact(value) : value);
  }

  /** Not known here any more. */
  delete(key: Key): void {
    const before = this.young.get(key);
    if (before !== undefined) this.youngBytes -= recordBytes(key, before);
    this.young.delete(key);
    this.old.delete(key);
  }

  /** Drops what is too much. Not done by `set`, so that what one command needs stays until it ran. */
  trim(): void {
    if (this.youngBytes < this.bytesMax / 2) return;
    this.old = this.young;
    this.young = new Map();
    this.youngBytes = 0;
  }

  clear(): void {
    this.young.clear();
    this.old.clear();
    this.youngBytes = 0;
  }

  private insert(key: Key, value: Stored | null): void {
    this.young.set(key, value);
    this.youngBytes += recordBytes(key, value);
  }
}

/** A small view into a large frame would keep the whole frame in memory. */
function compact(bytes: Uint8Array): Uint8Array {
  return bytes.buffer.byteLength > 2 * bytes.length + RECORD_BYTES ? bytes.slice() : bytes;
}
