import type { Socket } from 'node:net';
import t from 'tap';
import { PROTOCOL_VERSION } from '../../src/codec/greeting.js';
import { pack } from '../../src/codec/msgpack.js';
import type { Channel, ClientConnection, Transport } from '../../src/transport/transport.js';
import { createWebSocketDialer, createWebSocketTransport } from '../../src/transport/ws.js';
import {
  BAD_FRAMES,
  clientGreeting,
  dialed,
  masked,
  NO_WEBSOCKET,
  peerGreeting,
  TOO_LARGE,
  upgraded as upgradedAt,
  visit as visitAt,
  WRONG_BITS,
} from '../support/bad-frames.js';
import { freeAddresses } from '../support/ports.js';
import { until } from '../support/until.js';

const CLUSTER = 'moot';
/** What a node may have more in memory after an attack; garbage that was not collected yet included. */
const GROWTH_BYTES_MAX = 150 * 1024 * 1024;

let address: string;
let node: Transport;
let reports: string[] = [];
let witness: Channel;
let closing = false;
let answers = 0;
let peerMessages = 0;
/** What a client's request does at the node: an answer of this many bytes. */
let answerBytes = 0;
const clients = new Set<ClientConnection>();
let clientsEver = 0;

t.before(async () => {
  const [free] = (await freeAddresses(1)) as [string];
  address = free;
  node = createWebSocketTransport({
    cluster: CLUSTER,
    id: 'n1',
    address,
    // The peer's address leads nowhere: it comes to us in these tests.
    peers: [
      { id: 'n1', address },
      { id: 'n2', address: '127.0.0.1:1' },
    ],
    report: (_, line) => void reports.push(line),
  });
  await node.start({
    onPeerMessage: () => void peerMessages++,
    onPeerDown: () => undefined,
    onClient(client) {
      clients.add(client);
      clientsEver++;
      return {
        onRequest: ({ id }) =>
          client.send({
            type: 'query-reply',
            id,
            index: 1,
            result: { ok: true, value: { data: new Uint8Array(answerBytes), size: 0 } },
          }),
        onClose: () => void clients.delete(client),
      };
    },
  });
  const dialer = createWebSocketDialer({ cluster: CLUSTER, name: 'witness' });
  const handlers = {
    onResponse: () => void answers++,
    onClose: () => {
      if (!closing) t.fail('another connection was harmed');
    },
  };
  witness = await dialer.dial(address, handlers, new AbortController().signal);
});

t.beforeEach(() => {
  reports = [];
  answerBytes = 0;
});

t.teardown(() => node.close());

/** The node is well, and so are the connections that did nothing wrong. */
async function allIsWell(): Promise<void> {
  const before = answers;
  witness.send({ type: 'status', id: 1 });
  await until('the node answers others', () => answers === before + 1);
}

const visit = (path: string, frames: readonly (Uint8Array | string)[]) =>
  visitAt(address, path, frames);
const upgraded = (path: string) => upgradedAt(address, path);

const asClient = clientGreeting(CLUSTER);
const asPeer = peerGreeting(CLUSTER, 'n2', 'n1');

