import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { encodeLogCommand } from '../../src/codec/commands.js';
import type { Command } from '../../src/filesystem/commands.js';
import { chunkKey, inodeKey } from '../../src/filesystem/keys.js';
import type { Change } from '../../src/filesystem/view.js';
import { verifyStores } from '../../src/node/verify.js';
import { createRocksLogStore } from '../../src/storage/rocksdb-log.js';
import { createRocksStateStore } from '../../src/storage/rocksdb-state.js';
import { temporaryDirectory } from '../support/directories.js';
import { bytes, FilesystemWorld, ROOT } from '../support/filesystem-world.js';
import { makeSave, noise } from '../support/records.js';

/** Everything is one entry of the log; 3 MiB of content reach into a second group of chunks. */
const COMMANDS: readonly Command[] = [
  { type: 'open-session', name: 'test', holdsOpen: false },
  makeNode('a'),
  makeNode('b'),
  ...[0, 1, 2].map((i) => ({
    type: 'write' as const,
    ino: 2,
    offset: i * 1_048_576,
    append: false,
    killPrivileges: false,
    data: noise(i, 1_048_576),
  })),
  { type: 'unlink', parent: ROOT, name: bytes('b') },
  makeNode('c'),
];

function makeNode(name: string): Command {
  const mode = 0o100644;
  return { type: 'make-node', parent: ROOT, name: bytes(name), mode, rdev: 0, uid: 0, gid: 0 };
}

interface Damage {
  /** These entries' changes never reach the tree. */
  readonly lost?: (index: number) => boolean;
  /** What is done to the tree besides. */
  readonly changes?: readonly Change[];
  readonly markIndex?: number;
  /** The tree is that of a snapshot, for which the log was to be emptied. */
  readonly snapshotIndex?: number;
}

/** What a node has stored that ran the commands. */
async function makeData(t: Test, damage: Damage = {}) {
  const directory = temporaryDirectory(t);
  const stores = (readOnly: boolean) => {
    const options = { mustExist: readOnly, readOnly, onFailure: () => t.fail('no failure') };
    return {
      log: createRocksLogStore({ ...options, directory: join(directory, 'log') }),
      state: createRocksStateStore({ ...options, directory: join(directory, 'tree') }),
    };
  };
  const { log, state } = stores(false);
  await log.open();
  await state.open();
  const world = new FilesystemWorld();
  await state.write(world.filesystem.format(), { index: 0, term: 0 });
  const hardState = { term: 3, vote: null, recovering: false, incarnation: 0 };
  for (const [i, command] of COMMANDS.entries()) {
    const index = i + 1;
    const [session, sequence] = i === 0 ? [0, 0] : [1, i];
    const time = { sec: index, nsec: 0 };
    const data = encodeLogCommand({ session, sequence, acknowledged: 0, time, command });
    const entries = [{ index, term: 3, kind: 'command' as const, data }];
    await log.append([makeSave({ hardState, entries })]);
    const { changes } = world.apply(session, sequence, command);
    const lost = damage.lost?.(index) ?? false;
    await state.write(lost ? [] : changes, { index, term: 3 });
  }
  const index = damage.markIndex ?? COMMANDS.length;
  await state.write(damage.changes ?? [], { index, term: 3 });
  if (damage.snapshotIndex !== undefined) {
    const mark = { index: damage.snapshotIndex, term: 4 };
    await log.prepareReset(mark);
    await state.write([], mark);
  }
  await state.close();
  await log.close();
  const verify = () => {
    const { log, state } = stores(true);
    return verifyStores(log, state);
  };
  return { directory, verify };
}

/** Names, sizes and times of all files but RocksDB's own journal of messages. */
function look(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => !/\/LOG(\.old\.\d+)?$/.test(name))
    .map((name) => {
      const path = join(directory, name);
      const stat = statSync(path);
      return stat.isFile() ? `${name} ${stat.size} ${readFileSync(path).toString('hex')}` : name;
    })
    .sort();
}

t.test('what a node leaves behind is sound, and looking at it changes nothing', async (t) => {
  const { directory, verify } = await makeData(t);
  const before = look(directory);
  const { problems, log, tree } = await verify();
  t.strictSame(problems, []);
  t.match(log, { lastIndex: COMMANDS.length, hardState: { term: 3 } });
  t.match(tree, { mark: { index: COMMANDS.length }, inodes: 3, bytes: 3 * 1_048_576 });
  t.strictSame(look(directory), before);
});

t.test('a tree that lags behind the log is in order', async (t) => {
  const last = COMMANDS.length;
  const { verify } = await makeData(t, { lost: (index) => index === last, markIndex: last - 1 });
  t.strictSame((await verify()).problems, []);
});

t.test('a tree that says it has what it has not', async (t) => {
  const last = COMMANDS.length;
  const { verify } = await makeData(t, { lost: (index) => index >= last - 1 });
  t.match((await verify()).problems, [
    `log and tree: entry ${last - 1}, command ${last - 2} of session 1, is not in the tree`,
  ]);
});

t.test('a tree ahead of the log', async (t) => {
  const { verify } = await makeData(t, { markIndex: 99 });
  t.match((await verify()).problems, [/^log and tree: .* the log, which ends at index 8/]);
});

t.test('a log that is to go, since a snapshot has come, may tell of what never was', async (t) => {
  const last = COMMANDS.length;
  const { verify } = await makeData(t, { lost: (index) => index === last, snapshotIndex: 99 });
  t.strictSame((await verify()).problems, []);
});

t.test('broken invariants', async (t) => {
  const broken = await makeData(t, {
    changes: [
      { type: 'put', key: chunkKey(3, 70), value: noise(9, 100) },
      { type: 'put', key: chunkKey(77, 0), value: noise(9, 5) },
      { type: 'delete', key: inodeKey(6) },
    ],
  });
  const { problems } = await broken.verify();
  for (const expected of [
    /chunk 3:70 has 100 bytes, and 32768 in its map/,
    /content 77 belongs to nobody/,
    /names missing inode 6/,
  ]) {
    t.ok(
      problems.some((problem) => expected.test(problem)),
      String(expected),
    );
  }
});

t.test('content that was discarded and is not freed yet is nothing wrong', async (t) => {
  const { verify } = await makeData(t, {
    changes: [{ type: 'put', key: chunkKey(88, 0), value: noise(9, 5) }],
  });
  t.match((await verify()).problems, [/content 88 belongs to nobody/, /counters: \d+ bytes/]);
  const freed = await makeData(t, {
    changes: [
      { type: 'put', key: chunkKey(88, 0), value: noise(9, 5) },
      { type: 'discard', content: 88 },
    ],
  });
  t.strictSame((await freed.verify()).problems, []);
});
