import type { Timespec } from '../base/clock.js';
import { MootError } from '../base/errors.js';
import type {
  AllocateMode,
  Command,
  Lock,
  LogCommand,
  Rename,
  SetAttributes,
  SetXattr,
} from '../filesystem/commands.js';
import {
  COMMAND_NAME_BYTES_MAX,
  COMMAND_VALUE_BYTES_MAX,
  DELEGATED_LOCKS_MAX,
  LOCK_OWNER_CHARS_MAX,
  SESSION_HOLDS_MAX,
  SESSION_NAME_CHARS_MAX,
  WRITE_BYTES_MAX,
} from '../filesystem/records.js';

import { packOwned, unpack } from './msgpack.js';
import { Reader } from './reader.js';
import { type UnionCodec, unionCodec } from './union.js';
import { LOCK_KINDS, oneOf, packOwnLock, readOwnLock, readTimespec, uints } from './values.js';

/** The form of a log entry's data. Entries of another form are refused, never guessed at. */
const LOG_COMMAND_VERSION = 1;

/**
 * A log entry's data: what every node applies, for as long as the entry lives. The bytes belong to
 * the caller.
 */
export function encodeLogCommand(entry: LogCommand): Uint8Array {
  return packOwned(
    [
      LOG_COMMAND_VERSION,
      entry.session,
      entry.sequence,
      entry.acknowledged,
      entry.time.sec,
      entry.time.nsec,
      commandCodec.pack(entry.command),
    ],
    commandPayloadBytes(entry.command),
  );
}

/** Bytes in the command are views of `data`. Throws BAD_MESSAGE. */
export function decodeLogCommand(data: Uint8Array): LogCommand {
  const r = new Reader(unpack(data), 'log entry');
  const version = r.uint('version');
  if (version !== LOG_COMMAND_VERSION) {
    throw new MootError('BAD_MESSAGE', `log entry.version ${version} is unknown`);
  }
  return {
    session: r.uint('session'),
    sequence: r.uint('sequence'),
    acknowledged: r.uint('acknowledged'),
    time: readTimespec(r, 'time'),
    command: commandCodec.unpack(r.any('command'), undefined),
  };
}

/** How many bytes of data are in the command; the rest is small. */
export function commandPayloadBytes(command: Command): number {
  if (command.type === 'write') return command.data.length;
  return command.type === 'set-xattr' ? command.value.length : 0;
}

const RENAME_MODES: readonly Rename['mode'][] = ['replace', 'no-replace', 'exchange'];
const XATTR_MODES: readonly SetXattr['mode'][] = ['set', 'create', 'replace'];

const LOCK_MODES: readonly Lock['mode'][] = ['shared', 'exclusive', 'unlock'];

const ALLOCATE_MODES: readonly AllocateMode[] = ['reserve', 'reserve-keep-size', 'punch', 'zero'];

const WRITE_APPEND = 1;
const WRITE_KILL_PRIVILEGES = 2;

