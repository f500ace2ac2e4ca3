import t, { type Test } from 'tap';
import { systemClock } from '../../src/base/system-clock.js';
import type { NodeDocument } from '../../src/control/document.js';
import type { NodeEvent } from '../../src/control/events.js';
import { DurationHistogram } from '../../src/control/histogram.js';
import { ControlLink } from '../../src/control/link.js';
import { Monitor } from '../../src/control/monitor.js';
import { startNodeControl } from '../../src/control/node-control.js';
import { createNodeMetrics } from '../../src/control/node-metrics.js';
import { openSocket } from '../../src/control/socket.js';
import { createFaultyTransport, type Faults } from '../../src/transport/faulty.js';
import { observeTransport } from '../../src/transport/observed.js';
import type { Transport } from '../../src/transport/transport.js';
import { makeFile, startMemoryCluster } from '../support/cluster.js';
import { freeAddresses } from '../support/ports.js';
import { until } from '../support/until.js';

/** Three nodes in this process, each with its control server; faults only where they are allowed. */
async function world(t: Test, options: { readonly allowFaults: boolean }) {
  const parts = new Map<string, { monitor: Monitor; transport: Transport; faults: Faults }>();
  const monitors = new Map<string, Monitor>();
  const notable: string[] = [];
  const monitorOf = (id: string) => {
    const monitor =
      monitors.get(id) ?? new Monitor(systemClock, ({ type }) => void notable.push(type));
    monitors.set(id, monitor);
    return monitor;
  };
  const cluster = await startMemoryCluster({
    nodes: 3,
    observer: monitorOf,
    around: (id, inner) => {
      const faulty = createFaultyTransport(inner, systemClock);
      const transport = observeTransport(faulty.transport, monitorOf(id));
      parts.set(id, { monitor: monitorOf(id), transport, faults: faulty.faults });
      return transport;
    },
  });
  t.teardown(() => cluster.stop());
  const addresses = await freeAddresses(3);
  const crashed: string[] = [];
  const controls = new Map<string, string>();
  for (const [i, { id, node }] of cluster.members.entries()) {
    const address = addresses[i] as string;
    const { monitor, transport, faults } = parts.get(id) as NonNullable<
      ReturnType<typeof parts.get>
    >;
    const metrics = createNodeMetrics({
      ...{ node, transport, monitor },
      syncs: new DurationHistogram(),
      stores: { log: { figures: () => ({ 'total-sst-files-size': 5 }) } },
    });
    const server = await startNodeControl({
      ...{ address, node, transport, monitor },
      timing: { electionTimeoutMinMs: 150, electionTimeoutMaxMs: 300, heartbeatMs: 50 },
      snapshotTailEntries: 1_000,
      faults: options.allowFaults ? faults : null,
      crash: () => void crashed.push(id),
      director: null,
      members: () => [],
      metrics: () => metrics.answer(),
      failure: () => null,
      pages: {},
      report: () => undefined,
    });
    t.teardown(() => server.close());
    controls.set(id, address);
  }
  const addressOf = (id: string) => controls.get(id) as string;
  const watch = (id: string) => {
    const events: NodeEvent[] = [];
    const documents: NodeDocument[] = [];
    const link = new ControlLink<NodeDocument, NodeEvent>(addressOf(id), openSocket, {
      onDocument: (document) => void documents.push(document),
      onEvents: (some) => void events.push(...some),
    });
    t.teardown(() => link.close());
    return { link, events, documents };
  };
  const getText = async (id: string, path: string) => {
    const response = await fetch(`http://${addressOf(id)}${path}`);
    return { status: response.status, text: await response.text() };
  };
  return { cluster, watch, getText, crashed, notable };
}

