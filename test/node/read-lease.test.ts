import t from 'tap';
import { ReadLease } from '../../src/node/read-lease.js';

const OFFICE = { leader: 'n1', term: 3 };

function world() {
  const time = { monotonicMs: 0, wallMs: 1_000_000 };
  const asked: [string, number, number][] = [];
  const lease = new ReadLease(
    {
      monotonicMs: () => time.monotonicMs,
      now: () => ({
        sec: Math.floor(time.wallMs / 1000),
        nsec: Math.floor((time.wallMs % 1000) * 1e6),
      }),
    },
    (to, term, id) => asked.push([to, term, id]),
  );
  const pass = (ms: number) => {
    time.monotonicMs += ms;
    time.wallMs += ms;
  };
  const grant = (fields: Partial<Parameters<ReadLease['granted']>[0]> = {}) =>
    lease.granted({
      type: 'read-lease-reply',
      from: 'n1',
      to: 'n2',
      term: 3,
      id: asked.at(-1)?.[2] ?? 0,
      durationMs: 500,
      ...fields,
    });
  return { lease, time, asked, pass, grant };
}

t.test('counts from when it was asked for, and not to its very end', async (t) => {
  const { lease, asked, pass, grant } = world();
  t.equal(lease.use(null), false);
  t.equal(lease.use(OFFICE), false);
  t.same(asked, [['n1', 3, 1]]);
  pass(40);
  t.equal(lease.use(OFFICE), false);
  t.equal(asked.length, 1, 'not again so soon');
  pass(160);
  grant();
  t.equal(lease.use(OFFICE), true);
  pass(249);
  t.equal(lease.use(OFFICE), true);
  pass(1);
  t.equal(lease.use(OFFICE), false, '450 of 500 ms');
});

t.test('ends with the office', async (t) => {
  const { lease, grant } = world();
  lease.use(OFFICE);
  grant();
  t.equal(lease.use({ leader: 'n3', term: 4 }), false);
  t.equal(lease.use({ leader: 'n1', term: 5 }), false);
  t.equal(lease.use(null), false);
});

t.test('answers to other questions give nothing', async (t) => {
  const { lease, asked, pass, grant } = world();
  lease.use(OFFICE);
  pass(60);
  lease.use(OFFICE);
  t.equal(asked.length, 2);
  grant({ id: 1 });
  t.equal(lease.use(OFFICE), false, 'an earlier question, which nobody remembers');
  grant({ from: 'n3' });
  grant({ term: 2 });
  t.equal(lease.use(OFFICE), false);
  grant();
  t.equal(lease.use(OFFICE), true);
});

t.test('a machine that slept holds no lease', async (t) => {
  const { lease, time, grant } = world();
  lease.use(OFFICE);
  grant();
  t.equal(lease.use(OFFICE), true);
  time.wallMs += 60_000;
  t.equal(lease.use(OFFICE), false);
});

t.test('is prolonged as long as somebody reads', async (t) => {
  const { lease, asked, pass, grant } = world();
  lease.tick(OFFICE);
  t.equal(asked.length, 0);
  lease.use(OFFICE);
  grant();
  pass(100);
  lease.tick(OFFICE);
  t.equal(asked.length, 1, 'fresh enough');
  pass(100);
  lease.tick(OFFICE);
  t.equal(asked.length, 2);
  grant();
  pass(3_000);
  lease.tick(OFFICE);
  t.equal(asked.length, 2, 'nobody reads any more');
});
