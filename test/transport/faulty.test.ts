import t from 'tap';
import { seededRandom } from '../../src/base/random.js';
import { systemClock } from '../../src/base/system-clock.js';
import { createFaultyTransport, SLOW_MS_MAX } from '../../src/transport/faulty.js';
import { createMemoryNetwork } from '../../src/transport/memory.js';
import { observeTransport } from '../../src/transport/observed.js';
import { transportConformance } from '../conformance/transport.js';
import { until } from '../support/until.js';

let port = 1;
const network = createMemoryNetwork(systemClock, seededRandom(1));
const addresses = async (count: number) => Array.from({ length: count }, () => `memory:${port++}`);

transportConformance(t, 'faulty, without faults', {
  addresses,
  transport: (options) => createFaultyTransport(network.transport(options), systemClock).transport,
  dialer: (options) => network.dialer(options),
});

transportConformance(t, 'observed', {
  addresses,
  transport: (options) =>
    observeTransport(network.transport(options), {
      onSent: () => undefined,
      onReceived: () => undefined,
      onClients: () => undefined,
    }),
  dialer: (options) => network.dialer(options),
});

const peers = [
  { id: 'a', address: 'a:1' },
  { id: 'b', address: 'b:1' },
];

async function pair() {
  const world = createMemoryNetwork(systemClock, seededRandom(7));
  const downs: string[] = [];
  const make = (id: string) => {
    const options = { cluster: 'c', id, address: `${id}:1`, peers, report: () => undefined };
    const received: number[] = [];
    return { ...createFaultyTransport(world.transport(options), systemClock), id, received };
  };
  const [a, b] = [make('a'), make('b')];
  for (const { transport, received } of [a, b]) {
    await transport.start({
      onPeerMessage: (m) => void received.push('context' in m ? m.context : -1),
      onPeerDown: (peer) => void downs.push(peer),
      onClient: (client) => ({
        onRequest: ({ id }) => client.send({ type: 'snapshot-reply', id, index: 1 }),
        onClose: () => undefined,
      }),
    });
  }
  await until('connected', () => a.transport.connected('b') && b.transport.connected('a'));
  const send = (from: typeof a, to: string, context: number) => {
    const heartbeat = { type: 'heartbeat', from: from.id, to, term: 1, commit: 0 } as const;
    from.transport.send({ ...heartbeat, context });
  };
  return { world, a, b, downs, send };
}

t.test('a slow node sends and hears later, in order, also when it becomes faster', async (t) => {
  const { a, b, send } = await pair();
  a.faults.setSlow(200);
  const startMs = performance.now();
  let heardMs = 0;
  send(b, 'a', 8);
  void until('it heard', () => a.received.length > 0).then(() => {
    heardMs = performance.now();
  });
  send(a, 'b', 1);
  // What was said to it is with it, and waits for its time.
  await new Promise((resolve) => setTimeout(resolve, 50));
  a.faults.setSlow(100);
  send(a, 'b', 2);
  a.faults.setSlow(0);
  send(a, 'b', 3);
  send(b, 'a', 9);
  await until('all arrived', () => a.received.length === 2 && b.received.length === 3);
  t.ok(performance.now() - startMs >= 199);
  await until('when it heard is known', () => heardMs > 0);
  t.ok(heardMs - startMs >= 199, 'nothing that came later overtook it');
  t.strictSame(
    [a.received, b.received],
    [
      [8, 9],
      [1, 2, 3],
    ],
  );
  await Promise.all([a.transport.close(), b.transport.close()]);
});

t.test('a slow node hears its clients later, and answers them later, in order', async (t) => {
  const { world, a, b } = await pair();
  const got: number[] = [];
  const channel = await world
    .dialer({ cluster: 'c', name: 'client' })
    .dial(
      'a:1',
      { onResponse: (response) => void got.push(response.id), onClose: () => undefined },
      new AbortController().signal,
    );
  a.faults.setSlow(150);
  const startMs = performance.now();
  channel.send({ type: 'snapshot', id: 1 });
  channel.send({ type: 'snapshot', id: 2 });
  await until('answered', () => got.length === 2);
  t.ok(performance.now() - startMs >= 298, 'once on the way in and once on the way out');
  t.strictSame(got, [1, 2]);
  await Promise.all([a.transport.close(), b.transport.close()]);
});

t.test('a cut holds both ways at one end, is noticed, and heals', async (t) => {
  const { a, b, downs, send } = await pair();
  a.faults.setSlow(50);
  send(a, 'b', 1);
  a.faults.setSlow(0);
  a.faults.setCut(['b']);
  t.strictSame(downs, ['b']);
  t.strictSame(a.faults.cutFrom, ['b']);
  t.notOk(a.transport.connected('b'));
  send(a, 'b', 2);
  send(b, 'a', 3);
  await new Promise((resolve) => setTimeout(resolve, 100));
  t.strictSame([a.received, b.received], [[], []], 'nor what was on its way');
  a.faults.setCut([]);
  t.ok(a.transport.connected('b'));
  send(a, 'b', 4);
  send(b, 'a', 5);
  await until('healed', () => a.received.length === 1 && b.received.length === 1);
  t.strictSame([a.received, b.received], [[5], [4]]);
  t.throws(() => a.faults.setSlow(-1), { code: 'BAD_ARGUMENT' });
  t.throws(() => a.faults.setSlow(SLOW_MS_MAX + 1), { code: 'BAD_ARGUMENT' });
  await Promise.all([a.transport.close(), b.transport.close()]);
});
