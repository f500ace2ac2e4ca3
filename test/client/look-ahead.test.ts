import t from 'tap';
import { LookAhead } from '../../src/client/look-ahead.js';

t.test('who looks one entry up after the other goes on', async (t) => {
  const ahead = new LookAhead();
  const inOrder = (ino: number, cookies: readonly number[]) =>
    cookies.map((cookie) => ahead.isInOrder(ino, cookie));
  t.same(inOrder(1, [5, 6, 9]), [false, false, false]);
  t.same(inOrder(2, [7]), [false], 'each directory by itself');
  t.same(inOrder(1, [10, 74]), [true, true]);
  t.same(inOrder(1, [139, 140, 141]), [false, false, false], 'too far on');
  t.same(inOrder(1, [141, 140, 139]), [false, false, false], 'not in order');
  ahead.listed(1, 1_139);
  t.same(inOrder(1, [1_141]), [true], 'right behind what is known');
  t.same(inOrder(1, [20]), [false]);
});
