import t from 'tap';
import type { Command } from '../../src/filesystem/commands.js';
import { sessionKey } from '../../src/filesystem/keys.js';
import { S_IFREG } from '../../src/filesystem/mode.js';
import {
  HOLDERS_NONE,
  type Ino,
  SESSION_REPLIES_MAX,
  SESSION_REPLY_BYTES_MAX,
  SESSIONS_MAX,
  SYMLINK_BYTES_MAX,
} from '../../src/filesystem/records.js';
import { bytes, FilesystemWorld, ROOT, text } from '../support/filesystem-world.js';
import { checkTree } from '../support/tree-invariants.js';

function make(name: string): Command {
  const mode = S_IFREG | 0o644;
  return { type: 'make-node', parent: ROOT, name: bytes(name), mode, rdev: 0, uid: 0, gid: 0 };
}

function makeFile(world: FilesystemWorld, session: number, name: string): Ino {
  const reply = world.run(session, make(name));
  if (!reply.ok || reply.value === null || !('inode' in reply.value)) throw new Error('make-node');
  world.do(session, { type: 'write', ino: reply.value.inode.ino, offset: 0, data: bytes(name) });
  return reply.value.inode.ino;
}

function unlink(world: FilesystemWorld, session: number, name: string): void {
  world.do(session, { type: 'unlink', parent: ROOT, name: bytes(name) });
}

function isThere(world: FilesystemWorld, ino: Ino): boolean {
  return world.query({ type: 'get-inode', ino }).ok;
}

t.test('a command that comes again gets its first reply and changes nothing', async (t) => {
  const world = new FilesystemWorld();
  const session = world.open();
  const first = world.apply(session, 1, make('f'));
  const hash = world.counters.hash;
  const again = world.apply(session, 1, make('f'));
  t.equal(first.outcome.type, 'reply');
  t.equal(again.outcome.type, 'repeated');
  t.same(
    again.outcome.type === 'repeated' && again.outcome.reply,
    first.outcome.type === 'reply' && first.outcome.reply,
  );
  t.same(again.changes, []);
  t.same(again.effects, []);
  t.equal(world.counters.hash, hash);
  const refused = world.apply(session, 2, make('f'));
  const refusedAgain = world.apply(session, 2, make('f'));
  t.match(refused.outcome, { type: 'reply', reply: { ok: false, code: 'EEXIST' } });
  t.match(refusedAgain.outcome, { type: 'repeated', reply: { ok: false, code: 'EEXIST' } });
});

t.test('replies survive a store that gives back plain Maps', async (t) => {
  const world = new FilesystemWorld();
  const session = world.open();
  for (let i = 1; i <= 3; i++) world.apply(session, i, make(`f${i}`));
  const record = world.view.get(sessionKey(session));
  if (record === undefined) throw new Error('no session');
  t.same([...record.replies.keys()], [1, 2, 3]);
  t.equal(record.replies.size, 3);
  const stored = { ...record, replies: new Map(record.replies) };
  world.view.take([{ type: 'put', key: sessionKey(session), value: stored }]);
  t.equal(world.apply(session, 2, make('f2')).outcome.type, 'repeated');
  t.equal(world.apply(session, 4, make('f4'), 2).outcome.type, 'reply');
  t.same([...(world.view.get(sessionKey(session))?.replies.keys() ?? [])], [3, 4]);
});

t.test('a gap does nothing and says where to go on', async (t) => {
  const world = new FilesystemWorld();
  const session = world.open();
  world.apply(session, 1, make('a'));
  const gap = world.apply(session, 3, make('c'));
  t.match(gap, { outcome: { type: 'gap', lastSequence: 1 }, changes: [], effects: [] });
  t.equal(world.apply(session, 2, make('b')).outcome.type, 'reply');
  t.equal(world.apply(session, 3, make('c')).outcome.type, 'reply');
});

t.test('acknowledged replies are forgotten', async (t) => {
  const world = new FilesystemWorld();
  const session = world.open();
  world.apply(session, 1, make('a'));
  world.apply(session, 2, make('b'));
  world.apply(session, 3, make('c'), 1);
  t.match(world.apply(session, 1, make('a')), { outcome: { type: 'gap' }, changes: [] });
  t.equal(world.apply(session, 2, make('b')).outcome.type, 'repeated');
});

