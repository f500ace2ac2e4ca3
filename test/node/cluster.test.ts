import t from 'tap';
import type { SubmitResponse } from '../../src/codec/client-messages.js';
import { bytes, type Client, makeFile, startMemoryCluster } from '../support/cluster.js';
import { until } from '../support/until.js';

const lookup = (name: string) => ({ type: 'lookup', parent: 1, name: bytes(name) }) as const;

t.test('three nodes elect a leader, commit and agree', async (t) => {
  const cluster = await startMemoryCluster({ nodes: 3 });
  t.teardown(() => cluster.stop());
  const client = await cluster.client();
  for (let i = 0; i < 20; i++) await client.execute(makeFile(`f${i}`));
  await cluster.converged();
  t.equal((await cluster.leader()).node.status().inodes, 21);
  for (const member of cluster.members) {
    t.match(member.node.status(), {
      cluster: 'test',
      recovering: false,
      sessions: [{ name: 'test' }],
    });
  }
});

t.test('a status names some of many sessions', async (t) => {
  const cluster = await startMemoryCluster({ nodes: 1 });
  t.teardown(() => cluster.stop());
  await Promise.all(Array.from({ length: 300 }, (_, i) => cluster.client(`client ${i}`)));
  const { sessions, sessionCount } = (await cluster.leader()).node.status();
  t.equal(sessionCount, 300);
  t.equal(sessions.length, 256);
});

t.test('the leader reads strongly, every node at session level and locally', async (t) => {
  const cluster = await startMemoryCluster({ nodes: 3 });
  t.teardown(() => cluster.stop());
  const client = await cluster.client();
  for (let i = 0; i < 10; i++) {
    await client.execute(makeFile(`f${i}`));
    const leader = await cluster.leader();
    const strong = await leader.query(lookup(`f${i}`), 'strong');
    t.match(strong, { result: { ok: true } }, 'a strong read sees what was acknowledged');
    for (const member of cluster.members) {
      if (member !== leader) {
        t.match(await member.query(lookup(`f${i}`), 'strong'), { code: 'NOT_LEADER' });
      }
      const session = await member.query(lookup(`f${i}`), 'session', client.index);
      t.match(session, { type: 'query-reply', result: { ok: true } });
    }
  }
  for (const member of cluster.members) {
    t.match(await member.query(lookup('none'), 'local'), { result: { ok: false, code: 'ENOENT' } });
    const figures = await member.query({ type: 'statfs' }, 'local');
    t.match(figures, { result: { value: { inodes: 11, diskBytesTotal: 2 ** 40 } } });
  }
});

t.test('content and listings: a view of what is written, being written and stored', async (t) => {
  const cluster = await startMemoryCluster({ nodes: 1 });
  t.teardown(() => cluster.stop());
  const client = await cluster.client();
  const leader = await cluster.leader();
  const value = await client.execute(makeFile('file'));
  if (value === null || !('inode' in value)) throw new Error('no inode');
  const { ino } = value.inode;
  const data = new Uint8Array(200_000).map((_, i) => i % 251);
  await client.execute({ type: 'write', ino, offset: 0, data });
  await client.execute({ type: 'write', ino, offset: 100_000, data: bytes('here') });
  data.set(bytes('here'), 100_000);
  const read = await leader.query({ type: 'read', ino, offset: 0, size: 300_000 }, 'strong');
  t.match(read, { result: { ok: true } });
  if (read.type === 'query-reply' && read.result.ok && 'data' in read.result.value) {
    t.ok(Buffer.from(read.result.value.data).equals(data));
  }
  for (let i = 0; i < 50; i++) await client.execute(makeFile(`f${i}`));
  await client.execute({ type: 'unlink', parent: 1, name: bytes('f7') });
  const listing = { type: 'read-directory', ino: 1, cookie: 0, limit: 1000, plus: true } as const;
  const listed = await leader.query(listing, 'local');
  t.match(listed, { result: { ok: true } });
  if (listed.type === 'query-reply' && listed.result.ok && 'entries' in listed.result.value) {
    t.equal(listed.result.value.entries.length, 50);
  }
});

