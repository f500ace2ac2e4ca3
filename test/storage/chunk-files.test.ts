import { readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { chunkKey } from '../../src/filesystem/keys.js';
import type { Change } from '../../src/filesystem/view.js';
import { createRocksStateStore } from '../../src/storage/rocksdb-state.js';
import type { StateStore } from '../../src/storage/state-store.js';
import { temporaryDirectory } from '../support/directories.js';
import { noise } from '../support/records.js';

const MIB = 1_048_576;
const CHUNK_BYTES = 32_768;
/** 2 MiB. */
const CHUNKS = 64;

function openStore(t: Test, directory: string): StateStore {
  return createRocksStateStore({
    directory,
    mustExist: false,
    onFailure: (error) => t.fail(String(error)),
    garbageBytesMax: MIB,
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

function bytesOf(directory: string): number {
  return filesOf(directory).reduce((sum, path) => sum + statSync(path).size, 0);
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
  const target = openStore(t, temporaryDirectory(t));
  await target.open();
  const taken = await target.importSnapshot(exported.mark);
  for (let chunk = await exported.next(); chunk !== null; chunk = await exported.next()) {
    await taken.write(chunk);
  }
  await taken.finish();
  t.ok(await holds(target, 1, () => 0), 'as it was when the export began');
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
    await store.close();
    damage(filesOf(directory)[0] ?? '');
    const again = openStore(t, directory);
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
