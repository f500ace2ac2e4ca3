import t from 'tap';
import { isoSecond, isoTime } from '../../src/cli/inode-text.js';

t.test('times of files, also those that no calendar here can say', async (t) => {
  t.equal(isoTime({ sec: 0, nsec: 5 }), '1970-01-01T00:00:00.000000005Z');
  t.equal(isoTime({ sec: -1, nsec: 0 }), '1969-12-31T23:59:59.000000000Z');
  t.equal(isoTime({ sec: 9e12, nsec: 1 }), '@9000000000000.000000001');
  t.equal(isoTime({ sec: -9e12, nsec: 0 }), '@-9000000000000.000000000');
  t.equal(isoSecond({ sec: 0 }), '1970-01-01T00:00:00');
  t.equal(isoSecond({ sec: 253_402_300_800 }), '+010000-01-01T00:00:00');
  t.equal(isoSecond({ sec: 9e12 }), '@9000000000000');
});