export const commandCodec: UnionCodec<Command> = unionCodec<Command>('command', {
  'open-session': {
    tag: 1,
    pack: (c) => [c.name, c.holdsOpen],
    unpack: (r) => ({
      type: 'open-session',
      name: r.string('name', SESSION_NAME_CHARS_MAX),
      holdsOpen: r.bool('holdsOpen'),
    }),
  },
  'keep-alive': {
    tag: 2,
    pack: (c) => [c.seenIndex, c.holds],
    unpack: (r) => ({
      type: 'keep-alive',
      seenIndex: r.uint('seenIndex'),
      holds: uints(r, 'holds', SESSION_HOLDS_MAX),
    }),
  },
  'close-session': { tag: 3, pack: () => [], unpack: () => ({ type: 'close-session' }) },
  'expire-session': {
    tag: 4,
    pack: (c) => [c.session, c.lastIndex],
    unpack: (r) => ({
      type: 'expire-session',
      session: r.uint('session'),
      lastIndex: r.uint('lastIndex'),
    }),
  },
  nothing: { tag: 5, pack: () => [], unpack: () => ({ type: 'nothing' }) },
  'make-node': {
    tag: 6,
    pack: (c) => [c.parent, c.name, c.mode, c.rdev, c.uid, c.gid, c.umask ?? null],
    unpack: (r) => ({
      type: 'make-node',
      parent: r.uint('parent'),
      name: r.bytes('name', COMMAND_NAME_BYTES_MAX),
      mode: r.uint32('mode'),
      rdev: r.uint32('rdev'),
      uid: r.uint32('uid'),
      gid: r.uint32('gid'),
      ...readUmask(r),
    }),
  },
  'make-unnamed': {
    tag: 16,
    pack: (c) => [c.parent, c.mode, c.uid, c.gid, c.umask ?? null],
    unpack: (r) => ({
      type: 'make-unnamed',
      parent: r.uint('parent'),
      mode: r.uint32('mode'),
      uid: r.uint32('uid'),
      gid: r.uint32('gid'),
      ...readUmask(r),
    }),
  },
  'make-symlink': {
    tag: 7,
    pack: (c) => [c.parent, c.name, c.target, c.uid, c.gid],
    unpack: (r) => ({
      type: 'make-symlink',
      parent: r.uint('parent'),
      name: r.bytes('name', COMMAND_NAME_BYTES_MAX),
      target: r.bytes('target', COMMAND_VALUE_BYTES_MAX),
      uid: r.uint32('uid'),
      gid: r.uint32('gid'),
    }),
  },
  link: {
    tag: 8,
    pack: (c) => [c.ino, c.parent, c.name],
    unpack: (r) => ({
      type: 'link',
      ino: r.uint('ino'),
      parent: r.uint('parent'),
      name: r.bytes('name', COMMAND_NAME_BYTES_MAX),
    }),
  },
  unlink: {
    tag: 9,
    pack: (c) => [c.parent, c.name],
    unpack: (r) => ({
      type: 'unlink',
      parent: r.uint('parent'),
      name: r.bytes('name', COMMAND_NAME_BYTES_MAX),
    }),
  },
  'remove-directory': {
    tag: 10,
    pack: (c) => [c.parent, c.name],
    unpack: (r) => ({
      type: 'remove-directory',
      parent: r.uint('parent'),
      name: r.bytes('name', COMMAND_NAME_BYTES_MAX),
    }),
  },
  rename: {
    tag: 11,
    pack: (c) => [c.parent, c.name, c.newParent, c.newName, RENAME_MODES.indexOf(c.mode)],
    unpack: (r) => ({
      type: 'rename',
      parent: r.uint('parent'),
      name: r.bytes('name', COMMAND_NAME_BYTES_MAX),
      newParent: r.uint('newParent'),
      newName: r.bytes('newName', COMMAND_NAME_BYTES_MAX),
      mode: oneOf(r, 'mode', RENAME_MODES),
    }),
  },
  'set-attributes': {
    tag: 12,
    pack: (c) => [
      c.ino,
      c.mode ?? null,
      c.uid ?? null,
      c.gid ?? null,
      c.size ?? null,
      packTime(c.atime),
      packTime(c.mtime),
      packTime(c.ctime),
      c.killPrivileges ?? false,
      c.flags ?? null,
      c.named ?? false,
    ],
    unpack: unpackSetAttributes,
  },
  write: {
    tag: 13,
    pack: (c) => [
      c.ino,
      c.offset,
      c.data,
      (c.append ? WRITE_APPEND : 0) | (c.killPrivileges ? WRITE_KILL_PRIVILEGES : 0),
    ],
    unpack(r) {
      const ino = r.uint('ino');
      const offset = r.uint('offset');
      const data = r.bytes('data', WRITE_BYTES_MAX);
      const flags = r.uint32('flags');
      if (flags > (WRITE_APPEND | WRITE_KILL_PRIVILEGES)) {
        throw new MootError('BAD_MESSAGE', `command write.flags ${flags} is unknown`);
      }
      return {
        type: 'write',
        ino,
        offset,
        data,
        ...(flags & WRITE_APPEND ? { append: true } : {}),
        ...(flags & WRITE_KILL_PRIVILEGES ? { killPrivileges: true } : {}),
      };
    },
  },
  allocate: {
    tag: 17,
    pack: (c) => [
      c.ino,
      c.offset,
      c.length,
      ALLOCATE_MODES.indexOf(c.mode),
      c.killPrivileges ?? false,
    ],
    unpack: (r) => ({
      type: 'allocate',
      ino: r.uint('ino'),
      offset: r.uint('offset'),
      length: r.uint('length'),
      mode: oneOf(r, 'mode', ALLOCATE_MODES),
      ...(r.bool('killPrivileges') ? { killPrivileges: true } : {}),
    }),
  },
  'copy-range': {
    tag: 18,
    pack: (c) => [c.ino, c.offset, c.toIno, c.toOffset, c.length, c.killPrivileges ?? false],
    unpack: (r) => ({
      type: 'copy-range',
      ino: r.uint('ino'),
      offset: r.uint('offset'),
      toIno: r.uint('toIno'),
      toOffset: r.uint('toOffset'),
      length: r.uint('length'),
      ...(r.bool('killPrivileges') ? { killPrivileges: true } : {}),
    }),
  },
  'set-xattr': {
    tag: 14,
    pack: (c) => [c.ino, c.name, c.value, XATTR_MODES.indexOf(c.mode), c.killSetGid ?? false],
    unpack: (r) => ({
      type: 'set-xattr',
      ino: r.uint('ino'),
      name: r.bytes('name', COMMAND_NAME_BYTES_MAX),
      value: r.bytes('value', COMMAND_VALUE_BYTES_MAX),
      mode: oneOf(r, 'mode', XATTR_MODES),
      ...(r.more && r.bool('killSetGid') ? { killSetGid: true } : {}),
    }),
  },
  'remove-xattr': {
    tag: 15,
    pack: (c) => [c.ino, c.name],
    unpack: (r) => ({
      type: 'remove-xattr',
      ino: r.uint('ino'),
      name: r.bytes('name', COMMAND_NAME_BYTES_MAX),
    }),
  },
  lock: {
    tag: 19,
    pack: (c) => [
      c.ino,
      LOCK_KINDS.indexOf(c.kind),
      LOCK_MODES.indexOf(c.mode),
      c.owner,
      c.pid,
      c.first,
      c.last,
      c.wait,
      c.takesOver ?? false,
    ],
    unpack: (r) => ({
      type: 'lock',
      ino: r.uint('ino'),
      kind: oneOf(r, 'kind', LOCK_KINDS),
      mode: oneOf(r, 'mode', LOCK_MODES),
      owner: r.string('owner', LOCK_OWNER_CHARS_MAX),
      pid: r.uint32('pid'),
      first: r.uint('first'),
      last: r.uint('last'),
      wait: r.nullable('wait', r.uint),
      ...(r.more && r.bool('takesOver') ? { takesOver: true } : {}),
    }),
  },
  'set-quota': {
    tag: 21,
    pack: (c) => [c.bytes, c.inodes],
    unpack: (r) => ({
      type: 'set-quota',
      bytes: r.nullable('bytes', r.uint),
      inodes: r.nullable('inodes', r.uint),
    }),
  },
  'cancel-lock': {
    tag: 20,
    pack: (c) => [c.ino, c.request],
    unpack: (r) => ({ type: 'cancel-lock', ino: r.uint('ino'), request: r.uint('request') }),
  },
  'recall-locks': {
    tag: 22,
    pack: (c) => [c.ino],
    unpack: (r) => ({ type: 'recall-locks', ino: r.uint('ino') }),
  },
  'return-locks': {
    tag: 23,
    pack: (c) =>
      c.held === null
        ? [c.ino, null, null]
        : [c.ino, c.held.posix.map(packOwnLock), c.held.flock.map(packOwnLock)],
    unpack(r) {
      const ino = r.uint('ino');
      const [posix, flock] = [readOwnLocks(r, 'posix'), readOwnLocks(r, 'flock')];
      const held = posix === null || flock === null ? null : { posix, flock };
      return { type: 'return-locks', ino, held };
    },
  },
});

