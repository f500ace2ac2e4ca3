import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { seal } from '../../src/codec/records.js';
import { chunkKey, chunkRange } from '../../src/filesystem/keys.js';
import { ChunkFiles } from '../../src/storage/chunk-files.js';
import { discardOperations } from '../../src/storage/discarded.js';
import { RocksDatabase } from '../../src/storage/rocksdb.js';
import { GarbageCollector } from '../../src/storage/rocksdb-garbage.js';
import { createRocksStateStore } from '../../src/storage/rocksdb-state.js';
import { temporaryDirectory } from '../support/directories.js';
import { noise } from '../support/records.js';

const MIB = 1_048_576;
const CONTENTS = 5;
/** More than the collector deletes at once. */
const CHUNKS = 700;

function openStore(t: Test, directory: string) {
  const onFailure = (error: unknown) => t.fail(String(error));
  return createRocksStateStore({ directory, mustExist: false, onFailure });
}

function openDatabase(directory: string, mustExist: boolean): Promise<RocksDatabase> {
  return RocksDatabase.open(directory, {
    mustExist,
    synced: false,
    writeBufferBytes: 1_048_576,
    blockCacheBytes: 1_048_576,
    compression: true,
  });
}

async function countKeys(directory: string): Promise<number> {
  const database = await openDatabase(join(directory, '1'), true);
  const keys = await keysOf(database);
  await database.close();
  return keys.length;
}

function keysOf(database: RocksDatabase): Promise<string[]> {
  return database.using(database.iterate(''), async (iterator) => {
    const keys: string[] = [];
    for (let record = await iterator.next(); record !== null; record = await iterator.next()) {
      keys.push(record[0]);
    }
    return keys;
  });
}

t.test('discarded contents are freed, also over restarts', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore(t, directory);
  await store.open();
  for (let content = 1; content <= CONTENTS + 1; content++) {
    const puts = Array.from({ length: CHUNKS }, (_, i) => ({
      type: 'put' as const,
      key: chunkKey(content, i),
      value: noise(i, 50),
    }));
    await store.write(puts, { index: content, term: 1 });
  }
  // The same index twice, and not in the order of contents.
  for (const content of [3, 1, 5]) {
    await store.write([{ type: 'discard', content }], { index: 20, term: 1 });
  }
  await store.write(
    [
      { type: 'discard', content: 2 },
      { type: 'discard', content: 4 },
    ],
    { index: 21, term: 1 },
  );
  // Closing stops the collector wherever it is.
  await store.close();

  // The mark, the format, the number of data files, and the chunks of the content that is left.
  const wanted = 3 + CHUNKS;
  for (let tries = 0; (await countKeys(directory)) > wanted; tries++) {
    t.ok(tries < 100, 'the collector comes to an end');
    const again = openStore(t, directory);
    await again.open();
    t.equal((await again.scan(chunkRange(CONTENTS + 1), 1000)).length, CHUNKS);
    await sleep(20 * tries);
    await again.close();
  }
  t.equal(await countKeys(directory), wanted);
});

t.test('a chunk that is being moved is not deleted meanwhile', async (t) => {
  const database = await openDatabase(temporaryDirectory(t), false);
  const chunks = new ChunkFiles({
    database,
    directory: temporaryDirectory(t),
    readOnly: false,
    slackBytes: MIB,
    diskSpace: async () => ({ totalBytes: MIB * MIB, freeBytes: MIB * MIB }),
    onFailure: (error) => t.fail(String(error)),
  });
  await chunks.open({ registered: false });
  const key = chunkKey(7, 0);
  await database.batch([{ type: 'put', key, value: seal(key, noise(1, 50)) }], false);
  const collector = new GarbageCollector(database, chunks, (error) => t.fail(String(error)));
  await chunks.exclusively(async () => {
    // As a sweep does it: what is deleted in between would be there again.
    const value = await database.get(key);
    t.ok(value);
    await database.batch(discardOperations(1, 7), false);
    collector.wake({ again: true });
    await sleep(300);
    if (value !== undefined) await database.batch([{ type: 'put', key, value }], false);
  });
  for (let tries = 0; (await keysOf(database)).length > 1 && tries < 100; tries++) await sleep(50);
  t.strictSame(await keysOf(database), ['\u0001d']);
  await collector.stop();
  await chunks.stop();
  await database.close();
  await chunks.close();
});
