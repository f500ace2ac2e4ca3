import t from 'tap';
import { Compaction } from '../../src/node/compaction.js';
import { createMemoryLogStore, MemoryDisk } from '../../src/storage/memory.js';

t.test('all who ask while one runs share the next one', async (t) => {
  const mark = { index: 0, term: 0 };
  let applied = { index: 1, term: 1 };
  const syncs: (() => void)[] = [];
  const compaction = new Compaction(
    {
      limits: { logBytes: 1_000, logEntries: 1_000, tailEntries: 1_000 },
      log: createMemoryLogStore(new MemoryDisk()),
      state: { sync: () => new Promise<void>((resolve) => void syncs.push(resolve)) },
      tree: {
        flush: async () => {},
        get written() {
          return applied;
        },
        get applied() {
          return applied;
        },
      },
      saver: { exclusive: (action) => action() },
      laggards: () => [],
      treeBytes: () => 0,
      onCompacted: () => {},
    },
    mark,
  );
  const syncsAre = async (count: number) => {
    while (syncs.length < count) await new Promise((resolve) => setImmediate(resolve));
  };
  const first = compaction.run();
  await syncsAre(1);
  applied = { index: 5, term: 1 };
  const others = Array.from({ length: 9 }, () => compaction.run());
  syncs[0]?.();
  t.equal(await first, 1);
  await syncsAre(2);
  const late = compaction.run();
  syncs[1]?.();
  t.strictSame(
    new Set(await Promise.all(others)),
    new Set([5]),
    'what was applied when they asked',
  );
  await syncsAre(3);
  syncs[2]?.();
  t.equal(await late, 5);
  t.equal(syncs.length, 3);
});
