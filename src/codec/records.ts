import { crc32 } from 'node:zlib';
import { MootError } from '../base/errors.js';
import { type Key, tableOf } from '../filesystem/keys.js';
import type { Session, Table, Tables } from '../filesystem/records.js';
import { pack, unpack } from './msgpack.js';
import { Reader } from './reader.js';
import {
  LOCK_KINDS,
  oneOf,
  packInode,
  packLock,
  packReply,
  readLock,
  readTimespec,
  unpackInode,
  unpackLock,
  unpackReply,
} from './values.js';

/**
 * The stored form of the tree's records. A sealed record is a CRC-32 over its key and its payload,
 * then the payload; so a record that turns up under another key is found like a flipped bit. The
 * payload of a chunk is the chunk's bytes, that of any other record a version and msgpack.
 */

const RECORD_VERSION = 1;
const CHECKSUM_BYTES = 4;
/** Guards against absurd counts; what a record may really hold is the state machine's to bound. */
const ITEMS_MAX = 1_000_000;
const STRING_CHARS_MAX = 4096;

export function encodeRecord(key: Key, value: Tables[Table]): Buffer {
  const table = knownTable(key);
  if (table === 'chunk') return seal(key, value as Tables['chunk']);
  // The key's table says the value's type; only a bug in the state machine can mix them.
  const packed = pack(CODECS[table].pack(value as never));
  const payload = Buffer.allocUnsafe(1 + packed.length);
  payload[0] = RECORD_VERSION;
  payload.set(packed, 1);
  return seal(key, payload);
}

/** The bytes of a chunk are a view into `sealed`. What does not hold is DATA_CORRUPT, naming table and key. */
export function decodeRecord<T extends Table>(key: Key<T>, sealed: Buffer): Tables[T] {
  const table = knownTable(key);
  const payload = unseal(key, sealed);
  // As in encodeRecord: the key's table is the record's type.
  if (table === 'chunk') return payload as Uint8Array as Tables[T];
  const version = payload[0];
  if (version !== RECORD_VERSION) throw corruptRecord(key, `has the unknown version ${version}`);
  try {
    return CODECS[table].unpack(unpack(payload.subarray(1))) as Tables[T];
  } catch (cause) {
    throw corruptRecord(key, 'cannot be decoded', cause);
  }
}

/** The checksum of `key` and `payload`, then `payload`. `key` is a binary string. */
export function seal(key: string, payload: Uint8Array): Buffer {
  const sealed = Buffer.allocUnsafe(CHECKSUM_BYTES + payload.length);
  sealed.set(payload, CHECKSUM_BYTES);
  sealed.writeUInt32LE(checksumOf(key, payload));
  return sealed;
}

/** CRC-32 over both. */
export function checksumOf(key: string, payload: Uint8Array): number {
  const ofKey = crc32(Buffer.from(key, 'latin1'));
  // Of no bytes without an address, zlib's checksum is 0 and not the one it continues (zlib.h).
  return payload.length === 0 ? ofKey : crc32(payload, ofKey);
}

/** The payload as a view into `sealed`, when the checksum holds; DATA_CORRUPT otherwise. */
export function unseal(key: string, sealed: Buffer): Buffer {
  if (sealed.length < CHECKSUM_BYTES) throw corruptRecord(key, 'is too short');
  const payload = sealed.subarray(CHECKSUM_BYTES);
  if (checksumOf(key, payload) !== sealed.readUInt32LE()) {
    throw corruptRecord(key, 'does not match its checksum');
  }
  return payload;
}

function knownTable(key: Key): Table {
  const table = tableOf(key);
  if (table === undefined) throw corruptRecord(key, 'belongs to no table');
  return table;
}

/** DATA_CORRUPT that names the record's table and key. */
export function corruptRecord(key: string, why: string, cause?: unknown): MootError {
  const hex = Buffer.from(key, 'latin1').toString('hex');
  return new MootError('DATA_CORRUPT', `${tableOf(key) ?? 'stored'} record ${hex} ${why}`, {
    cause,
  });
}

interface Codec<T extends Table> {
  pack(value: Tables[T]): readonly unknown[];
  unpack(packed: unknown): Tables[T];
}

