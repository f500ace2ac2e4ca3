import t from 'tap';
import { orphanKey } from '../../src/filesystem/keys.js';
import {
  createMemoryLogStore,
  createMemoryStateStore,
  MemoryDisk,
} from '../../src/storage/memory.js';
import { makeEntries, makeSave } from '../support/records.js';

const put = (sequence: number, ino: number) =>
  ({ type: 'put', key: orphanKey(sequence), value: { ino, index: 1 } }) as const;

t.test('a crash takes what was not synced, and the stores with it', async (t) => {
  const disk = new MemoryDisk();
  const tree = createMemoryStateStore(disk);
  await tree.open();
  await tree.write([put(1, 1), put(2, 1)], { index: 1, term: 1 });
  await tree.sync();
  await tree.write([put(1, 2), { type: 'delete', key: orphanKey(2) }], { index: 2, term: 1 });
  await tree.write([put(3, 3), put(2, 4)], { index: 3, term: 1 });
  disk.crash();
  await t.rejects(tree.get([orphanKey(1)]), { code: 'CLOSED' });
  await t.rejects(tree.write([], { index: 4, term: 1 }), { code: 'CLOSED' });
  const again = createMemoryStateStore(disk);
  t.same(await again.open(), { index: 1, term: 1 });
  t.same(await again.get([1, 2, 3].map(orphanKey)), [
    { ino: 1, index: 1 },
    { ino: 1, index: 1 },
    undefined,
  ]);
});

t.test(
  'a crash may keep the first of the writes that were not synced, and a kill keeps all',
  async (t) => {
    const disk = new MemoryDisk();
    const tree = createMemoryStateStore(disk);
    await tree.open();
    for (let index = 1; index <= 4; index++) {
      await tree.write([put(1, index), put(index + 1, index)], { index, term: 1 });
    }
    disk.kill();
    await t.rejects(tree.open(), { code: 'CLOSED' });
    t.same(await createMemoryStateStore(disk).open(), { index: 4, term: 1 });
    disk.crash((unsynced) => unsynced - 2);
    const again = createMemoryStateStore(disk);
    t.same(await again.open(), { index: 2, term: 1 });
    const records = [{ ino: 2, index: 1 }, { ino: 2, index: 1 }, undefined];
    t.same(await again.get([1, 3, 4].map(orphanKey)), records);
    disk.crash();
    t.same(
      await createMemoryStateStore(disk).open(),
      { index: 2, term: 1 },
      'what was found stays',
    );
  },
);

t.test('a write that a crash overtakes has no effect', async (t) => {
  let release = () => {};
  const disk = new MemoryDisk({
    beforeWrite: () =>
      new Promise((resolve) => {
        release = resolve;
      }),
  });
  const log = createMemoryLogStore(disk);
  await log.open();
  const first = log.append([makeSave({ entries: makeEntries(1, 3, 1) })]);
  release();
  await first;
  const second = log.append([makeSave({ entries: makeEntries(4, 5, 1) })]);
  disk.crash();
  release();
  await t.rejects(second, { code: 'CLOSED' });
  t.equal((await createMemoryLogStore(disk).open()).lastIndex, 3);
});

t.test('a write that the disk refuses', async (t) => {
  const disk = new MemoryDisk({
    beforeWrite(operation) {
      if (operation === 'log-append') throw new Error('no space');
    },
  });
  const log = createMemoryLogStore(disk);
  await log.open();
  await t.rejects(log.append([makeSave({ entries: makeEntries(1, 1, 1) })]), /no space/);
  t.equal((await log.open()).lastIndex, 0);
});