t.test('the leader dies: no command is lost and none counts twice', async (t) => {
  const cluster = await startMemoryCluster({ nodes: 3 });
  t.teardown(() => cluster.stop());
  const client = await cluster.client();
  const replies: SubmitResponse[] = [];
  for (let i = 0; i < 30; i++) {
    if (i % 10 === 5) {
      const leader = await cluster.leader();
      await leader.kill();
      await cluster.leader();
      await leader.start();
    }
    replies.push(await client.send(makeFile(`f${i}`), ++client.sequence));
  }
  for (const [i, reply] of replies.entries()) {
    const again = await client.send(makeFile(`f${i}`), i + 1);
    t.strictSame(again.outcome, reply.outcome, 'sent again, it is answered with the first reply');
  }
  await cluster.converged();
  t.equal((await cluster.leader()).node.status().inodes, 31);
});

t.test('commands sent without waiting take effect in order', async (t) => {
  const cluster = await startMemoryCluster({ nodes: 3 });
  t.teardown(() => cluster.stop());
  const client = await cluster.client();
  const leader = await cluster.leader();
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, i) => client.submitTo(leader, makeFile(`f${i}`), i + 1)),
  );
  const indexes = answers.map((answer) => (answer.type === 'submit-reply' ? answer.index : -1));
  t.ok(indexes.every((index, i) => index === (indexes[0] ?? 0) + i));
  const copies = await Promise.all(
    Array.from({ length: 3 }, () => client.submitTo(leader, makeFile('copy'), 201)),
  );
  for (const copy of copies) t.match(copy, { outcome: { type: 'reply', reply: { ok: true } } });
  const early = await client.submitTo(leader, makeFile('early'), 210);
  t.match(early, { outcome: { type: 'gap', lastSequence: 201 } });
});

t.test('a member whom no node could reach is refused, before it is in the log', async (t) => {
  const cluster = await startMemoryCluster({ nodes: 1 });
  t.teardown(() => cluster.stop());
  const { node } = await cluster.leader();
  const add = (id: string, address: string) =>
    node.changeMembers({ type: 'add', id, address, promote: false, replaces: null });
  await t.rejects(add('n9', 'no-port'), { code: 'MEMBERS_REFUSED', message: /no port/ });
  await t.rejects(add('n 9', '10.0.0.9:7101'), { code: 'MEMBERS_REFUSED', message: /characters/ });
  t.strictSame(node.status().configuration.learners, []);
});

t.test('all nodes are killed and start again with their disks', async (t) => {
  const cluster = await startMemoryCluster({ nodes: 3 });
  t.teardown(() => cluster.stop());
  const client = await cluster.client();
  const commands = Array.from({ length: 20 }, (_, i) => makeFile(`f${i}`));
  // Of which one is refused: that, too, is a reply to be kept.
  commands.push(makeFile('f7'));
  const first: SubmitResponse[] = [];
  for (const command of commands) first.push(await client.send(command, ++client.sequence));
  t.match(first.at(-1)?.outcome, { reply: { ok: false, code: 'EEXIST' } });
  for (let round = 0; round < 2; round++) {
    await Promise.all(cluster.members.map((member) => member.kill()));
    await Promise.all(cluster.members.map((member) => member.start()));
    for (const [i, command] of commands.entries()) {
      const { outcome } = await client.send(command, i + 1);
      t.strictSame(outcome, first[i]?.outcome, 'sent again, it is answered with the first reply');
    }
    await client.execute(makeFile(`after${round}`));
  }
  await cluster.converged();
  t.equal((await cluster.leader()).node.status().inodes, 23);
});

t.test('a cluster of one', async (t) => {
  const cluster = await startMemoryCluster({ nodes: 1 });
  t.teardown(() => cluster.stop());
  const client = await cluster.client();
  await client.execute(makeFile('a'));
  const [member] = cluster.members;
  await member?.stop();
  await member?.start();
  await client.execute(makeFile('b'));
  t.match(await member?.query(lookup('a'), 'strong'), { result: { ok: true } });
});

