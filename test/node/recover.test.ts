import t from 'tap';
import { recoverAlone, type Survivor } from '../../src/node/recover.js';
import { createMemoryLogStore, createMemoryStateStore } from '../../src/storage/memory.js';
import {
  bytes,
  type Member,
  type MemoryCluster,
  makeFile,
  startMemoryCluster,
  until,
} from '../support/cluster.js';

function recover(
  member: Member,
  confirm: (survivor: Survivor) => boolean = () => true,
  address: string | null = null,
) {
  return recoverAlone(
    { id: member.id, address },
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
    recoverAlone({ id: 'stranger', address: null }, ...stores, () => true),
    { code: 'BAD_ARGUMENT' },
  );
});

t.test('when even the names of the members were lost with the power', async (t) => {
  const cluster = await startMemoryCluster({ nodes: 3 });
  t.teardown(() => cluster.stop());
  await write(cluster, 'a', 'b', 'late');
  const leader = await cluster.leader();
  await Promise.all(cluster.members.map((member) => member.kill()));
  await t.rejects(recover(leader), { code: 'BAD_ARGUMENT' });
  await recover(leader, () => true, leader.config.address);
  await leader.start();
  await until('it leads', () => leader.node.status().role === 'leader');
  t.notOk((await names(leader)).includes(null));
});
