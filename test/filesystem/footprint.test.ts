import t from 'tap';
import { seededRandom } from '../../src/base/random.js';
import type { Command } from '../../src/filesystem/commands.js';
import { COUNTERS, sessionKey, tableOf } from '../../src/filesystem/keys.js';
import { S_IFREG } from '../../src/filesystem/mode.js';
import { bytes, FilesystemWorld, ROOT } from '../support/filesystem-world.js';
import { FlakyView } from '../support/flaky-view.js';

const MAKE = {
  type: 'make-node',
  parent: ROOT,
  mode: S_IFREG | 0o644,
  rdev: 0,
  uid: 0,
  gid: 0,
} as const;

/** How often apply runs when only the footprint is in memory at first. */
function rounds(world: FilesystemWorld, session: number, command: Command): number {
  const entry = { session, sequence: 3, acknowledged: 0, time: { sec: 9, nsec: 0 }, command };
  const view = new FlakyView(world.view, seededRandom(1));
  view.load(world.filesystem.footprint(entry));
  return view.run((flaky) => world.filesystem.apply(flaky, 9, entry)).rounds;
}

t.test('with the footprint in memory apply lacks little or nothing', async (t) => {
  const world = new FilesystemWorld();
  const session = world.open();
  const { ino } = world.do(session, { ...MAKE, name: bytes('f') }).inode;
  world.do(session, { type: 'write', ino, offset: 0, data: bytes('hello') });
  const name = bytes('g');
  const target = bytes('f');
  const commands: [Command, number][] = [
    [{ ...MAKE, name }, 1],
    [{ type: 'make-symlink', parent: ROOT, name, target, uid: 0, gid: 0 }, 1],
    [{ type: 'link', ino, parent: ROOT, name }, 1],
    [{ type: 'set-attributes', ino, mode: 0o600, mtime: 'now' }, 1],
    [{ type: 'set-attributes', ino, size: 0 }, 1],
    [{ type: 'set-xattr', ino, name, value: target, mode: 'set' }, 1],
    [{ type: 'keep-alive', seenIndex: 4, holds: [ino] }, 1],
    [{ type: 'nothing' }, 1],
    [{ type: 'write', ino, offset: 0, data: bytes('x') }, 2],
    [{ type: 'unlink', parent: ROOT, name: bytes('f') }, 2],
    [
      {
        type: 'rename',
        parent: ROOT,
        name: bytes('f'),
        newParent: ROOT,
        newName: name,
        mode: 'replace',
      },
      2,
    ],
  ];
  for (const [command, expected] of commands) {
    t.equal(rounds(world, session, command), expected, command.type);
  }
});

t.test('the footprint names the session, the directories and the names', async (t) => {
  const { filesystem } = new FilesystemWorld();
  const entry = { session: 5, sequence: 1, acknowledged: 0, time: { sec: 0, nsec: 0 } };
  const name = bytes('n'.repeat(1e5));
  const keys = filesystem.footprint({ ...entry, command: { ...MAKE, name } });
  t.same(keys.slice(0, 2), [COUNTERS, sessionKey(5)]);
  t.same(keys.map(tableOf), ['counters', 'session', 'inode'], 'a name that cannot be has no entry');
});
