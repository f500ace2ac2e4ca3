import t from 'tap';
import { randomBetween, seededRandom } from '../../src/base/random.js';

t.test('a seed gives the same numbers again', async (t) => {
  const a = seededRandom(7);
  const b = seededRandom(7);
  const first = Array.from({ length: 100 }, () => a.next());
  t.same(
    Array.from({ length: 100 }, () => b.next()),
    first,
  );
  t.ok(new Set(first).size > 95);
});

t.test('randomBetween stays within its half-open range and reaches its ends', async (t) => {
  const random = seededRandom(1);
  const seen = new Set(Array.from({ length: 1000 }, () => randomBetween(random, 3, 6)));
  t.same([...seen].sort(), [3, 4, 5]);
});