const CODECS: { readonly [T in Exclude<Table, 'chunk'>]: Codec<T> } = {
  counters: {
    pack: (c) => [
      c.nextIno,
      c.nextSession,
      c.sessions,
      c.time.sec,
      c.time.nsec,
      c.inodes,
      c.bytes,
      c.orphanHead,
      c.orphanTail,
      c.holdersSeenIndex,
      c.hash,
      c.bytesMax,
      c.inodesMax,
    ],
    unpack(packed) {
      const r = new Reader(packed, 'counters');
      return {
        nextIno: r.uint('nextIno'),
        nextSession: r.uint('nextSession'),
        sessions: readUints(r, 'sessions'),
        time: readTimespec(r, 'time'),
        inodes: r.uint('inodes'),
        bytes: r.uint('bytes'),
        orphanHead: r.uint('orphanHead'),
        orphanTail: r.uint('orphanTail'),
        holdersSeenIndex: r.uint('holdersSeenIndex'),
        hash: r.uint32('hash'),
        // Trees that were stored before there were quotas have none.
        bytesMax: r.more ? r.nullable('bytesMax', r.uint) : null,
        inodesMax: r.more ? r.nullable('inodesMax', r.uint) : null,
      };
    },
  },
  inode: { pack: packInode, unpack: unpackInode },
  entry: {
    pack: (e) => [e.ino, e.type, e.cookie],
    unpack(packed) {
      const r = new Reader(packed, 'entry');
      return { ino: r.uint('ino'), type: r.uint32('type'), cookie: r.uint('cookie') };
    },
  },
  cookie: {
    pack: (e) => [e.ino, e.type, e.name],
    unpack(packed) {
      const r = new Reader(packed, 'cookie');
      return { ino: r.uint('ino'), type: r.uint32('type'), name: r.bytes('name') };
    },
  },
  xattrs: {
    pack: (xattrs) => [[...xattrs]],
    unpack(packed) {
      const r = new Reader(packed, 'xattrs');
      return new Map(
        r.array('pairs', ITEMS_MAX).map((pair) => {
          const p = new Reader(pair, 'xattr');
          return [p.string('name', STRING_CHARS_MAX), p.bytes('value')] as const;
        }),
      );
    },
  },
  session: { pack: packSession, unpack: unpackSession },
  orphan: {
    pack: (o) => [o.ino, o.index],
    unpack(packed) {
      const r = new Reader(packed, 'orphan');
      return { ino: r.uint('ino'), index: r.uint('index') };
    },
  },
  locks: {
    pack: ({ posix, flock, delegate }) => [posix.map(packLock), flock.map(packLock), delegate],
    unpack(packed) {
      const r = new Reader(packed, 'locks');
      return {
        posix: r.array('posix', ITEMS_MAX).map(unpackLock),
        flock: r.array('flock', ITEMS_MAX).map(unpackLock),
        // Locks that were stored before a session could decide alone are everybody's.
        delegate: r.more ? r.nullable('delegate', r.uint) : null,
      };
    },
  },
  waiting: {
    pack: (waiting) => [
      waiting.map((one) => [...packLock(one), one.ino, LOCK_KINDS.indexOf(one.kind), one.request]),
    ],
    unpack: (packed) =>
      new Reader(packed, 'waiting').array('requests', ITEMS_MAX).map((one) => {
        const r = new Reader(one, 'request');
        return {
          ...readLock(r),
          ino: r.uint('ino'),
          kind: oneOf(r, 'kind', LOCK_KINDS),
          request: r.uint('request'),
        };
      }),
  },
  members: {
    pack: (members) => [members],
    unpack: (packed) => new Reader(packed, 'members').bytes('configuration'),
  },
};

function packSession(session: Session): readonly unknown[] {
  return [
    session.id,
    session.name,
    session.lastSequence,
    [...session.replies].map(([sequence, reply]) => [sequence, packReply(reply)]),
    session.seenIndex !== null,
    session.seenIndex ?? 0,
    session.lastIndex,
    session.holds,
    session.locks,
  ];
}

function unpackSession(packed: unknown): Session {
  const r = new Reader(packed, 'session');
  const id = r.uint('id');
  const name = r.string('name', STRING_CHARS_MAX);
  const lastSequence = r.uint('lastSequence');
  const replies = new Map(
    r.array('replies', ITEMS_MAX).map((pair) => {
      const p = new Reader(pair, 'reply');
      return [p.uint('sequence'), unpackReply(p.any('reply'))] as const;
    }),
  );
  const holdsOpen = r.bool('holdsOpen');
  const seenIndex = r.uint('seenIndex');
  return {
    id,
    name,
    lastSequence,
    replies,
    seenIndex: holdsOpen ? seenIndex : null,
    lastIndex: r.uint('lastIndex'),
    holds: readUints(r, 'holds'),
    // Sessions that were stored before there were locks have none.
    locks: r.more ? readUints(r, 'locks') : [],
  };
}

function readUints(r: Reader, field: string): number[] {
  const items = new Reader(r.array(field, ITEMS_MAX), field);
  const numbers: number[] = [];
  while (items.more) numbers.push(items.uint('item'));
  return numbers;
}
