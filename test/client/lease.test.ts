import t from 'tap';
import { seededRandom } from '../../src/base/random.js';
import { systemClock } from '../../src/base/system-clock.js';
import { Lease } from '../../src/client/lease.js';
import { Link } from '../../src/client/link.js';
import type { ClientRequest, ClientResponse, Refusal } from '../../src/codec/client-messages.js';
import { factsOfAnswer, nameKey } from '../../src/filesystem/facts.js';
import { ROOT } from '../../src/filesystem/format.js';

const LEASE_MS = 200;
const QUERY = { type: 'get-inode', ino: 1 } as const;
const RESULT = { ok: true, value: { inode: ROOT } } as const;

interface Asked {
  readonly request: ClientRequest;
  readonly onAnswer: (response: ClientResponse | undefined) => void;
}

function link(): Link {
  const never = { dial: () => new Promise<never>(() => {}) };
  const events = { onOpen: () => {}, onClosed: () => {}, onChanges: () => {} };
  return new Link('n1:1', never, systemClock, seededRandom(1), events);
}

/** A leader that answers when the test says so, and two clocks that the test moves. */
function world() {
  let monotonicMs = 5_000;
  let wallMs = 1_000_000;
  const timers: { readonly atMs: number; readonly action: () => void }[] = [];
  const asked: Asked[] = [];
  const refusals: Refusal[] = [];
  const cluster = {
    clock: {
      monotonicMs: () => monotonicMs,
      now: () => ({ sec: Math.floor(wallMs / 1_000), nsec: (wallMs % 1_000) * 1e6 }),
      setTimer(delayMs: number, action: () => void) {
        const timer = { atMs: monotonicMs + delayMs, action };
        timers.push(timer);
        return { cancel: () => void timers.splice(timers.indexOf(timer) >>> 0, 1) };
      },
      soon: (action: () => void) => void setImmediate(action),
    },
    leader: link() as Link | null,
    ask(_link: Link, request: (id: number) => ClientRequest, onAnswer: Asked['onAnswer']) {
      asked.push({ request: request(asked.length), onAnswer });
      return asked.length;
    },
    onRefusal: (_link: Link, refusal: Refusal) => void refusals.push(refusal),
  };
  const lease = new Lease(cluster, () => {});
  const pass = (ms: number, wall = ms) => {
    monotonicMs += ms;
    wallMs += wall;
    for (const timer of [...timers]) {
      if (timer.atMs > monotonicMs) continue;
      timers.splice(timers.indexOf(timer), 1);
      timer.action();
    }
  };
  const grant = (durationMs = LEASE_MS) =>
    asked.at(-1)?.onAnswer({ type: 'lease-reply', id: 0, index: 1, durationMs });
  /** Asks, is granted, and learns one answer. */
  const begin = () => {
    lease.answer(QUERY);
    grant();
    learn();
  };
  const learn = (index = 1) => {
    const hold = cluster.leader && lease.holdAt(cluster.leader);
    if (hold !== null) lease.learn(hold, index, factsOfAnswer(QUERY, RESULT));
  };
  return { cluster, lease, asked, refusals, pass, grant, begin, learn };
}

t.test('nothing is answered without a lease; one is asked for once', async (t) => {
  const { lease, asked, grant, learn } = world();
  t.equal(lease.answer(QUERY), undefined);
  t.equal(lease.answer(QUERY), undefined);
  t.match(asked, [{ request: { type: 'lease' } }]);
  t.equal(asked.length, 1);
  learn();
  grant();
  t.equal(lease.answer(QUERY), undefined, 'what came before the lease is not kept');
  learn();
  t.strictSame(lease.answer(QUERY), RESULT);
});

t.test('a lease counts from its request, and less than it was granted for', async (t) => {
  const { lease, pass, grant, learn, asked } = world();
  lease.answer(QUERY);
  pass(100);
  grant();
  learn();
  pass(79);
  t.ok(lease.answer(QUERY));
  pass(1);
  t.equal(lease.answer(QUERY), undefined);
  t.equal(asked.length, 2, 'the renewal is under way, and is not asked for twice');
});

t.test('renewed in time nothing is lost; with a break everything is', async (t) => {
  const { lease, pass, grant, begin, cluster } = world();
  begin();
  for (let i = 0; i < 10; i++) {
    pass(70);
    grant();
    t.ok(lease.answer(QUERY));
  }
  const hold = cluster.leader && lease.holdAt(cluster.leader);
  pass(179);
  pass(1);
  grant();
  lease.answer(QUERY);
  grant();
  t.equal(lease.answer(QUERY), undefined);
  lease.learn(hold ?? 0, 5, factsOfAnswer(QUERY, RESULT));
  t.equal(lease.answer(QUERY), undefined, 'asked under the lease before');
});

t.test('a machine that slept does not trust its lease', async (t) => {
  const { lease, pass, begin } = world();
  begin();
  pass(5, 3_000);
  t.equal(lease.answer(QUERY), undefined);
});

t.test('a wall clock that is set back ends it too', async (t) => {
  const { lease, pass, begin } = world();
  begin();
  pass(5, -1_000);
  t.equal(lease.answer(QUERY), undefined);
});

