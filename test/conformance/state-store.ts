import { isDeepStrictEqual } from 'node:util';
import t, { type Test } from 'tap';
import { isMootError } from '../../src/base/errors.js';
import {
  COUNTERS,
  chunkKey,
  chunkRange,
  cookieKey,
  cookieRange,
  entryKey,
  inodeKey,
  type Key,
  locksKey,
  orphanKey,
  sessionKey,
  WAITING,
  xattrsKey,
} from '../../src/filesystem/keys.js';
import { LOCK_LAST_MAX } from '../../src/filesystem/lock-table.js';
import type { Counters, HeldLock, Session, Table, Tables } from '../../src/filesystem/records.js';
import type { Change } from '../../src/filesystem/view.js';
import {
  SNAPSHOT_CHUNK_BYTES,
  type SnapshotExport,
  type StateStore,
} from '../../src/storage/state-store.js';
import { makeInode, noise } from '../support/records.js';

export interface StateWorld {
  /** A store over what the last one left. */
  make(): StateStore;
}

const COUNTERS_VALUE: Counters = {
  nextIno: 2 ** 52,
  nextSession: 4,
  sessions: [1, 3],
  time: { sec: 1_700_000_000, nsec: 5 },
  inodes: 2,
  bytes: 2 ** 40,
  orphanHead: 1,
  orphanTail: 2,
  holdersSeenIndex: 0,
  bytesMax: 2 ** 41,
  inodesMax: null,
  hash: 0xffffffff,
};

const SESSION: Session = {
  id: 3,
  name: 'a mount, ä',
  lastSequence: 9,
  replies: new Map([
    [7, { ok: true, value: null }],
    [8, { ok: false, code: 'ENOENT' }],
    [9, { ok: true, value: { inode: makeInode(5) } }],
    [10, { ok: true, value: { removed: null } }],
  ]),
  seenIndex: null,
  lastIndex: 12,
  holds: [5, 6],
  locks: [5],
};

const LOCK: HeldLock = {
  session: 3,
  owner: 'ä1',
  pid: 77,
  exclusive: true,
  first: 0,
  last: LOCK_LAST_MAX,
};

function put<T extends Table>(key: Key<T>, value: Tables[T]): Change {
  return { type: 'put', key: key as Key, value };
}

const RECORDS: readonly (readonly [Key, Tables[Table]])[] = [
  [COUNTERS, COUNTERS_VALUE],
  [inodeKey(1), makeInode(1, { mode: 0o040755, parent: 1, entries: 2 })],
  [inodeKey(2 ** 53 - 1), makeInode(2 ** 53 - 1, { target: Uint8Array.of(0, 255, 47) })],
  [entryKey(1, 'name'), { ino: 5, type: 0o100000, cookie: 1 }],
  [entryKey(1, '\u00ff\u0080'), { ino: 6, type: 0o040000, cookie: 2 ** 50 }],
  [cookieKey(1, 1), { ino: 5, type: 0o100000, name: Buffer.from('name') }],
  [
    xattrsKey(5),
    new Map([
      ['user.a', noise(1, 100)],
      ['user.\u00ff', new Uint8Array(0)],
    ]),
  ],
  [sessionKey(3), SESSION],
  [sessionKey(4), { ...SESSION, id: 4, seenIndex: 11 }],
  [orphanKey(1), { ino: 9, index: 3 }],
  [
    locksKey(5),
    { posix: [LOCK, { ...LOCK, first: 9, exclusive: false }], flock: [LOCK], delegate: null },
  ],
  [locksKey(6), { posix: [], flock: [], delegate: 3 }],
  [WAITING, [{ ...LOCK, ino: 5, kind: 'flock', request: 7 }]],
  [chunkKey(7, 0), noise(3, 32_768)],
  [chunkKey(7, 2 ** 32 - 1), new Uint8Array(0)],
];

