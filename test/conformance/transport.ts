import { isDeepStrictEqual } from 'node:util';
import type { Test } from 'tap';
import type { Report } from '../../src/base/report.js';
import type { ClientRequest, ClientResponse } from '../../src/codec/client-messages.js';
import type { PeerMessage } from '../../src/codec/peer-messages.js';
import type { TransportOptions } from '../../src/transport/member.js';
import type {
  Channel,
  ClientConnection,
  Dialer,
  Transport,
} from '../../src/transport/transport.js';
import { until } from '../support/until.js';

/** One implementation's way to make its parts; addresses that nobody else uses. */
export interface TransportWorld {
  addresses(count: number): Promise<readonly string[]>;
  transport(options: TransportOptions): Transport;
  dialer(options: { readonly cluster: string; readonly name: string }): Dialer;
}

/** A node that keeps what came and answers every request with `snapshot-reply` of the same id. */
class TestNode {
  readonly messages: PeerMessage[] = [];
  readonly requests: ClientRequest[] = [];
  readonly clients: ClientConnection[] = [];
  readonly reports: string[] = [];
  closedClients = 0;
  downs = 0;
  readonly transport: Transport;

  constructor(
    world: TransportWorld,
    readonly id: string,
    readonly peers: readonly { readonly id: string; readonly address: string }[],
    readonly cluster = 'moot',
  ) {
    const address = peers.find((peer) => peer.id === id)?.address as string;
    const report: Report = (_, line) => void this.reports.push(line);
    this.transport = world.transport({ cluster, id, address, peers, report });
  }

  start(): Promise<void> {
    return this.transport.start({
      onPeerMessage: (message) => void this.messages.push(message),
      onPeerDown: () => void this.downs++,
      onClient: (client) => {
        this.clients.push(client);
        return {
          onRequest: (request) => {
            this.requests.push(request);
            client.send({ type: 'snapshot-reply', id: request.id, index: 7 });
          },
          onClose: () => void this.closedClients++,
        };
      },
    });
  }

  send(to: string, context: number): void {
    this.transport.send({ type: 'heartbeat', from: this.id, to, term: 1, commit: 0, context });
  }
}

interface Known {
  readonly id: string;
  readonly address: string;
}

async function makePeers(world: TransportWorld, count: number) {
  const addresses = await world.addresses(count);
  return addresses.map((address, i) => ({ id: `n${i + 1}`, address }));
}

class TestClient {
  readonly responses: ClientResponse[] = [];
  closed = 0;
  channel: Channel | null = null;

  async dial(dialer: Dialer, address: string): Promise<Channel> {
    const handlers = {
      onResponse: (response: ClientResponse) => void this.responses.push(response),
      onClose: () => void this.closed++,
    };
    this.channel = await dialer.dial(address, handlers, new AbortController().signal);
    return this.channel;
  }
}

const NO_HANDLERS = { onResponse: () => undefined, onClose: () => undefined };

