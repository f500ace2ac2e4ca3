import { once } from 'node:events';
import { get, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { connect } from 'node:net';
import t, { type Test } from 'tap';
import { WebSocket, WebSocketServer } from 'ws';
import { MootError } from '../../src/base/errors.js';
import { ControlLink } from '../../src/control/link.js';
import { isKnownHost, isKnownOrigin } from '../../src/control/origin.js';
import { type ControlServer, startControlServer, text } from '../../src/control/server.js';
import { openSocket } from '../../src/control/socket.js';
import { freeAddresses } from '../support/ports.js';
import { until } from '../support/until.js';

async function serve(
  t: Test,
  takeEvents: () => readonly string[] = () => [],
  options: { readonly pingMs?: number } = {},
) {
  const [address] = (await freeAddresses(1)) as [string];
  let documents = 0;
  const watched: boolean[] = [];
  const held: (() => void)[] = [];
  const server = await startControlServer<{ readonly number: number }, string>({
    address,
    report: () => undefined,
    document: () => ({ number: ++documents }),
    documentMs: 20,
    eventsMs: 10,
    takeEvents,
    onWatched: (on) => void watched.push(on),
    friends: () => ['10.0.0.9:80'],
    ...options,
    calls: {
      hold: () => new Promise<void>((resolve) => void held.push(resolve)),
      double: (params) => params.number('n', 0, 100) * 2,
      refuse: () => {
        throw new MootError('NOT_ALLOWED', 'not here');
      },
    },
    pages: { '/hello': () => text(200, 'hello\n') },
  });
  t.teardown(() => server.close());
  const post = (call: string, body: string, headers: Record<string, string> = {}) =>
    fetch(`http://${address}/api/call/${call}`, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json', ...headers },
    });
  return { address, server, watched, held, post };
}

function serveNothing(address: string): Promise<ControlServer> {
  return startControlServer({
    address,
    report: () => undefined,
    document: () => ({}),
    documentMs: 1000,
    eventsMs: 1000,
    takeEvents: () => [],
    onWatched: () => undefined,
    friends: () => [],
    calls: {},
    pages: {},
  });
}

t.test('pages, the document, and calls by HTTP', async (t) => {
  const { address, post } = await serve(t);
  t.equal(await (await fetch(`http://${address}/hello?x=1`)).text(), 'hello\n');
  t.match(await (await fetch(`http://${address}/api/status`)).json(), { number: Number });
  t.equal((await fetch(`http://${address}/nothing`)).status, 404);
  t.equal((await fetch(`http://${address}/constructor`)).status, 404);
  t.equal((await fetch(`http://${address}/hello`, { method: 'DELETE' })).status, 405);
  t.strictSame(await (await post('double', '{"n":4}')).json(), { value: 8 });
});

t.test('bad calls are told what is wrong', async (t) => {
  const { post } = await serve(t);
  const cases: readonly [string, string, number, RegExp][] = [
    ['double', '{"n":101}', 400, /'n' must be a number from 0 to 100/],
    ['double', '{"n":"4"}', 400, /'n' must be a number/],
    ['double', '', 400, /'n' must be/],
    ['double', '[]', 400, /a JSON object/],
    ['double', '{', 400, /not JSON/],
    ['double', `"${'x'.repeat(70_000)}"`, 400, /at most 65536/],
    ['triple', '{}', 400, /no call 'triple'; there are: hold, double, refuse/],
    ['constructor', '{}', 400, /no call/],
    ['refuse', '{}', 403, /not here/],
  ];
  for (const [call, body, status, message] of cases) {
    const response = await post(call, body);
    t.equal(response.status, status, `${call} ${body.slice(0, 20)}`);
    t.match(await response.text(), message);
  }
  t.equal((await post('double', '{"n":4}', { 'content-type': 'text/plain' })).status, 415);
  t.equal((await post('double', '{"n":4}', { origin: 'http://evil.example' })).status, 403);
  t.equal((await post('UP', '{}')).status, 404);
});

t.test('a body that breaks off, and noise, harm nobody', async (t) => {
  const { address, post } = await serve(t);
  const port = Number(address.split(':')[1]);
  for (const noise of [
    'POST /api/call/double HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"n"',
    '\x16\x03\x01 nonsense\r\n\r\n',
    'GET /api/stream HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n',
  ]) {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    socket.write(noise);
    await new Promise((resolve) => setTimeout(resolve, 20));
    socket.destroy();
  }
  t.equal((await post('double', '{"n":4}')).status, 200);
});

t.test('a watcher gets the document, events, and answers; and joins again', async (t) => {
  let events: string[] = [];
  const take = () => events.splice(0);
  const { address, watched } = await serve(t, take);
  const got: string[] = [];
  let documents = 0;
  const link = new ControlLink<{ readonly number: number }, string>(address, openSocket, {
    onDocument: () => documents++,
    onEvents: (some) => void got.push(...some),
  });
  t.teardown(() => link.close());
  await t.rejects(link.call('double', { n: 1 }), { code: 'UNREACHABLE' }, 'not connected yet');
  await until('documents keep coming', () => documents > 2);
  events = ['one', 'two'];
  await until('events', () => got.length === 2);
  t.strictSame(got, ['one', 'two']);
  t.equal(await link.call('double', { n: 21 }), 42);
  await t.rejects(link.call('refuse'), { code: 'NOT_ALLOWED', message: 'not here' });
  await t.rejects(link.call('triple'), { code: 'BAD_ARGUMENT' });
  link.close();
  await until('unwatched', () => watched.length === 2);
  t.strictSame(watched, [true, false]);
});

