import type { Timespec } from '../base/clock.js';
import { MootError } from '../base/errors.js';
import type { CommandValue } from '../filesystem/commands.js';
import {
  DELEGATED_LOCKS_MAX,
  type HeldLock,
  type HeldLocks,
  type Inode,
  LOCK_OWNER_CHARS_MAX,
  type LockKind,
  type Reply,
} from '../filesystem/records.js';
import { Reader } from './reader.js';

/**
 * Values that both the wire and the stored records carry, as positional arrays: short, fast, and
 * open at the end (a later version appends fields; a reader ignores what it does not know).
 */

export type Packed = readonly unknown[];

export function packInode(inode: Inode): Packed {
  return [
    inode.ino,
    inode.mode,
    inode.uid,
    inode.gid,
    inode.nlink,
    inode.size,
    inode.bytes,
    inode.rdev,
    inode.atime.sec,
    inode.atime.nsec,
    inode.mtime.sec,
    inode.mtime.nsec,
    inode.ctime.sec,
    inode.ctime.nsec,
    inode.btime.sec,
    inode.btime.nsec,
    inode.dataVersion,
    inode.content,
    inode.parent,
    inode.entries,
    inode.nextCookie,
    inode.target,
    inode.holds,
    inode.xattrs,
    inode.flags,
  ];
}

export function unpackInode(packed: unknown): Inode {
  const r = new Reader(packed, 'inode');
  return {
    ino: r.uint('ino'),
    mode: r.uint32('mode'),
    uid: r.uint32('uid'),
    gid: r.uint32('gid'),
    nlink: r.uint32('nlink'),
    size: r.uint('size'),
    bytes: r.uint('bytes'),
    rdev: r.uint32('rdev'),
    atime: readTimespec(r, 'atime'),
    mtime: readTimespec(r, 'mtime'),
    ctime: readTimespec(r, 'ctime'),
    btime: readTimespec(r, 'btime'),
    dataVersion: r.uint('dataVersion'),
    content: r.uint('content'),
    parent: r.uint('parent'),
    entries: r.uint('entries'),
    nextCookie: r.uint('nextCookie'),
    target: r.bytes('target'),
    holds: r.uint32('holds'),
    xattrs: r.uint32('xattrs'),
    // Inodes that were stored before there were flags have none.
    flags: r.more ? r.uint32('flags') : 0,
  };
}

/** Two fields: whole seconds, then nanoseconds. */
export function readTimespec(r: Reader, field: string): Timespec {
  const sec = r.int(`${field}.sec`);
  const nsec = r.uint32(`${field}.nsec`);
  if (nsec >= 1e9) throw new MootError('BAD_MESSAGE', `${field}.nsec: ${nsec} is not below 1e9`);
  return { sec, nsec };
}

/** A list of whole numbers from 0. */
export function uints(r: Reader, field: string, lengthMax: number): readonly number[] {
  const items = new Reader(r.array(field, lengthMax), field);
  const numbers: number[] = [];
  while (items.more) numbers.push(items.uint('item'));
  return numbers;
}

/** A number that stands for one of `names`, in their order. */
export function oneOf<T>(r: Reader, field: string, names: readonly T[]): T {
  const number = r.uint32(field);
  const name = names[number];
  if (name === undefined) throw new MootError('BAD_MESSAGE', `${field} ${number} is unknown`);
  return name;
}

export const LOCK_KINDS: readonly LockKind[] = ['posix', 'flock'];

export function packLock(lock: HeldLock): Packed {
  return [lock.session, ...packOwnLock(lock)];
}

export function packOwnLock(lock: Omit<HeldLock, 'session'>): Packed {
  return [lock.owner, lock.pid, lock.exclusive, lock.first, lock.last];
}

export function unpackLock(packed: unknown): HeldLock {
  return readLock(new Reader(packed, 'lock'));
}

export function readLock(r: Reader): HeldLock {
  return { session: r.uint('session'), ...readOwnLock(r) };
}

export function readOwnLock(r: Reader): Omit<HeldLock, 'session'> {
  return {
    owner: r.string('owner', LOCK_OWNER_CHARS_MAX),
    pid: r.uint32('pid'),
    exclusive: r.bool('exclusive'),
    first: r.uint('first'),
    last: r.uint('last'),
  };
}

const VALUE_NULL = 0;
const VALUE_SESSION = 1;
const VALUE_INODE = 2;
const VALUE_REMOVED = 3;
const VALUE_CHANGED = 4;
const VALUE_COPIED = 5;
const VALUE_LOCK = 6;

function packValue(value: CommandValue): Packed {
  if (value === null) return [VALUE_NULL];
  if ('granted' in value) {
    const file = value.file === null ? null : packInode(value.file);
    const { granted, session, takenOver, recalled } = value;
    const held = takenOver && [takenOver.posix.map(packLock), takenOver.flock.map(packLock)];
    return [VALUE_LOCK, granted, session, file, recalled, ...(held ?? [])];
  }
  if ('session' in value) return [VALUE_SESSION, value.session];
  if ('copied' in value)
    return [VALUE_COPIED, packInode(value.inode), value.dataVersionBefore, value.copied];
  if ('dataVersionBefore' in value)
    return [VALUE_CHANGED, packInode(value.inode), value.dataVersionBefore];
  if ('inode' in value) return [VALUE_INODE, packInode(value.inode)];
  return [VALUE_REMOVED, value.removed === null ? null : packInode(value.removed)];
}

function unpackValue(packed: unknown): CommandValue {
  const r = new Reader(packed, 'value');
  const kind = r.uint('kind');
  switch (kind) {
    case VALUE_NULL:
      return null;
    case VALUE_SESSION:
      return { session: r.uint('session') };
    case VALUE_INODE:
      return { inode: unpackInode(r.any('inode')) };
    case VALUE_REMOVED: {
      const removed = r.any('removed');
      return { removed: removed === null ? null : unpackInode(removed) };
    }
    case VALUE_CHANGED:
      return {
        inode: unpackInode(r.any('inode')),
        dataVersionBefore: r.uint('dataVersionBefore'),
      };
    case VALUE_COPIED:
      return {
        inode: unpackInode(r.any('inode')),
        dataVersionBefore: r.uint('dataVersionBefore'),
        copied: r.uint('copied'),
      };
    case VALUE_LOCK: {
      const granted = r.bool('granted');
      const session = r.uint('session');
      const file = r.any('file');
      return {
        granted,
        session,
        file: file === null ? null : unpackInode(file),
        // Replies that were stored before anybody could decide alone say nothing of it.
        recalled: r.more && r.bool('recalled'),
        takenOver: r.more ? readHeldLocks(r) : null,
      };
    }
    default:
      throw new MootError('BAD_MESSAGE', `value.kind: ${kind} is unknown`);
  }
}

function readHeldLocks(r: Reader): HeldLocks {
  const read = (kind: LockKind) => r.array(kind, DELEGATED_LOCKS_MAX).map(unpackLock);
  return { posix: read('posix'), flock: read('flock') };
}

export function packReply(reply: Reply): Packed {
  return reply.ok ? [true, packValue(reply.value)] : [false, reply.code];
}

export function unpackReply(packed: unknown): Reply {
  const r = new Reader(packed, 'reply');
  return r.bool('ok')
    ? { ok: true, value: unpackValue(r.any('value')) }
    : { ok: false, code: r.filesystemErrorCode('code') };
}
