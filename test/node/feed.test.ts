import t from 'tap';
import { Feed } from '../../src/node/feed.js';
import type { Entry } from '../../src/raft/types.js';
import { until } from '../support/until.js';

const BYTES = 1_048_576;

function entries(first: number, last: number): Entry[] {
  return Array.from({ length: last - first + 1 }, (_, i) => {
    return { index: first + i, term: 1, kind: 'command', data: new Uint8Array(BYTES) };
  });
}

function world() {
  const given: number[] = [];
  let released = 0;
  const errors: unknown[] = [];
  const log = { last: Number.POSITIVE_INFINITY };
  const feed: Feed = new Feed(
    {
      async read(first, last, bytesMax) {
        const count = Math.max(1, Math.floor(bytesMax / BYTES));
        return first > log.last ? [] : entries(first, Math.min(last, first + count - 1));
      },
      give: (all) => given.push(...all.map(({ index }) => index)),
      release: (index) => {
        released = index;
      },
      onFailed: (error) => errors.push(error),
    },
    10,
  );
  return { feed, given, errors, log, released: () => released };
}

t.test('what the tree cannot take at once is let go and read from the log', async (t) => {
  const { feed, given, released } = world();
  feed.add(entries(11, 20));
  t.strictSame([given.length, released()], [10, 0]);
  feed.add(entries(21, 60));
  t.strictSame([given.length, released()], [10, 60]);
  while (given.length < 50) {
    feed.applied(given.at(-1) ?? 0);
    await new Promise((resolve) => setImmediate(resolve));
    t.ok(given.length <= 50);
  }
  t.strictSame(
    given,
    Array.from({ length: 50 }, (_, i) => 11 + i),
  );
  feed.applied(60);
  feed.add(entries(61, 61));
  t.equal(given.at(-1), 61);
});

t.test('a range from the log comes before what follows it', async (t) => {
  const { feed, given } = world();
  feed.addFromLog(13);
  feed.add(entries(14, 15));
  await until('all', () => given.length === 5);
  t.strictSame(given, [11, 12, 13, 14, 15]);
});

t.test('after another tree was put in place it goes on from there', async (t) => {
  const { feed, given } = world();
  feed.addFromLog(13);
  feed.reset(100);
  await new Promise((resolve) => setImmediate(resolve));
  feed.add(entries(101, 101));
  t.strictSame(given, [101]);
});

t.test('a committed entry that the log has not is an error', async (t) => {
  const { feed, errors, log } = world();
  log.last = 5;
  feed.addFromLog(13);
  await until('the error', () => errors.length === 1);
  t.match(errors, [{ message: 'committed entry 11 is not in the log' }]);
});
