import fc from 'fast-check';
import t, { type Test } from 'tap';
import type { Clock } from '../../src/base/clock.js';
import { MootError } from '../../src/base/errors.js';
import { seededRandom } from '../../src/base/random.js';
import { systemClock } from '../../src/base/system-clock.js';
import { type ClientOptions, createFilesystemClient } from '../../src/client/client.js';
import type { FilesystemClient } from '../../src/client/filesystem-client.js';
import type { ClientRequest } from '../../src/codec/client-messages.js';
import type { Command } from '../../src/filesystem/commands.js';
import { sessionKey } from '../../src/filesystem/keys.js';
import { S_IFREG } from '../../src/filesystem/mode.js';
import { ROOT_INO } from '../../src/filesystem/records.js';
import type { Dialer } from '../../src/transport/transport.js';
import { FakeCluster, NO_FAULTS } from '../support/fake-cluster.js';
import { HandClock } from '../support/mount-world.js';

function clientOf(
  t: Test,
  cluster: FakeCluster,
  options: Partial<ClientOptions> = {},
): FilesystemClient {
  const client = createFilesystemClient({
    dialer: cluster.dialer,
    addresses: cluster.addresses,
    name: 'test',
    ...options,
  });
  t.teardown(() => client.close());
  return client;
}

function makeFile(client: FilesystemClient, name: string, deadlineMs?: number) {
  return client.execute(
    {
      type: 'make-node',
      parent: ROOT_INO,
      name: Buffer.from(name),
      mode: S_IFREG | 0o644,
      rdev: 0,
      uid: 0,
      gid: 0,
    },
    deadlineMs === undefined ? {} : { deadlineMs },
  );
}

function submits(cluster: FakeCluster, type: string) {
  return cluster.requests.filter(
    ({ request }) => request.type === 'submit' && request.command.type === type,
  );
}

