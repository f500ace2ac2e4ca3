import t from 'tap';
import { STALL_MS, Stall } from '../../src/node/stall.js';

t.test('work that makes progress does not hang, however long it takes', async (t) => {
  const stall = new Stall();
  t.notOk(stall.observe(0, true, 1));
  t.notOk(stall.observe(STALL_MS - 1, true, 1));
  t.notOk(stall.observe(STALL_MS, true, 2));
  t.notOk(stall.observe(2 * STALL_MS - 1, true, 2));
  t.ok(stall.observe(2 * STALL_MS, true, 2));
  t.ok(stall.observe(9 * STALL_MS, true, 2), 'as long as it lasts');
  t.notOk(stall.observe(9 * STALL_MS + 1, true, 3));
});

t.test('nothing to do is no halt', async (t) => {
  const stall = new Stall();
  t.notOk(stall.observe(0, true, 1));
  t.notOk(stall.observe(STALL_MS, false, 1));
  t.notOk(stall.observe(STALL_MS + 1, true, 1));
  t.notOk(stall.observe(2 * STALL_MS, true, 1));
  t.ok(stall.observe(2 * STALL_MS + 1, true, 1));
});

t.test('a leader is gone within 5 s', async (t) => {
  t.ok(STALL_MS * 2 <= 5_000);
});
