/**
 * Appends to a log and writes to a tree until it is killed, as a node does: an entry is printed
 * once it is durable, and then applied. Arguments: the directory.
 */
import { join } from 'node:path';
import { chunkKey, orphanKey } from '../../src/filesystem/keys.js';
import { createRocksLogStore } from '../../src/storage/rocksdb-log.js';
import { createRocksStateStore } from '../../src/storage/rocksdb-state.js';
import { makeEntries, makeSave, noise } from './records.js';

const directory = process.argv[2] ?? '';
const log = createRocksLogStore({ directory: join(directory, 'log'), mustExist: false });
const tree = createRocksStateStore({
  directory: join(directory, 'tree'),
  mustExist: false,
  onFailure(error) {
    throw error;
  },
});

const restored = await log.open();
const mark = await tree.open();
let applied = mark.index;
const apply = async (to: number) => {
  for (; applied < to; ) {
    const index = applied + 1;
    const content = Math.floor(index / 10);
    await tree.write(
      [
        { type: 'put', key: orphanKey(index), value: { ino: index, index } },
        { type: 'put', key: chunkKey(content, index % 10), value: noise(index, 20_000) },
        ...(index % 10 === 9 && content % 2 === 1 ? [{ type: 'discard' as const, content }] : []),
      ],
      { index, term: 1 },
    );
    applied = index;
  }
};
await apply(restored.lastIndex);
for (let index = restored.lastIndex + 1; ; ) {
  const last = index + (index % 5);
  await log.append([makeSave({ entries: makeEntries(index, last, 1, 5_000) })]);
  process.stdout.write(`${last}\n`);
  await apply(last);
  if (last % 100 < 5 && last > 300) {
    await tree.sync();
    await log.compact({ index: last - 200, term: 1 });
    await log.sweep();
  }
  index = last + 1;
}
