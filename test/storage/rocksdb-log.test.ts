import { readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { RocksDatabase } from '../../src/storage/rocksdb.js';
import { createRocksLogStore } from '../../src/storage/rocksdb-log.js';
import { testLogStore } from '../conformance/log-store.js';
import { temporaryDirectory } from '../support/directories.js';
import { makeEntries, makeSave } from '../support/records.js';

testLogStore('rocksdb log', async (t) => {
  const directory = temporaryDirectory(t);
  return { make: () => createRocksLogStore({ directory, mustExist: false }) };
});

const LARGE_BYTES = 1_000_000;
/** How long a thread of the pool may take to begin. */
const BEGIN_MS = 30_000;

/** A log of large entries, each appended by itself. */
async function makeLargeLog(t: Test, count: number): Promise<string> {
  const directory = temporaryDirectory(t);
  const log = createRocksLogStore({ directory, mustExist: false });
  await log.open();
  for (const entry of makeEntries(1, count, 1, LARGE_BYTES)) {
    await log.append([makeSave({ entries: [entry] })]);
  }
  await log.close();
  return directory;
}

function dataFiles(directory: string): string[] {
  const data = join(directory, 'data');
  return readdirSync(data)
    .sort()
    .map((name) => join(data, name));
}

function sizeOnDisk(directory: string): number {
  return dataFiles(directory).reduce((sum, path) => sum + readFileSync(path).length, 0);
}

t.test('the disk has its work before an append returns', async (t) => {
  const directory = temporaryDirectory(t);
  const log = createRocksLogStore({ directory, mustExist: false });
  await log.open();
  const written = () =>
    readdirSync(directory)
      .filter((name) => name.endsWith('.log'))
      .reduce((sum, name) => sum + statSync(join(directory, name)).size, 0);
  const before = written();
  const appended = log.append([makeSave({ entries: makeEntries(1, 1, 1) })]);
  // Nothing but the pool's threads can go on meanwhile.
  const pause = new Int32Array(new SharedArrayBuffer(4));
  const deadlineMs = performance.now() + BEGIN_MS;
  while (written() === before && performance.now() < deadlineMs) Atomics.wait(pause, 0, 0, 5);
  t.ok(written() > before);
  await appended;
  await log.close();
});

t.test('nothing is written that a power loss may leave a hole in', async (t) => {
  const directory = temporaryDirectory(t);
  const batches = t.capture(
    RocksDatabase.prototype,
    'batch',
    Object.getOwnPropertyDescriptor(RocksDatabase.prototype, 'batch')?.value,
  );
  const log = createRocksLogStore({ directory, mustExist: false });
  await log.open();
  await log.append([makeSave({ entries: makeEntries(1, 3_000, 1) })]);
  await log.compact({ index: 2_500, term: 1 });
  await log.sweep();
  await log.append([makeSave({ truncateFrom: 2_900, entries: makeEntries(2_900, 2_950, 2) })]);
  await log.reset({ index: 5_000, term: 3 });
  await log.close();
  const syncs = batches().map(({ args }) => args[1]);
  t.ok(syncs.length > 6);
  t.ok(syncs.every((sync) => sync === true));
});

t.test('data files go when the log is compacted, and after a crash', async (t) => {
  const directory = await makeLargeLog(t, 40);
  t.equal(sizeOnDisk(directory), 40 * LARGE_BYTES, 'written once');
  t.ok(dataFiles(directory).length > 1);
  const stray = join(directory, 'data', '0000000099.data');
  writeFileSync(stray, 'never acknowledged');

  const log = createRocksLogStore({ directory, mustExist: true });
  await log.open();
  t.notOk(dataFiles(directory).includes(stray));
  await log.compact({ index: 39, term: 1 });
  await log.sweep();
  t.equal(dataFiles(directory).length, 1);
  await log.append([makeSave({ entries: makeEntries(41, 41, 1, LARGE_BYTES) })]);
  await log.compact({ index: 41, term: 1 });
  await log.sweep();
  t.equal(dataFiles(directory).length, 1);
  await log.close();
  const again = createRocksLogStore({ directory, mustExist: true });
  await again.open();
  t.same(dataFiles(directory), []);
  await again.close();
});

t.test('damage in a data file is found at the start, and names the entry', async (t) => {
  const cases: readonly [string, (path: string) => void, RegExp][] = [
    ['a flipped bit', flip, /log entry 3 is damaged: .*0000000001.data .*checksum/],
    ['its end is gone', (path) => truncateSync(path, 2_500_000), /log entry 3 .* lost its end/],
    ['it is gone', (path) => rmSync(path), /log entry 1 is damaged: .*0000000001.data is missing/],
  ];
  for (const [what, damage, message] of cases) {
    const directory = await makeLargeLog(t, 4);
    const [path = ''] = dataFiles(directory);
    damage(path);
    const log = createRocksLogStore({ directory, mustExist: true });
    await t.rejects(log.open(), { code: 'DATA_CORRUPT', message }, what);
  }
});

function flip(path: string): void {
  const bytes = readFileSync(path);
  bytes[2_500_000] = (bytes[2_500_000] ?? 0) ^ 1;
  writeFileSync(path, bytes);
}
