import t from 'tap';
import { decodeLogCommand, encodeLogCommand } from '../../src/codec/commands.js';
import { ENTRY_BYTES_MAX } from '../../src/codec/limits.js';
import { checkCommand } from '../../src/filesystem/check.js';
import type { Command } from '../../src/filesystem/commands.js';
import {
  COMMAND_NAME_BYTES_MAX,
  COMMAND_VALUE_BYTES_MAX,
  SESSION_HOLDS_MAX,
  SESSION_NAME_CHARS_MAX,
  WRITE_BYTES_MAX,
} from '../../src/filesystem/records.js';
import { bytes, ROOT } from '../support/filesystem-world.js';

const NAME = bytes('f');
const NODE = { type: 'make-node', parent: ROOT, name: NAME, rdev: 0, uid: 0, gid: 0 } as const;
const MOMENT = { sec: 1, nsec: 2 };

t.test('what programs can cause passes, also when apply will refuse it', async (t) => {
  const fine: Command[] = [
    { type: 'open-session', name: 'mount /mnt', holdsOpen: true },
    { type: 'keep-alive', seenIndex: 0, holds: [1, 2] },
    { type: 'close-session' },
    { type: 'expire-session', session: 1, lastIndex: 5 },
    { type: 'nothing' },
    { ...NODE, mode: 0o100644 },
    { ...NODE, mode: 0o040755, name: bytes('n'.repeat(300)) },
    { ...NODE, mode: 0o100644, name: bytes('..') },
    { type: 'make-symlink', parent: 1, name: NAME, target: new Uint8Array(5000), uid: 0, gid: 0 },
    { type: 'link', ino: 5, parent: 1, name: NAME },
    { type: 'unlink', parent: 1, name: NAME },
    { type: 'remove-directory', parent: 1, name: NAME },
    { type: 'rename', parent: 1, name: NAME, newParent: 1, newName: NAME, mode: 'replace' },
    { type: 'set-attributes', ino: 1, mode: 0o7777, size: 2 ** 50, atime: 'now', mtime: MOMENT },
    { type: 'write', ino: 5, offset: 2 ** 50, data: new Uint8Array(WRITE_BYTES_MAX) },
    { type: 'set-xattr', ino: 5, name: NAME, value: new Uint8Array(70_000), mode: 'set' },
    { type: 'remove-xattr', ino: 5, name: new Uint8Array(0) },
  ];
  for (const command of fine) t.equal(checkCommand(command), null, command.type);
});

t.test('nonsense is named', async (t) => {
  const write = { type: 'write', ino: 5, offset: 0, data: NAME } as const;
  const set = { type: 'set-attributes', ino: 5 } as const;
  const nonsense: [Command, RegExp][] = [
    [{ ...NODE, mode: 0o644 }, /make-node: mode/],
    [{ ...NODE, mode: 0o120777 }, /mode/],
    [{ ...NODE, mode: -1 }, /mode/],
    [{ ...NODE, mode: 0o1100644 }, /mode/],
    [{ ...NODE, mode: 0o100644, uid: 2 ** 32 }, /uid/],
    [{ ...NODE, mode: 0o100644, parent: 0 }, /parent/],
    [{ ...NODE, mode: 0o100644, name: new Uint8Array(1e6) }, /name/],
    [{ ...write, offset: -1 }, /offset/],
    [{ ...write, offset: 0.5 }, /offset/],
    [{ ...write, offset: 2 ** 53 }, /offset/],
    [{ ...write, data: new Uint8Array(WRITE_BYTES_MAX + 1) }, /data/],
    [{ ...write, ino: Number.NaN }, /ino/],
    [{ ...set, size: -1 }, /size/],
    [{ ...set, atime: { sec: 0, nsec: 1e9 } }, /atime/],
    [{ ...set, mtime: { sec: 0.5, nsec: 0 } }, /mtime/],
    [{ ...set, ctime: { sec: 0, nsec: -1 } }, /ctime/],
    [{ type: 'keep-alive', seenIndex: -1, holds: [] }, /seenIndex/],
    [{ type: 'keep-alive', seenIndex: 1, holds: [0] }, /holds/],
    [{ type: 'keep-alive', seenIndex: 1, holds: Array(SESSION_HOLDS_MAX + 1).fill(5) }, /holds/],
    [{ type: 'open-session', name: 'n'.repeat(2000), holdsOpen: false }, /name/],
    [{ type: 'set-xattr', ino: 5, name: NAME, value: new Uint8Array(2e6), mode: 'set' }, /value/],
  ];
  for (const [command, problem] of nonsense) {
    t.match(checkCommand(command), problem, `${command.type}: ${problem}`);
  }
});

t.test('what passes enters the log, and everybody can read it there', async (t) => {
  const name = new Uint8Array(COMMAND_NAME_BYTES_MAX);
  const value = new Uint8Array(COMMAND_VALUE_BYTES_MAX);
  const data = new Uint8Array(WRITE_BYTES_MAX);
  const [ino, moment] = [Number.MAX_SAFE_INTEGER, { sec: -(2 ** 53) + 1, nsec: 999_999_999 }];
  const large: Command[] = [
    {
      type: 'open-session',
      name: '\u{10ffff}'.repeat(SESSION_NAME_CHARS_MAX / 2),
      holdsOpen: true,
    },
    { type: 'keep-alive', seenIndex: ino, holds: Array(SESSION_HOLDS_MAX).fill(ino) },
    { ...NODE, mode: 0o177777 & 0o140777, umask: 2 ** 32 - 1, name, uid: 2 ** 32 - 1 },
    { type: 'make-symlink', parent: ino, name, target: value, uid: 0, gid: 0 },
    { type: 'link', ino, parent: ino, name },
    { type: 'rename', parent: ino, name, newParent: ino, newName: name, mode: 'exchange' },
    { type: 'set-attributes', ino, size: ino, mode: 2 ** 32 - 1, atime: moment, ctime: moment },
    { type: 'write', ino, offset: ino, data, append: true, killPrivileges: true },
    { type: 'set-xattr', ino, name, value, mode: 'replace' },
    { type: 'remove-xattr', ino, name },
  ];
  for (const command of large) {
    t.equal(checkCommand(command), null, command.type);
    const stamped = { session: 1, sequence: 1, acknowledged: 0, time: MOMENT, command };
    const entry = encodeLogCommand(stamped);
    t.ok(entry.length <= ENTRY_BYTES_MAX, `${command.type}: ${entry.length} bytes`);
    t.same(decodeLogCommand(entry).command, command);
  }
  const longer: Command[] = [
    { type: 'link', ino, parent: ino, name: new Uint8Array(name.length + 1) },
    { type: 'remove-xattr', ino, name: new Uint8Array(name.length + 1) },
    { type: 'set-xattr', ino, name, value: new Uint8Array(value.length + 1), mode: 'set' },
    {
      type: 'make-symlink',
      parent: 1,
      name,
      target: new Uint8Array(value.length + 1),
      uid: 0,
      gid: 0,
    },
  ];
  for (const command of longer) t.not(checkCommand(command), null, command.type);
});