t.test('a link outlives its server', async (t) => {
  const { address, server } = await serve(t);
  let [ups, downs] = [0, 0];
  const link = new ControlLink(address, openSocket, {
    onDocument: () => undefined,
    onEvents: () => undefined,
    onUp: () => ups++,
    onDown: () => downs++,
  });
  t.teardown(() => link.close());
  await until('up', () => ups === 1);
  const waiting = t.rejects(link.call('double', { n: 1 }), { code: 'UNREACHABLE' });
  await server.close();
  await until('down', () => downs === 1);
  await waiting;
  const again = await serveNothing(address);
  t.teardown(() => again.close());
  await until('up again', () => ups === 2);
});

t.test(
  'a watcher that does not read loses events, is told how many, and gets a fresh document',
  async (t) => {
    const big = 'x'.repeat(200_000);
    let sent = 0;
    let send = false;
    const { address } = await serve(t, () => {
      if (!send) return [];
      sent++;
      return [`${sent} ${big}`];
    });
    const ws = new WebSocket(`ws://${address}/api/stream`);
    t.teardown(() => ws.terminate());
    const events: number[] = [];
    const losses: { readonly lost: number; readonly first: number; readonly after: number }[] = [];
    let documentsAfterLoss = 0;
    ws.on('message', (data) => {
      const message = JSON.parse(String(data));
      if (message.type === 'document' && losses.length > 0) documentsAfterLoss++;
      if (message.type !== 'events') return;
      const first = Number.parseInt(message.events[0], 10);
      if (message.lost > 0) losses.push({ lost: message.lost, first, after: events.at(-1) ?? 0 });
      events.push(first);
    });
    await once(ws, 'open');
    ws.pause();
    send = true;
    // More than the kernel's buffers and ours hold.
    await until('much was sent', () => sent > 100);
    ws.resume();
    await until('told of the loss', () => losses.length > 0 && documentsAfterLoss > 0);
    const [loss] = losses;
    t.equal(loss?.first, (loss?.after ?? 0) + (loss?.lost ?? 0) + 1, 'exactly those in between');
  },
);

t.test('a watcher may have so many calls under way, and requests as well', async (t) => {
  const { address, held, post } = await serve(t);
  const link = new ControlLink(address, openSocket, {
    onDocument: () => undefined,
    onEvents: () => undefined,
  });
  t.teardown(() => link.close());
  await until('up', () => link.up);
  const calls = Array.from({ length: 16 }, () => link.call('hold'));
  await until('all wait', () => held.length === 16);
  await t.rejects(link.call('double', { n: 1 }), { code: 'BUSY' });
  t.strictSame(await (await post('double', '{"n":4}')).json(), { value: 8 }, 'others may');
  for (const release of held.splice(0)) release();
  await Promise.all(calls);
  t.equal(await link.call('double', { n: 1 }), 2);
  const requests = Array.from({ length: 64 }, () => post('hold', '{}'));
  await until('all wait', () => held.length === 64);
  t.equal((await post('double', '{"n":4}')).status, 503);
  for (const release of held) release();
  for (const response of await Promise.all(requests)) t.equal(response.status, 200);
});

t.test('a server that is silent is lost, and dialled again', async (t) => {
  const [address] = (await freeAddresses(1)) as [string];
  const silent = new WebSocketServer({ host: '127.0.0.1', port: Number(address.split(':')[1]) });
  t.teardown(() => silent.close());
  await once(silent, 'listening');
  let dialled = 0;
  silent.on('connection', (ws) => {
    dialled++;
    ws.send('{"type":"document","document":{}}');
  });
  let lost = 0;
  const onDown = () => void lost++;
  const events = { onDocument: () => undefined, onEvents: () => undefined, onDown };
  const link = new ControlLink(address, openSocket, events, 10);
  t.teardown(() => link.close());
  await until('the second connection', () => dialled >= 2);
  t.ok(lost >= 1);
});

t.test('so many watch, and no more', async (t) => {
  const { address } = await serve(t);
  const watch = async () => {
    const ws = new WebSocket(`ws://${address}/api/stream`);
    t.teardown(() => ws.terminate());
    ws.on('error', () => undefined);
    return new Promise<number>((resolve) => {
      ws.on('open', () => resolve(101));
      ws.on('unexpected-response', (_, { statusCode }) => resolve(statusCode ?? 0));
    });
  };
  const statuses = await Promise.all(Array.from({ length: 64 }, watch));
  t.strictSame(new Set(statuses), new Set([101]));
  t.equal(await watch(), 503);
});

