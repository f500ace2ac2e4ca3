import { assert } from '../base/assert.js';
import { readContent } from './content.js';
import { findData, findHole } from './content-ranges.js';
import { getAll } from './draft.js';
import {
  COUNTERS,
  cookieOf,
  cookieRange,
  entryKey,
  inodeKey,
  type Key,
  locksKey,
  xattrsKey,
} from './keys.js';
import { conflictsWith } from './lock-table.js';
import { isDirectory, isRegular } from './mode.js';
import { bytesOfLatin1, entryName, isDot, isDotDot } from './name.js';
import type { ListedEntry, Query, QueryResult, QueryType, QueryValues } from './queries.js';
import {
  type CookieEntry,
  type Ino,
  type Inode,
  LISTED_BYTES_MAX,
  LISTED_ENTRIES_MAX,
  READ_BYTES_MAX,
} from './records.js';
import { Refusal, refuse } from './refusal.js';
import type { View } from './view.js';
import { xattrName } from './xattrs.js';

type QueryOf<T extends QueryType> = Extract<Query, { type: T }>;

/** Answers from the tree that `view` shows. Bytes in the answer may be stored ones: not to be changed. */
export function answer<T extends QueryType>(view: View, query: QueryOf<T>): QueryResult<T> {
  const handler: (view: View, query: QueryOf<T>) => QueryValues[T] = HANDLERS[query.type as T];
  try {
    return { ok: true, value: handler(view, query) };
  } catch (thrown) {
    if (thrown instanceof Refusal) return { ok: false, code: thrown.code };
    throw thrown;
  }
}

const HANDLERS: { readonly [T in QueryType]: (view: View, query: QueryOf<T>) => QueryValues[T] } = {
  lookup(view, { parent, name }) {
    const directory = anyDirectory(view, parent);
    if (isDot(name)) return { inode: directory };
    if (isDotDot(name)) return { inode: inodeAt(view, directory.parent) };
    const entry = view.get(entryKey(parent, entryName(name))) ?? refuse('ENOENT');
    return { inode: inodeAt(view, entry.ino), cookie: entry.cookie };
  },

  'get-inode': (view, { ino }) => ({ inode: inodeAt(view, ino) }),

  'read-directory'(view, { ino, cookie, limit, plus }) {
    const directory = anyDirectory(view, ino);
    if (!(cookie >= 0 && limit > 0 && limit <= LISTED_ENTRIES_MAX)) return refuse('EINVAL');
    const found = view.scan(cookieRange(ino, cookie), limit);
    const entries = listedEntries(view, found, plus);
    const end = entries.length === found.length && found.length < limit;
    return { entries, parent: directory.parent, end, nextCookie: directory.nextCookie };
  },

  read(view, { ino, offset, size }) {
    const inode = inodeAt(view, ino);
    if (isDirectory(inode)) return refuse('EISDIR');
    if (!isRegular(inode)) return refuse('EINVAL');
    if (!(size >= 0 && size <= READ_BYTES_MAX && offset >= 0)) return refuse('EINVAL');
    return { data: readContent(view, inode, offset, size), size: inode.size };
  },

  seek(view, { ino, offset, what }) {
    const inode = inodeAt(view, ino);
    if (isDirectory(inode)) return refuse('EISDIR');
    if (!isRegular(inode)) return refuse('EINVAL');
    if (!(offset >= 0 && offset < inode.size)) return refuse('ENXIO');
    if (what === 'hole') return { offset: findHole(view, inode, offset) };
    return { offset: findData(view, inode, offset) ?? refuse('ENXIO') };
  },

  'get-xattr'(view, { ino, name }) {
    const text = xattrName(name);
    inodeAt(view, ino);
    const value = view.get(xattrsKey(ino))?.get(text);
    return { value: value ?? refuse('ENODATA') };
  },

  'list-xattrs'(view, { ino }) {
    inodeAt(view, ino);
    const xattrs = view.get(xattrsKey(ino));
    return { names: xattrs === undefined ? [] : [...xattrs.keys()].map(bytesOfLatin1) };
  },

  'get-lock'(view, { ino, session, owner, exclusive, first, last }) {
    const asked = { session, owner, pid: 0, exclusive, first, last };
    const { posix: held, delegate } = view.get(locksKey(ino)) ?? { posix: [], delegate: null };
    return { lock: held.find((one) => conflictsWith(one, asked)) ?? null, delegate };
  },

  statfs(view) {
    const counters = view.get(COUNTERS);
    assert(counters !== undefined, 'the store was formatted');
    return {
      inodes: counters.inodes,
      bytes: counters.bytes,
      inodesMax: counters.inodesMax,
      bytesMax: counters.bytesMax,
      diskBytesTotal: 0,
      diskBytesFree: 0,
    };
  },
};

/** What an entry takes beside its name and its inode's target, at most. */
const LISTED_ENTRY_BYTES = 256;
/** Inodes asked for at once: with the longest targets they are some MiB, whether they fit or not. */
const LISTED_TOGETHER = 512;

/** Of `found`, as many from the first on as fit into an answer. */
function listedEntries(
  view: View,
  found: readonly (readonly [Key<'cookie'>, CookieEntry])[],
  plus: boolean,
): readonly ListedEntry[] {
  const entries: ListedEntry[] = [];
  let bytes = 0;
  for (let from = 0; from < found.length; from += LISTED_TOGETHER) {
    const some = found.slice(from, from + LISTED_TOGETHER);
    const keys = some.map(([, entry]) => inodeKey(entry.ino));
    const inodes = plus ? getAll(view, keys) : [];
    for (const [i, [key, { name, ino, type }]] of some.entries()) {
      const inode = inodes[i] ?? null;
      bytes += LISTED_ENTRY_BYTES + name.length + (inode?.target.length ?? 0);
      if (bytes > LISTED_BYTES_MAX && entries.length > 0) return entries;
      entries.push({ name, ino, type, cookie: cookieOf(key), inode });
    }
  }
  return entries;
}

/** An inode that is there, with or without a name. */
function inodeAt(view: View, ino: Ino): Inode {
  return view.get(inodeKey(ino)) ?? refuse('ESTALE');
}

function anyDirectory(view: View, ino: Ino): Inode {
  const inode = inodeAt(view, ino);
  return isDirectory(inode) ? inode : refuse('ENOTDIR');
}
