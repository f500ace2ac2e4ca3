import { MootError } from '../base/errors.js';
import type { ListedEntry, Query, QueryResult, QueryValues } from '../filesystem/queries.js';
import {
  COMMAND_NAME_BYTES_MAX,
  COMMAND_VALUE_BYTES_MAX,
  LISTED_ENTRIES_MAX,
  LOCK_OWNER_CHARS_MAX,
  NAME_BYTES_MAX,
  READ_BYTES_MAX,
} from '../filesystem/records.js';
import { XATTR_NAMES_MAX } from './limits.js';
import { Reader } from './reader.js';
import { type UnionCodec, unionCodec } from './union.js';
import { type Packed, packInode, packLock, unpackInode, unpackLock } from './values.js';

export const queryCodec: UnionCodec<Query> = unionCodec<Query>('query', {
  lookup: {
    tag: 1,
    pack: (q) => [q.parent, q.name],
    unpack: (r) => ({
      type: 'lookup',
      parent: r.uint('parent'),
      name: r.bytes('name', COMMAND_NAME_BYTES_MAX),
    }),
  },
  'get-inode': {
    tag: 2,
    pack: (q) => [q.ino],
    unpack: (r) => ({ type: 'get-inode', ino: r.uint('ino') }),
  },
  'read-directory': {
    tag: 3,
    pack: (q) => [q.ino, q.cookie, q.limit, q.plus],
    unpack: (r) => ({
      type: 'read-directory',
      ino: r.uint('ino'),
      cookie: r.uint('cookie'),
      limit: atMost(r.uint('limit'), LISTED_ENTRIES_MAX, 'query read-directory.limit'),
      plus: r.bool('plus'),
    }),
  },
  read: {
    tag: 4,
    pack: (q) => [q.ino, q.offset, q.size],
    unpack: (r) => ({
      type: 'read',
      ino: r.uint('ino'),
      offset: r.uint('offset'),
      size: atMost(r.uint('size'), READ_BYTES_MAX, 'query read.size'),
    }),
  },
  'get-xattr': {
    tag: 5,
    pack: (q) => [q.ino, q.name],
    unpack: (r) => ({
      type: 'get-xattr',
      ino: r.uint('ino'),
      name: r.bytes('name', COMMAND_NAME_BYTES_MAX),
    }),
  },
  'list-xattrs': {
    tag: 6,
    pack: (q) => [q.ino],
    unpack: (r) => ({ type: 'list-xattrs', ino: r.uint('ino') }),
  },
  seek: {
    tag: 8,
    pack: (q) => [q.ino, q.offset, q.what === 'data'],
    unpack: (r) => ({
      type: 'seek',
      ino: r.uint('ino'),
      offset: r.uint('offset'),
      what: r.bool('data') ? 'data' : 'hole',
    }),
  },
  'get-lock': {
    tag: 9,
    pack: (q) => [q.ino, q.session, q.owner, q.exclusive, q.first, q.last],
    unpack: (r) => ({
      type: 'get-lock',
      ino: r.uint('ino'),
      session: r.uint('session'),
      owner: r.string('owner', LOCK_OWNER_CHARS_MAX),
      exclusive: r.bool('exclusive'),
      first: r.uint('first'),
      last: r.uint('last'),
    }),
  },
  statfs: { tag: 7, pack: () => [], unpack: () => ({ type: 'statfs' }) },
});

type QueryValue = QueryValues[keyof QueryValues];

const RESULT_INODE = 1;
const RESULT_ENTRIES = 2;
const RESULT_DATA = 3;
const RESULT_XATTR = 4;
const RESULT_XATTR_NAMES = 5;
const RESULT_STATFS = 6;
const RESULT_OFFSET = 7;
const RESULT_LOCK = 8;

export function packQueryResult(result: QueryResult): Packed {
  return result.ok ? [true, packQueryValue(result.value)] : [false, result.code];
}

export function unpackQueryResult(packed: unknown): QueryResult {
  const r = new Reader(packed, 'result');
  return r.bool('ok')
    ? { ok: true, value: unpackQueryValue(r.any('value')) }
    : { ok: false, code: r.filesystemErrorCode('code') };
}