t.test('a new cluster waits for all of its nodes; then any minority may be away', async (t) => {
  const cluster = await startMemoryCluster({ nodes: 3 });
  t.teardown(() => cluster.stop());
  const client = await cluster.client();
  await client.execute(makeFile('a'));
  const [follower] = await cluster.followers();
  await follower?.kill();
  await client.execute(makeFile('b'));
  const other = await cluster.leader();
  await other.kill();
  const [last] = cluster.running;
  // One of three: it serves what it has, and refuses what needs the others.
  t.match(await last?.query(lookup('a'), 'local'), { type: 'query-reply' });
  await until('a refusal', async () => {
    const answer = await last?.query(lookup('a'), 'strong');
    return answer?.type === 'refusal' && answer.code === 'NO_LEADER';
  });
  t.match(await client.submitTo(last ?? other, makeFile('c'), 9), { code: 'NOT_LEADER' });
  // One with an empty disk does not make a majority: it may have promised something before.
  follower?.wipe();
  await follower?.start();
  await new Promise((resolve) => setTimeout(resolve, 700));
  t.match(cluster.running.map((member) => member.node.status().role).includes('leader'), false);
  await other.start();
  await client.execute(makeFile('d'));
  await cluster.converged();
  await until('the new disk to be taken in', () => follower?.node.status().recovering === false);
});

t.test('a session of which nothing is heard expires, also after a change of leaders', async (t) => {
  const cluster = await startMemoryCluster({ nodes: 3, config: { sessionTimeoutMs: 3_000 } });
  t.teardown(() => cluster.stop());
  await cluster.client('silent');
  const loud = await cluster.client('loud');
  const names = (client: Client) =>
    until('only the loud session is left', async () => {
      await client.execute({ type: 'nothing' });
      const { sessions } = (await cluster.leader()).node.status();
      return sessions.length === 1 && sessions;
    });
  t.match(await names(loud), [{ name: 'loud' }]);
  await cluster.client('silent again');
  await (await cluster.leader()).kill();
  t.match(await names(loud), [{ name: 'loud' }]);
});

t.test('what must not come from outside is refused', async (t) => {
  const cluster = await startMemoryCluster({ nodes: 1 });
  t.teardown(() => cluster.stop());
  const client = await cluster.client();
  const leader = await cluster.leader();
  const expire = { type: 'expire-session', session: 1, lastIndex: 1 } as const;
  t.match(await client.submitTo(leader, expire, 1), { code: 'BAD_ARGUMENT' });
  const open = { type: 'open-session', name: '', holdsOpen: false } as const;
  t.match(await client.submitTo(leader, open, 1), { code: 'BAD_ARGUMENT' });
  t.match(await client.submitTo(leader, { type: 'nothing' }, 0), { code: 'BAD_ARGUMENT' });
  const write = { type: 'write', ino: -1, offset: 0, data: bytes('') } as const;
  t.match(await client.submitTo(leader, write, 1), { code: 'BAD_ARGUMENT' });
});

t.test('one client cannot fill the node with requests', async (t) => {
  const cluster = await startMemoryCluster({ nodes: 1 });
  t.teardown(() => cluster.stop());
  const client = await cluster.client();
  const leader = await cluster.leader();
  const refused: string[] = [];
  let answered = 0;
  const handlers = leader.connect((response) => {
    if (response.type === 'refusal') refused.push(response.code);
    else answered++;
  });
  const { session } = client;
  for (let id = 1; id <= 1_100; id++) {
    const command = { type: 'nothing' } as const;
    handlers.onRequest({
      type: 'submit',
      id,
      session,
      sequence: id,
      acknowledged: id - 1,
      command,
    });
  }
  await until('all answered', () => answered === 1_024);
  t.strictSame(refused, new Array(76).fill('BUSY'));
});
