import t from 'tap';
import { MootError } from '../../src/base/errors.js';
import { createInProcessDialer } from '../../src/client/in-process.js';
import type { ClientRequest, ClientResponse } from '../../src/codec/client-messages.js';
import { MetCluster } from '../../src/transport/met-cluster.js';
import type { ClientConnection, Dialer } from '../../src/transport/transport.js';

const NOWHERE: Dialer = {
  async dial(address) {
    throw new MootError('UNREACHABLE', `remote ${address}`);
  },
};

function setup() {
  const met = new MetCluster('test');
  const requests: ClientRequest[] = [];
  const events: string[] = [];
  let connection: ClientConnection | undefined;
  const node = {
    cluster: { cluster: 'test', incarnation: 0 },
    connect(client: ClientConnection) {
      connection = client;
      return {
        onRequest: (request: ClientRequest) => requests.push(request),
        onClose: () => events.push('node heard the end'),
      };
    },
  };
  const handlers = {
    onResponse: (response: ClientResponse) => events.push(`answer ${response.id}`),
    onClose: () => events.push('client heard the end'),
  };
  const dialer = createInProcessDialer(node, 'own:1', NOWHERE, met);
  const dial = async (address = 'own:1') => {
    const channel = await dialer.dial(address, handlers, new AbortController().signal);
    if (connection === undefined) throw new Error('the node was not asked');
    return { channel, connection };
  };
  return { dial, met, node, requests, events };
}

function answer(id: number): ClientResponse {
  return { type: 'snapshot-reply', id, index: 1 };
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

t.test('messages arrive in order and never within the call', async (t) => {
  const { dial, requests, events } = setup();
  const { channel, connection } = await dial();
  for (const id of [1, 2]) channel.send({ type: 'status', id });
  t.equal(requests.length, 0);
  await Promise.resolve();
  t.strictSame(
    requests.map(({ id }) => id),
    [1, 2],
  );
  for (const id of [1, 2]) connection.send(answer(id));
  t.equal(events.length, 0);
  await turn();
  t.strictSame(events, ['answer 1', 'answer 2']);
});

t.test('bytes are shared, not copied', async (t) => {
  const { dial, requests } = setup();
  const { channel } = await dial();
  const data = new Uint8Array(3);
  const command = { type: 'write', ino: 1, offset: 0, data } as const;
  channel.send({ type: 'submit', id: 1, session: 1, sequence: 1, acknowledged: 0, command });
  await Promise.resolve();
  const [request] = requests;
  t.ok(request?.type === 'submit' && request.command === command);
});

t.test('the node ends it: both hear it once, after the last answers', async (t) => {
  const { dial, events } = setup();
  const { channel, connection } = await dial();
  connection.send(answer(1));
  connection.close('bye');
  connection.close('bye');
  await turn();
  await turn();
  channel.close();
  await turn();
  t.strictSame(events, ['answer 1', 'node heard the end', 'client heard the end']);
});

t.test('the client ends it: the node hears it, and the client nothing more', async (t) => {
  const { dial, requests, events } = setup();
  const { channel, connection } = await dial();
  connection.send(answer(1));
  channel.send({ type: 'status', id: 2 });
  channel.close();
  await turn();
  t.strictSame(events, ['node heard the end']);
  t.equal(requests.length, 0);
});

t.test('other addresses go by the other dialer', async (t) => {
  const { dial } = setup();
  await t.rejects(dial('other:1'), { code: 'UNREACHABLE', message: 'remote other:1' });
});

t.test('the client stays with the first incarnation of the cluster that it met', async (t) => {
  const { dial, met, node } = setup();
  await dial();
  t.equal(met.incarnation, 0, 'the node did not know it yet');
  node.cluster = { cluster: 'test', incarnation: 7 };
  await dial();
  t.equal(met.incarnation, 7, 'whoever else is dialled is told');
  node.cluster = { cluster: 'test', incarnation: 8 };
  await t.rejects(dial(), { code: 'WRONG_CLUSTER' });
});

t.test('what the node knows of its cluster counts for other addresses, too', async (t) => {
  const { dial, met, node } = setup();
  await dial();
  node.cluster = { cluster: 'test', incarnation: 7 };
  await t.rejects(dial('other:1'), { code: 'UNREACHABLE' });
  t.equal(met.incarnation, 7);
});

t.test('a node of another incarnation than one that was met elsewhere is refused', async (t) => {
  const { dial, met, node } = setup();
  met.meet({ cluster: 'test', incarnation: 7 });
  node.cluster = { cluster: 'test', incarnation: 8 };
  await t.rejects(dial(), { code: 'WRONG_CLUSTER' });
});
