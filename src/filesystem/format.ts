import { COUNTERS, inodeKey } from './keys.js';
import { S_IFDIR } from './mode.js';
import { type Counters, HOLDERS_NONE, type Inode, ROOT_INO } from './records.js';
import type { Change } from './view.js';

/** No clock has been heard of yet: the root is as old as the epoch until something changes it. */
const EPOCH = { sec: 0, nsec: 0 };

export const ROOT: Inode = {
  ino: ROOT_INO,
  mode: S_IFDIR | 0o755,
  uid: 0,
  gid: 0,
  nlink: 2,
  size: 0,
  bytes: 0,
  rdev: 0,
  atime: EPOCH,
  mtime: EPOCH,
  ctime: EPOCH,
  btime: EPOCH,
  dataVersion: 0,
  content: 0,
  parent: ROOT_INO,
  entries: 0,
  nextCookie: 1,
  target: new Uint8Array(0),
  holds: 0,
  xattrs: 0,
  flags: 0,
};

const FIRST_COUNTERS: Counters = {
  nextIno: ROOT_INO + 1,
  nextSession: 1,
  sessions: [],
  time: EPOCH,
  inodes: 1,
  bytes: 0,
  orphanHead: 0,
  orphanTail: 0,
  holdersSeenIndex: HOLDERS_NONE,
  hash: 0,
  bytesMax: null,
  inodesMax: null,
};

/** The changes that make an empty store a filesystem with a root directory and nothing in it. */
export function formatChanges(): readonly Change[] {
  return [
    { type: 'put', key: inodeKey(ROOT_INO), value: ROOT },
    { type: 'put', key: COUNTERS, value: FIRST_COUNTERS },
  ];
}