async function eventually(condition: () => boolean): Promise<void> {
  const end = performance.now() + 60_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error('the condition was not met within a minute');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

t.test('random losses, repetitions and leader changes: once each, in order', async (t) => {
  const probability = fc.double({ min: 0, max: 0.1, noNaN: true });
  const faults = fc.record({
    cutBefore: probability,
    cutAfter: probability,
    busy: probability,
    unknown: probability,
    lateCopy: probability,
    newLeader: probability,
  });
  await fc.assert(
    fc.asyncProperty(faults, fc.nat(), async (faults, seed) => {
      const cluster = new FakeCluster(3, seededRandom(seed));
      const client = createFilesystemClient({
        dialer: cluster.dialer,
        addresses: cluster.addresses,
        name: 'test',
        random: seededRandom(seed + 1),
        deadlineMs: Number.POSITIVE_INFINITY,
      });
      cluster.faults = faults;
      const { inode } = await makeFile(client, 'f');
      const replies = await Promise.all(
        Array.from({ length: 40 }, (_, i) =>
          client.execute({
            type: 'write',
            ino: inode.ino,
            offset: 0,
            data: Uint8Array.of(i),
            append: true,
          }),
        ),
      );
      cluster.faults = NO_FAULTS;
      const { data } = await client.query({ type: 'read', ino: inode.ino, offset: 0, size: 1000 });
      await client.close();
      const inOrder = data.length === 40 && data.every((byte, i) => byte === i);
      const own = replies.every(({ inode }, i) => inode.size === i + 1);
      return inOrder && own;
    }),
    { numRuns: 20 },
  );
  t.pass('held for all runs');
});

t.test('finding the leader', async (t) => {
  await t.test('one address of a follower is enough', async (t) => {
    const cluster = new FakeCluster();
    const client = clientOf(t, cluster, { addresses: [cluster.node(2).address] });
    await makeFile(client, 'f');
    const nodes = new Set(submits(cluster, 'make-node').map(({ node }) => node));
    t.strictSame([...nodes], ['n1']);
    const reports = await client.status(5_000);
    t.strictSame(reports.map(({ status }) => status?.id).sort(), ['n1', 'n2', 'n3']);
  });

  await t.test('a leader that is killed is replaced at once', async (t) => {
    const cluster = new FakeCluster();
    const client = clientOf(t, cluster);
    await makeFile(client, 'f');
    cluster.kill(cluster.node(0));
    const waiting = makeFile(client, 'g');
    setTimeout(() => cluster.elect(cluster.node(1)), 50);
    await waiting;
    t.equal(cluster.effective().length, 2);
  });

  await t.test('a leader that is silent is left when another one leads', async (t) => {
    const cluster = new FakeCluster();
    const client = clientOf(t, cluster);
    await makeFile(client, 'f');
    cluster.freeze(cluster.node(0));
    const waiting = makeFile(client, 'g');
    setTimeout(() => cluster.elect(cluster.node(1)), 50);
    await waiting;
    t.equal(cluster.effective().length, 2);
  });

  await t.test('a leader that was replaced and lives is left for the later term', async (t) => {
    const cluster = new FakeCluster();
    const client = clientOf(t, cluster);
    await makeFile(client, 'f');
    cluster.elect(cluster.node(2));
    await makeFile(client, 'g');
    t.equal(cluster.effective().length, 2);
  });

  await t.test('without a leader nobody is flooded', async (t) => {
    const cluster = new FakeCluster();
    cluster.elect(null);
    const client = clientOf(t, cluster);
    await t.rejects(makeFile(client, 'f', 500), { code: 'NO_LEADER' });
    t.ok(cluster.requests.length < 3 * 60, `${cluster.requests.length} requests in 500 ms`);
    t.equal(submits(cluster, 'make-node').length, 0);
  });

  await t.test('a full node gets time', async (t) => {
    const cluster = new FakeCluster();
    cluster.faults = { ...NO_FAULTS, busy: 1 };
    const client = clientOf(t, cluster);
    await t.rejects(makeFile(client, 'f', 400), { code: 'NO_LEADER' });
    t.ok(submits(cluster, 'open-session').length < 15, 'few attempts');
    cluster.faults = NO_FAULTS;
    await makeFile(client, 'g');
  });
});

t.test('how calls end without an answer', async (t) => {
  await t.test('never sent: NO_LEADER, naming who was tried', async (t) => {
    const cluster = new FakeCluster();
    for (const node of cluster.nodes) cluster.kill(node);
    const client = clientOf(t, cluster);
    const error = await makeFile(client, 'f', 100).catch((error: unknown) => error);
    t.ok(error instanceof MootError && error.code === 'NO_LEADER');
    for (const address of cluster.addresses) t.match(String(error), address);
    t.match(String(error), /for \d+\.\d s/);
    await t.rejects(
      client.query({ type: 'get-inode', ino: ROOT_INO }, { level: 'local', deadlineMs: 50 }),
      { code: 'UNREACHABLE', message: /host1:1 \(refused\)/ },
    );
  });

  await t.test('sent: OUTCOME_UNKNOWN, and the commands behind it go on', async (t) => {
    const cluster = new FakeCluster();
    const client = clientOf(t, cluster);
    await makeFile(client, 'f');
    cluster.freeze(cluster.node(0));
    await t.rejects(makeFile(client, 'g', 100), { code: 'OUTCOME_UNKNOWN' });
    cluster.elect(cluster.node(1));
    await makeFile(client, 'h');
    const made = cluster
      .effective()
      .map(({ command }) => 'name' in command && String(command.name));
    t.strictSame(made, ['f', 'h']);
    t.ok(cluster.happened.some(({ command }) => command.type === 'nothing'));
  });

  await t.test('a node that cannot say leaves it OUTCOME_UNKNOWN', async (t) => {
    const cluster = new FakeCluster();
    const client = clientOf(t, cluster);
    await makeFile(client, 'f');
    cluster.faults = { ...NO_FAULTS, unknown: 1 };
    await t.rejects(makeFile(client, 'g', 200), { code: 'OUTCOME_UNKNOWN' });
  });

  await t.test('interrupted before it is sent: it never happens', async (t) => {
    const cluster = new FakeCluster();
    cluster.elect(null);
    const client = clientOf(t, cluster);
    const abort = new AbortController();
    let sent = 0;
    const onSent = () => sent++;
    const command = client.execute({ type: 'nothing' }, { signal: abort.signal, onSent });
    abort.abort();
    await t.rejects(command, { code: 'INTERRUPTED', message: /before it was sent/ });
    cluster.elect(cluster.node(0));
    await makeFile(client, 'f');
    t.equal(sent, 0);
    const { happened } = cluster;
    await client.execute({ type: 'keep-alive', seenIndex: 0, holds: [] }, { onSent });
    t.equal(sent, 1, 'and who was sent is told of it');
    t.ok(happened.some(({ command: { type } }) => type === 'keep-alive'));
    t.notOk(cluster.happened.some(({ command }) => command.type === 'nothing'));
  });

  await t.test('a queue that moves is not given up', async (t) => {
    const cluster = new FakeCluster();
    const clock = new HandClock();
    const held: (() => void)[] = [];
    const isHeld = (request: ClientRequest) =>
      request.type === 'submit' &&
      'name' in request.command &&
      Buffer.from(request.command.name).equals(Buffer.from('h'));
    const dialer: Dialer = {
      dial: async (...args) => {
        const channel = await cluster.dialer.dial(...args);
        const send = (request: ClientRequest) => channel.send(request);
        return {
          ...channel,
          send: (request) => {
            if (isHeld(request)) held.push(() => send(request));
            else send(request);
          },
        };
      },
    };
    const client = clientOf(t, cluster, { clock, dialer });
    const ended = new Set<string>();
    const make = (name: string, deadlineMs: number) =>
      makeFile(client, name, deadlineMs).finally(() => ended.add(name));
    /** Until it is true, or for so long. */
    const pass = async (ms: number, condition = () => false) => {
      for (let passedMs = 0; passedMs < ms && !condition(); passedMs += 50) {
        clock.advance(50);
        for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const first = make('f', 10_000);
    await pass(10_000, () => ended.has('f'));
    await first;
    cluster.elect(null);
    const both = Promise.allSettled([make('g', 10_000), make('h', 10_000)]);
    await pass(6_000);
    cluster.elect(cluster.node(0));
    await pass(3_000, () => ended.has('g'));
    t.ok(ended.has('g'));
    // Longer than its deadline since the call, and not since the last decision.
    await pass(6_000);
    t.notOk(ended.has('h'));
    t.ok(held.length > 0);
    for (const send of held) send();
    await pass(3_000, () => ended.has('h'));
    t.strictSame(
      (await both).map(({ status }) => status),
      ['fulfilled', 'fulfilled'],
    );
  });

  await t.test('nodes of another cluster: at once', async (t) => {
    const cluster = new FakeCluster();
    for (const node of cluster.nodes) node.wrongCluster = true;
    const client = clientOf(t, cluster);
    await t.rejects(makeFile(client, 'f'), { code: 'WRONG_CLUSTER' });
    await t.rejects(client.query({ type: 'statfs' }), { code: 'WRONG_CLUSTER' });
  });

  await t.test('closing: CLOSED, and nothing keeps running', async (t) => {
    const cluster = new FakeCluster();
    cluster.elect(null);
    const client = clientOf(t, cluster);
    const command = makeFile(client, 'f');
    const query = client.query({ type: 'statfs' });
    await Promise.all([
      t.rejects(command, { code: 'CLOSED' }),
      t.rejects(query, { code: 'CLOSED' }),
      client.close(),
    ]);
  });

  t.throws(() => clientOf(t, new FakeCluster(), { addresses: [] }), { code: 'BAD_ARGUMENT' });
});

/** What a leader does that has not heard of a session for long. */
function expireAll(cluster: FakeCluster): void {
  for (const session of cluster.world.counters.sessions) {
    const lastIndex = cluster.world.view.get(sessionKey(session))?.lastIndex ?? 0;
    cluster.world.apply(0, 0, { type: 'expire-session', session, lastIndex });
  }
}

t.test('a session that expired', async (t) => {
  await t.test('while nothing was on its way is replaced unnoticed', async (t) => {
    const cluster = new FakeCluster();
    const client = clientOf(t, cluster);
    await makeFile(client, 'f');
    expireAll(cluster);
    await Promise.all([makeFile(client, 'g'), makeFile(client, 'h')]);
    t.equal(cluster.effective().length, 3);
  });

  await t.test('with commands in doubt fails them, and the next one goes on', async (t) => {
    const cluster = new FakeCluster();
    const client = clientOf(t, cluster);
    await makeFile(client, 'f');
    cluster.freeze(cluster.node(0));
    const inDoubt = makeFile(client, 'g');
    await eventually(() => submits(cluster, 'make-node').length === 1);
    expireAll(cluster);
    cluster.elect(cluster.node(1));
    await t.rejects(inDoubt, { code: 'SESSION_EXPIRED' });
    await makeFile(client, 'h');
    t.equal(cluster.effective().length, 2);
  });

  await t.test('of a client that holds files open is replaced by itself', async (t) => {
    const cluster = new FakeCluster();
    clientOf(t, cluster, { holdsOpen: true, keepAliveMs: 500 });
    await eventually(() => submits(cluster, 'keep-alive').length > 0);
    expireAll(cluster);
    await eventually(() => cluster.world.counters.sessions.length === 1);
  });
});

t.test('who was asleep is not sure of its session', async (t) => {
  const cluster = new FakeCluster();
  let asleepSec = 0;
  // As after a suspend: the monotonic clock stood still.
  const clock: Clock = {
    ...systemClock,
    now() {
      const { sec, nsec } = systemClock.now();
      return { sec: sec + asleepSec, nsec };
    },
  };
  const client = clientOf(t, cluster, { clock });
  await makeFile(client, 'f');
  t.match(client.session, { isSure: true });
  asleepSec = 3_600;
  t.match(client.session, { isSure: false });
  await client.execute({ type: 'nothing' });
  t.match(client.session, { isSure: true }, 'it was asked');
});

t.test('queries go to the node that suits their level', async (t) => {
  const cluster = new FakeCluster();
  cluster.elect(cluster.node(1));
  const client = clientOf(t, cluster);
  await makeFile(client, 'f');
  for (const level of ['strong', 'session', 'local'] as const) {
    await client.query({ type: 'get-inode', ino: ROOT_INO }, { level });
  }
  const queries = cluster.requests.flatMap(({ node, request }) =>
    request.type === 'query' ? [{ node, level: request.level, minIndex: request.minIndex }] : [],
  );
  t.strictSame(queries, [
    { node: 'n2', level: 'strong', minIndex: 0 },
    { node: 'n1', level: 'session', minIndex: cluster.world.index },
    { node: 'n1', level: 'local', minIndex: 0 },
  ]);
});

t.test(
  'a leader that leads again in a later term is sent what it may have forgotten',
  async (t) => {
    const cluster = new FakeCluster();
    const client = clientOf(t, cluster);
    await makeFile(client, 'before');
    cluster.node(0).forgetful = true;
    const made = makeFile(client, 'forgotten');
    await eventually(() => submits(cluster, 'make-node').length === 2);
    cluster.node(0).forgetful = false;
    cluster.elect(cluster.node(0));
    await made;
    t.equal(cluster.effective().length, 2);
  },
);

t.test('a query at a silent node is asked elsewhere', async (t) => {
  const cluster = new FakeCluster();
  cluster.elect(cluster.node(1));
  const client = clientOf(t, cluster);
  await client.query({ type: 'statfs' }, { level: 'local' });
  cluster.freeze(cluster.node(0));
  await client.query({ type: 'statfs' }, { level: 'local' });
  const asked = cluster.requests.filter(({ request }) => request.type === 'query');
  t.strictSame(
    asked.map(({ node }) => node),
    ['n1', 'n2'],
  );
});

t.test('the stream of changes goes on at another node', async (t) => {
  const cluster = new FakeCluster();
  cluster.elect(cluster.node(1));
  const client = clientOf(t, cluster, { holdsOpen: true });
  const indexes: number[] = [];
  let resets = 0;
  client.watch({
    onChange({ index, reset, effects }) {
      if (reset) resets++;
      else if (effects.length > 0) indexes.push(index);
    },
  });
  await makeFile(client, 'f');
  await eventually(() => indexes.length === 1);
  cluster.kill(cluster.node(0));
  await makeFile(client, 'g');
  await eventually(() => indexes.length === 2);
  t.equal(resets, 0);
  cluster.forgottenIndex = cluster.world.index + 1_000;
  cluster.kill(cluster.node(1));
  cluster.elect(cluster.node(2));
  await eventually(() => resets === 1);
  t.ok(client.seenIndex >= cluster.forgottenIndex);
});

t.test('the stream of changes returns to the preferred node', async (t) => {
  const cluster = new FakeCluster();
  cluster.elect(cluster.node(1));
  // Twenty times as fast as the world, so that nobody waits for the return.
  const clock = {
    ...systemClock,
    monotonicMs: () => performance.now() * 20,
    setTimer: (delayMs: number, action: () => void) => systemClock.setTimer(delayMs / 20, action),
  };
  const client = clientOf(t, cluster, { holdsOpen: true, clock });
  const indexes: number[] = [];
  client.watch({ onChange: ({ index, effects }) => effects.length > 0 && indexes.push(index) });
  const watchedAt = () =>
    cluster.requests.flatMap(({ node, request }) => (request.type === 'watch' ? [node] : []));
  await makeFile(client, 'f');
  await eventually(() => indexes.length === 1);
  cluster.kill(cluster.node(0));
  await makeFile(client, 'g');
  await eventually(() => indexes.length === 2);
  cluster.node(0).down = false;
  await eventually(() => watchedAt().length === 3);
  await makeFile(client, 'h');
  await eventually(() => indexes.length === 3);
  t.strictSame(watchedAt(), ['n1', 'n2', 'n1']);
  t.equal(new Set(indexes).size, 3);
  const left = cluster.requests.filter(({ request }) => request.type === 'unwatch');
  t.strictSame(
    left.map(({ node }) => node),
    ['n2'],
    'the node that it leaves is told, over a connection that stays',
  );
});

t.test('who waits for ever for a leader to decide sets no timer for ever', async (t) => {
  const cluster = new FakeCluster();
  cluster.elect(cluster.node(1));
  const delaysMs: number[] = [];
  const clock = {
    ...systemClock,
    setTimer: (delayMs: number, action: () => void) => {
      delaysMs.push(delayMs);
      return systemClock.setTimer(Math.min(delayMs, 1_000), action);
    },
  };
  const client = clientOf(t, cluster, { clock, deadlineMs: Number.POSITIVE_INFINITY });
  const asked = () => cluster.requests.filter(({ request }) => request.type === 'transfer').length;
  const transferred = client.transferLeadership(null);
  transferred.catch(() => {});
  await eventually(() => asked() >= 2);
  t.ok(Math.max(...delaysMs) < 2 ** 31, 'longer ones end at once (setTimeout)');
  await client.close();
  await t.rejects(transferred, { code: 'CLOSED' });
});

t.test(
  'the stream of changes leaves a node that lags behind, until it has caught up',
  async (t) => {
    const cluster = new FakeCluster();
    cluster.elect(cluster.node(1));
    let lags = false;
    const dialer: Dialer = {
      dial: (address, handlers, signal) =>
        cluster.dialer.dial(
          address,
          {
            onClose: () => handlers.onClose(),
            onResponse: (response) => {
              const isLate = lags && address === cluster.addresses[0];
              if (!isLate) handlers.onResponse(response);
              else if (response.type === 'status-reply') {
                handlers.onResponse({
                  ...response,
                  status: { ...response.status, appliedIndex: 1 },
                });
              } else if (response.type !== 'watch-event') {
                handlers.onResponse(response);
              }
            },
          },
          signal,
        ),
    };
    const clock = {
      ...systemClock,
      monotonicMs: () => performance.now() * 20,
      setTimer: (delayMs: number, action: () => void) => systemClock.setTimer(delayMs / 20, action),
    };
    const client = clientOf(t, cluster, { holdsOpen: true, clock, dialer });
    const indexes = new Set<number>();
    client.watch({ onChange: ({ index, effects }) => effects.length > 0 && indexes.add(index) });
    const watchedAt = () =>
      cluster.requests.flatMap(({ node, request }) => (request.type === 'watch' ? [node] : []));
    await makeFile(client, 'f');
    await eventually(() => indexes.size === 1);
    lags = true;
    await makeFile(client, 'g');
    await eventually(() => indexes.size === 2);
    t.equal(watchedAt().length, 2, 'another node');
    // Far beyond the time after which it would return.
    const enoughMs = performance.now() + 1_000;
    await eventually(() => performance.now() > enoughMs);
    t.equal(watchedAt().length, 2);
    lags = false;
    await eventually(() => watchedAt().length === 3);
    t.equal(watchedAt().at(-1), 'n1');
  },
);

/** The changes that nodes tell of are held back while `held`. */
function holdingChanges(cluster: FakeCluster) {
  const waiting: (() => void)[] = [];
  const state = {
    held: false,
    dialer: {
      dial: (address, handlers, signal) =>
        cluster.dialer.dial(
          address,
          {
            onClose: () => handlers.onClose(),
            onResponse: (response) => {
              const tell = () => handlers.onResponse(response);
              if (state.held && response.type === 'watch-event') waiting.push(tell);
              else tell();
            },
          },
          signal,
        ),
    } satisfies Dialer,
    release() {
      state.held = false;
      for (const tell of waiting.splice(0)) tell();
    },
  };
  return state;
}

t.test('level session: an answer waits for the changes up to it', async (t) => {
  const cluster = new FakeCluster();
  cluster.elect(cluster.node(1));
  const changes = holdingChanges(cluster);
  // So patient that the test never meets the end of it.
  const clock = {
    ...systemClock,
    setTimer: (delayMs: number, action: () => void) =>
      systemClock.setTimer(delayMs === 500 ? 60_000 : delayMs, action),
  };
  const client = clientOf(t, cluster, {
    ...{ holdsOpen: true, readLevel: 'session', clock },
    dialer: changes.dialer,
  });
  const seen: number[] = [];
  client.watch({ onChange: ({ index }) => seen.push(index) });
  await makeFile(client, 'f');
  await eventually(() => client.seenIndex === cluster.world.index);
  changes.held = true;
  await makeFile(client, 'g');
  let isAnswered = false;
  const asked = client.query({ type: 'get-inode', ino: ROOT_INO }).then(() => {
    isAnswered = true;
  });
  const strong = client.query({ type: 'get-inode', ino: ROOT_INO }, { level: 'strong' });
  await strong;
  await eventually(() => cluster.requests.some(({ request }) => request.type === 'query'));
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.equal(isAnswered, false);
  t.equal(client.seesChanges, true);
  changes.release();
  await asked;
  t.equal(seen.at(-1), cluster.world.index);
});

t.test('level session: listeners keep nothing while the changes stay away', async (t) => {
  const cluster = new FakeCluster();
  cluster.elect(cluster.node(1));
  const changes = holdingChanges(cluster);
  const client = clientOf(t, cluster, {
    ...{ holdsOpen: true, readLevel: 'session', dialer: changes.dialer },
  });
  let behind = 0;
  client.watch({
    onChange: () => {},
    onBehind: () => behind++,
  });
  await makeFile(client, 'f');
  await eventually(() => client.seenIndex === cluster.world.index);
  const before = behind;
  changes.held = true;
  await makeFile(client, 'g');
  await client.query({ type: 'get-inode', ino: ROOT_INO });
  t.equal(client.seesChanges, false);
  t.equal(behind, before + 1);
  await makeFile(client, 'h');
  await client.query({ type: 'get-inode', ino: ROOT_INO });
  t.equal(behind, before + 1, 'nothing was kept meanwhile');
  changes.release();
  await eventually(() => client.seesChanges);
  t.equal(client.seenIndex, cluster.world.index);
  await makeFile(client, 'i');
  await client.query({ type: 'get-inode', ino: ROOT_INO });
  t.equal(client.seesChanges, true);
});

t.test('keep-alives follow up what was unlinked until all of it is reclaimed', async (t) => {
  const cluster = new FakeCluster();
  const client = clientOf(t, cluster, { holdsOpen: true });
  const names = Array.from({ length: 3_000 }, (_, i) => `f${i}`);
  await Promise.all(names.map((name) => makeFile(client, name)));
  await Promise.all(
    names.map((name) =>
      client.execute({ type: 'unlink', parent: ROOT_INO, name: Buffer.from(name) }),
    ),
  );
  await eventually(() => cluster.world.counters.inodes === 1);
  const keepAlives = submits(cluster, 'keep-alive').length;
  t.ok(keepAlives < 20, `${keepAlives} keep-alives`);
});

t.test('a change counts as own only while the caller of its command waits', async (t) => {
  const cluster = new FakeCluster();
  const held: (() => void)[] = [];
  const dialer: Dialer = {
    dial: (address, handlers, signal) =>
      cluster.dialer.dial(
        address,
        {
          ...handlers,
          onClose: () => handlers.onClose(),
          onResponse: (response) => {
            if (response.type !== 'submit-reply') return handlers.onResponse(response);
            const { index } = response;
            const changes = {
              type: 'changes',
              id: index,
              index,
              reset: false,
              effects: [],
            } as const;
            held.push(() => handlers.onResponse({ ...response, changes }));
          },
        },
        signal,
      ),
  };
  const client = clientOf(t, cluster, { dialer, cache: true });
  const heard: (Command | null)[] = [];
  client.setKeeper({
    forget: ({ own }) => {
      heard.push(own);
      return null;
    },
  });
  const next = async () => {
    await eventually(() => held.length > 0);
    held.shift()?.();
  };
  const command = { type: 'nothing' } as const;
  const waited = client.execute(command);
  await next();
  heard.length = 0;
  await next();
  await waited;
  t.equal(heard[0], command);
  heard.length = 0;
  const abort = new AbortController();
  const given = client.execute({ ...command }, { signal: abort.signal });
  await eventually(() => held.length > 0);
  abort.abort();
  await t.rejects(given, { code: 'INTERRUPTED' });
  await next();
  t.strictSame(heard, [null]);
  const drain = setInterval(() => held.shift()?.(), 1);
  t.teardown(() => clearInterval(drain));
  await client.close();
});

t.test('a node that is away keeps no other one from a snapshot', async (t) => {
  const cluster = new FakeCluster();
  cluster.elect(cluster.node(2));
  cluster.kill(cluster.node(1));
  const reports = await clientOf(t, cluster, { deadlineMs: 200 }).snapshot();
  t.strictSame(
    reports.map(({ address, id, index }) => ({ address, id, index })),
    [
      { address: 'host1:1', id: 'n1', index: cluster.world.index },
      { address: 'host2:1', id: null, index: null },
      { address: 'host3:1', id: 'n3', index: cluster.world.index },
    ],
  );
  t.match(reports[1]?.error, { code: 'UNREACHABLE', message: /^host2:1: / });
});
