import type { Timespec } from '../base/clock.js';
import type { Command, CommandType, Lock, ReturnedLocks } from './commands.js';
import type { CommandCheck, HandlerOf } from './filesystem.js';
import { SETTABLE_FLAGS } from './inode-flags.js';
import { fileType } from './mode.js';
import { NODE_TYPES } from './names.js';
import {
  CLEARED_BYTES_MAX,
  COMMAND_NAME_BYTES_MAX,
  COMMAND_VALUE_BYTES_MAX,
  COPIED_BYTES_MAX,
  DELEGATED_LOCKS_MAX,
  LOCK_OWNER_CHARS_MAX,
  SESSION_HOLDS_MAX,
  SESSION_NAME_CHARS_MAX,
  WRITE_BYTES_MAX,
} from './records.js';

/**
 * A command from outside, before it enters the log: null when apply can take it, else what is wrong
 * with it. What a program can cause (a long name, a file too large) is apply's to answer with an
 * errno; here is refused what only a broken or hostile client sends, above all what would cost
 * every node memory.
 */
export const checkCommand: CommandCheck = (command) => problemOf(command);

const UINT32_MAX = 0xffff_ffff;

function problemOf<T extends CommandType>(command: Extract<Command, { type: T }>): string | null {
  const problems: (command: HandlerOf<T>) => Iterable<string | null> = CHECKS[command.type as T];
  for (const problem of problems(command)) {
    if (problem !== null) return `${command.type}: ${problem}`;
  }
  return null;
}

const CHECKS: {
  readonly [T in CommandType]: (command: HandlerOf<T>) => Iterable<string | null>;
} = {
  'open-session': ({ name }) => [atMost('name', name.length, SESSION_NAME_CHARS_MAX, 'characters')],
  'keep-alive': ({ seenIndex, holds }) => [
    whole('seenIndex', seenIndex),
    atMost('holds', holds.length, SESSION_HOLDS_MAX, 'inodes'),
    ...holds.map((ino) => inode('holds', ino)),
  ],
  'close-session': () => [],
  'expire-session': ({ session, lastIndex }) => [
    whole('session', session),
    whole('lastIndex', lastIndex),
  ],
  nothing: () => [],
  'make-node': ({ parent, name, mode, umask, rdev, uid, gid }) => [
    ...place('parent', parent, 'name', name),
    uint32('mode', mode) ?? nodeType(mode),
    umask === undefined ? null : uint32('umask', umask),
    uint32('rdev', rdev),
    uint32('uid', uid),
    uint32('gid', gid),
  ],
  'make-unnamed': ({ parent, mode, umask, uid, gid }) => [
    inode('parent', parent),
    uint32('mode', mode),
    umask === undefined ? null : uint32('umask', umask),
    uint32('uid', uid),
    uint32('gid', gid),
  ],
  'make-symlink': ({ parent, name, target, uid, gid }) => [
    ...place('parent', parent, 'name', name),
    atMost('target', target.length, COMMAND_VALUE_BYTES_MAX, 'bytes'),
    uint32('uid', uid),
    uint32('gid', gid),
  ],
  link: ({ ino, parent, name }) => [inode('ino', ino), ...place('parent', parent, 'name', name)],
  unlink: ({ parent, name }) => place('parent', parent, 'name', name),
  'remove-directory': ({ parent, name }) => place('parent', parent, 'name', name),
  rename: ({ parent, name, newParent, newName }) => [
    ...place('parent', parent, 'name', name),
    ...place('newParent', newParent, 'newName', newName),
  ],
  'set-attributes': ({ ino, mode, uid, gid, size, atime, mtime, ctime, flags }) => [
    inode('ino', ino),
    mode === undefined ? null : uint32('mode', mode),
    uid === undefined ? null : uint32('uid', uid),
    gid === undefined ? null : uint32('gid', gid),
    size === undefined ? null : whole('size', size),
    atime === undefined || atime === 'now' ? null : moment('atime', atime),
    mtime === undefined || mtime === 'now' ? null : moment('mtime', mtime),
    ctime === undefined ? null : moment('ctime', ctime),
    flags === undefined || (flags & ~SETTABLE_FLAGS) === 0 ? null : `flags ${flags} are unknown`,
  ],
  write: ({ ino, offset, data }) => [
    inode('ino', ino),
    whole('offset', offset),
    atMost('data', data.length, WRITE_BYTES_MAX, 'bytes'),
  ],
  allocate: ({ ino, offset, length, mode }) => [
    inode('ino', ino),
    whole('offset', offset),
    whole('length', length),
    mode.startsWith('reserve') ? null : atMost('range', length, CLEARED_BYTES_MAX, 'bytes'),
  ],
  'copy-range': ({ ino, offset, toIno, toOffset, length }) => [
    inode('ino', ino),
    whole('offset', offset),
    inode('toIno', toIno),
    whole('toOffset', toOffset),
    whole('length', length) ?? atMost('range', length, COPIED_BYTES_MAX, 'bytes'),
  ],
  'set-xattr': ({ ino, name, value }) => [
    inode('ino', ino),
    atMost('name', name.length, COMMAND_NAME_BYTES_MAX, 'bytes'),
    atMost('value', value.length, COMMAND_VALUE_BYTES_MAX, 'bytes'),
  ],
  'remove-xattr': ({ ino, name }) => [
    inode('ino', ino),
    atMost('name', name.length, COMMAND_NAME_BYTES_MAX, 'bytes'),
  ],
  lock: ({ ino, wait, ...one }) => [
    inode('ino', ino),
    ...lockProblems(one),
    wait === null ? null : whole('wait', wait),
  ],
  'set-quota': ({ bytes, inodes }) => [
    bytes === null ? null : whole('bytes', bytes),
    inodes === null ? null : whole('inodes', inodes),
  ],
  'cancel-lock': ({ ino, request }) => [inode('ino', ino), whole('request', request)],
  'recall-locks': ({ ino }) => [inode('ino', ino)],
  'return-locks': ({ ino, held }) => [
    inode('ino', ino),
    atMost('held', lockCount(held), DELEGATED_LOCKS_MAX, 'locks'),
    ...(held === null ? [] : [...held.posix, ...held.flock].flatMap(lockProblems)),
  ],
};

