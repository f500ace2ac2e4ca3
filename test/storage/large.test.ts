import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { chunkKey, orphanKey } from '../../src/filesystem/keys.js';
import { createRocksLogStore } from '../../src/storage/rocksdb-log.js';
import { createRocksStateStore } from '../../src/storage/rocksdb-state.js';
import { temporaryDirectory } from '../support/directories.js';
import { makeSave, noise } from '../support/records.js';

const RECORDS = 100_000;
const CHUNKS = 8_000;
/** Far less than the data (100 MiB of log, 250 MiB in each of two trees), more than what allocators vary. */
const GROWTH_BYTES_MAX = 350 * 1_048_576;

function openTree(directory: string) {
  return createRocksStateStore({
    directory,
    mustExist: false,
    onFailure: (error) => t.fail(String(error)),
  });
}

t.test('large stores take bounded memory', async (t) => {
  const before = process.memoryUsage().rss;
  const base = temporaryDirectory(t);
  const log = createRocksLogStore({ directory: join(base, 'log'), mustExist: false });
  await log.open();
  const data = noise(1, 1_000);
  for (let first = 1; first <= RECORDS; first += 1_000) {
    const entries = Array.from({ length: 1_000 }, (_, i) => ({
      index: first + i,
      term: 1,
      kind: 'command' as const,
      data,
    }));
    await log.append([makeSave({ entries })]);
  }
  await log.close();
  const again = createRocksLogStore({ directory: join(base, 'log'), mustExist: true });
  t.equal((await again.open()).lastIndex, RECORDS);
  await again.compact({ index: RECORDS - 10, term: 1 });
  await again.sweep();
  await again.close();

  const source = openTree(join(base, 'source'));
  await source.open();
  for (let index = 1; index <= RECORDS / 100; index++) {
    const changes = Array.from({ length: 100 }, (_, i) => {
      const ino = index * 100 + i;
      return { type: 'put' as const, key: orphanKey(ino), value: { ino, index } };
    });
    const chunks = Array.from({ length: CHUNKS / (RECORDS / 100) }, (_, i) => ({
      type: 'put' as const,
      key: chunkKey(1, index * 100 + i),
      value: noise(index * 100 + i, 32_768),
    }));
    await source.write([...changes, ...chunks], { index, term: 1 });
  }
  const target = openTree(join(base, 'target'));
  // What an interrupted import leaves behind.
  await target.open();
  mkdirSync(join(base, 'target', '2'));
  const exported = await source.exportSnapshot();
  const taken = await target.importSnapshot(exported.mark);
  let bytes = 0;
  for (let chunk = await exported.next(); chunk !== null; chunk = await exported.next()) {
    bytes += chunk.length;
    await taken.write(chunk);
  }
  await taken.finish();
  t.ok(bytes > CHUNKS * 32_768);
  t.same(readdirSync(join(base, 'target')).sort(), ['2', 'present']);
  t.same(await target.get([orphanKey(100), orphanKey(RECORDS + 99)]), [
    { ino: 100, index: 1 },
    { ino: RECORDS + 99, index: RECORDS / 100 },
  ]);
  await source.close();
  mkdirSync(join(base, 'target', '3'));
  await target.close();
  const reopened = openTree(join(base, 'target'));
  t.same(await reopened.open(), exported.mark);
  t.same(readdirSync(join(base, 'target')).sort(), ['2', 'present'], 'leftovers are removed');
  await reopened.close();
  const growth = process.memoryUsage().rss - before;
  t.ok(growth < GROWTH_BYTES_MAX, `grew by ${Math.round(growth / 1_048_576)} MiB`);
});
