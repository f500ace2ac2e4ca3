import t from 'tap';
import type { WatchEvent } from '../../src/codec/client-messages.js';
import type { Effect } from '../../src/filesystem/filesystem.js';
import { type Watcher, Watches } from '../../src/node/watches.js';
import { makeFile, startMemoryCluster } from '../support/cluster.js';
import { until } from '../support/until.js';

function inode(ino: number): Effect {
  return { type: 'inode', ino, data: true, gone: false };
}

function watcher() {
  const events: WatchEvent[] = [];
  const state = { id: 7, queuedBytes: 0, events, send: (event: WatchEvent) => events.push(event) };
  return state satisfies Watcher & { events: WatchEvent[] };
}

t.test('events come in order, each once, one for a batch', async (t) => {
  const watches = new Watches(10);
  const one = watcher();
  watches.add(one, 10);
  t.strictSame(one.events, []);
  watches.remember(11, [inode(1)]);
  watches.remember(12, []);
  watches.remember(13, [inode(2), inode(3)]);
  watches.applied(13);
  const effects = [inode(1), inode(2), inode(3)];
  t.strictSame(one.events, [{ type: 'watch-event', id: 7, index: 13, reset: false, effects }]);
  watches.applied(15);
  t.equal(one.events.length, 1, 'nothing changed that it could see');
  watches.tick();
  t.match(one.events[1], { index: 15, reset: false, effects: [] });
  watches.tick();
  t.equal(one.events.length, 2);
  const late = watcher();
  watches.add(late, 12);
  t.match(late.events, [{ index: 15, reset: false, effects: [inode(2), inode(3)] }]);
  const ahead = watcher();
  watches.add(ahead, 20);
  watches.remember(16, [inode(4)]);
  watches.applied(16);
  t.strictSame(ahead.events, [], 'it has seen that elsewhere');
  t.equal(one.events.length, 3);
  watches.remove(one);
  watches.remember(17, [inode(5)]);
  watches.applied(17);
  t.equal(one.events.length, 3);
});

t.test('an answer of level session comes behind the changes up to it', async (t) => {
  const cluster = await startMemoryCluster({ nodes: 1 });
  t.teardown(() => cluster.stop());
  const client = await cluster.client();
  const leader = await cluster.leader();
  const order: string[] = [];
  const handlers = leader.connect((response) => order.push(response.type));
  handlers.onRequest({ type: 'watch', id: 1, fromIndex: client.index });
  // It has no effects, of which a watcher would be told at once.
  await client.execute({ type: 'nothing' });
  order.length = 0;
  const query = { type: 'statfs' } as const;
  handlers.onRequest({ type: 'query', id: 2, level: 'session', minIndex: client.index, query });
  await until('an answer', () => order.includes('query-reply'));
  t.strictSame(order, ['watch-event', 'query-reply']);
  // Also where it waited for the node to come so far.
  order.length = 0;
  handlers.onRequest({ type: 'query', id: 3, level: 'session', minIndex: client.index + 1, query });
  await client.execute({ type: 'nothing' });
  await until('an answer', () => order.includes('query-reply'));
  t.equal(order.at(-2), 'watch-event');
});

t.test('what is gone is a reset', async (t) => {
  const watches = new Watches(10);
  const old = watcher();
  watches.add(old, 3);
  t.strictSame(old.events, [{ type: 'watch-event', id: 7, index: 10, reset: true, effects: [] }]);
  for (let index = 11; index <= 100_000; index++) watches.remember(index, [inode(index)]);
  watches.applied(100_000);
  t.match(old.events[1], { index: 100_000, reset: true });
  const recent = watcher();
  watches.add(recent, 99_000);
  t.equal(recent.events.flatMap((event) => event.effects).length, 1_000);
  watches.reset(200_000);
  t.match(recent.events.at(-1), { index: 200_000, reset: true, effects: [] });
});

t.test('a watcher that does not read waits, and loses nothing that is remembered', async (t) => {
  const watches = new Watches(0);
  const slow = watcher();
  watches.add(slow, 0);
  slow.queuedBytes = 100_000_000;
  for (let index = 1; index <= 10_000; index++) {
    watches.remember(index, [inode(index)]);
    watches.applied(index);
  }
  t.equal(slow.events.length, 0);
  slow.queuedBytes = 0;
  watches.tick();
  t.equal(slow.events.length, 3, 'in pieces');
  const inos = slow.events.flatMap((event) =>
    event.effects.map((effect) => 'ino' in effect && effect.ino),
  );
  t.strictSame(
    inos,
    Array.from({ length: 10_000 }, (_, i) => i + 1),
  );
  t.equal(slow.events.at(-1)?.index, 10_000);
});

t.test('what a watcher was told of, the same node answers', async (t) => {
  const cluster = await startMemoryCluster({ nodes: 3 });
  t.teardown(() => cluster.stop());
  const client = await cluster.client();
  const [follower] = await cluster.followers();
  const events = follower?.watch(client.index) ?? [];
  for (let i = 0; i < 20; i++) await client.execute(makeFile(`f${i}`));
  await until('all events', () => (events.at(-1)?.index ?? 0) >= client.index);
  const names = events.flatMap((event) =>
    event.effects.flatMap((effect) =>
      effect.type === 'entry' ? [Buffer.from(effect.name).toString()] : [],
    ),
  );
  t.strictSame(
    names,
    Array.from({ length: 20 }, (_, i) => `f${i}`),
  );
  t.ok(events.every((event, i) => i === 0 || event.index > (events[i - 1]?.index ?? 0)));
  t.ok((follower?.node.status().appliedIndex ?? 0) >= client.index);
});
