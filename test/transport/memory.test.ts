import t from 'tap';
import { seededRandom } from '../../src/base/random.js';
import { systemClock } from '../../src/base/system-clock.js';
import { createMemoryNetwork } from '../../src/transport/memory.js';
import type { Transport } from '../../src/transport/transport.js';
import { transportConformance } from '../conformance/transport.js';
import { until } from '../support/until.js';

let port = 1;
const network = createMemoryNetwork(systemClock, seededRandom(1));

transportConformance(t, 'memory', {
  addresses: async (count) => Array.from({ length: count }, () => `memory:${port++}`),
  transport: (options) => network.transport(options),
  dialer: (options) => network.dialer(options),
});

const peers = [
  { id: 'a', address: 'a:1' },
  { id: 'b', address: 'b:1' },
];

async function pair() {
  const world = createMemoryNetwork(systemClock, seededRandom(7));
  const got: number[] = [];
  const make = (id: string) => {
    const address = `${id}:1`;
    return world.transport({ cluster: 'c', id, address, peers, report: () => undefined });
  };
  const [a, b] = [make('a'), make('b')];
  for (const transport of [a, b]) {
    await transport.start({
      onPeerMessage: (m) => void got.push('context' in m ? m.context : -1),
      onPeerDown: () => undefined,
      onClient: () => ({ onRequest: () => undefined, onClose: () => undefined }),
    });
  }
  await until('connected', () => a.connected('b') && b.connected('a'));
  return { world, a, b, got };
}

function send(transport: Transport, from: string, to: string, context: number): void {
  transport.send({ type: 'heartbeat', from, to, term: 1, commit: 0, context });
}

t.test('a cut holds one direction, and a healed one delivers in order', async (t) => {
  const { world, a, b, got } = await pair();
  world.cut('a', 'b');
  send(a, 'a', 'b', 1);
  send(a, 'a', 'b', 2);
  send(b, 'b', 'a', 3);
  await until('the other direction works', () => got.length === 1);
  t.strictSame(got, [3]);
  t.ok(a.queuedBytes('b') > 0);
  world.heal('a', 'b');
  await until('the rest came', () => got.length === 3);
  t.strictSame(got, [3, 1, 2]);
  t.equal(a.queuedBytes('b'), 0);
  await Promise.all([a.close(), b.close()]);
});

t.test('a long cut ends the connection, which is made again after it', async () => {
  const { world, a, b, got } = await pair();
  world.cut('a', 'b');
  await until('given up', () => !a.connected('b'));
  world.heal('a', 'b');
  await until('made again', () => a.connected('b'));
  send(a, 'a', 'b', 4);
  await until('arrived', () => got.includes(4));
  await Promise.all([a.close(), b.close()]);
});

t.test('delays keep the order, loss loses some, a reset connects again', async (t) => {
  const { world, a, b, got } = await pair();
  world.setWeather('a', 'b', { delayMaxMs: 20, loss: 0.3 });
  for (let i = 0; i < 200; i++) send(a, 'a', 'b', i);
  await until('nothing is on its way', () => a.queuedBytes('b') === 0);
  t.ok(got.length > 80 && got.length < 200, `${got.length} of 200`);
  t.strictSame(
    got,
    [...got].sort((x, y) => x - y),
  );
  world.setWeather('a', 'b', {});
  world.reset('a', 'b');
  await until('gone', () => !a.connected('b'));
  await until('made again', () => a.connected('b'));
  await Promise.all([a.close(), b.close()]);
});
