import t from 'tap';
import { Bag } from '../../scripts/torture/choice.js';
import { seededRandom } from '../../src/base/random.js';

t.test('a bag', async (t) => {
  const orders = new Set<string>();
  for (let seed = 1; seed <= 20; seed++) {
    const bag = new Bag(
      [['a', 3] as const, ['b', 1] as const, ['c', 2] as const],
      seededRandom(seed),
    );
    for (let round = 0; round < 2; round++) {
      const drawn = Array.from({ length: 6 }, () => bag.draw());
      t.strictSame(drawn.slice(0, 3).sort(), ['a', 'b', 'c'], 'each kind first');
      t.strictSame(drawn.slice(3).sort(), ['a', 'a', 'c'], 'then the further copies');
      orders.add(drawn.join(''));
    }
  }
  t.ok(orders.size > 5, 'in any order');
  t.equal(new Bag([], seededRandom(1)).draw(), null);
});
