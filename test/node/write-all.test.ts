import t from 'tap';
import { bytes, makeFile, startMemoryCluster } from '../support/cluster.js';
import { until } from '../support/until.js';

const ALL = { writeConcern: 'all' } as const;

t.test('nothing is answered before every live voter has it', async (t) => {
  const cluster = await startMemoryCluster({ nodes: 3, config: ALL });
  t.teardown(() => cluster.stop());
  const client = await cluster.client();
  await client.execute(makeFile('a'));
  const leader = await cluster.leader();
  const followers = await cluster.followers();
  const [slow, other] = followers;
  if (slow === undefined || other === undefined) throw new Error('no followers');
  await until('all live', () => leader.node.status().liveVoters.length === 2);
  slow.hangDisk('log-append');
  t.teardown(() => slow.resumeDisk());
  let answered = false;
  const execution = client.execute(makeFile('b')).then(() => {
    answered = true;
  });
  const last = leader.disk.log.mark.index + leader.disk.log.entries.length;
  await until('a majority has it', () => other.node.status().lastIndex > last);
  t.equal(answered, false);
  t.match(leader.node.status(), { writeConcern: 'all', commitIndex: last, leaseMs: 0 });
  slow.resumeDisk();
  await execution;
  await cluster.converged();
});

t.test(
  'a voter that is gone makes operations wait once, and counts again when it is back',
  async (t) => {
    const cluster = await startMemoryCluster({ nodes: 3, config: ALL });
    t.teardown(() => cluster.stop());
    const client = await cluster.client();
    const leader = await cluster.leader();
    const [gone] = await cluster.followers();
    if (gone === undefined) throw new Error('no follower');
    await until('all live', () => leader.node.status().liveVoters.length === 2);
    await gone.kill();
    await client.execute(makeFile('a'));
    t.notOk(leader.node.status().liveVoters.includes(gone.id));
    t.ok(leader.reports.some((line) => line === `waits for ${gone.id} no longer`));
    for (let i = 0; i < 50; i++) await client.execute(makeFile(`b${i}`));
    await gone.start();
    await until('it counts again', () => leader.node.status().liveVoters.includes(gone.id));
    await client.execute(makeFile('c'));
    await cluster.converged();
  },
);

t.test('any node answers strong reads, from its own tree, and none is stale', async (t) => {
  const cluster = await startMemoryCluster({ nodes: 3, config: ALL });
  t.teardown(() => cluster.stop());
  const client = await cluster.client();
  await client.execute(makeFile('file'));
  const followers = await cluster.followers();
  for (let size = 1; size <= 200; size++) {
    const value = await client.execute({
      type: 'set-attributes',
      ino: 2,
      size,
      killPrivileges: false,
    });
    t.ok(value);
    for (const member of followers) {
      const lookup = { type: 'lookup', parent: 1, name: bytes('file') } as const;
      const answer = await member.query(lookup, 'strong');
      const found =
        answer.type === 'query-reply' && answer.result.ok && 'inode' in answer.result.value
          ? answer.result.value.inode?.size
          : answer;
      t.equal(found, size, `${member.id} at ${size}`);
    }
  }
});

t.test('a follower under a lease does not ask its leader', async (t) => {
  const cluster = await startMemoryCluster({ nodes: 3, config: ALL });
  t.teardown(() => cluster.stop());
  const client = await cluster.client();
  await client.execute(makeFile('file'));
  const leader = await cluster.leader();
  const [follower] = await cluster.followers();
  if (follower === undefined) throw new Error('no follower');
  const lookup = { type: 'lookup', parent: 1, name: bytes('file') } as const;
  // What goes to the leader takes longer than any lease: only from the own tree is it quick.
  let quick = 0;
  await until('answers by itself', async () => {
    const begin = performance.now();
    const answer = await follower.query(lookup, 'strong');
    t.equal(answer.type, 'query-reply');
    if (quick === 0)
      cluster.network.setWeather(follower.id, leader.id, { delayMinMs: 60, delayMaxMs: 60 });
    if (performance.now() - begin < 50) quick++;
    return quick > 20;
  });
});

t.test('a new leader goes on without the old one', async (t) => {
  const cluster = await startMemoryCluster({ nodes: 3, config: ALL });
  t.teardown(() => cluster.stop());
  const client = await cluster.client();
  await client.execute(makeFile('a'));
  const leader = await cluster.leader();
  await leader.kill();
  await client.execute(makeFile('b'));
  const next = await cluster.leader();
  t.not(next, leader);
  t.same(
    next.node.status().liveVoters,
    cluster.running.filter((member) => member !== next).map(({ id }) => id),
  );
  await leader.start();
  await until('it counts again', () => next.node.status().liveVoters.length === 2);
});
