import t from 'tap';
import { ENTRY_MEMORY_BYTES, ENTRY_OVERHEAD_BYTES, Log } from '../../src/raft/log.js';
import { TermRuns } from '../../src/raft/term-runs.js';
import type { Entry } from '../../src/raft/types.js';
import { configurationOf } from './support-disk.js';

function entry(index: number, term: number, bytes = 0): Entry {
  return { index, term, kind: 'command', data: new Uint8Array(bytes) };
}

function emptyLog(tailBytesMax = 1e9): Log {
  return new Log(
    {
      hardState: { term: 0, vote: null, recovering: false, incarnation: 0 },
      snapshot: { index: 0, term: 0 },
      lastIndex: 0,
      termRuns: [],
      appliedIndex: 0,
      configuration: { index: 0, configuration: configurationOf(['n1']) },
      configurationEntries: [],
    },
    tailBytesMax,
  );
}

function withTerms(...terms: number[]): Log {
  const log = emptyLog();
  terms.forEach((term, i) => {
    log.append(entry(i + 1, term));
  });
  return log;
}

t.test('terms of runs', async (t) => {
  const runs = new TermRuns({ index: 10, term: 2 }, 20, [
    { term: 3, first: 11 },
    { term: 5, first: 14 },
    { term: 9, first: 20 },
  ]);
  t.same(
    [9, 10, 11, 13, 14, 19, 20, 21].map((i) => runs.termAt(i)),
    [null, 2, 3, 3, 5, 5, 9, null],
  );
  t.equal(runs.lastAtMost(99, 99), 20);
  t.equal(runs.lastAtMost(20, 8), 19);
  t.equal(runs.lastAtMost(15, 8), 15);
  t.equal(runs.lastAtMost(20, 4), 13);
  t.equal(runs.lastAtMost(20, 1), 10, 'not before the snapshot');
  t.equal(runs.lastAtMost(4, 1), 4, 'unless asked for there');
  runs.truncate(15);
  t.equal(runs.lastIndex, 14);
  t.equal(runs.lastTerm, 5);
  runs.compact({ index: 12, term: 3 });
  t.same(
    [11, 12, 13, 14].map((i) => runs.termAt(i)),
    [null, 3, 3, 5],
  );
  runs.compact({ index: 14, term: 5 });
  t.equal(runs.lastTerm, 5);
  runs.append(5);
  runs.append(6);
  t.same(
    [14, 15, 16].map((i) => runs.termAt(i)),
    [5, 5, 6],
  );
  t.throws(() => runs.append(5), /terms never fall/);
  t.throws(() => new TermRuns({ index: 0, term: 0 }, 5, []), /cover/);
  t.throws(() => new TermRuns({ index: 0, term: 0 }, 5, [{ term: 1, first: 2 }]), /behind/);
});

t.test('saves', async (t) => {
  const log = withTerms(1, 1, 1);
  t.ok(log.hasUnsaved);
  t.equal(log.saveOf(3, 7), 7, 'in none yet');
  t.same(log.takeUnsaved(1).entries.length, 3);
  log.append(entry(4, 1));
  t.same(log.takeUnsaved(2), { truncateFrom: null, entries: [entry(4, 1)] });
  t.equal(log.saveOf(3, 9), 1);
  t.equal(log.saveOf(4, 9), 2);

  log.truncate(3);
  log.append(entry(3, 2));
  t.equal(log.saveOf(3, 3), 3, 'the old entry 3 does not count');
  log.saved(1);
  t.equal(log.savedIndex, 2);
  t.same(log.takeUnsaved(3), { truncateFrom: 3, entries: [entry(3, 2)] });
  log.saved(2);
  t.equal(log.savedIndex, 2, 'save 2 says nothing any more');
  log.saved(3);
  t.equal(log.savedIndex, 3);
  t.notOk(log.hasUnsaved);

  log.append(entry(4, 2));
  log.truncate(4);
  t.notOk(log.hasUnsaved, 'what the disk never heard of need not be deleted there');
});

t.test('truncated twice between two saves', async (t) => {
  const log = withTerms(1, 1, 1, 1);
  log.takeUnsaved(1);
  log.truncate(3);
  log.append(entry(3, 2));
  log.append(entry(4, 2));
  log.truncate(4);
  log.append(entry(4, 3));
  t.same(log.takeUnsaved(2), { truncateFrom: 3, entries: [entry(3, 2), entry(4, 3)] });
});

t.test('a reset forgets what is on its way', async (t) => {
  const log = withTerms(1, 1, 1);
  log.takeUnsaved(1);
  log.append(entry(4, 1));
  log.reset({ index: 100, term: 7 });
  t.notOk(log.hasUnsaved);
  log.saved(1);
  t.equal(log.savedIndex, 100);
  t.equal(log.lastIndex, 100);
  t.equal(log.terms.termAt(100), 7);
  log.append(entry(101, 8));
  t.same(log.takeUnsaved(2), { truncateFrom: null, entries: [entry(101, 8)] });
});

t.test('memory is bounded by the tail', async (t) => {
  const size = 1000 + ENTRY_MEMORY_BYTES;
  const log = emptyLog(10 * size);
  for (let i = 1; i <= 5000; i++) {
    log.append(entry(i, 1, 1000));
    log.takeUnsaved(i);
  }
  t.equal(log.firstInMemory, 1, 'neither saved nor applied');
  log.saved(4000);
  t.equal(log.firstInMemory, 1, 'not applied');
  log.applied(3000);
  t.equal(log.firstInMemory, 2991);
  t.same(log.slice(2991, 2992), [entry(2991, 1, 1000), entry(2992, 1, 1000)]);
  log.applied(4500);
  t.equal(log.firstInMemory, 3991, 'not saved');
  log.saved(5000);
  t.equal(log.firstInMemory, 4491);
  log.compact({ index: 4495, term: 1 });
  t.equal(log.firstInMemory, 4496);
  log.applied(5000);
  t.equal(log.firstInMemory, 4991);
  log.compact({ index: 5000, term: 1 });
  t.equal(log.firstInMemory, 5001);
  log.append(entry(5001, 1));
  t.same(log.slice(5001, 5001), [entry(5001, 1)]);
});

t.test('what fits into a message', async (t) => {
  const log = emptyLog();
  for (let i = 1; i <= 5; i++) log.append(entry(i, 1, 100 - ENTRY_OVERHEAD_BYTES));
  t.same(log.lastWithin(1, 250), { last: 2, bytes: 200 });
  t.same(log.lastWithin(4, 10), { last: 4, bytes: 100 }, 'at least one');
  t.same(log.lastWithin(3, 1000), { last: 5, bytes: 300 });
});
