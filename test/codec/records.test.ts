import t from 'tap';
import { isMootError } from '../../src/base/errors.js';
import { decodeRecord, encodeRecord } from '../../src/codec/records.js';
import {
  chunkKey,
  inodeKey,
  type Key,
  locksKey,
  orphanKey,
  WAITING,
  xattrsKey,
} from '../../src/filesystem/keys.js';
import type { Table, Tables } from '../../src/filesystem/records.js';
import { makeInode, noise } from '../support/records.js';

const LOCK = { session: 1, owner: 'a', pid: 2, exclusive: true, first: 3, last: 4 };

const RECORDS: readonly (readonly [Key, Tables[Table]])[] = [
  [inodeKey(9), makeInode(9)],
  [orphanKey(3), { ino: 2, index: 1 }],
  [locksKey(3), { posix: [LOCK], flock: [LOCK, LOCK], delegate: 4 }],
  [WAITING, [{ ...LOCK, ino: 9, kind: 'posix', request: 4 }]],
  [xattrsKey(4), new Map([['user.x', noise(1, 10)]])],
  [chunkKey(4, 1), noise(2, 200)],
];

function corruptionOf(key: Key, sealed: Buffer): string | null {
  try {
    decodeRecord(key, sealed);
    return null;
  } catch (error) {
    if (isMootError(error, 'DATA_CORRUPT')) return error.message;
    throw error;
  }
}

t.test('every flipped bit and every cut is found, and named', async (t) => {
  for (const [key, value] of RECORDS) {
    const sealed = encodeRecord(key, value);
    t.equal(corruptionOf(key, sealed), null);
    const hex = Buffer.from(key, 'latin1').toString('hex');
    let unnamed = 0;
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const damaged = Buffer.from(sealed);
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      if (!corruptionOf(key, damaged)?.includes(hex)) unnamed++;
    }
    for (let length = 0; length < sealed.length; length++) {
      if (!corruptionOf(key, sealed.subarray(0, length))?.includes(hex)) unnamed++;
    }
    t.equal(unnamed, 0, hex);
  }
});

t.test('a record under another key is found', async (t) => {
  const sealed = encodeRecord(chunkKey(4, 1), noise(2, 200));
  t.match(corruptionOf(chunkKey(4, 2), sealed), /^chunk record .* does not match its checksum/);
});

t.test('a key of no table', async (t) => {
  t.match(corruptionOf('?', Buffer.alloc(9)), /belongs to no table/);
});