t.test('greetings that cannot be are answered with a code and a reason', async (t) => {
  const cases: readonly (readonly [string, string, Uint8Array | string, number, RegExp])[] = [
    ['another version', '/client', pack(['mootfs', 9, 0, CLUSTER, [2, 'v']]), 4000, /version 9/],
    [
      'another group',
      '/client',
      pack(['mootfs', PROTOCOL_VERSION, 7, CLUSTER, [2, 'v'], 0]),
      4000,
      /group 7/,
    ],
    ['another magic', '/client', pack(['x', 1, 0, CLUSTER, [2, 'v']]), 4000, /magic/],
    [
      'another cluster',
      '/client',
      pack(['mootfs', PROTOCOL_VERSION, 0, 'x', [2, 'v'], 0]),
      4001,
      /cluster 'x'/,
    ],
    ['a peer on the clients’ path', '/client', asPeer, 4000, /a peer on the clients' path/],
    ['a client on the peers’ path', '/peer', asClient, 4000, /a client on the peers' path/],
    [
      'for another',
      '/peer',
      pack(['mootfs', PROTOCOL_VERSION, 0, CLUSTER, [1, 'n2', 'n3', '127.0.0.1:1'], 0]),
      4002,
      /'n3'/,
    ],
    [
      'without an address',
      '/peer',
      pack(['mootfs', PROTOCOL_VERSION, 0, CLUSTER, [1, 'n9', 'n1', 'nowhere'], 0]),
      4000,
      /nowhere/,
    ],
    [
      'from itself',
      '/peer',
      pack(['mootfs', PROTOCOL_VERSION, 0, CLUSTER, [1, 'n1', 'n1', '127.0.0.1:1'], 0]),
      4002,
      /another node/,
    ],
    ['text', '/client', 'hello', 4000, /ends early/],
    ['nothing', '/client', new Uint8Array(0), 4000, /ends early/],
    ['a request', '/client', pack([4, 1]), 4000, /greeting/],
    [
      'long names',
      '/client',
      pack(['mootfs', PROTOCOL_VERSION, 0, 'ü'.repeat(4000), [2, 'v'], 0]),
      4001,
      /cluster/,
    ],
  ];
  for (const [name, path, frame, code, reason] of cases) {
    reports = [];
    const end = await visit(path, [frame]).end;
    t.match(end, { code, reason }, name);
    await until('one line is reported', () => reports.length === 1);
  }
  await allIsWell();
});

t.test('frames that cannot be end their connection', async (t) => {
  for (const [name, frame] of Object.entries(BAD_FRAMES)) {
    reports = [];
    t.match(await visit('/client', [asClient, frame]).end, { code: 4000, reason: /./ }, name);
    t.match(await visit('/peer', [asPeer, frame]).end, { code: 4000, reason: /./ }, name);
  }
  for (const [path, large] of Object.entries(TOO_LARGE)) {
    const greeting = path === '/peer' ? asPeer : asClient;
    t.match(await visit(path, [greeting, large]).end, { code: 1009 }, `too large for ${path}`);
  }
  t.equal(peerMessages, 0);
  await allIsWell();
});

t.test('good frames behind a bad one have no effect', async (t) => {
  const heartbeat = pack([7, 1, 0, 1]);
  const before = peerMessages;
  await visit('/peer', [asPeer, heartbeat, pack([99]), heartbeat, heartbeat]).end;
  t.equal(peerMessages, before + 1);
});

t.test('what is not WebSocket ends', async (t) => {
  for (const [name, bytes] of Object.entries(NO_WEBSOCKET)) {
    const socket = dialed(address).resume();
    socket.write(bytes);
    await new Promise((resolve) => socket.once('close', resolve));
    t.pass(name);
  }
  await allIsWell();
});

t.test('frames with wrong WebSocket bits end their connection', async (t) => {
  for (const [name, bytes] of Object.entries(WRONG_BITS)) {
    const socket = await upgraded('/client');
    socket.write(Uint8Array.from(bytes));
    await new Promise((resolve) => socket.once('close', resolve));
    t.pass(name);
  }
  await allIsWell();
});

t.test('who does not greet, or stops in the middle, is left', async (t) => {
  const silent = await upgraded('/client');
  const halfHeader = dialed(address).resume();
  halfHeader.write('GET /peer HTTP/1.1\r\nHost:');
  const halfFrame = await upgraded('/peer');
  halfFrame.write(Uint8Array.from([0x82, 0xfe, 0x7f]));
  const quiet = visit('/client', []);
  const closed = (socket: Socket) => new Promise((resolve) => socket.once('close', resolve));
  await Promise.all([closed(silent), closed(halfHeader), closed(halfFrame)]);
  t.match(await quiet.end, { code: 4003, reason: 'no greeting came' });
  await allIsWell();
});

t.test('a greeted connection that answers no ping is left', async () => {
  const before = clients.size;
  const socket = await upgraded('/client');
  socket.write(masked(asClient));
  await until('it is a client', () => clients.size === before + 1);
  await new Promise((resolve) => socket.once('close', resolve));
  await until('the node knows', () => clients.size === before);
  await allIsWell();
});

t.test('floods do not fill the memory', async (t) => {
  await allIsWell();
  const before = process.memoryUsage().rss;
  const grown = () => process.memoryUsage().rss - before;

  // Thousands of bad connections, some at a time.
  for (let round = 0; round < 20; round++) {
    await Promise.all(Array.from({ length: 50 }, () => visit('/client', [pack([round])]).end));
  }
  t.ok(grown() < GROWTH_BYTES_MAX, `bad connections: ${grown()} bytes more`);
  t.ok(reports.length < 100, `${reports.length} lines for 1000 bad connections`);

  // Many requests, large answers, and nobody who reads them.
  answerBytes = 1_000_000;
  const came = clientsEver;
  const greedy = await upgraded('/client');
  greedy.pause();
  greedy.write(masked(asClient));
  for (let i = 0; i < 300; i++) greedy.write(masked(pack([4, i])));
  await until('the greedy one came', () => clientsEver > came);
  await until('the greedy one is gone', () => clients.size === 1);
  greedy.destroy();
  answerBytes = 0;
  await allIsWell();
  t.ok(grown() < 2 * GROWTH_BYTES_MAX, `answers that nobody reads: ${grown()} bytes more`);

  // Messages in very small parts.
  const crumbs = await upgraded('/client');
  const closed = new Promise((resolve) => crumbs.once('close', resolve));
  const part = Uint8Array.from([0x00, 0x81, 0, 0, 0, 0, 0x91]);
  crumbs.write(Uint8Array.from([0x02, ...part.slice(1)]));
  for (let i = 0; i < 10_000; i++) crumbs.write(part);
  await closed;

  await allIsWell();
  t.ok(grown() < 2 * GROWTH_BYTES_MAX, `parts: ${grown()} bytes more`);
});

t.test('more connections than there may be are refused, and the others live', async () => {
  let refused = 0;
  const sockets: Socket[] = [];
  const open = () => {
    const socket = dialed(address).resume();
    // Refused without a word; those that came in are told what was wrong, later.
    socket.on('close', () => {
      if (socket.bytesRead === 0) refused++;
    });
    sockets.push(socket);
  };
  // More and more: on a busy machine the first are sent away before there are too many.
  await until('some are refused', () => {
    for (let i = 0; i < 50 && sockets.length < 10_000; i++) open();
    return refused > 0;
  });
  await allIsWell();
  for (const socket of sockets) socket.destroy();
  let welcome = false;
  await until('there is room again', () => {
    const { ws } = visit('/client', [asClient]);
    ws.once('message', () => {
      welcome = true;
      ws.close();
    });
    ws.once('error', () => ws.terminate());
    return welcome;
  });
  await until('all are gone', () => clients.size === 1);
});

t.test('an older connection of the same peer is replaced', async (t) => {
  const older = visit('/peer', [asPeer]);
  await new Promise((resolve) => older.ws.once('message', resolve));
  const newer = visit('/peer', [asPeer]);
  t.match(await older.end, { code: 4004 });
  newer.ws.close();
  await newer.end;
});

t.test('closing is prompt and leaves nothing behind', async (t) => {
  const visitor = visit('/client', [asClient]);
  await new Promise((resolve) => visitor.ws.once('message', resolve));
  const halfOpen = await upgraded('/client');
  const ended = new Promise((resolve) => halfOpen.once('close', resolve));
  const quiet = visit('/peer', []);
  await new Promise((resolve) => quiet.ws.once('open', resolve));
  closing = true;
  witness.close();
  await until('the witness is gone', () => clients.size === 1);
  await node.close();
  t.equal(clients.size, 0);
  await Promise.all([visitor.end, ended, quiet.end]);
  // The other ends are ours, too, and go when this process comes to it.
  const busy = () => process.getActiveResourcesInfo().filter((what) => what.startsWith('TCP'));
  await until('no connection is left', () => busy().length === 0);
});