type OwnedRange = Pick<Lock, 'owner' | 'pid' | 'first' | 'last'>;

function lockProblems({ owner, pid, first, last }: OwnedRange): readonly (string | null)[] {
  return [
    atMost('owner', owner.length, LOCK_OWNER_CHARS_MAX, 'characters'),
    uint32('pid', pid),
    whole('first', first),
    whole('last', last),
    first <= last ? null : `the range ends at ${last}, before ${first}`,
  ];
}

function lockCount(held: ReturnedLocks | null): number {
  return held === null ? 0 : held.posix.length + held.flock.length;
}

function place(
  parentField: string,
  parent: number,
  nameField: string,
  name: Uint8Array,
): readonly (string | null)[] {
  return [
    inode(parentField, parent),
    atMost(nameField, name.length, COMMAND_NAME_BYTES_MAX, 'bytes'),
  ];
}

function whole(field: string, value: number): string | null {
  return Number.isSafeInteger(value) && value >= 0 ? null : `${field} ${value} is no whole number`;
}

function inode(field: string, value: number): string | null {
  return Number.isSafeInteger(value) && value > 0 ? null : `${field} ${value} is no inode number`;
}

function uint32(field: string, value: number): string | null {
  return Number.isInteger(value) && value >= 0 && value <= UINT32_MAX
    ? null
    : `${field} ${value} does not fit in 32 bits`;
}

function atMost(field: string, length: number, max: number, unit: string): string | null {
  return length <= max ? null : `${field} has ${length} ${unit}, above ${max}`;
}

function nodeType(mode: number): string | null {
  return NODE_TYPES.has(fileType(mode)) && mode <= 0o177777
    ? null
    : `mode 0${mode.toString(8)} is no file type that can be made`;
}

function moment(field: string, { sec, nsec }: Timespec): string | null {
  return Number.isSafeInteger(sec) && Number.isInteger(nsec) && nsec >= 0 && nsec < 1e9
    ? null
    : `${field} ${sec}.${nsec} is no moment`;
}
