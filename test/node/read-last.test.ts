import t from 'tap';
import { readLast } from '../../src/node/read-last.js';
import type { Entry } from '../../src/raft/types.js';
import { createMemoryLogStore, MemoryDisk } from '../../src/storage/memory.js';

/** A log with an entry of each of these sizes, from index 1 on. */
async function logOf(sizes: readonly number[]) {
  const log = createMemoryLogStore(new MemoryDisk());
  await log.open();
  const entries = sizes.map(
    (size, i): Entry => ({ index: i + 1, term: 1, kind: 'command', data: new Uint8Array(size) }),
  );
  await log.append([{ number: 1, hardState: null, truncateFrom: null, entries }]);
  return log;
}

async function indexes(
  sizes: readonly number[],
  first: number,
  last: number,
  bytesMax: number,
): Promise<readonly number[]> {
  return (await readLast(await logOf(sizes), first, last, bytesMax)).map(({ index }) => index);
}

t.test('the last entries, as many as fit', async (t) => {
  const small = Array.from({ length: 40 }, () => 10);
  const all = small.map((_, i) => i + 1);
  t.strictSame(await indexes(small, 1, 40, 1_000), all);
  t.strictSame(await indexes(small, 38, 40, 1_000), [38, 39, 40]);
  t.strictSame(await indexes(small, 1, 40, 100), all.slice(-10));
  t.strictSame(await indexes(small, 40, 40, 100), [40]);
  t.strictSame(await indexes([], 1, 0, 100), []);
});

t.test('a large entry hides those before it, and not those behind it', async (t) => {
  t.strictSame(await indexes([10, 10, 900, 10, 10, 10], 1, 6, 100), [4, 5, 6]);
  t.strictSame(await indexes([10, 10, 10, 900], 1, 4, 100), [4], 'one is always shown');
  t.strictSame(await indexes([10, 40, 40, 10, 10], 1, 5, 100), [2, 3, 4, 5], 'exactly');
});

t.test('what is not saved yet is left out', async (t) => {
  t.strictSame(await indexes([10, 10, 10], 1, 5, 100), [1, 2, 3]);
  t.strictSame(await indexes([10], 3, 5, 100), []);
});
