import {
  cpSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { number56 } from '../../src/base/binary-key.js';
import { isMootError } from '../../src/base/errors.js';
import { chunkKey, chunkRange } from '../../src/filesystem/keys.js';
import { type KeyValue, RocksDatabase } from '../../src/storage/rocksdb.js';
import { createRocksLogStore } from '../../src/storage/rocksdb-log.js';
import { createRocksStateStore } from '../../src/storage/rocksdb-state.js';
import { temporaryDirectory } from '../support/directories.js';
import { makeEntries, makeSave, noise } from '../support/records.js';
import { until } from '../support/until.js';

const ENTRIES = 60;
const ENTRY_BYTES = 3_000;

/** A log of ENTRIES entries, each appended by itself; all of it is in the write-ahead log. */
async function makeLog(t: Test): Promise<string> {
  const directory = temporaryDirectory(t);
  const log = createRocksLogStore({ directory, mustExist: false });
  await log.open();
  for (const entry of makeEntries(1, ENTRIES, 1, ENTRY_BYTES)) {
    await log.append([makeSave({ entries: [entry] })]);
  }
  await log.close();
  return directory;
}

function openLog(directory: string): Promise<number> {
  const log = createRocksLogStore({ directory, mustExist: true });
  return log.open().then(
    async ({ lastIndex }) => {
      await log.close();
      return lastIndex;
    },
    (error: unknown) => {
      if (isMootError(error, 'DATA_CORRUPT')) return -1;
      throw error;
    },
  );
}

function onlyFile(directory: string, ending: string): string {
  const names = readdirSync(directory).filter((name) => name.endsWith(ending));
  const sizes = names.map(
    (name) => [join(directory, name), statSync(join(directory, name)).size] as const,
  );
  return sizes.reduce((a, b) => (b[1] > a[1] ? b : a))[0];
}

function flip(path: string, at: number, bit = 0x10): void {
  const bytes = readFileSync(path);
  bytes[at] = (bytes[at] ?? 0) ^ bit;
  writeFileSync(path, bytes);
}

t.test('a flipped byte in the write-ahead log is found, wherever it is', async (t) => {
  const directory = await makeLog(t);
  const path = onlyFile(directory, '.log');
  const whole = readFileSync(path);
  const around = ENTRIES * ENTRY_BYTES;
  let found = 0;
  const places = [
    0,
    4,
    6,
    7,
    20,
    50,
    1_000,
    32_766,
    32_768,
    32_775,
    around / 2,
    around,
    whole.length - 2_000,
    whole.length - 1,
  ];
  for (const at of places) {
    flip(path, at);
    const lastIndex = await openLog(directory);
    t.equal(lastIndex, -1, `byte ${at} of ${whole.length}`);
    found++;
    writeFileSync(path, whole);
  }
  t.equal(found, places.length);
  t.equal(await openLog(directory), ENTRIES, 'and whole it is in order');
});

t.test('a flipped length is not the end of the log, though the file ends behind it', async (t) => {
  const directory = temporaryDirectory(t);
  const log = createRocksLogStore({ directory, mustExist: false });
  await log.open();
  for (const entry of makeEntries(1, 6, 1, 200)) await log.append([makeSave({ entries: [entry] })]);
  await log.close();
  const path = onlyFile(directory, '.log');
  const whole = readFileSync(path);
  const records: number[] = [];
  for (let at = 0; at < whole.length; at += 7 + whole.readUInt16LE(at + 4)) records.push(at);
  t.ok(records.length >= 6);
  for (const [i, at] of records.entries()) {
    const copy = temporaryDirectory(t);
    cpSync(directory, copy, { recursive: true });
    flip(onlyFile(copy, '.log'), at + 5);
    // The last one may be torn.
    const expected = i === records.length - 1 ? 5 : -1;
    t.equal(await openLog(copy), expected, `the record at ${at} of ${whole.length}`);
  }
});

t.test('a tail that is cut off is a torn write', async (t) => {
  for (const missing of [1, 100, ENTRY_BYTES - 10, ENTRY_BYTES + 500]) {
    const directory = await makeLog(t);
    const path = onlyFile(directory, '.log');
    truncateSync(path, statSync(path).size - missing);
    const lastIndex = await openLog(directory);
    t.ok(lastIndex >= ENTRIES - 2 && lastIndex < ENTRIES, `${missing} bytes: ${lastIndex}`);
    t.equal(await openLog(directory), lastIndex, 'and it stays so');
  }
});

t.test('a tail of zeros is a torn write', async (t) => {
  const directory = await makeLog(t);
  const path = onlyFile(directory, '.log');
  const bytes = readFileSync(path);
  bytes.fill(0, bytes.length - 1_500);
  writeFileSync(path, bytes);
  t.equal(await openLog(directory), ENTRIES - 1);
});

t.test('zeros in the middle of a synced log are corruption', async (t) => {
  const directory = await makeLog(t);
  const path = onlyFile(directory, '.log');
  const bytes = readFileSync(path);
  bytes.fill(0, 40_960, 45_056);
  writeFileSync(path, bytes);
  t.equal(await openLog(directory), -1);
});

t.test('a missing file is found', async (t) => {
  for (const name of ['CURRENT', 'MANIFEST', '.log']) {
    const directory = await makeLog(t);
    const path = readdirSync(directory).filter((file) => file.includes(name));
    for (const file of path) rmSync(join(directory, file));
    t.equal(await openLog(directory), -1, name);
  }
  const directory = await makeLog(t);
  rmSync(directory, { recursive: true });
  t.equal(await openLog(directory), -1, 'all of it');
});

t.test('a missing or damaged table file is found', async (t) => {
  const directory = await makeLog(t);
  // Recovery writes what it found in the write-ahead log into a table file.
  t.equal(await openLog(directory), ENTRIES);
  const path = onlyFile(directory, '.sst');
  const whole = readFileSync(path);
  for (const at of [100, 20_000, whole.length / 2]) {
    flip(path, Math.floor(at));
    t.equal(await openLog(directory), -1, `byte ${at} of ${whole.length}`);
    writeFileSync(path, whole);
  }
  rmSync(path);
  t.equal(await openLog(directory), -1, 'missing');
});

const CHUNKS = 40;

async function makeTree(t: Test): Promise<string> {
  const directory = temporaryDirectory(t);
  const tree = openTree(directory, false);
  await tree.open();
  for (let i = 0; i < CHUNKS; i++) {
    await tree.write([{ type: 'put', key: chunkKey(1, i), value: noise(i, 10_000) }], {
      index: i + 1,
      term: 1,
    });
  }
  await tree.close();
  return directory;
}

function openTree(directory: string, mustExist = true) {
  return createRocksStateStore({
    directory,
    mustExist,
    onFailure: (error) => t.fail(String(error)),
  });
}

t.test('a record that one bit hides from iterators is missed', async (t) => {
  const directory = temporaryDirectory(t);
  const contentOf = (i: number) => noise(i, 1_000);
  const tree = openTree(directory, false);
  await tree.open();
  const changes = Array.from({ length: 100 }, (_, i) => {
    return { type: 'put', key: chunkKey(1, i), value: contentOf(i) } as const;
  });
  await tree.write(changes, { index: 1, term: 1 });
  await tree.close();
  // Recovery makes a table of what is in the write-ahead log.
  const again = openTree(directory);
  await again.open();
  await again.close();
  const path = onlyFile(join(directory, '1'), '.sst');
  const file = readFileSync(path);
  // In front of a stored value: 8 bytes, little-endian, of which the lowest is the type (db/dbformat.h).
  const sealedAt = file.indexOf(contentOf(50)) - 4;
  const typeAt = [...Array(16).keys()].map((i) => sealedAt - 8 - i).find((at) => file[at] === 1);
  t.type(typeAt, 'number');
  flip(path, typeAt ?? 0, 1);
  const damaged = openTree(directory);
  await damaged.open();
  await t.rejects(damaged.scan(chunkRange(1), 1_000), { code: 'DATA_CORRUPT' }, 'scan');
  const exported = await damaged.exportSnapshot();
  await t.rejects(drain(exported), { code: 'DATA_CORRUPT' }, 'export');
  await exported.close();
  await damaged.close();
});

t.test('a damaged table file of the tree is found at read', async (t) => {
  const directory = await makeTree(t);
  const tree = openTree(directory);
  await tree.open();
  await tree.close();
  const path = onlyFile(join(directory, '1'), '.sst');
  const whole = readFileSync(path);
  flip(path, 50);
  await t.rejects(openTree(directory).open(), { code: 'DATA_CORRUPT' }, 'the mark itself');
  writeFileSync(path, whole);
  for (const at of [50_000, 200_000]) {
    flip(path, at);
    const damaged = openTree(directory);
    await damaged.open();
    const keys = Array.from({ length: CHUNKS }, (_, i) => chunkKey(1, i));
    await t.rejects(
      damaged.get(keys),
      { code: 'DATA_CORRUPT', message: /^chunk record 63/ },
      `get, byte ${at}`,
    );
    await t.rejects(damaged.scan(chunkRange(1), CHUNKS), { code: 'DATA_CORRUPT' }, 'scan');
    const exported = await damaged.exportSnapshot();
    await t.rejects(drain(exported), { code: 'DATA_CORRUPT' }, 'export');
    await exported.close();
    await damaged.close();
    writeFileSync(path, whole);
  }
  rmSync(path);
  await t.rejects(openTree(directory).open(), { code: 'DATA_CORRUPT' }, 'missing');
});

async function drain(exported: { next(): Promise<Uint8Array | null> }): Promise<void> {
  while ((await exported.next()) !== null);
}

t.test('a hole that a crash left in the unsynced tree: it goes back to before', async (t) => {
  const directory = await makeTree(t);
  const path = onlyFile(join(directory, '1'), '.log');
  const bytes = readFileSync(path);
  bytes.fill(0, 204_800, 208_896);
  writeFileSync(path, bytes);
  const tree = openTree(directory);
  const { index } = await tree.open();
  t.ok(index > 10 && index < CHUNKS, `mark ${index}`);
  t.equal((await tree.scan(chunkRange(1), CHUNKS)).length, index, 'a state that once was');
  await tree.close();
});

t.test('the file that names the present tree', async (t) => {
  const directory = await makeTree(t);
  writeFileSync(join(directory, 'present'), 'nonsense');
  await t.rejects(openTree(directory).open(), { code: 'DATA_CORRUPT' });
  rmSync(join(directory, 'present'));
  await t.rejects(openTree(directory).open(), { code: 'DATA_CORRUPT' });
});

const DATABASE = {
  mustExist: true,
  synced: false,
  writeBufferBytes: 1_048_576,
  blockCacheBytes: 1_048_576,
  compression: true,
};

/** Changes one record of a database that nobody has open; `after` null: it is gone. */
async function tamper(
  directory: string,
  key: string,
  after: (value: Buffer) => KeyValue | null,
): Promise<void> {
  const database = await RocksDatabase.open(directory, DATABASE);
  const value = (await database.get(key)) ?? Buffer.alloc(0);
  const record = after(value);
  await database.batch([{ type: 'del', key }], true);
  if (record !== null) {
    await database.batch([{ type: 'put', key: record[0], value: record[1] }], true);
  }
  await database.close();
}

t.test('an entry whose key is damaged does not end the log', async (t) => {
  const last = `e${number56(ENTRIES)}`;
  const keys: [string, string][] = [
    ['longer', `${last}\u0000`],
    ['of another kind', `i${last.slice(1)}`],
    ['before all others', `E${last.slice(1)}`],
    ['of another index', `e${number56(ENTRIES + 256)}`],
  ];
  for (const [what, key] of keys) {
    const directory = await makeLog(t);
    await tamper(directory, last, (value) => [key, value]);
    t.equal(await openLog(directory), -1, what);
  }
  const directory = await makeLog(t);
  await tamper(directory, 'f', () => null);
  t.equal(await openLog(directory), -1, 'without its format');
});

async function makeSmallTree(t: Test): Promise<string> {
  const directory = temporaryDirectory(t);
  const store = openWatched(directory);
  await store.open();
  for (const content of [1, 2]) {
    const puts = Array.from({ length: 20 }, (_, i) => {
      return { type: 'put', key: chunkKey(content, i), value: noise(i, 30_000) } as const;
    });
    await store.write(puts, { index: content, term: 1 });
  }
  await store.close();
  return directory;
}

function openWatched(directory: string, onFailure: (error: unknown) => void = () => {}) {
  const garbageBytesMax = 100_000;
  return createRocksStateStore({ directory, mustExist: false, onFailure, garbageBytesMax });
}

t.test('what only looks like a discarded content is noticed, and nothing is freed', async (t) => {
  const marker = chunkKey(1, 0).slice(0, 8);
  for (const value of [Buffer.alloc(0), Buffer.alloc(20, 1)]) {
    const directory = await makeSmallTree(t);
    await tamper(join(directory, '1'), marker, () => [marker, value]);
    const store = openWatched(directory);
    await store.open();
    t.ok(await isCorrupt(store.scan({ from: marker, to: chunkKey(2, 0) }, 5)), 'a scan');
    const exported = await store.exportSnapshot();
    t.ok(await isCorrupt(exported.next()), 'an export');
    await exported.close();
    let [damaged, records] = [0, 0];
    await store.readAll({ onRecord: () => void records++, onDamaged: () => void damaged++ });
    t.strictSame([damaged, records], [1, 40], 'a check');
    await store.close();
  }
  const directory = await makeSmallTree(t);
  const queued = `\u0001g${number56(2)}${marker}`;
  await tamper(join(directory, '1'), queued, () => [queued, Buffer.alloc(0)]);
  const failures: unknown[] = [];
  const store = openWatched(directory, (error) => failures.push(error));
  await store.open();
  await until('the collector fails', () => failures.length === 1);
  t.ok(isMootError(failures[0], 'DATA_CORRUPT'));
  t.ok((await store.get([chunkKey(1, 3)]))[0]);
  await store.close();
});

t.test('a sweep does not end at a damaged key', async (t) => {
  const directory = await makeSmallTree(t);
  const key = chunkKey(2, 19);
  await tamper(join(directory, '1'), key, (value) => [`d${key.slice(1)}`, value]);
  const failures: unknown[] = [];
  const store = openWatched(directory, (error) => failures.push(error));
  await store.open();
  await until('the sweep fails', () => failures.length === 1);
  t.ok(isMootError(failures[0], 'DATA_CORRUPT'));
  await store.close();
});

function isCorrupt(call: Promise<unknown>): Promise<boolean> {
  return call.then(
    () => false,
    (error: unknown) => isMootError(error, 'DATA_CORRUPT'),
  );
}

t.test('tables that cannot be merged end the writing, and nobody waits', async (t) => {
  const directory = temporaryDirectory(t);
  const options = {
    ...{ mustExist: false, synced: false, compression: false },
    ...{ writeBufferBytes: 65_536, blockCacheBytes: 65_536 },
  };
  let written = 0;
  const fill = async (database: RocksDatabase, count: number) => {
    for (let i = 0; i < count; i++) {
      const key = `k${String(written++ % 2_000).padStart(4, '0')}`;
      await database.batch([{ type: 'put', key, value: Buffer.from(noise(written, 500)) }], false);
    }
  };
  const first = await RocksDatabase.open(directory, options);
  // Of less tables than RocksDB merges (four).
  await fill(first, 300);
  await first.close();
  flip(onlyFile(directory, '.sst'), 3_000);
  const database = await RocksDatabase.open(directory, options);
  await t.rejects(fill(database, 100_000), { code: 'DISK_FAILED', message: /merge its tables/ });
  await t.rejects(database.sync(), { code: 'DISK_FAILED' });
  await database.close();
});