t.test('replies that nobody acknowledges are bounded', async (t) => {
  const world = new FilesystemWorld();
  const session = world.open();
  for (let i = 1; i <= SESSION_REPLIES_MAX; i++) world.apply(session, i, { type: 'nothing' });
  const next = SESSION_REPLIES_MAX + 1;
  const full = world.apply(session, next, { type: 'nothing' });
  t.match(full.outcome, { type: 'gap', lastSequence: SESSION_REPLIES_MAX });
  t.equal(world.apply(session, next, { type: 'nothing' }, 1).outcome.type, 'reply');
});

t.test('sessions that are not there', async (t) => {
  const world = new FilesystemWorld();
  t.equal(world.apply(7, 1, make('f')).outcome.type, 'no-session');
  t.equal(world.apply(0, 0, make('f')).outcome.type, 'no-session');
  const session = world.open();
  t.equal(world.code(session, { type: 'open-session', name: 'x', holdsOpen: false }), 'EINVAL');
  world.do(session, { type: 'close-session' });
  t.equal(world.apply(session, 3, make('f')).outcome.type, 'no-session');
  t.same(world.counters.sessions, []);
});

t.test('a session expires only when it has been silent', async (t) => {
  const world = new FilesystemWorld();
  const session = world.open();
  const lastIndex = world.index;
  world.do(session, { type: 'nothing' });
  world.apply(0, 0, { type: 'expire-session', session, lastIndex });
  t.same(world.counters.sessions, [session], 'it has spoken since');
  world.apply(0, 0, { type: 'expire-session', session, lastIndex: lastIndex + 1 });
  t.same(world.counters.sessions, []);
  t.equal(world.view.get(sessionKey(session)), undefined);
  world.apply(0, 0, { type: 'expire-session', session, lastIndex: lastIndex + 1 });
  checkTree(world.view);
});

t.test('there are only so many sessions', async (t) => {
  const world = new FilesystemWorld();
  for (let i = 0; i < SESSIONS_MAX; i++) world.open();
  const more = world.apply(0, 0, { type: 'open-session', name: 'more', holdsOpen: false });
  t.match(more.outcome, { type: 'reply', reply: { ok: false, code: 'EBUSY' } });
});

t.test('the clock never goes back', async (t) => {
  const world = new FilesystemWorld();
  const session = world.open();
  const apply = (sequence: number, sec: number) => {
    world.index++;
    const command = make(`f${sequence}`);
    const entry = { session, sequence, acknowledged: 0, time: { sec, nsec: 5 }, command };
    const applied = world.filesystem.apply(world.view, world.index, entry);
    world.view.take(applied.changes);
    return applied.outcome;
  };
  t.match(apply(1, 500), { reply: { value: { inode: { mtime: { sec: 500, nsec: 5 } } } } });
  t.match(apply(2, 400), { reply: { value: { inode: { mtime: { sec: 500, nsec: 5 } } } } });
  t.match(world.counters.time, { sec: 500, nsec: 5 });
});

t.test('without anyone who could hold it, an unlinked file is reclaimed at once', async (t) => {
  const world = new FilesystemWorld();
  const session = world.open();
  const ino = makeFile(world, session, 'f');
  unlink(world, session, 'f');
  t.notOk(isThere(world, ino));
  t.match(world.counters, { inodes: 1, bytes: 0, holdersSeenIndex: HOLDERS_NONE });
  t.match(
    world.effects.filter((e) => e.type === 'inode' && e.ino === ino),
    [{ gone: true }],
  );
  checkTree(world.view);
});

t.test('an unlinked file waits until all holders have seen it', async (t) => {
  const world = new FilesystemWorld();
  const [a, b] = [world.open(true), world.open(true)];
  const ino = makeFile(world, a, 'f');
  unlink(world, a, 'f');
  const at = world.index;
  t.ok(isThere(world, ino));
  world.do(a, { type: 'keep-alive', seenIndex: at, holds: [] });
  world.do(b, { type: 'keep-alive', seenIndex: at - 1, holds: [] });
  t.ok(isThere(world, ino), 'the other may yet hold it');
  checkTree(world.view);
  world.do(b, { type: 'keep-alive', seenIndex: at, holds: [] });
  t.notOk(isThere(world, ino));
  checkTree(world.view);
});