/** How many bytes of data are in the result; the rest is small. */
export function resultPayloadBytes(result: QueryResult): number {
  if (!result.ok) return 0;
  if ('data' in result.value) return result.value.data.length;
  return 'value' in result.value ? result.value.value.length : 0;
}

function packQueryValue(value: QueryValue): Packed {
  if ('cookie' in value) return [RESULT_INODE, packInode(value.inode), value.cookie];
  if ('inode' in value) return [RESULT_INODE, packInode(value.inode)];
  if ('data' in value) return [RESULT_DATA, value.data, value.size];
  if ('entries' in value) {
    return [
      RESULT_ENTRIES,
      value.entries.map(packListed),
      value.parent,
      value.end,
      value.nextCookie,
    ];
  }
  if ('value' in value) return [RESULT_XATTR, value.value];
  if ('lock' in value) {
    return [RESULT_LOCK, value.lock === null ? null : packLock(value.lock), value.delegate];
  }
  if ('offset' in value) return [RESULT_OFFSET, value.offset];
  if ('names' in value) return [RESULT_XATTR_NAMES, value.names];
  const { inodes, bytes, diskBytesTotal, diskBytesFree, inodesMax, bytesMax } = value;
  return [RESULT_STATFS, inodes, bytes, diskBytesTotal, diskBytesFree, inodesMax, bytesMax];
}

function unpackQueryValue(packed: unknown): QueryValue {
  const r = new Reader(packed, 'result.value');
  const kind = r.uint('kind');
  switch (kind) {
    case RESULT_INODE: {
      const inode = unpackInode(r.any('inode'));
      return r.more ? { inode, cookie: r.uint('cookie') } : { inode };
    }
    case RESULT_ENTRIES:
      return {
        entries: r.array('entries', LISTED_ENTRIES_MAX).map(unpackListed),
        parent: r.uint('parent'),
        end: r.bool('end'),
        nextCookie: r.uint('nextCookie'),
      };
    case RESULT_DATA:
      return { data: r.bytes('data', READ_BYTES_MAX), size: r.uint('size') };
    case RESULT_XATTR:
      return { value: r.bytes('value', COMMAND_VALUE_BYTES_MAX) };
    case RESULT_XATTR_NAMES: {
      const names = new Reader(r.array('names', XATTR_NAMES_MAX), 'result.names');
      const list: Uint8Array[] = [];
      while (names.more) list.push(names.bytes('name', COMMAND_NAME_BYTES_MAX));
      return { names: list };
    }
    case RESULT_OFFSET:
      return { offset: r.uint('offset') };
    case RESULT_LOCK: {
      const lock = r.any('lock');
      return {
        lock: lock === null ? null : unpackLock(lock),
        delegate: r.more ? r.nullable('delegate', r.uint) : null,
      };
    }
    case RESULT_STATFS:
      return {
        inodes: r.uint('inodes'),
        bytes: r.uint('bytes'),
        diskBytesTotal: r.uint('diskBytesTotal'),
        diskBytesFree: r.uint('diskBytesFree'),
        inodesMax: r.nullable('inodesMax', r.uint),
        bytesMax: r.nullable('bytesMax', r.uint),
      };
    default:
      throw new MootError('BAD_MESSAGE', `result.value.kind ${kind} is unknown`);
  }
}

function packListed(entry: ListedEntry): Packed {
  const inode = entry.inode === null ? null : packInode(entry.inode);
  return [entry.name, entry.ino, entry.type, entry.cookie, inode];
}

function unpackListed(packed: unknown): ListedEntry {
  const r = new Reader(packed, 'result.entry');
  const name = r.bytes('name', NAME_BYTES_MAX);
  const ino = r.uint('ino');
  const type = r.uint32('type');
  const cookie = r.uint('cookie');
  const inode = r.any('inode');
  return { name, ino, type, cookie, inode: inode === null ? null : unpackInode(inode) };
}

function atMost(value: number, max: number, what: string): number {
  if (value <= max) return value;
  throw new MootError('BAD_MESSAGE', `${what} ${value} is more than ${max}`);
}
