import t, { type Test } from 'tap';
import { systemRandom } from '../../src/base/random.js';
import { systemClock } from '../../src/base/system-clock.js';
import { createFilesystemClient } from '../../src/client/client.js';
import { Cluster } from '../../src/client/cluster.js';
import type { FilesystemClient } from '../../src/client/filesystem-client.js';
import type { NodeStatus } from '../../src/codec/client-messages.js';
import { type ClientWorld, filesystemClientSuite } from '../conformance/filesystem-client.js';
import {
  ClientCluster,
  memoryNetwork,
  type TestNetwork,
  webSocketNetwork,
} from '../support/client-cluster.js';

async function world(
  network: TestNetwork,
  { inProcess = false, cache = false } = {},
): Promise<ClientWorld> {
  const cluster = new ClientCluster(network);
  await cluster.start();
  const addresses = await cluster.addresses();
  const [preferred = ''] = addresses;
  const own = cluster.nodes.find((node) => node.status().address === preferred);
  const dialer = inProcess && own !== undefined ? cluster.dialerIn(own) : cluster.dialer();
  const clients: FilesystemClient[] = [];
  return {
    client(options = {}) {
      const client = createFilesystemClient({ dialer, addresses, name: 'test', cache, ...options });
      clients.push(client);
      return client;
    },
    async failover() {
      await cluster.stop(await cluster.leader());
    },
    async loseQuorum() {
      await Promise.all(
        cluster.nodes.filter((node) => node !== own).map((node) => cluster.stop(node)),
      );
    },
    async close() {
      await Promise.all(clients.map((client) => client.close()));
      await cluster.stopAll();
    },
  };
}

filesystemClientSuite(t, 'over a network in memory', () => world(memoryNetwork()));
filesystemClientSuite(t, 'with answers from memory', () => world(memoryNetwork(), { cache: true }));

filesystemClientSuite(t, 'in the process of a node', () =>
  world(memoryNetwork(), { inProcess: true, cache: true }),
);

filesystemClientSuite(t, 'over WebSocket', async () => world(await webSocketNetwork()));

t.test('a member that has moved is found where it is now', async (t) => {
  const { told, links } = await silentCluster(t);
  t.strictSame(told({ b: 'b:1' }), ['a:1', 'b:1']);
  const [, old] = links();
  if (old !== undefined) old.nodeId = 'b';
  t.strictSame(told({ b: 'b:2' }), ['a:1', 'b:2'], 'its old link is closed');
});

t.test('nodes that have left are forgotten, unless they were given', async (t) => {
  const { told, links } = await silentCluster(t);
  const named = (...ids: readonly string[]) =>
    told(Object.fromEntries(ids.map((id) => [id, `${id}:1`])));
  t.strictSame(named('b', 'c'), ['a:1', 'b:1', 'c:1']);
  const left = links()[1];
  t.strictSame(named('c', 'd'), ['a:1', 'c:1', 'd:1']);
  t.equal(left?.closed, true);
  for (let n = 0; n < 100; n++) named('c', `e${n}`);
  t.strictSame(named('c', 'f'), ['a:1', 'c:1', 'f:1']);
});

t.test('who knows no leader learns members from anybody', async (t) => {
  const { told } = await silentCluster(t);
  const follower = { role: 'follower', leader: null } as const;
  t.strictSame(told({ b: 'b:1', c: 'c:1' }, follower), ['a:1', 'b:1', 'c:1']);
  told({ b: 'b:1', c: 'c:1' });
  t.strictSame(told({ d: 'd:1' }, { ...follower, id: 'b' }).length, 4, 'a deposed leader, too');
});

t.test('a node that was given by another address is not met twice', async (t) => {
  const { told, links } = await silentCluster(t, 'a:1', 'alias-of-b:1');
  t.strictSame(told({ b: 'b:1' }), ['a:1', 'alias-of-b:1'], 'it has not said who it is');
  const [, given] = links();
  if (given !== undefined) given.nodeId = 'b';
  t.strictSame(told({ b: 'b:1', c: 'c:1' }), ['a:1', 'alias-of-b:1', 'c:1']);
});

t.test('a node that others name as their leader is dialled at once, once a term', async (t) => {
  const { told, links, dialled, dying } = await silentCluster(t);
  const follower = { role: 'follower', leader: 'b' } as const;
  told({ b: 'b:1' }, follower);
  const [, link] = links();
  dying(true);
  // Many tries in vain: the next one would come in a second.
  for (let n = 0; n < 10; n++) {
    link?.reset('lost');
    link?.dialNow();
    await new Promise((resolve) => setImmediate(resolve));
  }
  dying(false);
  const countBefore = dialled.length;
  told({ b: 'b:1' }, { ...follower, term: 1 });
  t.equal(dialled.length, countBefore, 'no news');
  told({ b: 'b:1' }, { ...follower, term: 2 });
  t.strictSame(dialled.slice(countBefore), ['b:1']);
  told({ b: 'b:1' }, { ...follower, term: 3 });
  t.equal(dialled.length, countBefore + 1, 'it is being dialled');
});

/** One whose nodes never answer; `told`: what a status says makes the client dial these. */
async function silentCluster(t: Test, ...given: readonly string[]) {
  const addresses = given.length === 0 ? ['a:1'] : given;
  const dialled: string[] = [];
  const channel = { queuedBytes: 0, send() {}, close() {} };
  let isDead = false;
  const dialer = {
    dial: (address: string) => {
      dialled.push(address);
      if (addresses.includes(address)) return Promise.resolve(channel);
      return isDead ? Promise.reject(new Error('refused')) : new Promise<never>(() => {});
    },
  };
  const unheard = () => {};
  const cluster = new Cluster(addresses, dialer, systemClock, systemRandom, {
    onLeader: unheard,
    onOpen: unheard,
    onClosed: unheard,
    onChanges: unheard,
  });
  t.teardown(() => cluster.close());
  const [first] = cluster.links;
  cluster.start();
  await new Promise((resolve) => setImmediate(resolve));
  const told = (peers: Readonly<Record<string, string>>, says: Partial<NodeStatus> = {}) => {
    const status = {
      ...{ id: 'a', role: 'leader', term: 1, leader: 'a', appliedIndex: 1, leaseMs: 0 },
      ...says,
      peers: Object.entries(peers).map(([id, address]) => ({ id, address })),
    };
    if (first !== undefined) cluster.onStatus(first, status as never);
    return cluster.links.map(({ address }) => address);
  };
  const dying = (dead: boolean) => {
    isDead = dead;
  };
  return { told, links: () => cluster.links, dialled, dying };
}
