import {
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { chunkKey } from '../../src/filesystem/keys.js';
import type { Change } from '../../src/filesystem/view.js';
import { RocksDatabase } from '../../src/storage/rocksdb.js';
import { createRocksStateStore } from '../../src/storage/rocksdb-state.js';
import type { StateStore } from '../../src/storage/state-store.js';
import { temporaryDirectory } from '../support/directories.js';
import { noise } from '../support/records.js';

const MIB = 1_048_576;
const CHUNK_BYTES = 32_768;
/** 2 MiB. */
const CHUNKS = 64;

/** On a disk that has so many bytes for data files, and many more that others have taken. */
function openStore(
  t: Test,
  directory: string,
  diskBytes = Number.POSITIVE_INFINITY,
  garbageBytesMax = MIB,
): StateStore {
  return createRocksStateStore({
    directory,
    mustExist: false,
    onFailure: (error) => t.fail(String(error)),
    garbageBytesMax,
    diskSpace: async () => ({
      totalBytes: 100 * diskBytes,
      freeBytes: diskBytes - bytesOf(directory),
    }),
  });
}

function openDatabase(directory: string): Promise<RocksDatabase> {
  return RocksDatabase.open(directory, {
    mustExist: true,
    synced: false,
    writeBufferBytes: MIB,
    blockCacheBytes: MIB,
    compression: true,
  });
}

/** Chunks of one content; `seed` tells versions apart. */
function puts(content: number, seed: number, chunks: readonly number[]): Change[] {
  return chunks.map((chunk) => ({
    type: 'put',
    key: chunkKey(content, chunk),
    value: noise(seed + chunk, CHUNK_BYTES),
  }));
}

const ALL = Array.from({ length: CHUNKS }, (_, i) => i);

async function holds(
  store: StateStore,
  content: number,
  seedOf: (chunk: number) => number,
): Promise<boolean> {
  const found = await store.get(ALL.map((chunk) => chunkKey(content, chunk)));
  return found.every((data, chunk) => {
    const wanted = noise(seedOf(chunk) + chunk, CHUNK_BYTES);
    return data !== undefined && Buffer.compare(data, wanted) === 0;
  });
}

function filesOf(directory: string): string[] {
  const data = join(directory, '1', 'data');
  return readdirSync(data)
    .sort()
    .map((name) => join(data, name));
}

/** A sweep may be removing some. */
function bytesOf(directory: string): number {
  if (!existsSync(join(directory, '1', 'data'))) return 0;
  const sizes = filesOf(directory).map((path) => statSync(path, { throwIfNoEntry: false })?.size);
  return sizes.reduce((sum: number, size = 0) => sum + size, 0);
}

t.test('what is overwritten is freed, and what is not is moved', async (t) => {
  const directory = temporaryDirectory(t);
  const every = (n: number) => ALL.filter((chunk) => chunk % n === 0);
  let index = 0;
  const rounds = 12;
  let largest = 0;
  for (let round = 1; round <= rounds; round++) {
    // Each opening begins a file of its own.
    const store = openStore(t, directory);
    await store.open();
    // Of the first content a quarter stays as it was written first, somewhere in each file.
    const changed = round === 1 ? ALL : ALL.filter((chunk) => chunk % 4 !== 0);
    await store.write(puts(1, round * 1_000, changed), { index: ++index, term: 1 });
    await store.write(puts(2, round * 2_000, ALL), { index: ++index, term: 1 });
    await store.write([{ type: 'delete', key: chunkKey(2, 1) }], { index: ++index, term: 1 });
    await store.write(puts(2, round * 2_000, every(1)), { index: ++index, term: 1 });
    t.ok(await holds(store, 1, (chunk) => (chunk % 4 === 0 ? 1 : round) * 1_000), `${round}`);
    t.ok(await holds(store, 2, () => round * 2_000));
    await store.close();
    largest = Math.max(largest, bytesOf(directory));
  }
  const written = rounds * 6 * MIB;
  t.ok(largest < written / 2, `${largest} of ${written} bytes`);
});

t.test('an export keeps what it needs', async (t) => {
  const directory = temporaryDirectory(t);
  const first = openStore(t, directory);
  await first.open();
  await first.write(puts(1, 0, ALL), { index: 1, term: 1 });
  await first.close();
  const [oldest = ''] = filesOf(directory);

  const store = openStore(t, directory);
  await store.open();
  const exported = await store.exportSnapshot();
  for (let index = 2; index < 8; index++) {
    await store.write(puts(1, index * 1_000, ALL), { index, term: 1 });
  }
  // The sweep, which finds the oldest file unused, has begun; it shall leave that to the export.
  await sleep(200);
  const targetDirectory = temporaryDirectory(t);
  const target = openStore(t, targetDirectory);
  await target.open();
  const taken = await target.importSnapshot(exported.mark);
  for (let chunk = await exported.next(); chunk !== null; chunk = await exported.next()) {
    await taken.write(chunk);
  }
  await taken.finish();
  t.ok(await holds(target, 1, () => 0), 'as it was when the export began');
  const files = readdirSync(join(targetDirectory, '2', 'data'));
  t.ok(files.length > 0, 'large chunks are in data files here, too');
  await target.close();
  for (let tries = 0; filesOf(directory).includes(oldest) && tries < 600; tries++) await sleep(50);
  t.notOk(filesOf(directory).includes(oldest), 'then the file goes');
  t.ok(await holds(store, 1, () => 7_000));
  await store.close();
});

t.test('damage in a data file is found when it is read, and names the record', async (t) => {
  const flip = (path: string) => {
    const bytes = readFileSync(path);
    bytes[3 * CHUNK_BYTES + 5] = (bytes[3 * CHUNK_BYTES + 5] ?? 0) ^ 1;
    writeFileSync(path, bytes);
  };
  const cases: readonly [string, (path: string) => void, number][] = [
    ['a flipped bit', flip, 3],
    ['its end is gone', (path) => truncateSync(path, 2 * CHUNK_BYTES), 2],
    ['it is gone', (path) => rmSync(path), 0],
  ];
  for (const [what, damage, chunk] of cases) {
    const directory = temporaryDirectory(t);
    const store = openStore(t, directory);
    await store.open();
    await store.write(puts(1, 0, ALL), { index: 1, term: 1 });
    damage(filesOf(directory)[0] ?? '');
    // A new handle: the one that wrote the file would still have it.
    await store.close();
    const again = openStore(t, directory);
    if (what !== 'a flipped bit') {
      const path = filesOf(directory)[0] ?? 'data/0000000001.data is missing';
      await t.rejects(again.open(), { code: 'DATA_CORRUPT', message: new RegExp(path) }, what);
      continue;
    }
    await again.open();
    const key = Buffer.from(chunkKey(1, chunk), 'latin1').toString('hex');
    await t.rejects(
      again.get(ALL.map((number) => chunkKey(1, number))),
      { code: 'DATA_CORRUPT', message: new RegExp(`chunk record ${key}`) },
      what,
    );
    await again.close();
  }
});

async function bytesBecome(directory: string, most: number): Promise<boolean> {
  for (let tries = 0; bytesOf(directory) > most; tries++) {
    if (tries === 600) return false;
    await sleep(50);
  }
  return true;
}

const CONTENTS = [1, 2, 3, 4];

/** 8 MiB in data files. */
async function openFull(t: Test, directory: string): Promise<StateStore> {
  const store = openStore(t, directory);
  await store.open();
  for (const content of CONTENTS) {
    await store.write(puts(content, content, ALL), { index: content, term: 1 });
  }
  t.ok(bytesOf(directory) >= 8 * MIB);
  return store;
}

t.test('removed contents leave the disk without a further write', async (t) => {
  const directory = temporaryDirectory(t);
  const store = await openFull(t, directory);
  const discards = CONTENTS.map((content) => ({ type: 'discard', content }) as const);
  await store.write(discards.slice(1), { index: 10, term: 1 });
  t.ok(await bytesBecome(directory, 2 * MIB), `${bytesOf(directory)} bytes of one content`);
  t.ok(await holds(store, 1, () => 1));
  await store.write(discards.slice(0, 1), { index: 11, term: 1 });
  t.ok(await bytesBecome(directory, MIB), `${bytesOf(directory)} bytes of nothing`);
  await store.close();
});

t.test('what was removed before the start leaves the disk after it', async (t) => {
  const directory = temporaryDirectory(t);
  const store = await openFull(t, directory);
  const discards = CONTENTS.map((content) => ({ type: 'discard', content }) as const);
  const written = store.write(discards, { index: 10, term: 1 });
  await Promise.all([written, store.close()]);
  const again = openStore(t, directory);
  await again.open();
  t.ok(await bytesBecome(directory, MIB), `${bytesOf(directory)} bytes`);
  await again.close();
});

for (const what of ['overwritten', 'deleted'] as const) {
  t.test(`chunks that are ${what} one by one leave the disk`, async (t) => {
    const directory = temporaryDirectory(t);
    const store = await openFull(t, directory);
    let index = 10;
    for (const content of CONTENTS) {
      for (const chunk of ALL) {
        const key = chunkKey(content, chunk);
        const change: Change =
          what === 'deleted'
            ? { type: 'delete', key }
            : { type: 'put', key, value: noise(1_000 + chunk, CHUNK_BYTES) };
        await store.write([change], { index: ++index, term: 1 });
      }
    }
    t.ok(await bytesBecome(directory, 5 * MIB), `${bytesOf(directory)} bytes`);
    if (what === 'overwritten') t.ok(await holds(store, 4, () => 1_000));
    await store.close();
  });
}

/** The parts of each file that are content 1 and 2; each opening of a store begins a file. */
const [KEPT, REMOVED] = [ALL.slice(0, 24), ALL.slice(24)];
const FILES = 8;

async function fillFiles(t: Test, directory: string): Promise<void> {
  for (let file = 0; file < FILES; file++) {
    const store = openStore(t, directory);
    await store.open();
    const inFile = (content: number, chunks: readonly number[]) =>
      puts(content, file * 1_000, chunks).map((put, i) => ({
        ...put,
        key: chunkKey(content, file * CHUNKS + (chunks[i] ?? 0)),
      }));
    const changes = [...inFile(1, KEPT), ...inFile(2, REMOVED)];
    await store.write(changes, { index: file + 1, term: 1 });
    await store.close();
  }
}

async function keptIsThere(store: StateStore): Promise<boolean> {
  for (let file = 0; file < FILES; file++) {
    const found = await store.get(KEPT.map((chunk) => chunkKey(1, file * CHUNKS + chunk)));
    const isThere = found.every(
      (data, i) =>
        data !== undefined &&
        Buffer.compare(data, noise(file * 1_000 + (KEPT[i] ?? 0), CHUNK_BYTES)) === 0,
    );
    if (!isThere) return false;
  }
  return true;
}

t.test('what is left is moved in steps for which the disk has room', async (t) => {
  const directory = temporaryDirectory(t);
  await fillFiles(t, directory);
  const fullBytes = bytesOf(directory);
  const keptBytes = FILES * KEPT.length * CHUNK_BYTES;
  const diskBytes = fullBytes + 2 * MIB;
  const store = openStore(t, directory, diskBytes);
  await store.open();
  let largest = 0;
  const watch = setInterval(() => {
    largest = Math.max(largest, bytesOf(directory));
  }, 1);
  t.teardown(() => clearInterval(watch));
  await store.write([{ type: 'discard', content: 2 }], { index: 100, term: 1 });
  t.ok(await bytesBecome(directory, keptBytes + MIB), `${bytesOf(directory)} bytes`);
  t.ok(largest <= diskBytes, `${largest} bytes on a disk of ${diskBytes}`);
  t.ok(await keptIsThere(store));
  await store.close();
});

t.test('on a disk that is nearly full less than usual may be unused', async (t) => {
  for (const freeBytes of [Number.POSITIVE_INFINITY, 2.8 * MIB]) {
    const directory = temporaryDirectory(t);
    await fillFiles(t, directory);
    const fullBytes = bytesOf(directory);
    const store = openStore(t, directory, fullBytes + freeBytes);
    await store.open();
    // The sweep that comes after the start, and finds nothing.
    await sleep(300);
    const freedBytes = FILES * KEPT.length * CHUNK_BYTES;
    await store.write([{ type: 'discard', content: 1 }], { index: 100, term: 1 });
    if (Number.isFinite(freeBytes)) {
      const isFreed = await bytesBecome(directory, fullBytes - freedBytes + MIB);
      t.ok(isFreed, `${bytesOf(directory)} bytes of ${fullBytes}`);
    }
    await store.close();
    if (!Number.isFinite(freeBytes)) t.equal(bytesOf(directory), fullBytes, 'not worth a sweep');
  }
});

t.test('… also where little is stored, and nobody has removed anything since', async (t) => {
  const directory = temporaryDirectory(t);
  await fillFiles(t, directory);
  const fullBytes = bytesOf(directory);
  const store = openStore(t, directory, Number.POSITIVE_INFINITY, 20 * MIB);
  await store.open();
  await store.write([{ type: 'discard', content: 1 }], { index: 100, term: 1 });
  await sleep(300);
  t.equal(bytesOf(directory), fullBytes);
  await store.close();
  const again = openStore(t, directory, fullBytes + 3 * MIB, 20 * MIB);
  await again.open();
  t.ok(await bytesBecome(directory, fullBytes - 5 * MIB), `${bytesOf(directory)} bytes`);
  await again.close();
});

t.test('nothing is moved while an export keeps all files', async (t) => {
  const directory = temporaryDirectory(t);
  await fillFiles(t, directory);
  const fullBytes = bytesOf(directory);
  const keptBytes = FILES * KEPT.length * CHUNK_BYTES;
  const store = openStore(t, directory, fullBytes + 20 * MIB);
  await store.open();
  await sleep(300);
  const exported = await store.exportSnapshot();
  await store.write([{ type: 'discard', content: 2 }], { index: 100, term: 1 });
  await sleep(500);
  t.equal(bytesOf(directory), fullBytes);
  await exported.close();
  t.ok(await bytesBecome(directory, keptBytes + MIB), `${bytesOf(directory)} bytes`);
  t.ok(await keptIsThere(store));
  await store.close();
});

t.test('files that nothing refers to are gone after a start', async (t) => {
  const directory = temporaryDirectory(t);
  await (await openFull(t, directory)).close();
  // As a crash leaves it that comes between a file and what would refer to it.
  const path = join(directory, '1', 'data', '0000000077.data');
  writeFileSync(path, noise(1, MIB));
  const store = openStore(t, directory);
  await store.open();
  t.notOk(filesOf(directory).includes(path));
  t.ok(await holds(store, 4, () => 4));
  await store.close();
});

t.test('a tree that knows nothing of its files yet learns of them', async (t) => {
  const directory = temporaryDirectory(t);
  const store = await openFull(t, directory);
  await store.write([{ type: 'discard', content: 3 }], { index: 10, term: 1 });
  await store.close();
  const own = (key: string) => key < '\u0002' && !key.startsWith('\u0001m');
  const database = await openDatabase(join(directory, '1'));
  await database.using(database.iterate(''), async (iterator) => {
    for (let record = await iterator.next(); record !== null; record = await iterator.next()) {
      if (own(record[0])) await database.batch([{ type: 'del', key: record[0] }], true);
    }
  });
  // As it was before there were checksums here.
  const marker = chunkKey(2, 0).slice(0, 8);
  const queued = ['\u0001g'.padEnd(9, '\u0000') + marker, marker];
  const value = Buffer.alloc(0);
  await database.batch(
    queued.map((key) => ({ type: 'put', key, value })),
    true,
  );
  await database.close();
  const older = createRocksStateStore({
    directory,
    mustExist: true,
    readOnly: true,
    onFailure: (error) => t.fail(String(error)),
  });
  await t.rejects(older.open(), { code: 'DATA_DIR_FOREIGN' });
  const again = openStore(t, directory);
  await again.open();
  t.ok(await holds(again, 1, () => 1));
  for (
    let tries = 0;
    (await again.get([chunkKey(2, 5)]))[0] !== undefined && tries < 600;
    tries++
  ) {
    await sleep(50);
  }
  t.same(await again.get([chunkKey(2, 5)]), [undefined], 'what was queued is collected');
  await again.close();
  truncateSync(filesOf(directory)[0] ?? '', CHUNK_BYTES);
  await t.rejects(openStore(t, directory).open(), { code: 'DATA_CORRUPT' });
});

t.test('a file that is missing in the register is noticed', async (t) => {
  const directory = temporaryDirectory(t);
  await (await openFull(t, directory)).close();
  const database = await openDatabase(join(directory, '1'));
  const key = `\u0001d${'\u0000'.repeat(6)}\u0001`;
  t.ok(await database.get(key));
  await database.batch([{ type: 'del', key }], true);
  await database.close();
  await t.rejects(openStore(t, directory).open(), { code: 'DATA_CORRUPT' });
});
