import { crc32 } from 'node:zlib';
import t from 'tap';
import { MootError } from '../../src/base/errors.js';
import { type Random, randomBetween, seededRandom } from '../../src/base/random.js';
import { systemClock } from '../../src/base/system-clock.js';
import type { Command, LogCommand } from '../../src/filesystem/commands.js';
import { cookieKey, cookieRange, sessionKey } from '../../src/filesystem/keys.js';
import type { Query } from '../../src/filesystem/queries.js';
import { createFilesystem } from '../../src/filesystem/state-machine.js';
import { Tree, type TreeLimits } from '../../src/node/tree.js';
import { TreeView } from '../../src/node/tree-view.js';
import { createMemoryStateStore, MemoryDisk } from '../../src/storage/memory.js';
import type { StateStore } from '../../src/storage/state-store.js';
import { bytes } from '../support/cluster.js';
import { MemoryView } from '../support/memory-view.js';
import { until } from '../support/until.js';

const TINY: TreeLimits = { cacheBytesMax: 20_000, namesBytesMax: 1_000, unwrittenBytesMax: 60_000 };
const filesystem = createFilesystem(crc32);

/** Every call takes a random time before and after it does what it does. */
function slow(store: StateStore, random: Random): StateStore {
  const wait = async () => {
    for (let turns = randomBetween(random, 0, 6); turns > 0; turns--) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const later = async <T>(action: () => Promise<T>) => {
    await wait();
    const result = await action();
    await wait();
    return result;
  };
  return {
    open: () => store.open(),
    sync: () => store.sync(),
    exportSnapshot: () => store.exportSnapshot(),
    importSnapshot: (mark) => store.importSnapshot(mark),
    readAll: (visitor) => store.readAll(visitor),
    close: () => store.close(),
    get: (keys) => later(() => store.get(keys)),
    scan: (range, limit) => later(() => store.scan(range, limit)),
    write: (changes, mark) => later(() => store.write(changes, mark)),
  };
}

/** A store whose reads wait while `on`, and then are CLOSED. */
function closable() {
  const disk = new MemoryDisk();
  const inner = createMemoryStateStore(disk);
  const holds = { on: false, waiting: [] as (() => void)[] };
  const unlessHeld = async <T>(read: () => Promise<T>): Promise<T> => {
    if (!holds.on) return read();
    await new Promise<void>((resolve) => holds.waiting.push(resolve));
    throw new MootError('CLOSED', 'the database is closed');
  };
  const store: StateStore = {
    open: () => inner.open(),
    sync: () => inner.sync(),
    exportSnapshot: () => inner.exportSnapshot(),
    importSnapshot: (mark) => inner.importSnapshot(mark),
    readAll: (visitor) => inner.readAll(visitor),
    close: () => inner.close(),
    get: (keys) => unlessHeld(() => inner.get(keys)),
    scan: (range, limit) => unlessHeld(() => inner.scan(range, limit)),
    write: (changes, mark) => inner.write(changes, mark),
  };
  return { disk, store, holds };
}

/** A tree, and beside it the same tree simply held in memory. */
async function openTree(random: Random, limits: TreeLimits) {
  const disk = new MemoryDisk();
  const view = new MemoryView();
  view.take(filesystem.format());
  const commands = new Map<number, LogCommand>();
  const outcomes: [unknown, unknown][] = [];
  const errors: unknown[] = [];
  let replaced = 0;
  const tree: Tree = new Tree(
    slow(createMemoryStateStore(disk), random),
    filesystem,
    systemClock,
    {
      onApplied(mark, applied) {
        const command = commands.get(mark.index);
        if (command === undefined) return;
        const expected = filesystem.apply(view, mark.index, command);
        view.take(expected.changes);
        outcomes.push([applied?.outcome, expected.outcome]);
      },
      onProgress: () => {},
      onReplaced: () => replaced++,
      onFailed: (error) => errors.push(error),
    },
    limits,
  );
  await tree.open();
  let index = 0;
  const add = (session: number, sequence: number, command: Command) => {
    const time = { sec: index, nsec: 0 };
    const full = { session, sequence, acknowledged: sequence - 1, time, command };
    commands.set(++index, full);
    return { mark: { index, term: 1 }, command: full, members: null };
  };
  return {
    tree,
    view,
    disk,
    outcomes,
    errors,
    add,
    enqueued: () => index,
    replaced: () => replaced,
  };
}

function randomCommand(random: Random): Command {
  const name = () => bytes(`f${randomBetween(random, 0, 12)}`);
  const ino = randomBetween(random, 1, 40);
  const parent = randomParent(random);
  const offset = randomBetween(random, 0, 150_000);
  switch (randomBetween(random, 0, 9)) {
    case 0:
    case 1:
    case 2: {
      const mode = randomBetween(random, 0, 3) === 0 ? 0o40755 : 0o100644;
      return { type: 'make-node', parent, name: name(), mode, rdev: 0, uid: 0, gid: 0 };
    }
    case 3:
      return { type: 'unlink', parent, name: name() };
    case 4:
      return { type: 'remove-directory', parent, name: name() };
    case 5:
      return { type: 'set-attributes', ino, size: offset };
    case 6: {
      const newParent = randomParent(random);
      return { type: 'rename', parent, name: name(), newParent, newName: name(), mode: 'replace' };
    }
    default: {
      const data = new Uint8Array(randomBetween(random, 1, 40_000)).fill(
        randomBetween(random, 1, 256),
      );
      return { type: 'write', ino, offset, data };
    }
  }
}

/** Mostly the root; else what may be a directory. */
function randomParent(random: Random): number {
  return randomBetween(random, 0, 2) === 0 ? 1 : randomBetween(random, 2, 40);
}

function randomQuery(random: Random): Query {
  const ino = randomBetween(random, 1, 40);
  switch (randomBetween(random, 0, 4)) {
    case 0:
      return {
        type: 'lookup',
        parent: randomParent(random),
        name: bytes(`f${randomBetween(random, 0, 12)}`),
      };
    case 1:
      return { type: 'get-inode', ino };
    case 2: {
      const cookie = randomBetween(random, 0, 20);
      return {
        type: 'read-directory',
        ino: 1,
        cookie,
        limit: randomBetween(random, 1, 9),
        plus: true,
      };
    }
    default:
      return { type: 'read', ino, offset: randomBetween(random, 0, 150_000), size: 70_000 };
  }
}

for (const seed of [1, 2, 3, 4]) {
  t.test(
    `with a tiny cache and a slow store it is as if all were in memory (seed ${seed})`,
    async (t) => {
      const random = seededRandom(seed);
      const { tree, view, disk, outcomes, errors, add, enqueued } = await openTree(random, TINY);
      tree.enqueue([add(0, 0, { type: 'open-session', name: 'test', holdsOpen: false })]);
      await until('the session', () => tree.applied.index === 1);
      const [session = 0] = tree.sessions.keys();
      let asked = 0;
      let answered = 0;
      let wrong = 0;
      for (let sequence = 1; sequence <= 600; ) {
        const batch = Array.from({ length: randomBetween(random, 1, 8) }, () =>
          add(session, sequence++, randomCommand(random)),
        );
        tree.enqueue(batch);
        for (let n = randomBetween(random, 0, 6); n > 0; n--) {
          const query = randomQuery(random);
          asked++;
          tree.query(query, (result, index) => {
            answered++;
            const expected = filesystem.query(view, query);
            if (index !== tree.applied.index || !sameBytes(result, expected)) wrong++;
          });
        }
        await new Promise((resolve) => setImmediate(resolve));
      }
      await until('all is applied', () => outcomes.length === enqueued());
      await until('all is answered', () => answered === asked);
      t.equal(wrong, 0, `${asked} answers`);
      t.ok(outcomes.every(([actual, expected]) => sameBytes(actual, expected)));
      await tree.flush();
      t.strictSame(errors, []);
      t.equal(tree.written.index, tree.applied.index);
      // Chunks of discarded contents may linger in a store.
      const records = view.all();
      const stored = await createMemoryStateStore(disk).get(records.map(([key]) => key));
      for (const [i, [key, value]] of records.entries()) {
        if (!sameBytes(stored[i], value)) t.fail(`${Buffer.from(key, 'latin1').toString('hex')}`);
      }
      await tree.close();
    },
  );
}

function sameBytes(a: unknown, b: unknown): boolean {
  return Buffer.from(JSON.stringify(a, plain)).equals(Buffer.from(JSON.stringify(b, plain)));
}

function plain(_: string, value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (isBufferJson(value)) return Buffer.from(value.data).toString('base64');
  if (Array.isArray(value) || typeof value !== 'object' || value === null) return value;
  // The state machine has maps of its own.
  return 'entries' in value && typeof value.entries === 'function' ? [...value.entries()] : value;
}

/** A Buffer is bytes like any others, but has turned itself into this before the replacer sees it. */
function isBufferJson(value: unknown): value is { readonly data: readonly number[] } {
  return typeof value === 'object' && value !== null && 'type' in value && value.type === 'Buffer';
}

t.test(
  'new names of a directory that was seen empty are not looked for in the store',
  async (t) => {
    const { store, holds } = closable();
    const tree = new Tree(store, filesystem, systemClock, {
      onApplied: () => {},
      onProgress: () => {},
      onReplaced: () => {},
      onFailed: () => {},
    });
    await tree.open();
    let index = 0;
    const apply = (sequence: number, command: Command) => {
      const time = { sec: 1, nsec: 0 };
      const session = sequence === 0 ? 0 : 1;
      const full = { session, sequence, acknowledged: 0, time, command };
      tree.enqueue([{ mark: { index: ++index, term: 1 }, command: full, members: null }]);
    };
    const make = (sequence: number, parent: number, text: string, mode: number) => {
      const name = bytes(text);
      apply(sequence, { type: 'make-node', parent, name, mode, rdev: 0, uid: 0, gid: 0 });
    };
    apply(0, { type: 'open-session', name: 'test', holdsOpen: false });
    make(1, 1, 'directory', 0o40755);
    await until('there is a directory', () => tree.applied.index === 2);
    holds.on = true;
    make(2, 2, 'a', 0o100644);
    make(3, 2, 'b', 0o100644);
    make(4, 2, 'a', 0o100644);
    apply(5, { type: 'unlink', parent: 2, name: bytes('a') });
    make(6, 2, 'a', 0o100644);
    t.equal(tree.applied.index, 7, 'at once');
    t.strictSame(holds.waiting, []);
    make(7, 1, 'other', 0o100644);
    t.equal(tree.applied.index, 7, 'in a directory that was not');
    t.equal(holds.waiting.length, 1);
    holds.on = false;
    for (const go of holds.waiting.splice(0)) go();
  },
);

t.test('applying waits for a slow store, and goes on', async (t) => {
  const random = seededRandom(9);
  const { tree, add } = await openTree(random, { ...TINY, unwrittenBytesMax: 1 });
  const open = { type: 'open-session', name: 'test', holdsOpen: false } as const;
  tree.enqueue(Array.from({ length: 50 }, () => add(0, 0, open)));
  t.ok(tree.applied.index < 50);
  await until('all is applied', () => tree.applied.index === 50);
  await tree.close();
  t.equal(tree.written.index, 50);
});

t.test('many queries for one record that is not in memory are all answered', async () => {
  const { tree } = await openTree(seededRandom(3), TINY);
  let answers = 0;
  for (let n = 0; n < 100; n++) tree.query({ type: 'get-inode', ino: 1 }, () => answers++);
  await until('all are', () => answers === 100);
  await tree.close();
});

t.test('a range that is overtaken by changes is read with more and more to spare', async (t) => {
  const range = cookieRange(1, 0);
  const view = new TreeView(() => undefined);
  t.equal(view.expect(range).surplus, 0);
  const second = view.expect(range);
  t.ok(second.surplus > 0);
  for (let n = 0; n < 1_000; n++) view.changed(cookieKey(1, n), null);
  t.ok(view.expect(range).surplus >= 1_000);
  t.ok(view.expect(range).surplus >= 2_000);
  for (let n = 0; n < 10; n++) view.expect(range);
  t.ok(view.expect(range).surplus < 10_000, 'within bounds');
  t.equal(view.expect(cookieRange(2, 0)).surplus, 0, 'of its own');
});

t.test('another tree takes the place of this one', async (t) => {
  const random = seededRandom(5);
  const { tree, add, replaced, disk } = await openTree(random, TINY);
  tree.enqueue([add(0, 0, { type: 'open-session', name: 'old', holdsOpen: false })]);
  await until('the session', () => tree.sessions.size === 1);
  const fresh = new MemoryView();
  fresh.take(filesystem.format());
  let answer = -1;
  const replacing = tree.replace({ index: 900, term: 7 }, async () => {
    tree.query({ type: 'get-inode', ino: 1 }, (_, index) => {
      answer = index;
    });
    const changes = fresh.all().map(([key, value]) => ({ type: 'put', key, value }) as const);
    await createMemoryStateStore(disk).write([{ type: 'delete', key: sessionKey(1) }, ...changes], {
      index: 900,
      term: 7,
    });
  });
  t.equal(answer, -1, 'nobody reads while it is replaced');
  await replacing;
  t.equal(replaced(), 1);
  t.strictSame(tree.applied, { index: 900, term: 7 });
  t.equal(tree.sessions.size, 0);
  await until('the answer', () => answer === 900);
  await tree.close();
});

for (const what of ['replaced', 'closed'] as const) {
  t.test(`a load that its store does not finish because the tree is ${what}`, async (t) => {
    const { disk, store, holds } = closable();
    const errors: unknown[] = [];
    let progress = 0;
    const tree = new Tree(store, filesystem, systemClock, {
      onApplied: () => {},
      onProgress: () => void progress++,
      onReplaced: () => {},
      onFailed: (error) => errors.push(error),
    });
    await tree.open();
    holds.on = true;
    const answers: number[] = [];
    const ask = (query: Query) => tree.query(query, (_, index) => answers.push(index));
    ask({ type: 'get-inode', ino: 1 });
    ask({ type: 'read-directory', ino: 1, cookie: 0, limit: 10, plus: false });
    const time = { sec: 1, nsec: 0 };
    const unlink = { type: 'unlink', parent: 1, name: bytes('x') } as const;
    const command = { session: 1, sequence: 1, acknowledged: 0, time, command: unlink };
    tree.enqueue([{ mark: { index: 1, term: 1 }, command, members: null }]);
    t.ok(holds.waiting.length > 0);
    const endLoads = () => {
      holds.on = false;
      for (const end of holds.waiting.splice(0)) end();
    };
    if (what === 'replaced') {
      await tree.replace({ index: 900, term: 7 }, async () => {
        endLoads();
        await createMemoryStateStore(disk).write([], { index: 900, term: 7 });
      });
      await until('the answers', () => answers.length === 2);
      t.strictSame(answers, [900, 900]);
      tree.enqueue([{ mark: { index: 901, term: 7 }, command: null, members: null }]);
      await until('it goes on', () => progress === 1);
    }
    await tree.close();
    endLoads();
    await new Promise((resolve) => setTimeout(resolve, 20));
    t.strictSame(errors, []);
  });
}

t.test('a store that fails is told of once, and nobody waits for it', async (t) => {
  const errors: unknown[] = [];
  let fails = false;
  const disk = new MemoryDisk({
    beforeWrite() {
      if (fails) throw new Error('no space');
    },
  });
  const tree = new Tree(createMemoryStateStore(disk), filesystem, systemClock, {
    onApplied: () => {},
    onProgress: () => {},
    onReplaced: () => {},
    onFailed: (error) => errors.push(error),
  });
  await tree.open();
  fails = true;
  const time = { sec: 1, nsec: 0 };
  const command = { type: 'open-session', name: '', holdsOpen: false } as const;
  tree.enqueue([
    {
      mark: { index: 1, term: 1 },
      command: { session: 0, sequence: 0, acknowledged: 0, time, command },
      members: null,
    },
  ]);
  await until('it is applied', () => tree.applied.index === 1);
  await t.rejects(tree.flush(), { message: 'no space' });
  t.equal(errors.length, 1);
  await tree.close();
});