/** Byte strings as plain Uint8Arrays, so that only their bytes are compared. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Uint8Array.from(value);
  if (value instanceof Map) return new Map([...value].map(([k, v]) => [k, plain(v)]));
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)]));
}

function equal(t: Test, found: unknown, wanted: unknown, message: string): void {
  t.ok(isDeepStrictEqual(plain(found), plain(wanted)), message);
}

async function drain(exported: SnapshotExport): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  for (;;) {
    const chunk = await exported.next();
    if (chunk === null) return chunks;
    chunks.push(chunk);
  }
}

async function isRefused(action: Promise<unknown>): Promise<boolean> {
  return action.then(
    () => false,
    (error: unknown) => isMootError(error, 'BAD_MESSAGE'),
  );
}

export function testStateStore(name: string, makeWorld: (t: Test) => Promise<StateWorld>): void {
  t.test(`${name}: all records can be read, without what was discarded`, async (t) => {
    const world = await makeWorld(t);
    const store = world.make();
    await store.open();
    await store.write(
      [
        ...RECORDS.map(([key, value]) => put(key, value)),
        put(chunkKey(8, 0), noise(4, 100)),
        put(chunkKey(9, 0), noise(5, 100)),
      ],
      { index: 5, term: 2 },
    );
    await store.write([{ type: 'discard', content: 8 }], { index: 6, term: 2 });
    const found = new Map<Key, Tables[Table]>();
    await store.readAll({
      onRecord: (key, value) => found.set(key, value),
      onDamaged: (error) => t.fail(error.message),
    });
    const wanted = new Map([...RECORDS, [chunkKey(9, 0), noise(5, 100)] as const]);
    t.strictSame([...found.keys()], [...wanted.keys()].sort());
    for (const [key, value] of wanted) equal(t, found.get(key), value, JSON.stringify(key));
    await store.close();
  });

  t.test(`${name}: records of every table survive a restart`, async (t) => {
    const world = await makeWorld(t);
    const store = world.make();
    t.same(await store.open(), { index: 0, term: 0 });
    await store.write(
      RECORDS.map(([key, value]) => put(key, value)),
      { index: 5, term: 2 },
    );
    await store.sync();
    await store.close();
    const again = world.make();
    t.same(await again.open(), { index: 5, term: 2 });
    const found = await again.get([inodeKey(77), ...RECORDS.map(([key]) => key)]);
    t.equal(found[0], undefined);
    for (const [i, [key, value]] of RECORDS.entries()) {
      equal(t, found[i + 1], value, Buffer.from(key, 'latin1').toString('hex'));
    }
    t.same(await again.get([]), []);
    await again.close();
  });

  t.test(`${name}: changes take effect in order`, async (t) => {
    const store = (await makeWorld(t)).make();
    await store.open();
    const [a, b] = [orphanKey(1), orphanKey(2)];
    await store.write(
      [
        put(a, { ino: 1, index: 1 }),
        put(b, { ino: 2, index: 1 }),
        put(a, { ino: 3, index: 2 }),
        { type: 'delete', key: b },
        { type: 'delete', key: orphanKey(9) },
      ],
      { index: 1, term: 1 },
    );
    t.same(await store.get([a, b]), [{ ino: 3, index: 2 }, undefined]);
    const many = numbersTo(20).map((i) => put(chunkKey(1, i), noise(i, 32_768)));
    await store.write(
      [...many, { type: 'delete', key: chunkKey(1, 3) }, put(chunkKey(1, 4), noise(0, 20_000))],
      { index: 2, term: 1 },
    );
    const chunks = await store.get([2, 3, 4, 5].map((i) => chunkKey(1, i)));
    const wanted = [noise(2, 32_768), undefined, noise(0, 20_000), noise(5, 32_768)];
    equal(t, chunks, wanted, 'large chunks, too');
    await store.close();
  });

  t.test(`${name}: scan`, async (t) => {
    const store = (await makeWorld(t)).make();
    await store.open();
    const changes: Change[] = [];
    for (const parent of [1, 2, 255, 256]) {
      for (let cookie = 1; cookie <= 300; cookie++) {
        const name = Buffer.from(`file ${cookie}`);
        changes.push(put(cookieKey(parent, cookie), { ino: cookie, type: 0, name }));
      }
    }
    await store.write(changes, { index: 1, term: 1 });
    const cookies = async (parent: number, after: number, limit: number) =>
      (await store.scan(cookieRange(parent, after), limit)).map(([, entry]) => entry.ino);
    const numbers = (from: number, to: number) =>
      Array.from({ length: to - from + 1 }, (_, i) => from + i);
    t.same(await cookies(1, 0, 1000), numbers(1, 300));
    t.same(await cookies(255, 250, 10), numbers(251, 260));
    t.same(await cookies(256, 298, 10), [299, 300]);
    t.same(await cookies(2, 300, 10), []);
    t.same(await cookies(3, 0, 10), []);
    t.same(await cookies(1, 0, 0), []);
    await store.close();
  });

  t.test(`${name}: a snapshot is the tree at its moment, in another store`, async (t) => {
    const source = (await makeWorld(t)).make();
    await source.open();
    const count = 200;
    const changes: Change[] = RECORDS.map(([key, value]) => put(key, value));
    for (let chunk = 0; chunk < count; chunk++) {
      changes.push(put(chunkKey(100, chunk), noise(chunk, 32_768)));
      changes.push(put(chunkKey(101, chunk), noise(chunk, 100)));
    }
    await source.write(changes, { index: 8, term: 3 });
    await source.write([{ type: 'discard', content: 101 }], { index: 9, term: 3 });
    const exported = await source.exportSnapshot();
    t.same(exported.mark, { index: 9, term: 3 });
    await source.write(
      [
        put(chunkKey(100, 0), Uint8Array.of(1)),
        put(chunkKey(102, 0), Uint8Array.of(1)),
        { type: 'delete', key: inodeKey(1) },
        { type: 'discard', content: 100 },
      ],
      { index: 10, term: 3 },
    );
    const chunks = await drain(exported);
    await exported.close();
    t.ok(chunks.length >= 8);
    t.ok(chunks.every((chunk) => chunk.length <= SNAPSHOT_CHUNK_BYTES));

    const world = await makeWorld(t);
    const target = world.make();
    await target.open();
    await target.write([put(orphanKey(55), { ino: 1, index: 1 })], { index: 2, term: 1 });
    const taken = await target.importSnapshot(exported.mark);
    for (const chunk of chunks) await taken.write(chunk);
    t.not((await target.get([orphanKey(55)]))[0], undefined, 'the old tree until finish');
    // Reads that go on while the tree is replaced are of the old one or of the new.
    const reads = RECORDS.map(([key]) => target.get([key]));
    const scans = numbersTo(20).map((i) => target.scan(chunkRange(100, i), 50));
    await taken.finish();
    await Promise.all([...reads, ...scans]);
    for (const store of [target, null]) {
      const present = store ?? world.make();
      if (store === null) {
        await target.close();
        t.same(await present.open(), { index: 9, term: 3 });
      }
      t.same(await present.get([orphanKey(55), chunkKey(102, 0)]), [undefined, undefined]);
      const found = await present.get(RECORDS.map(([key]) => key));
      equal(
        t,
        found,
        RECORDS.map(([, value]) => value),
        'the records',
      );
      const data = await present.scan(chunkRange(100), 1000);
      equal(
        t,
        data.map(([, bytes]) => bytes),
        numbersTo(count).map((i) => noise(i, 32_768)),
        'the chunks',
      );
      t.same(await present.scan(chunkRange(101), 10), [], 'nothing that was discarded');
      if (store !== null) continue;
      await present.write([put(orphanKey(56), { ino: 1, index: 1 })], { index: 11, term: 3 });
      const last = numbersTo(20).map((i) => present.scan(chunkRange(100, i), 50));
      await Promise.all([present.close(), ...last]);
    }
    await source.close();
  });

  t.test(`${name}: an incomplete or damaged snapshot is not taken`, async (t) => {
    const source = (await makeWorld(t)).make();
    await source.open();
    await source.write(
      numbersTo(100).map((i) => put(chunkKey(1, i), noise(i, 32_768))),
      { index: 4, term: 1 },
    );
    const chunks = await drain(await source.exportSnapshot());
    await source.close();
    t.ok(chunks.length >= 4);
    const [first, second] = chunks as [Uint8Array, Uint8Array];
    const damaged = Uint8Array.from(first);
    damaged[5000] = (damaged[5000] ?? 0) ^ 1;

    const world = await makeWorld(t);
    const target = world.make();
    await target.open();
    await target.write([put(orphanKey(55), { ino: 1, index: 1 })], { index: 2, term: 1 });
    const mark = { index: 4, term: 1 };
    const attempt = () => target.importSnapshot(mark);
    t.ok(await isRefused((await attempt()).write(damaged)), 'a flipped bit');
    t.ok(await isRefused((await attempt()).write(second)), 'a missing chunk');
    t.ok(await isRefused((await attempt()).write(new Uint8Array(3))), 'nonsense');
    const twice = await attempt();
    await twice.write(first);
    t.ok(await isRefused(twice.write(first)), 'a chunk twice');
    const short = await attempt();
    for (const chunk of chunks.slice(0, -1)) await short.write(chunk);
    t.notOk(short.isComplete);
    t.ok(await isRefused(short.finish()), 'without its end');
    await short.abort();
    t.same(await target.get([chunkKey(1, 0), orphanKey(55)]), [undefined, { ino: 1, index: 1 }]);
    const whole = await attempt();
    for (const chunk of chunks) await whole.write(chunk);
    t.ok(whole.isComplete);
    await whole.finish();
    t.same(await target.get([orphanKey(55)]), [undefined]);
    await target.close();
  });

  t.test(`${name}: an export that is closed early`, async (t) => {
    const store = (await makeWorld(t)).make();
    await store.open();
    await store.write([put(orphanKey(1), { ino: 1, index: 1 })], { index: 1, term: 1 });
    await (await store.exportSnapshot()).close();
    const exported = await store.exportSnapshot();
    await exported.next();
    await exported.close();
    await store.close();
  });
}

function numbersTo(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}
