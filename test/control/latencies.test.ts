import t from 'tap';
import { DurationHistogram } from '../../src/control/histogram.js';
import { CommitLatencies } from '../../src/control/latencies.js';

t.test('latencies are from the proposal of the entry to its apply', async (t) => {
  const latencies = new CommitLatencies();
  latencies.proposed(10, 2, 1_000);
  latencies.proposed(12, 1, 1_004);
  latencies.applied(9, 1_005);
  latencies.applied(10, 1_006);
  latencies.applied(11, 1_008);
  latencies.applied(12, 1_014);
  latencies.applied(13, 1_020);
  t.equal(latencies.histogram.count, 3);
  t.ok(Math.abs(latencies.histogram.sumSeconds - 0.024) < 1e-9);
  t.strictSame(latencies.quantiles(1_000, [0.5, 0.99]), [8, 8]);
  t.strictSame(latencies.quantiles(1_008, [0.5]), [10]);
  t.strictSame(latencies.quantiles(2_000, [0.5]), [null]);
});

t.test('what is over is not kept', async (t) => {
  const latencies = new CommitLatencies();
  for (let index = 1; index <= 100_000; index++) {
    latencies.proposed(index, 1, index);
    latencies.applied(index, index + 2);
  }
  t.equal(latencies.histogram.count, 100_000);
  const { pending } = latencies as unknown as { pending: unknown[] };
  t.ok(pending.length < 2_000, `${pending.length} are kept`);
});

t.test('what another leader replaced does not count', async (t) => {
  const latencies = new CommitLatencies();
  latencies.proposed(10, 5, 1_000);
  latencies.proposed(11, 1, 9_000);
  latencies.applied(11, 9_001);
  t.equal(latencies.histogram.count, 1);
  latencies.proposed(12, 1, 9_002);
  latencies.forget();
  latencies.applied(12, 9_003);
  t.equal(latencies.histogram.count, 1);
});

t.test('a histogram counts each duration in the smallest bucket that holds it', async (t) => {
  const histogram = new DurationHistogram();
  for (const seconds of [0.0001, 0.00011, 3, 11]) histogram.observe(seconds);
  const { boundsSeconds, counts } = histogram;
  t.equal(counts[0], 1);
  t.equal(counts[1], 1);
  t.equal(counts[boundsSeconds.indexOf(5)], 1);
  t.equal(counts[boundsSeconds.length], 1);
  t.equal(histogram.count, 4);
});