t.test('the document, the events and the log of a working cluster', async (t) => {
  const { cluster, watch, getText, notable } = await world(t, { allowFaults: false });
  const leader = await cluster.leader();
  const [follower] = await cluster.followers();
  const { link, events, documents } = watch(leader.id);
  await until('a document', () => documents.length > 0);
  t.match(documents[0], {
    id: leader.id,
    role: 'leader',
    vote: leader.id,
    faults: { allowed: false, slowMs: 0, cutFrom: [] },
    log: { first: 1 },
    election: { timeoutMinMs: 150 },
  });
  const client = await cluster.client('someone');
  for (let i = 0; i < 5; i++) await client.execute(makeFile(`file ${i}`));
  await until('the commit is told', () =>
    events.some((event) => event.type === 'commit' && event.last >= client.index),
  );
  const commands = events.filter((event) => event.type === 'command');
  t.match(commands[0], { command: 'open session for someone', session: 0 });
  t.match(commands.at(-1), { command: "make 'file 4' in 1", session: client.session });
  const appends = events.filter((event) => event.type === 'messages' && event.entries > 0);
  t.ok(appends.length >= 2, 'entries to each follower');
  t.ok(events.some((event) => event.type === 'messages' && event.kind === 'heartbeat'));
  t.ok(events.some((event) => event.type === 'session' && event.session === 'someone'));
  t.ok(notable.includes('role') && notable.includes('vote') && notable.includes('session'));
  const late = watch(leader.id);
  await until('another document', () => late.documents.length > 0);
  const before = (await late.link.call('events')) as readonly NodeEvent[];
  const notableOnes = before.filter(({ type }) => ['role', 'vote', 'session'].includes(type));
  t.ok(notableOnes.length >= 3, 'who comes late is told what was');
  const log = (await link.call('log', { count: 3 })) as readonly Record<string, unknown>[];
  t.equal(log.length, 3);
  t.match(log[2], { index: client.index, command: "make 'file 4' in 1", committed: true });
  t.type(log[2]?.timeMs, 'number');

  const { text } = await getText(leader.id, '/metrics');
  t.match(text, /^mootfs_raft_role\{role="leader"\} 1$/m);
  t.match(text, /^mootfs_commands_applied_total\{type="make-node"\} 5$/m);
  t.match(text, /^mootfs_commit_duration_seconds_count 6$/m);
  t.match(text, /^mootfs_rocksdb_property\{store="log",property="total-sst-files-size"\} 5$/m);
  t.match(text, /^process_resident_memory_bytes /m);
  t.match(
    text,
    new RegExp(`^mootfs_raft_follower_lag_entries\\{peer="${follower?.id}"\\} 0$`, 'm'),
  );
  t.strictSame(await getText(leader.id, '/healthz'), { status: 200, text: 'ok\n' });
  t.strictSame(await getText(leader.id, '/readyz'), { status: 200, text: 'ok\n' });
});

t.test('the log shows the last entries, however large they are', async (t) => {
  const { cluster, watch } = await world(t, { allowFaults: false });
  const leader = await cluster.leader();
  const { link, documents } = watch(leader.id);
  await until('a document', () => documents.length > 0);
  const client = await cluster.client('someone');
  const made = await client.execute(makeFile('large'));
  const ino = made !== null && 'inode' in made ? made.inode.ino : 0;
  const data = new Uint8Array(200_000);
  for (let i = 0; i < 8; i++) await client.execute({ type: 'write', ino, offset: 0, data });
  const log = (await link.call('log', { count: 50 })) as readonly Record<string, unknown>[];
  t.equal(log.at(-1)?.index, client.index);
  t.ok(log.length > 1 && log.length < 8, `as many as fit: ${log.length}`);
});

t.test('without --allow-faults every fault is refused, and nothing happens', async (t) => {
  const { cluster, watch, crashed } = await world(t, { allowFaults: false });
  const leader = await cluster.leader();
  const { link, documents } = watch(leader.id);
  await until('a document', () => documents.length > 0);
  for (const [call, params] of [
    ['slow', { ms: 100 }],
    ['cut', { from: ['n1'] }],
    ['elect', {}],
    ['crash', {}],
  ] as const) {
    await t.rejects(link.call(call, params), { code: 'NOT_ALLOWED', message: /--allow-faults/ });
  }
  t.strictSame(crashed, []);
  t.equal(await cluster.leader(), leader);
});

t.test('a leader that is cut off loses its office, and what it had not committed', async (t) => {
  const { cluster, watch, getText, crashed } = await world(t, { allowFaults: true });
  const old = await cluster.leader();
  const others = (await cluster.followers()).map(({ id }) => id);
  const { link, events, documents } = watch(old.id);
  await until('a document', () => documents.length > 0);
  const client = await cluster.client();
  t.strictSame(await link.call('cut', { from: others }), { slowMs: 0, cutFrom: others });
  client.sequence++;
  void client.submitTo(old, makeFile('lost'), client.sequence);
  await until('it leads no longer', () => old.node.status().role !== 'leader');
  await until('another one leads', () =>
    cluster.members.some(({ id, node }) => id !== old.id && node.status().role === 'leader'),
  );
  t.equal((await getText(old.id, '/readyz')).status, 503);
  await until('it is told', () =>
    events.some((event) => event.type === 'fault' && event.cutFrom.length === 2),
  );
  await client.send(makeFile('kept'), client.sequence);
  await link.call('cut', { from: [] });
  await cluster.converged();
  await until('it gave up its entry', () => events.some(({ type }) => type === 'truncated'));
  t.match(await getText(old.id, '/metrics'), { text: /^mootfs_raft_truncations_total 1$/m });

  await t.rejects(link.call('cut', { from: ['n9'] }), { code: 'BAD_ARGUMENT', message: /n9|n1/ });
  await t.rejects(link.call('slow', { ms: 'much' }), { code: 'BAD_ARGUMENT' });
  await link.call('slow', { ms: 20 });
  await until('it is slow', () => documents.at(-1)?.faults.slowMs === 20);
  await link.call('slow', { ms: 0 });
  await link.call('elect');
  await link.call('crash');
  t.strictSame(crashed, [old.id]);
});
