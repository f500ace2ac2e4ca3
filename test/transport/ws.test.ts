import { once } from 'node:events';
import { get } from 'node:http';
import t from 'tap';
import { WebSocket } from 'ws';
import { createWebSocketDialer, createWebSocketTransport } from '../../src/transport/ws.js';
import { transportConformance } from '../conformance/transport.js';
import { freeAddresses } from '../support/ports.js';
import { until } from '../support/until.js';

transportConformance(t, 'ws', {
  addresses: freeAddresses,
  transport: createWebSocketTransport,
  dialer: createWebSocketDialer,
});

const HANDLERS = {
  onPeerMessage: () => undefined,
  onPeerDown: () => undefined,
  onClient: () => ({ onRequest: () => undefined, onClose: () => undefined }),
};

function transport(address: string) {
  const peers = [{ id: 'n1', address }];
  return createWebSocketTransport({
    cluster: 'moot',
    id: 'n1',
    address,
    peers,
    report: () => undefined,
  });
}

t.test('no page in a browser speaks to a node', async (t) => {
  const [address] = (await freeAddresses(1)) as [string];
  const node = transport(address);
  t.teardown(() => node.close());
  let clients = 0;
  await node.start({
    ...HANDLERS,
    onClient: () => {
      clients++;
      return { onRequest: () => undefined, onClose: () => undefined };
    },
  });
  for (const path of ['/client', '/peer']) {
    const ws = new WebSocket(`ws://${address}${path}`, { origin: 'http://page.example' });
    const [error] = (await once(ws, 'error')) as [Error];
    t.match(error.message, /403/);
  }
  t.equal(clients, 0);
});

t.test('however many clients there are, a member finds a place', async (t) => {
  const [address] = (await freeAddresses(1)) as [string];
  const node = transport(address);
  t.teardown(() => node.close());
  await node.start(HANDLERS);
  const sockets: WebSocket[] = [];
  t.teardown(() => {
    for (const ws of sockets) ws.terminate();
  });
  let refused = 0;
  const visit = (path: string) => {
    const ws = new WebSocket(`ws://${address}${path}`, { perMessageDeflate: false });
    ws.on('error', () => refused++);
    sockets.push(ws);
    return ws;
  };
  // Who says nothing is sent away some seconds later: more and more come.
  await until('clients are refused', () => {
    for (let i = 0; i < 50 && sockets.length < 10_000; i++) visit('/client');
    return refused > 0;
  });
  await once(visit('/peer'), 'open');
});

t.test('a browser gets one line', async (t) => {
  const [address] = (await freeAddresses(1)) as [string];
  const node = transport(address);
  t.teardown(() => node.close());
  await node.start(HANDLERS);
  const text = await new Promise<string>((resolve, reject) => {
    get(`http://${address}/anything`, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (part) => {
        body += part;
      });
      response.on('end', () => resolve(body));
    }).on('error', reject);
  });
  t.match(text, /^This is node n1 of the mootfs cluster moot; .*\n$/);
});

t.test('an address that cannot be listened on is one sentence', async (t) => {
  const [address] = (await freeAddresses(1)) as [string];
  const node = transport(address);
  t.teardown(() => node.close());
  await node.start(HANDLERS);
  const port = address.split(':')[1];
  await t.rejects(transport(address).start(HANDLERS), {
    code: 'PORT_TAKEN',
    message: `port ${port} on 127.0.0.1 is taken: stop what listens there, or choose another address`,
  });
  await t.rejects(transport(`192.0.2.1:${port}`).start(HANDLERS), {
    code: 'ADDRESS_UNAVAILABLE',
    message: /192\.0\.2\.1 is not an address of this machine/,
  });
});

t.test('IPv6 works where there is any', async (t) => {
  const [free] = (await freeAddresses(1)) as [string];
  const address = `[::1]:${free.split(':')[1]}`;
  const node = transport(address);
  t.teardown(() => node.close());
  try {
    await node.start(HANDLERS);
  } catch (error) {
    t.match(error, { code: /^(ADDRESS_UNAVAILABLE|BAD_ARGUMENT)$/ });
    return;
  }
  const dialer = createWebSocketDialer({ cluster: 'moot', name: 'six' });
  const handlers = { onResponse: () => undefined, onClose: () => undefined };
  const channel = await dialer.dial(address, handlers, new AbortController().signal);
  channel.close();
});
