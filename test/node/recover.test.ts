import t from 'tap';
import { systemRandom } from '../../src/base/random.js';
import { recoverAlone, type Survivor } from '../../src/node/recover.js';
import {
  createMemoryLogStore,
  createMemoryStateStore,
  MemoryDisk,
} from '../../src/storage/memory.js';
import {
  bytes,
  type Member,
  type MemoryCluster,
  makeFile,
  startMemoryCluster,
} from '../support/cluster.js';
import { until } from '../support/until.js';

function recover(
  member: Member,
  confirm: (survivor: Survivor) => boolean = () => true,
  address: string | null = null,
) {
  return recoverAlone(
    { id: member.id, address, random: systemRandom },
    createMemoryLogStore(member.disk),
    createMemoryStateStore(member.disk),
    confirm,
  );
}

async function names(member: Member): Promise<(number | null)[]> {
  return Promise.all(
    ['a', 'b', 'late'].map(async (name) => {
      const lookup = { type: 'lookup', parent: 1, name: bytes(name) } as const;
      const answer = await member.query(lookup, 'strong');
      if (answer.type !== 'query-reply' || !answer.result.ok) return null;
      const { value } = answer.result;
      return 'inode' in value ? (value.inode?.ino ?? null) : null;
    }),
  );
}

async function write(cluster: MemoryCluster, ...files: readonly string[]): Promise<void> {
  const client = await cluster.client();
  for (const name of files) await client.execute(makeFile(name));
}

t.test('one survivor goes on alone, with all that it ever heard of', async (t) => {
  const cluster = await startMemoryCluster({
    nodes: 3,
    config: { snapshotLogEntries: 20, snapshotTailEntries: 5 },
  });
  t.teardown(() => cluster.stop());
  await write(cluster, 'a', 'b');
  await cluster.converged();
  const [survivor, other] = cluster.members;
  if (survivor === undefined || other === undefined) throw new Error('no members');
  const lastIndex = survivor.node.status().lastIndex;
  await Promise.all(cluster.members.map((member) => member.stop()));

  const seen: Survivor[] = [];
  const untouched = structuredClone(survivor.disk.log.entries);
  await recover(survivor, (found) => {
    seen.push(found);
    return false;
  });
  t.match(seen, [{ id: 'n1', address: 'n1:1', others: ['n2', 'n3'], recovering: false }]);
  t.ok((seen[0]?.lastIndex ?? 0) >= lastIndex);
  t.ok((seen[0]?.lastChange?.sec ?? 0) > 1_600_000_000);
  t.same(survivor.disk.log.entries, untouched, 'who is not sure changes nothing');

  await recover(survivor);
  await survivor.start();
  await until('it leads', () => survivor.node.status().role === 'leader');
  await write(cluster, 'late');
  t.notOk((await names(survivor)).includes(null));

  // It stays so, and one of the lost that comes back is nobody.
  await survivor.kill();
  await survivor.start();
  await other.start();
  await until('it leads again', () => survivor.node.status().role === 'leader');
  t.notOk((await names(survivor)).includes(null));
  const { term } = survivor.node.status();
  await write(cluster, 'later');
  t.equal(other.node.status().role === 'leader', false);
  t.equal(survivor.node.status().term, term, 'it is not disturbed');
});

t.test('of two survivors the one whose log ends in a higher term has what counts', async (t) => {
  const cluster = await startMemoryCluster({ nodes: 3 });
  t.teardown(() => cluster.stop());
  await write(cluster, 'a');
  await cluster.converged();
  const old = cluster.members.find(({ node }) => node.status().role === 'leader');
  const others = cluster.members.filter((member) => member !== old);
  const [other] = others;
  if (old === undefined || other === undefined) throw new Error('no leader');
  const before = old.node.status();
  await old.stop();
  await until('another leads', () =>
    others.some(({ node }) => node.status().role === 'leader' && node.status().commitIndex > 0),
  );
  await write(cluster, 'b');
  await Promise.all(others.map((member) => member.stop()));
  const seen = new Map<Member, Survivor>();
  for (const member of [old, other]) {
    await recover(member, (found) => {
      seen.set(member, found);
      return false;
    });
  }
  t.equal(seen.get(old)?.lastTerm, before.term);
  t.ok((seen.get(other)?.lastTerm ?? 0) > before.term);
});