t.test('a held file is written and read until its last hold goes', async (t) => {
  const world = new FilesystemWorld();
  const [a, b] = [world.open(true), world.open(true)];
  const ino = makeFile(world, a, 'f');
  unlink(world, a, 'f');
  const seenIndex = world.index;
  world.do(a, { type: 'keep-alive', seenIndex, holds: [ino, ino, ROOT, 99] });
  world.do(b, { type: 'keep-alive', seenIndex, holds: [ino] });
  t.equal(world.counters.orphanHead, world.counters.orphanTail, 'it has left the queue');
  world.do(a, { type: 'write', ino, offset: 1, data: bytes('!') });
  const read = world.query({ type: 'read', ino, offset: 0, size: 9 });
  t.equal(read.ok && text(read.value.data), 'f!');
  checkTree(world.view);
  world.do(a, { type: 'keep-alive', seenIndex: world.index, holds: [] });
  t.ok(isThere(world, ino), 'the other holds it');
  checkTree(world.view);
  world.do(b, { type: 'close-session' });
  t.notOk(isThere(world, ino));
  t.equal(world.code(a, { type: 'write', ino, offset: 0, data: bytes('x') }), 'ESTALE');
  t.equal(world.counters.bytes, 0);
  checkTree(world.view);
});

t.test('a hold that goes before the queue has come to it changes nothing yet', async (t) => {
  const world = new FilesystemWorld();
  const [a, b] = [world.open(true), world.open(true)];
  const ino = makeFile(world, a, 'f');
  unlink(world, a, 'f');
  const seenIndex = world.index;
  world.do(a, { type: 'keep-alive', seenIndex, holds: [ino] });
  world.do(a, { type: 'keep-alive', seenIndex: world.index, holds: [] });
  t.ok(isThere(world, ino), 'b has not said anything');
  checkTree(world.view);
  world.do(b, { type: 'keep-alive', seenIndex, holds: [ino] });
  t.ok(isThere(world, ino));
  world.apply(0, 0, { type: 'expire-session', session: b, lastIndex: world.index });
  t.notOk(isThere(world, ino));
  checkTree(world.view);
});

t.test('a silent holder that expires lets go', async (t) => {
  const world = new FilesystemWorld();
  const silent = world.open(true);
  const lastIndex = world.index;
  const session = world.open();
  const ino = makeFile(world, session, 'f');
  unlink(world, session, 'f');
  t.ok(isThere(world, ino));
  world.apply(0, 0, { type: 'expire-session', session: silent, lastIndex });
  t.notOk(isThere(world, ino));
  checkTree(world.view);
});

t.test('a holder cannot have seen the future', async (t) => {
  const world = new FilesystemWorld();
  const holder = world.open(true);
  world.do(holder, { type: 'keep-alive', seenIndex: 1e9, holds: [] });
  const ino = makeFile(world, holder, 'f');
  unlink(world, holder, 'f');
  t.ok(isThere(world, ino));
  checkTree(world.view);
});

t.test('the queue drains while files are removed', async (t) => {
  const world = new FilesystemWorld();
  const holder = world.open(true);
  for (let i = 0; i < 50; i++) {
    makeFile(world, holder, 'f');
    unlink(world, holder, 'f');
  }
  t.equal(world.counters.inodes, 51);
  // As a rule one keep-alive takes them all; an orphan more takes some along by itself.
  world.do(holder, { type: 'keep-alive', seenIndex: world.index, holds: [] });
  t.equal(world.counters.inodes, 1);
  checkTree(world.view);
});

t.test(
  'replies with long targets are kept up to a bound, and go on behind an acknowledgement',
  async (t) => {
    const world = new FilesystemWorld();
    const session = world.open();
    const target = new Uint8Array(SYMLINK_BYTES_MAX).fill(0x61);
    const symlink = { type: 'make-symlink', parent: ROOT, target, uid: 0, gid: 0 } as const;
    const make = (sequence: number, acknowledged: number) =>
      world.apply(session, sequence, { ...symlink, name: bytes(`${sequence}`) }, acknowledged);
    const kept = Math.ceil(SESSION_REPLY_BYTES_MAX / SYMLINK_BYTES_MAX);
    for (let i = 1; i <= kept; i++) t.match(make(i, 0).outcome, { reply: { ok: true } });
    const full = { type: 'gap', lastSequence: kept };
    t.match(make(kept + 1, 0).outcome, full);
    t.match(world.apply(session, kept + 1, { type: 'nothing' }).outcome, full);
    t.match(make(1, 0).outcome, { type: 'repeated', reply: { value: { inode: { target } } } });
    t.match(make(kept + 1, 1).outcome, { reply: { ok: true } });
    t.match(make(kept + 2, 1).outcome, { type: 'gap', lastSequence: kept + 1 });
    t.match(make(kept + 2, kept + 1).outcome, { reply: { ok: true } });
  },
);
