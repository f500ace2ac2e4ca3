import t from 'tap';
import { compareTimespec } from '../../src/base/clock.js';
import { fineWallClock, systemClock } from '../../src/base/system-clock.js';

t.test('fractions of a millisecond never go back, wherever the milliseconds begin', async (t) => {
  const tell = fineWallClock();
  let last = 0;
  let behind = 0;
  for (let i = 0; i < 10_000; i++) {
    const realMs = 1_000_000.37 + i * 0.083;
    const told = tell(Math.floor(realMs), realMs - 777.7);
    if (told <= last || Math.floor(told) !== Math.floor(realMs)) behind++;
    last = told;
  }
  t.equal(behind, 0, 'each is later than the one before, and in the same millisecond');
});

t.test('a wall clock that is set is followed at once', async (t) => {
  const tell = fineWallClock();
  tell(1_000, 0);
  t.equal(tell(5_000, 1), 5_000);
  t.equal(tell(2_000, 2), 2_000);
  t.ok(tell(2_000, 3.5) < 2_001);
});

t.test('the time of the system', async (t) => {
  const [first, second] = [systemClock.now(), systemClock.now()];
  t.ok(compareTimespec(first, second) <= 0);
  t.ok(Math.abs(first.sec - Date.now() / 1_000) < 10);
  t.ok(first.nsec >= 0 && first.nsec < 1e9);
});