function readOwnLocks(r: Reader, field: string) {
  const packed = r.nullable(field, () => r.array(field, DELEGATED_LOCKS_MAX));
  return packed?.map((one) => readOwnLock(new Reader(one, field))) ?? null;
}

/** null: not named; true: the replicated clock's time. */
function packTime(time: Timespec | 'now' | undefined): unknown {
  if (time === undefined) return null;
  return time === 'now' ? true : [time.sec, time.nsec];
}

function unpackTime(packed: unknown, field: string): Timespec | 'now' | undefined {
  if (packed === null) return undefined;
  if (packed === true) return 'now';
  return readTimespec(new Reader(packed, `command set-attributes.${field}`), field);
}

function unpackSetAttributes(r: Reader): SetAttributes {
  const ino = r.uint('ino');
  const mode = r.nullable('mode', r.uint32);
  const uid = r.nullable('uid', r.uint32);
  const gid = r.nullable('gid', r.uint32);
  const size = r.nullable('size', r.uint);
  const atime = unpackTime(r.any('atime'), 'atime');
  const mtime = unpackTime(r.any('mtime'), 'mtime');
  const ctime = unpackTime(r.any('ctime'), 'ctime');
  if (ctime === 'now') {
    throw new MootError('BAD_MESSAGE', 'command set-attributes.ctime is not a time');
  }
  const killPrivileges = r.bool('killPrivileges');
  const flags = r.more ? r.nullable('flags', r.uint32) : null;
  const named = r.more && r.bool('named');
  return {
    type: 'set-attributes',
    ino,
    ...(mode === null ? {} : { mode }),
    ...(uid === null ? {} : { uid }),
    ...(gid === null ? {} : { gid }),
    ...(size === null ? {} : { size }),
    ...(atime === undefined ? {} : { atime }),
    ...(mtime === undefined ? {} : { mtime }),
    ...(ctime === undefined ? {} : { ctime }),
    ...(killPrivileges ? { killPrivileges } : {}),
    ...(flags === null ? {} : { flags }),
    ...(named ? { named } : {}),
  };
}

/** Entries of logs that were written before there was an umask have none. */
function readUmask(r: Reader): { readonly umask?: number } {
  const umask = r.more ? r.nullable('umask', r.uint32) : null;
  return umask === null ? {} : { umask };
}