t.test('another leader, a lost connection, a refusal: everything is forgotten', async (t) => {
  const ends: Record<string, (world: ReturnType<typeof begun>) => void> = {
    'another leader': ({ cluster, lease }) => {
      cluster.leader = link();
      lease.onLeader();
    },
    'no leader': ({ cluster }) => {
      cluster.leader = null;
    },
    'a lost connection': ({ cluster, lease }) => {
      if (cluster.leader !== null) lease.onClosed(cluster.leader);
    },
    'a refusal': ({ asked, pass }) => {
      pass(70);
      const refusal = { type: 'refusal', id: 0, code: 'BUSY', message: '', leader: null } as const;
      asked.at(-1)?.onAnswer(refusal);
    },
    closing: ({ lease }) => lease.close(),
  };
  const begun = () => {
    const it = world();
    it.begin();
    return it;
  };
  for (const [what, end] of Object.entries(ends)) {
    const it = begun();
    t.ok(it.lease.answer(QUERY));
    end(it);
    t.equal(it.lease.answer(QUERY), undefined, what);
  }
});

t.test('a lease that nobody uses is let go', async (t) => {
  const { asked, pass, grant, begin } = world();
  begin();
  for (let i = 0; i < 40; i++) {
    pass(70);
    grant();
  }
  t.ok(asked.length >= 10 && asked.length <= 20, `${asked.length} requests in 2.8 s`);
});

t.test('a cluster without leases is not asked again and again', async (t) => {
  const { lease, asked, grant, pass } = world();
  lease.answer(QUERY);
  grant(0);
  pass(1_000);
  lease.answer(QUERY);
  t.equal(asked.length, 1);
});

t.test('the stream of changes ends what the leader has not spoken of yet', async (t) => {
  const { lease, begin } = world();
  begin();
  const effects = [{ type: 'inode', ino: 1, data: false, gone: false }] as const;
  lease.watched(1, false, effects);
  t.ok(lease.answer(QUERY));
  lease.watched(2, false, effects);
  t.equal(lease.answer(QUERY), undefined);
});

t.test('a refusal by who does not lead is news for all', async (t) => {
  const { lease, asked, refusals } = world();
  lease.answer(QUERY);
  const refusal = {
    type: 'refusal',
    id: 0,
    code: 'NOT_LEADER',
    message: '',
    leader: null,
  } as const;
  asked[0]?.onAnswer(refusal);
  t.equal(refusals.length, 1);
});

t.test('when the leader has forgotten what we keep, nothing of it is kept', async (t) => {
  const { cluster, lease, begin, learn } = world();
  const leader = cluster.leader;
  if (leader === null) throw new Error('there is one');
  const reset = (index: number) =>
    lease.changed(leader, { type: 'changes', id: 1, index, reset: true, effects: [] });
  begin();
  learn(9);
  t.ok(lease.answer(QUERY));
  reset(9);
  t.equal(lease.answer(QUERY), undefined, 'the leader tells of no change of it any more');
  learn(9);
  t.ok(lease.answer(QUERY), 'answers behind the reset are noted again');
  lease.watched(9, true, []);
  t.ok(lease.answer(QUERY), 'what the stream of changes has missed the leader told');
});

t.test(
  'a directory is listed ahead for lookups that find nothing, and not again soon',
  async (t) => {
    const { cluster, lease, asked, begin, pass } = world();
    const listings = () =>
      asked.filter(({ request }) => request.type === 'query').map(({ onAnswer }) => onAnswer);
    begin();
    const hold = cluster.leader && lease.holdAt(cluster.leader);
    if (hold === null) throw new Error('it is held');
    const full = { key: ROOT.ino, inode: { ...ROOT, entries: 5 } };
    lease.learn(hold, 2, [full]);
    const absent = { key: nameKey(1, Buffer.from('f')), parent: 1, ino: null };
    lease.learn(hold, 2, [absent]);
    t.equal(listings().length, 0, 'as the reply to an own unlink says');
    lease.missed(1);
    lease.missed(1);
    t.equal(listings().length, 1);
    const value = { entries: [], parent: 1, end: true, nextCookie: 1 };
    listings()[0]?.({ type: 'query-reply', id: 0, index: 2, result: { ok: true, value } });
    lease.missed(1);
    t.equal(listings().length, 1, 'it did not help a moment ago');
    pass(1_500);
    begin();
    const again = cluster.leader && lease.holdAt(cluster.leader);
    if (again === null) throw new Error('it is held again');
    lease.learn(again, 2, [full]);
    lease.missed(1);
    t.equal(listings().length, 2);
  },
);

t.test('entries that are looked up one after the other are listed ahead', async (t) => {
  const { lease, asked, begin, cluster } = world();
  const listings = () =>
    asked.flatMap(({ request, onAnswer }) => {
      const query = request.type === 'query' ? request.query : null;
      return query?.type === 'read-directory' ? [{ query, onAnswer }] : [];
    });
  for (const cookie of [1, 2, 3, 4]) lease.found(9, cookie);
  t.same(listings(), [], 'without a lease nothing would be kept');
  begin();
  lease.found(9, 5);
  lease.found(9, 6);
  t.match(listings(), [{ query: { ino: 9, cookie: 5, plus: true } }]);
  t.equal(listings().length, 1, 'one at a time');
  const name = Buffer.from('f');
  const inode = { ...ROOT, ino: 10 };
  const entries = [{ name, ino: 10, type: 0, cookie: 30, inode }];
  const value = { entries, parent: 1, end: false, nextCookie: 99 };
  listings()[0]?.onAnswer({ type: 'query-reply', id: 0, index: 1, result: { ok: true, value } });
  t.match(lease.answer({ type: 'lookup', parent: 9, name }), { value: { inode: { ino: 10 } } });
  lease.found(9, 31);
  t.match(listings()[1], { query: { cookie: 31 } }, 'and what comes behind that');
  cluster.leader = null;
  lease.found(9, 32);
  t.equal(listings().length, 2);
});
