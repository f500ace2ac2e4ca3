import t, { type Test } from 'tap';
import { createFilesystemClient } from '../../src/client/client.js';
import type { Command } from '../../src/filesystem/commands.js';
import { type MemoryCluster, makeFile, startMemoryCluster } from '../support/cluster.js';
import { noise } from '../support/records.js';
import { until } from '../support/until.js';

const MIB = 1_048_576;
/** UNCOMMITTED_BYTES_MAX and what one batch may add to it. */
const TAIL_BYTES_MAX = 33 * MIB;

function realClient(cluster: MemoryCluster, name: string) {
  return createFilesystemClient({
    dialer: cluster.network.dialer({ cluster: 'test', name }),
    addresses: cluster.members.map(({ config }) => config.address),
    name,
    deadlineMs: 60_000,
  });
}

function write(ino: number, offset: number, data: Uint8Array): Command & { type: 'write' } {
  return { type: 'write', ino, offset, append: false, killPrivileges: false, data };
}

t.test('clients wait, and do not fail, while nothing is committed', async (t) => {
  const cluster = await startMemoryCluster({ nodes: 3 });
  t.teardown(() => cluster.stop());
  const leader = await cluster.leader();
  const followers = await cluster.followers();
  const clients = ['a', 'b', 'c', 'd'].map((name) => realClient(cluster, name));
  t.teardown(() => Promise.all(clients.map((client) => client.close())));
  const files = await Promise.all(
    clients.map(async (client, i) => {
      const make = makeFile(`f${i}`);
      if (make.type !== 'make-node') throw new Error('it makes a file');
      const { inode } = await client.execute(make);
      return inode.ino;
    }),
  );
  for (const follower of followers) follower.hangDisk('log-append');
  t.teardown(() => {
    for (const follower of followers) follower.resumeDisk();
  });
  const data = noise(1, MIB);
  let done = 0;
  const writes = clients.flatMap((client, i) =>
    Array.from({ length: 16 }, async (_, at) => {
      await client.execute(write(files[i] ?? 0, at * MIB, data));
      done++;
    }),
  );
  const failed = Promise.all(writes);
  failed.catch(() => {});
  const inLog = () => leader.disk.log.entries.reduce((sum, { data }) => sum + data.length, 0);
  await until('a full tail', () => inLog() > TAIL_BYTES_MAX - 3 * MIB);
  t.equal(done, 0);
  t.ok(inLog() <= TAIL_BYTES_MAX, `${inLog()} bytes are not committed`);
  for (const { inFlightBytes, inFlightMessages } of leader.node.status().followers) {
    t.ok(inFlightBytes <= 9 * MIB, `${inFlightBytes} bytes to one follower`);
    t.ok(inFlightMessages <= 128, `${inFlightMessages} messages to one follower`);
  }
  for (const follower of followers) follower.resumeDisk();
  await failed;
  t.equal(done, writes.length);
  await cluster.converged();
  t.equal(leader.node.status().bytes, 64 * MIB);
});

/** A follower without any data that takes in the leader's tree over a slow network. */
async function slowSnapshot(t: Test) {
  const cluster = await startMemoryCluster({
    nodes: 3,
    config: { snapshotLogEntries: 20, snapshotTailEntries: 5 },
  });
  t.teardown(() => cluster.stop());
  const client = await cluster.client();
  await client.execute(makeFile('large'));
  for (let i = 0; i < 3; i++) await client.execute(write(2, i * MIB, noise(i, MIB)));
  const leader = await cluster.leader();
  const [follower] = await cluster.followers();
  if (follower === undefined) throw new Error('no follower');
  await follower.kill();
  follower.wipe();
  for (let i = 0; i < 40; i++) await client.execute(makeFile(`before${i}`));
  await leader.node.snapshot();
  // Each message to it takes longer than a window of the snapshot's stream would like.
  cluster.network.setWeather(leader.id, follower.id, { delayMinMs: 60, delayMaxMs: 60 });
  await follower.start();
  await until('a stream', () =>
    leader.reports.some((line) => line === `streams a snapshot to ${follower.id}`),
  );
  return { cluster, client, leader, follower };
}

t.test('a follower that is slow beside a log that is short takes in one snapshot', async (t) => {
  const { cluster, client, leader, follower } = await slowSnapshot(t);
  // The log is written anew several times over while the stream is under way.
  cluster.network.cut(leader.id, follower.id);
  for (let i = 0; i < 20 * 6; i++) await client.execute(makeFile(`during${i}`));
  cluster.network.heal(leader.id, follower.id);
  let made = 0;
  await until('it took the snapshot', async () => {
    await client.execute(makeFile(`meanwhile${made++}`));
    return follower.reports.some((line) => line.startsWith('took in a snapshot'));
  });
  for (let i = 0; i < 200; i++) await client.execute(makeFile(`after${i}`));
  await cluster.converged();
  const streams = cluster.members.flatMap(({ reports }) =>
    reports.filter((line) => line === `streams a snapshot to ${follower.id}`),
  );
  t.equal(streams.length, 1);
  // And then the log is short again.
  await until('a short log', async () => {
    await client.execute(makeFile(`late${made++}`));
    const { lastIndex, snapshotIndex } = leader.node.status();
    return lastIndex - snapshotIndex < 60;
  });
});

t.test('a stream of a snapshot outlives its connection', async (t) => {
  const { cluster, leader, follower } = await slowSnapshot(t);
  for (let i = 0; i < 3; i++) {
    await new Promise((resolve) => setTimeout(resolve, 150));
    cluster.network.reset(leader.id, follower.id);
  }
  await cluster.converged();
  t.equal(leader.reports.filter((line) => line.startsWith('streams a snapshot')).length, 1);
});