t.test('a watcher that is gone without a word is left', async (t) => {
  const { address, watched } = await serve(t, undefined, { pingMs: 50 });
  const dead = new WebSocket(`ws://${address}/api/stream`, { autoPong: false });
  const alive = new WebSocket(`ws://${address}/api/stream`);
  t.teardown(() => alive.terminate());
  let pings = 0;
  alive.on('ping', () => pings++);
  await once(dead, 'close');
  await until('more pings', () => pings > 5);
  t.equal(alive.readyState, WebSocket.OPEN);
  t.strictSame(watched, [true]);
});

t.test('nonsense over the stream ends it with a reason', async (t) => {
  const { address } = await serve(t);
  for (const nonsense of ['{', '[]', '{"id":1}', '{"id":1.5,"call":"double"}']) {
    const ws = new WebSocket(`ws://${address}/api/stream`);
    await once(ws, 'open');
    ws.send(nonsense);
    const [code] = await once(ws, 'close');
    t.equal(code, 1007, nonsense);
  }
});

t.test('a taken port has a code of its own, and so has an address that is not here', async (t) => {
  const { address } = await serve(t);
  await t.rejects(serveNothing(address), { code: 'PORT_TAKEN' });
  await t.rejects(serveNothing('192.0.2.1:1'), { code: 'ADDRESS_UNAVAILABLE' });
});

t.test('pages of other sites may not watch', async (t) => {
  const { address } = await serve(t);
  const status = (origin: string) =>
    new Promise<number>((resolve) => {
      const ws = new WebSocket(`ws://${address}/api/stream`, { origin });
      ws.on('open', () => {
        ws.terminate();
        resolve(101);
      });
      ws.on('unexpected-response', (_, response) => resolve(response.statusCode ?? 0));
      ws.on('error', () => undefined);
    });
  t.equal(await status('http://evil.example'), 403);
  t.equal(await status('null'), 403);
  t.equal(await status(`http://${address}`), 101);
  t.equal(await status(`http://localhost:${address.split(':')[1]}`), 101, 'another loopback name');
  t.equal(await status('http://10.0.0.9'), 101, 'a friend');
});

t.test("a browser reads nothing by a name that may be a stranger's", async (t) => {
  const { address } = await serve(t);
  const [, port = ''] = address.split(':');
  const status = async (path: string, host: string, headers: OutgoingHttpHeaders = {}) => {
    const asked = get({ host: '127.0.0.1', port, path, headers: { ...headers, host } });
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    response.resume();
    return response.statusCode;
  };
  const evil = `evil.example:${port}`;
  const browsers: readonly OutgoingHttpHeaders[] = [
    { 'accept-language': '' },
    { origin: `http://${evil}` },
    { 'sec-fetch-site': 'same-origin' },
    { 'Sec-Fetch-Mode': 'no-cors' },
  ];
  for (const path of ['/api/status', '/hello', '/nothing']) {
    for (const headers of browsers) t.equal(await status(path, evil, headers), 403);
  }
  t.equal(await status('/api/status', evil), 200, 'curl and Prometheus go by any name');
  for (const host of [address, `localhost:${port}`, '10.0.0.9:80']) {
    t.equal(await status('/api/status', host, browsers[0]), 200, host);
  }
});

t.test('by which names a browser may ask', async (t) => {
  for (const [host, known] of [
    ['Node1:1', true],
    ['10.0.0.1', true],
    ['[fe80::1]:8', true],
    ['LOCALHOST:8', true],
    ['Friend:3', true],
    ['friend:4', false],
    ['10.evil.example:1', false],
    [undefined, false],
  ] as const) {
    t.equal(isKnownHost(host, 'node1:1', ['Friend:3']), known, host ?? 'none');
  }
});

t.test('whom a page may talk to', async (t) => {
  const cases: readonly [string | undefined, string | undefined, boolean, string][] = [
    [undefined, 'a:1', true, 'no browser'],
    ['http://10.0.0.1:1', '10.0.0.1:1', true, 'an address cannot be made to point elsewhere'],
    ['http://[fe80::1]:1', '[fe80::1]:1', true, 'of either family'],
    ['http://10.0.0.1:2', '10.0.0.1:1', false, 'another port is another site'],
    ['http://[::1]:8', '127.0.0.1:8', true, 'this machine by another name'],
    ['http://localhost:8', 'localhost:8', true, 'which is always this machine'],
    ['http://node1:1', 'node1:1', true, 'the name that the server was given'],
    ['http://NODE1:1', 'Node1:1', true, 'in any case'],
    ['http://evil.example:1', 'evil.example:1', false, 'a name that was made to point here'],
    ['http://10.evil.example:1', '10.evil.example:1', false, 'also one that looks like an address'],
    ['http://10.0.0.1:1', undefined, false, 'no host'],
    ['http://friend:3', 'evil.example:1', true, 'a friend of whatever name'],
  ];
  for (const [origin, host, known, message] of cases) {
    t.equal(isKnownOrigin(origin, host, 'node1:1', ['friend:3']), known, message);
  }
});
