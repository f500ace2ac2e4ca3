import type { Inode } from '../../src/filesystem/records.js';
import type { Entry, Save } from '../../src/raft/types.js';

const TIME = { sec: 1_700_000_000, nsec: 123_456_789 };

/** An inode with nothing special, but what `fields` say. */
export function makeInode(ino: number, fields: Partial<Inode> = {}): Inode {
  return {
    ino,
    mode: 0o100644,
    uid: 1000,
    gid: 100,
    nlink: 1,
    size: 12,
    bytes: 12,
    rdev: 0,
    atime: TIME,
    mtime: { sec: -5, nsec: 0 },
    ctime: TIME,
    btime: TIME,
    dataVersion: 7,
    content: 4,
    parent: 0,
    entries: 0,
    nextCookie: 1,
    target: new Uint8Array(0),
    holds: 0,
    xattrs: 0,
    flags: 0,
    ...fields,
  };
}

/** Bytes that differ by `seed` and do not compress. */
export function noise(seed: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = (seed * 2_654_435_761 + 1) >>> 0;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

export function makeEntries(first: number, last: number, term: number, bytes = 20): Entry[] {
  return Array.from({ length: last - first + 1 }, (_, i) => ({
    index: first + i,
    term,
    kind: 'command' as const,
    data: noise(first + i, bytes),
  }));
}

let saves = 0;

export function makeSave(fields: Partial<Save>): Save {
  return { number: ++saves, hardState: null, truncateFrom: null, entries: [], ...fields };
}
