import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { chunkKey, chunkRange } from '../../src/filesystem/keys.js';
import { RocksDatabase } from '../../src/storage/rocksdb.js';
import { createRocksStateStore } from '../../src/storage/rocksdb-state.js';
import { temporaryDirectory } from '../support/directories.js';
import { noise } from '../support/records.js';

const CONTENTS = 5;
/** More than the collector deletes at once. */
const CHUNKS = 700;

function openStore(t: Test, directory: string) {
  const onFailure = (error: unknown) => t.fail(String(error));
  return createRocksStateStore({ directory, mustExist: false, onFailure });
}

async function countKeys(directory: string): Promise<number> {
  const database = await RocksDatabase.open(join(directory, '1'), {
    mustExist: true,
    synced: false,
    writeBufferBytes: 1_048_576,
    blockCacheBytes: 1_048_576,
    compression: true,
  });
  const count = await database.using(database.iterate(''), async (iterator) => {
    let keys = 0;
    while ((await iterator.next()) !== null) keys++;
    return keys;
  });
  await database.close();
  return count;
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

  // The mark, and the chunks of the content that is left.
  const wanted = 1 + CHUNKS;
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