export function transportConformance(t: Test, name: string, world: TransportWorld): void {
  const dialer = world.dialer({ cluster: 'moot', name: 'test' });

  t.test(`${name}: peers find each other, and messages arrive in order`, async (t) => {
    const peers = await makePeers(world, 3);
    const nodes = peers.map(({ id }) => new TestNode(world, id, peers));
    t.teardown(() => Promise.all(nodes.map((node) => node.transport.close())));
    for (const node of nodes) await node.start();
    const [a, b, c] = nodes as [TestNode, TestNode, TestNode];
    await until('all connected', () =>
      nodes.every((n) => peers.every((p) => p.id === n.id || n.transport.connected(p.id))),
    );
    t.notOk(a.transport.connected('n1'), 'not to itself');
    for (let i = 0; i < 500; i++) {
      a.send('n2', i);
      b.send('n1', 1000 + i);
      c.send('n1', 2000 + i);
    }
    await until('all arrived', () => a.messages.length === 1000 && b.messages.length === 500);
    const contexts = (node: TestNode, from: string) =>
      node.messages.filter((m) => m.from === from).map((m) => 'context' in m && m.context);
    const run = (first: number) => Array.from({ length: 500 }, (_, i) => first + i);
    t.strictSame(contexts(b, 'n1'), run(0));
    t.strictSame(contexts(a, 'n2'), run(1000));
    t.strictSame(contexts(a, 'n3'), run(2000));
    t.ok(b.messages.every((m) => m.to === 'n2'));
    t.equal(a.transport.queuedBytes('n2'), 0);
    t.equal(a.transport.queuedBytes('nobody'), 0);
    a.send('nobody', 1);
  });

  t.test(
    `${name}: an answer that is too large is refused, and a change ends the connection`,
    async (t) => {
      const peers = await makePeers(world, 1);
      const [node] = peers.map(({ id }) => new TestNode(world, id, peers)) as [TestNode];
      t.teardown(() => node.transport.close());
      await node.start();
      const client = new TestClient();
      const channel = await client.dial(dialer, peers[0]?.address ?? '');
      await until('the node has it', () => node.clients.length === 1);
      const names = Array.from({ length: 3 }, () => new Uint8Array(4_194_304));
      const [connection] = node.clients;
      const entries = names.map((entry) => ({ type: 'entry', parent: 1, name: entry }) as const);
      const ok = true;
      const result = { ok, value: { names } } as const;
      connection?.send({ type: 'query-reply', id: 7, index: 1, result });
      const outcome = { type: 'reply', reply: { ok, value: null } } as const;
      const traces = entries.map((entry) => ({ ...entry, ino: null }));
      const reply = { type: 'submit-reply', id: 8, index: 1, outcome, repeated: false } as const;
      connection?.send({ ...reply, traces, changes: null });
      await until('both are refused', () => client.responses.length === 2);
      t.match(client.responses, [
        { type: 'refusal', id: 7, code: 'BAD_MESSAGE' },
        { type: 'refusal', id: 8, code: 'OUTCOME_UNKNOWN' },
      ]);
      t.equal(client.closed, 0);
      channel.send({ type: 'status', id: 9 });
      await until('it goes on', () => client.responses.length === 3);
      connection?.send({ type: 'watch-event', id: 1, index: 1, reset: false, effects: entries });
      await until('it is left', () => client.closed === 1);
      t.equal(client.responses.length, 3);
    },
  );

  t.test(`${name}: a full append and a full snapshot chunk arrive`, async (t) => {
    const peers = await makePeers(world, 2);
    const [a, b] = peers.map(({ id }) => new TestNode(world, id, peers)) as [TestNode, TestNode];
    t.teardown(() => Promise.all([a.transport.close(), b.transport.close()]));
    await Promise.all([a.start(), b.start()]);
    await until('connected', () => a.transport.connected('n2'));
    const data = new Uint8Array(1_048_576).map((_, i) => i * 7);
    const ends = { from: 'n1', to: 'n2', term: 3 };
    const entries = [1, 2, 3].map((index) => ({ index, term: 3, kind: 'command' as const, data }));
    const sent: PeerMessage[] = [
      { type: 'append', ...ends, prevIndex: 0, prevTerm: 0, commit: 0, entries },
      {
        type: 'snapshot-chunk',
        ...ends,
        stream: 1,
        mark: { index: 1, term: 1 },
        sequence: 0,
        last: true,
        checksum: 5,
        data,
      },
    ];
    for (const message of sent) a.transport.send(message);
    await until('both arrived', () => b.messages.length === 2);
    // Comparing millions of bytes one by one would take a test library many seconds.
    t.ok(isDeepStrictEqual(b.messages, sent));
  });

  t.test(`${name}: a peer that goes is noticed, and comes back`, async (t) => {
    const peers = await makePeers(world, 2);
    const a = new TestNode(world, 'n1', peers);
    let b = new TestNode(world, 'n2', peers);
    t.teardown(() => Promise.all([a.transport.close(), b.transport.close()]));
    await a.start();
    await until('n2 is missed', () => a.downs > 0);
    a.send('n2', 1);
    for (let round = 0; round < 2; round++) {
      await b.start();
      await until('connected', () => a.transport.connected('n2'));
      a.send('n2', 2);
      await until('arrived', () => b.messages.length === 1);
      t.match(b.messages[0], { context: 2 });
      const { downs } = a;
      await b.transport.close();
      await until('noticed', () => !a.transport.connected('n2') && a.downs > downs);
      b = new TestNode(world, 'n2', peers);
    }
  });

  t.test(`${name}: a client asks and is answered, in order`, async (t) => {
    const peers = await makePeers(world, 1);
    const node = new TestNode(world, 'n1', peers);
    t.teardown(() => node.transport.close());
    await node.start();
    const client = new TestClient();
    const channel = await client.dial(dialer, peers[0]?.address as string);
    for (let id = 0; id < 1000; id++) channel.send({ type: 'status', id });
    await until('all answered', () => client.responses.length === 1000);
    t.strictSame(
      client.responses.map((r) => r.id),
      Array.from({ length: 1000 }, (_, i) => i),
    );
    const data = new Uint8Array(1_048_576).fill(9);
    const write: ClientRequest = {
      type: 'submit',
      id: 1000,
      session: 1,
      sequence: 1,
      acknowledged: 0,
      command: { type: 'write', ino: 2, offset: 0, data },
    };
    channel.send(write);
    await until('the largest write is answered', () => client.responses.length === 1001);
    const last = node.requests[1000];
    t.ok(isDeepStrictEqual(last, write));
    channel.close();
    await until('both ends know', () => client.closed === 1 && node.closedClients === 1);
    channel.send({ type: 'status', id: 1 });
    channel.close();
    node.clients[0]?.send({ type: 'snapshot-reply', id: 1, index: 1 });
    t.equal(client.closed, 1);
  });

  t.test(`${name}: a node closes a client, or stops`, async (t) => {
    const peers = await makePeers(world, 1);
    const address = peers[0]?.address as string;
    const node = new TestNode(world, 'n1', peers);
    await node.start();
    const [first, second] = [new TestClient(), new TestClient()];
    await first.dial(dialer, address);
    await second.dial(dialer, address);
    node.clients[0]?.close('enough');
    t.equal(first.closed, 0, 'not from within the call');
    await until('the first knows', () => first.closed === 1 && node.closedClients === 1);
    t.equal(second.closed, 0);
    await node.transport.close();
    await until('the second knows', () => second.closed === 1 && node.closedClients === 2);
    await node.transport.close();
    await t.rejects(dialer.dial(address, NO_HANDLERS, new AbortController().signal), {
      code: 'UNREACHABLE',
    });
  });

  t.test(`${name}: the wrong cluster and the wrong node are refused`, async (t) => {
    const peers = await makePeers(world, 2);
    const [one, two] = peers as [(typeof peers)[0], (typeof peers)[0]];
    const node = new TestNode(world, 'n1', peers);
    const foreign = new TestNode(world, 'n2', peers, 'another');
    t.teardown(() => Promise.all([node.transport.close(), foreign.transport.close()]));
    await Promise.all([node.start(), foreign.start()]);
    await until('both say so', () => node.reports.length > 0 && foreign.reports.length > 0);
    t.match(node.reports.join('\n'), /cluster 'another'/);
    t.notOk(node.transport.connected('n2'));
    const stranger = world.dialer({ cluster: 'elsewhere', name: 'stranger' });
    await t.rejects(stranger.dial(one.address, NO_HANDLERS, new AbortController().signal), {
      code: 'WRONG_CLUSTER',
      message: /elsewhere/,
    });
    await foreign.transport.close();
    const swapped = [
      { id: 'n9', address: two.address },
      { id: 'n1', address: one.address },
    ];
    const unknown = new TestNode(world, 'n9', swapped);
    t.teardown(() => unknown.transport.close());
    await unknown.start();
    const told = () => node.reports.some((line) => line.includes("node 'n9' answered, not 'n2'"));
    await until('it is told', () => told() || unknown.reports.length > 0);
    t.match([...node.reports, ...unknown.reports].join('\n'), /'n9'.* not 'n2'/);
    t.notOk(node.transport.connected('n2'));
    t.equal(node.messages.length, 0);
  });

  t.test(`${name}: members come and go, and a stranger is answered while it stays`, async (t) => {
    const [one, two, three] = (await makePeers(world, 3)) as [Known, Known, Known];
    const node = new TestNode(world, one.id, [one]);
    const stranger = new TestNode(world, two.id, [two, one]);
    const member = new TestNode(world, three.id, [three]);
    t.teardown(() =>
      Promise.all([node, stranger, member].map(({ transport }) => transport.close())),
    );
    await Promise.all([node.start(), stranger.start(), member.start()]);
    await until('the stranger can be answered', () => node.transport.connected(two.id));
    node.send(two.id, 7);
    await until('it is', () => stranger.messages.length === 1);
    t.notOk(node.transport.connected(three.id));
    node.transport.setPeers([one, three]);
    await until('the new member is dialled', () => node.transport.connected(three.id));
    node.send(three.id, 8);
    await until('it hears', () => member.messages.length === 1);
    await stranger.transport.close();
    await until('the stranger has gone', () => !node.transport.connected(two.id));
    await member.transport.close();
    node.transport.setPeers([one, { id: 'n8', address: 'no-port' }, three]);
    t.match(node.reports.join('\n'), /n8 cannot be reached: .*no port/, 'and goes on without it');
    node.transport.setPeers([one]);
    await until('nobody is left', () => !node.transport.connected(three.id));
  });

  t.test(`${name}: nodes of two incarnations refuse each other`, async (t) => {
    const peers = await makePeers(world, 3);
    const nodes = peers.map(({ id }) => new TestNode(world, id, peers));
    t.teardown(() => Promise.all(nodes.map((node) => node.transport.close())));
    const [old, rebuilt, young] = nodes as [TestNode, TestNode, TestNode];
    old.transport.setIncarnation(1);
    rebuilt.transport.setIncarnation(2);
    for (const node of nodes) await node.start();
    const saysSo = ({ reports }: TestNode) =>
      reports.some((line) => /another cluster of the name 'moot'/.test(line));
    await until('they say so', () => saysSo(old) && saysSo(rebuilt));
    t.notOk(old.transport.connected('n2'));
    t.notOk(rebuilt.transport.connected('n1'));
    const all = () => young.transport.connected('n1') && young.transport.connected('n2');
    await until('who does not know yet is heard by both', all);
    young.transport.setIncarnation(2);
    await until('and leaves one when it does', () => !young.transport.connected('n1'));
    t.ok(young.transport.connected('n2'));
    await until('who leaves it, too', () => !old.transport.connected('n3'));
    old.send('n3', 1);
    rebuilt.send('n3', 2);
    await until('one is heard', () => young.messages.length > 0);
    t.match(young.messages, [{ from: 'n2' }]);
  });

  t.test(`${name}: a client stays with the incarnation that it met first`, async (t) => {
    const peers = await makePeers(world, 2);
    const nodes = peers.map(({ id }) => new TestNode(world, id, peers));
    t.teardown(() => Promise.all(nodes.map((node) => node.transport.close())));
    const [old, rebuilt] = nodes as [TestNode, TestNode];
    old.transport.setIncarnation(1);
    rebuilt.transport.setIncarnation(2);
    for (const node of nodes) await node.start();
    const faithful = world.dialer({ cluster: 'moot', name: 'faithful' });
    const dial = (address: string) =>
      faithful.dial(address, NO_HANDLERS, new AbortController().signal);
    const [one, two] = peers as [Known, Known];
    const channel = await dial(one.address);
    await t.rejects(dial(two.address), { code: 'WRONG_CLUSTER', message: /recovered/ });
    channel.close();
    await t.rejects(dial(two.address), { code: 'WRONG_CLUSTER' });
    (await dial(one.address)).close();
  });

  t.test(`${name}: a client that came before there was an incarnation comes again`, async (t) => {
    const peers = await makePeers(world, 1);
    const [{ id, address }] = peers as [Known];
    const node = new TestNode(world, id, peers);
    t.teardown(() => node.transport.close());
    await node.start();
    const faithful = world.dialer({ cluster: 'moot', name: 'faithful' });
    let ended = 0;
    const handlers = { ...NO_HANDLERS, onClose: () => void ended++ };
    const dial = () => faithful.dial(address, handlers, new AbortController().signal);
    await dial();
    node.transport.setIncarnation(1);
    await until('the end of a connection that does not know it', () => ended === 1);
    const told = await dial();
    node.transport.setIncarnation(1);
    node.transport.setIncarnation(2);
    await t.rejects(dial(), { code: 'WRONG_CLUSTER' });
    t.equal(ended, 1, 'who was told once is left alone');
    told.close();
  });

  t.test(`${name}: dialling is given up on a signal`, async (t) => {
    const [address] = (await world.addresses(1)) as [string];
    const given = new AbortController();
    given.abort();
    await t.rejects(dialer.dial(address, NO_HANDLERS, given.signal), { code: 'INTERRUPTED' });
    await t.rejects(dialer.dial(address, NO_HANDLERS, new AbortController().signal), {
      code: 'UNREACHABLE',
    });
  });

  t.test(`${name}: a taken address is one sentence`, async (t) => {
    const peers = await makePeers(world, 1);
    const node = new TestNode(world, 'n1', peers);
    t.teardown(() => node.transport.close());
    await node.start();
    const second = new TestNode(world, 'n1', peers);
    await t.rejects(second.start(), { code: 'PORT_TAKEN', message: /taken/ });
    await second.transport.close();
  });

  t.test(`${name}: an address that is none is refused when it is given`, async (t) => {
    t.throws(() => new TestNode(world, 'n1', [{ id: 'n1', address: 'nowhere' }]), {
      code: 'BAD_ARGUMENT',
    });
  });
}