t.test('who is no member cannot', async (t) => {
  const cluster = await startMemoryCluster({ nodes: 1 });
  t.teardown(() => cluster.stop());
  await write(cluster, 'a');
  const [member] = cluster.members;
  if (member === undefined) throw new Error('no member');
  await member.stop();
  const { disk } = member;
  const stores = [createMemoryLogStore(disk), createMemoryStateStore(disk)] as const;
  await t.rejects(
    recoverAlone({ id: 'stranger', address: null, random: systemRandom }, ...stores, () => true),
    { code: 'BAD_ARGUMENT' },
  );
});

t.test('when even the names of the members were lost with the power', async (t) => {
  const disk = new MemoryDisk();
  const log = createMemoryLogStore(disk);
  await log.open();
  const save = { number: 1, truncateFrom: null } as const;
  await log.append([
    {
      ...save,
      hardState: { term: 1, vote: 'n1', recovering: false, incarnation: 0 },
      entries: [{ index: 1, term: 1, kind: 'empty', data: new Uint8Array() }],
    },
  ]);
  await log.close();
  const alone = (address: string | null) =>
    recoverAlone(
      { id: 'n1', address, random: systemRandom },
      createMemoryLogStore(disk),
      createMemoryStateStore(disk),
      () => true,
    );
  await t.rejects(alone(null), { code: 'BAD_ARGUMENT' });
  t.match(await alone('n1:1'), { id: 'n1', address: 'n1:1', others: [], lastIndex: 1 });
});

t.test('power lost before the tree was ever synced: the log names the members', async (t) => {
  const cluster = await startMemoryCluster({ nodes: 3 });
  t.teardown(() => cluster.stop());
  await write(cluster, 'a', 'b', 'late');
  const leader = await cluster.leader();
  await Promise.all(cluster.members.map((member) => member.kill()));
  t.match(await recover(leader), {
    others: cluster.members.map(({ id }) => id).filter((id) => id !== leader.id),
  });
  await leader.start();
  await until('it leads', () => leader.node.status().role === 'leader');
  t.notOk((await names(leader)).includes(null));
});

t.test('the rebuilt cluster and a majority of the old one leave each other alone', async (t) => {
  const cluster = await startMemoryCluster({ nodes: 3 });
  t.teardown(() => cluster.stop());
  await write(cluster, 'a', 'b');
  await cluster.converged();
  const [survivor, second, third] = cluster.members;
  if (survivor === undefined || second === undefined || third === undefined) throw new Error();
  await Promise.all(cluster.members.map((member) => member.stop()));
  await recover(survivor);
  const [before] = second.disk.log.entries.slice(-1);
  await Promise.all(cluster.members.map((member) => member.start()));
  await until('the rebuilt one leads', () => survivor.node.status().role === 'leader');
  const old = [second, third];
  await until('so do the old ones', () => old.some(({ node }) => node.status().role === 'leader'));
  await until('they say what is wrong', () =>
    [survivor, ...old].every(({ reports }) =>
      reports.some((line) => /another cluster of the name/.test(line)),
    ),
  );
  // Who was told that it is removed would have stopped.
  t.ok(old.every(({ running }) => running));
  await until('the old ones go on', () =>
    old.every(({ node }) => node.status().lastIndex > (before?.index ?? 0)),
  );
  const incarnations = cluster.members.map(({ node }) => node.status().configuration.incarnation);
  t.equal(incarnations[1], incarnations[2]);
  t.not(incarnations[0], incarnations[1]);
});

t.test('the first node of a cluster that has grown loses its disk', async (t) => {
  const cluster = await startMemoryCluster({ nodes: 3 });
  t.teardown(() => cluster.stop());
  await write(cluster, 'a', 'b', 'late');
  const leader = await cluster.leader();
  const first = cluster.members.find((member) => member !== leader) ?? leader;
  await first.stop();
  // As it was started first: alone.
  const { id, address } = first.config;
  first.wipe();
  await first.start({ peers: [{ id, address }] });
  await until('it has caught up', () => {
    const { recovering, appliedIndex } = first.node.status();
    return !recovering && appliedIndex >= leader.node.status().appliedIndex;
  });
  t.notOk((await names(leader)).includes(null));
  t.equal(first.node.status().configuration.voters.length, 3);
  t.equal(
    first.node.status().configuration.incarnation,
    leader.node.status().configuration.incarnation,
  );
});
