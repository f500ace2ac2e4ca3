import t from 'tap';
import { locksKey, WAITING } from '../../src/filesystem/keys.js';
import { LOCK_LAST_MAX } from '../../src/filesystem/lock-table.js';
import type { Caller, LockRequest } from '../../src/mount/mount.js';
import { Gate, type LocalCluster } from '../support/local-client.js';
import {
  caller,
  close,
  code,
  contentOf,
  create,
  idle,
  isSettled,
  open,
  put,
  read,
  type TestFile,
  type TestMount,
  takeCommands,
  twoMounts,
  WRITE,
  write,
} from '../support/mount-world.js';

const EXCLUSIVE: LockRequest = {
  kind: 'posix',
  mode: 'exclusive',
  owner: 'p',
  pid: 7,
  first: 0,
  last: LOCK_LAST_MAX,
  waits: false,
};
const UNLOCK: LockRequest = { ...EXCLUSIVE, mode: 'unlock' };
const FLOCK: LockRequest = { ...EXCLUSIVE, kind: 'flock', owner: 'f' };

function lock(
  mount: TestMount,
  { ino, handle }: TestFile,
  request: Partial<LockRequest> = {},
  who: Caller = caller,
) {
  return mount.ops.setLock(ino, handle, { ...EXCLUSIVE, ...request }, who);
}

/** Who holds locks, when whoever decides about them has told. */
async function held(cluster: LocalCluster, { ino }: TestFile) {
  const asker = cluster.connect({ name: 'asker' });
  await asker.execute({ type: 'recall-locks', ino });
  await idle();
  const { posix = [], flock = [] } = cluster.view.get(locksKey(ino)) ?? {};
  return [...posix, ...flock].map(({ owner }) => owner);
}

function lockCommands(cluster: LocalCluster): string[] {
  return takeCommands(cluster).filter((line) => /lock/.test(line));
}

t.test('what was written before is committed when a lock is let go', async (t) => {
  const { cluster, a, b } = twoMounts();
  const one = await create(a, 'f');
  await lock(a, one);
  await write(a, one, 0, 'under the lock');
  takeCommands(cluster);
  await lock(a, one, UNLOCK);
  t.same(takeCommands(cluster), [], 'on this mount it shows in any case');
  const other = await open(b, 'f', WRITE);
  await lock(b, other);
  const commands = ['b: lock', 'a: write at 0 under the lock', 'a: return-locks', 'b: lock'];
  t.same(takeCommands(cluster), commands);
  t.equal(await read(b, other), 'under the lock');
  t.equal(await code(lock(a, one)), 'EAGAIN');
  t.match(await a.ops.getLock(one.ino, one.handle, EXCLUSIVE, caller), { exclusive: true, pid: 0 });
  const same = await b.ops.getLock(one.ino, other.handle, { ...EXCLUSIVE, owner: 'q' }, caller);
  t.match(same, { pid: 7, first: 0, last: LOCK_LAST_MAX });
});

t.test('a lock of one file stands for what is written to another', async (t) => {
  const { cluster, a, b } = twoMounts();
  const one = await create(a, 'lock');
  const data = await create(a, 'data');
  const other = await open(b, 'lock', WRITE);
  for (const decides of [true, false]) {
    await lock(a, one);
    await write(a, data, 0, decides ? 'first' : 'other');
    await lock(a, one, UNLOCK);
    await lock(b, other);
    t.equal(await contentOf(b, 'data'), decides ? 'first' : 'other');
    await lock(b, other, UNLOCK);
    t.equal(cluster.view.get(locksKey(one.ino))?.delegate ?? null, null);
  }
});

t.test('pages from before are gone when a lock is held', async (t) => {
  const { a, b } = twoMounts();
  await put(a, 'f', 'before');
  const seen = await open(b, 'f');
  await read(b, seen);
  // The change is not told of in time.
  b.client.holdWatch();
  await put(a, 'f', 'after');
  b.told.length = 0;
  await lock(b, seen, { mode: 'shared' });
  t.same(b.told, [`drop ${seen.ino}`]);
  b.client.releaseWatch();
  await idle();
  b.told.length = 0;
  await lock(b, seen, UNLOCK);
  await lock(b, seen, { mode: 'shared' });
  t.same(b.told, [], 'nobody has changed it since');
});

t.test('nobody is granted a lock here before pages from before are gone', async (t) => {
  for (const interrupted of [false, true]) {
    const { cluster, a, b } = twoMounts();
    await put(a, 'f', 'before');
    const seen = await open(b, 'f');
    await read(b, seen);
    b.client.holdWatch();
    await put(a, 'f', 'after');
    const dropping = new Gate();
    dropping.shut();
    b.notifier.dropPages = () => new Promise((done) => dropping.pass(done));
    const gaveUp = new AbortController();
    if (interrupted) b.client.replies.shut();
    const who = { ...caller, signal: gaveUp.signal };
    const first = code(lock(b, seen, { mode: 'shared' }, who));
    await idle();
    if (interrupted) {
      gaveUp.abort();
      await idle();
      b.clock.advance(1_000);
      t.equal(await first, 'INTERRUPTED');
      b.client.replies.open();
      await idle();
    }
    const second = lock(b, seen, { mode: 'shared', owner: 'q' });
    t.notOk(await isSettled(second));
    dropping.open();
    await Promise.all([first, second]);
    b.client.releaseWatch();
    t.same(await held(cluster, seen), interrupted ? ['q'] : ['p', 'q']);
  }
});

t.test('close(2) lets POSIX locks go, and costs nothing without any', async (t) => {
  const { cluster, a } = twoMounts();
  const one = await create(a, 'f');
  const again = await open(a, 'f');
  await a.ops.flush(again.ino, again.handle, caller, 'p');
  await lock(a, one);
  await lock(a, one, { ...FLOCK });
  takeCommands(cluster);
  await a.ops.flush(again.ino, again.handle, caller, 'q');
  t.same(takeCommands(cluster), []);
  await a.ops.flush(again.ino, again.handle, caller, 'p');
  t.same(takeCommands(cluster), []);
  t.same(await held(cluster, one), ['f'], 'through whichever open file');
  takeCommands(cluster);
  await lock(a, one);
  await a.ops.flush(again.ino, again.handle, caller, 'p');
  await a.ops.flush(one.ino, one.handle, caller, 'p');
  t.same(takeCommands(cluster), ['a: lock', 'a: lock']);
  t.same(await held(cluster, one), ['f']);
  const released = a.ops.release(one.ino, one.handle);
  const third = await create(a, 'f');
  await lock(a, third, { ...FLOCK, owner: 'g' });
  await released;
  t.same(
    await held(cluster, one),
    ['g'],
    'what is asked after the last close(2) finds the lock free',
  );
});

t.test('what could not be split is let go by close(2)', async (t) => {
  const { cluster, a, b } = twoMounts();
  const one = await create(a, 'f');
  await lock(b, await open(b, 'f', WRITE), { owner: 'other', first: 500, last: 500 });
  await lock(a, one, { first: 0, last: 100 });
  a.client.refuse = (command) => (command.type === 'lock' ? 'ENOLCK' : null);
  t.equal(await code(lock(a, one, { ...UNLOCK, first: 40, last: 60 })), 'ENOLCK');
  a.client.refuse = () => null;
  await lock(a, one, { ...UNLOCK, first: 0, last: 39 });
  await lock(a, one, { ...UNLOCK, first: 61, last: 100 });
  t.same((await held(cluster, one)).sort(), ['other', 'p']);
  await a.ops.flush(one.ino, one.handle, caller, 'p');
  await idle();
  t.same(await held(cluster, one), ['other']);
});

t.test('a lock of an open file ends with its last close(2)', async (t) => {
  const { cluster, a } = twoMounts();
  const one = await create(a, 'f');
  // F_OFD_SETLK: the owner is the open file, and no flush names it.
  await lock(a, one, { owner: 'open file', first: 5, last: 9 });
  await a.ops.flush(one.ino, one.handle, caller, 'p');
  t.same(await held(cluster, one), ['open file']);
  await a.ops.release(one.ino, one.handle);
  await idle();
  t.same(await held(cluster, one), []);
});

t.test('who waits is told, and a notice that is lost costs a moment', async (t) => {
  const { cluster, a, b } = twoMounts();
  const one = await create(a, 'f');
  const other = await open(b, 'f', WRITE);
  for (const lost of [false, true]) {
    await lock(a, one);
    const waiting = lock(b, other, { waits: true });
    t.notOk(await isSettled(waiting));
    if (lost) b.client.holdWatch();
    await lock(a, one, UNLOCK);
    if (lost) {
      t.notOk(await isSettled(waiting));
      b.clock.advance(5_000);
    }
    await waiting;
    t.same(await held(cluster, one), ['p']);
    b.client.releaseWatch();
    await lock(b, other, UNLOCK);
  }
});

t.test('a notice that comes before the answer counts', async (t) => {
  const { a, b } = twoMounts();
  const one = await create(a, 'f');
  const other = await open(b, 'f', WRITE);
  await lock(a, one);
  b.client.replies.shut();
  const waiting = lock(b, other, { waits: true });
  await idle();
  await lock(a, one, UNLOCK);
  await idle();
  b.client.replies.open();
  await waiting;
  t.pass('granted');
});

t.test('who is interrupted waits no longer, unless the lock came before', async (t) => {
  const { cluster, a, b } = twoMounts();
  const one = await create(a, 'f');
  const other = await open(b, 'f', WRITE);
  await lock(a, one);
  const gaveUp = new AbortController();
  const waiting = lock(b, other, { waits: true }, { ...caller, signal: gaveUp.signal });
  await idle();
  gaveUp.abort();
  t.equal(await code(waiting), 'INTERRUPTED');
  t.equal(cluster.view.get(WAITING), undefined);

  const late = new AbortController();
  const granted = lock(b, other, { waits: true }, { ...caller, signal: late.signal });
  await idle();
  b.client.holdWatch();
  await lock(a, one, UNLOCK);
  late.abort();
  t.equal(await code(granted), 'ok', 'it has the lock');
  t.same(await held(cluster, one), ['p']);
  b.client.releaseWatch();
  await lock(b, other, UNLOCK);

  // Nobody decides: the program hears at once, and a lock that comes later is let go again.
  await lock(a, one);
  const stuck = new AbortController();
  const unknown = lock(b, other, { waits: true }, { ...caller, signal: stuck.signal });
  await idle();
  b.client.commands.shut();
  stuck.abort();
  t.notOk(await isSettled(unknown));
  b.clock.advance(1_000);
  t.equal(await code(unknown), 'INTERRUPTED');
  await lock(a, one, UNLOCK);
  b.client.commands.open();
  await idle();
  t.same(await held(cluster, one), []);
});

t.test('without a decision a request fails in time, and leaves nothing behind', async (t) => {
  const { cluster, a, b } = twoMounts({ deadlineMs: 50 });
  const one = await create(a, 'f');
  b.client.commands.shut();
  const other = await open(b, 'f', WRITE);
  t.equal(await code(lock(b, other, { waits: true })), 'NO_LEADER');
  b.client.commands.open();
  await idle();
  t.same(await held(cluster, one), []);
  await lock(b, other);
  b.client.commands.shut();
  const closing = b.ops.flush(other.ino, other.handle, caller, 'p');
  await idle();
  b.clock.advance(50);
  t.equal(await code(closing), 'NO_LEADER');
  b.client.commands.open();
  await idle();
  t.same(await held(cluster, one), [], 'what was let go does not stay locked');
});

t.test('a mount that lost its locks does not go on as if it held them', async (t) => {
  const { cluster, a, b } = twoMounts();
  await put(b, 'f', '..........');
  await put(b, 'other', '..........');
  const one = await open(a, 'f', WRITE);
  const beside = await open(a, 'other', WRITE);
  await lock(a, one);
  await write(a, one, 0, 'late');
  cluster.expire(a.client);
  const other = await open(b, 'f', WRITE);
  await lock(b, other);
  await write(b, other, 0, 'b has the lock');
  t.equal(await code(a.ops.fsync(one.ino, one.handle, caller)), 'SESSION_EXPIRED');
  t.equal(await code(write(a, one, 0, 'later')), 'SESSION_EXPIRED');
  t.equal(await code(write(a, beside, 0, 'guarded by it')), 'SESSION_EXPIRED');
  t.equal(await code(read(a, one)), 'SESSION_EXPIRED');
  t.equal(await code(lock(a, one, { first: 50 })), 'SESSION_EXPIRED');
  const truncated = a.ops.setAttributes(one.ino, { size: 0 }, caller, one.handle);
  t.equal(await code(truncated), 'SESSION_EXPIRED');
  const again = await open(a, 'f', WRITE);
  const dirty = a.ops.write(
    ...([again.ino, again.handle, 0, Buffer.from('dirty')] as const),
    { append: false, killPrivileges: false, cached: true },
    caller,
  );
  t.equal(await code(dirty), 'SESSION_EXPIRED', 'pages that the fenced file made dirty');
  t.equal(await code(lock(a, again)), 'EAGAIN');
  t.equal(await code(a.ops.flush(one.ino, one.handle, caller, 'p')), 'SESSION_EXPIRED');
  await a.ops.release(one.ino, one.handle);
  await b.ops.flush(other.ino, other.handle, caller, 'p');
  t.equal(await contentOf(b, 'f'), 'b has the lock');
  t.equal(await contentOf(b, 'other'), '..........');
  await write(a, again, 0, 'A');
  await close(a, again);
  t.equal(await contentOf(b, 'f'), 'A has the lock', 'what is opened anew works');
});

t.test('without locks the end of a session goes unnoticed', async (t) => {
  const { cluster, a, b } = twoMounts();
  const one = await create(a, 'f');
  await lock(a, one);
  await lock(a, one, UNLOCK);
  await write(a, one, 0, 'written');
  cluster.expire(a.client);
  await a.ops.fsync(one.ino, one.handle, caller);
  t.equal(await contentOf(b, 'f'), 'written');
});

t.test('who waits when the session ends asks anew', async (t) => {
  const { cluster, a, b } = twoMounts();
  const one = await create(a, 'f');
  const other = await open(b, 'f', WRITE);
  await lock(a, one);
  const waiting = lock(b, other, { waits: true });
  await idle();
  cluster.expire(b.client);
  t.equal(cluster.view.get(WAITING), undefined);
  b.clock.advance(5_000);
  await idle();
  t.equal(cluster.view.get(WAITING)?.length, 1);
  await lock(a, one, UNLOCK);
  await waiting;
  t.same(await held(cluster, one), ['p']);
});

t.test('a write under a lock that may be lost is not taken on trust', async (t) => {
  const { cluster, a } = twoMounts();
  const one = await create(a, 'f');
  await lock(a, one);
  a.client.isSure = false;
  takeCommands(cluster);
  await write(a, one, 0, 'x');
  t.same(takeCommands(cluster), ['a: nothing'], 'asked before it is taken');
  cluster.expire(a.client);
  t.equal(await code(write(a, one, 0, 'y')), 'SESSION_EXPIRED', 'at once, not at close(2)');
});

t.test('flock(2): a refusal because of a close(2) that is under way is asked again', async (t) => {
  const { cluster, a } = twoMounts();
  const one = await create(a, 'f');
  const other = await open(a, 'f', WRITE);
  await lock(a, one, FLOCK);
  const asked = lock(a, other, { ...FLOCK, owner: 'g' });
  await idle();
  await a.ops.release(one.ino, one.handle);
  a.clock.advance(10);
  t.equal(await code(asked), 'ok');
  t.same(await held(cluster, one), ['g']);
  const refused = lock(a, other, { ...FLOCK, owner: 'h' });
  await idle();
  a.clock.advance(10);
  t.equal(await code(refused), 'EAGAIN');
  t.same(lockCommands(cluster).slice(0, 2), ['a: lock', 'asker: recall-locks']);
});

/** Without a minute's pause for a close(2) that may be under way. */
async function flockCode(mount: TestMount, file: TestFile, request: Partial<LockRequest>) {
  const asked = code(lock(mount, file, { ...FLOCK, ...request }));
  await idle();
  mount.clock.advance(10);
  return asked;
}

t.test('where no other mount locks, this one decides', async (t) => {
  const { cluster, a, b } = twoMounts();
  const one = await create(a, 'f');
  const again = await open(a, 'f', WRITE);
  await lock(a, one, { first: 0, last: 9 });
  t.same(lockCommands(cluster), ['a: lock']);
  t.equal(await code(lock(a, again, { owner: 'q', first: 9 })), 'EAGAIN');
  await lock(a, again, { owner: 'q', first: 10, mode: 'shared' });
  await lock(a, one, { first: 10, mode: 'shared' });
  await lock(a, one, { ...UNLOCK, first: 4, last: 5 });
  await lock(a, one, FLOCK);
  t.equal(await flockCode(a, again, { owner: 'g' }), 'EAGAIN');
  await lock(a, one, { ...FLOCK, mode: 'shared' });
  await lock(a, again, { ...FLOCK, owner: 'g', mode: 'shared' });
  t.equal(await flockCode(a, one, {}), 'EAGAIN');
  const found = await a.ops.getLock(one.ino, one.handle, { ...EXCLUSIVE, owner: 'r' }, caller);
  t.match(found, { exclusive: true, first: 0, last: 3, pid: 7 });
  t.same(takeCommands(cluster), []);
  const other = await open(b, 'f', WRITE);
  await lock(b, other, { first: 4, last: 5 });
  t.same(takeCommands(cluster), ['b: lock', 'a: return-locks', 'b: lock']);
  const { posix, flock } = cluster.view.get(locksKey(one.ino)) ?? {};
  const ranges = posix?.map(({ owner, first, last }) => `${owner} ${first}-${last}`);
  const end = LOCK_LAST_MAX;
  t.same(ranges, ['p 0-3', 'p 6-9', `p 10-${end}`, `q 10-${end}`, 'p 4-5']);
  t.same(
    flock?.map(({ owner, exclusive }) => `${owner} ${exclusive}`),
    ['g false'],
  );
});

t.test('where others lock, too, each lock is a command for a while', async (t) => {
  const { cluster, a, b } = twoMounts();
  const one = await create(a, 'f');
  const other = await open(b, 'f', WRITE);
  for (const mount of [a, b]) {
    await lock(mount, mount === a ? one : other);
    await lock(mount, mount === a ? one : other, UNLOCK);
  }
  takeCommands(cluster);
  await lock(a, one);
  await lock(a, one, UNLOCK);
  t.same(takeCommands(cluster), ['a: lock', 'a: lock']);
  a.clock.advance(1_000);
  await lock(a, one);
  await lock(a, one, UNLOCK);
  await lock(a, one);
  t.same(takeCommands(cluster), ['a: lock']);
  a.clock.advance(5_000);
  t.same(takeCommands(cluster), []);
  await idle();
  t.same(takeCommands(cluster), ['a: return-locks'], 'whether anybody wants it or not');
  t.same(await held(cluster, one), ['p']);
  t.same(takeCommands(cluster), ['asker: recall-locks']);
  await lock(a, one, UNLOCK);
  t.same(takeCommands(cluster), ['a: lock']);
  await lock(a, one);
  t.same(lockCommands(cluster), ['a: lock'], 'taken over again');
  await lock(a, one, UNLOCK);
  t.same(lockCommands(cluster), []);
});

t.test('programs of one mount that wait for each other do so in the cluster', async (t) => {
  const { cluster, a } = twoMounts();
  const one = await create(a, 'f');
  const again = await open(a, 'f', WRITE);
  await lock(a, one);
  const waiting = lock(a, again, { owner: 'q', waits: true });
  t.notOk(await isSettled(waiting));
  t.equal(cluster.view.get(WAITING)?.length, 1);
  await lock(a, one, UNLOCK);
  await waiting;
  t.same(await held(cluster, one), ['q']);
});

t.test('while it is not known who decides, others wait', async (t) => {
  const { cluster, a, b } = twoMounts();
  const one = await create(a, 'f');
  const again = await open(a, 'f', WRITE);
  const other = await open(b, 'f', WRITE);
  a.client.replies.shut();
  const asked = [
    lock(a, one, { first: 0, last: 0 }),
    lock(a, again, { owner: 'q', first: 1, last: 1 }),
    a.ops.getLock(one.ino, one.handle, { ...EXCLUSIVE, owner: 'q', last: 0 }, caller),
  ];
  await idle();
  const wanted = lock(b, other, { first: 2, last: 2 });
  await idle();
  t.same(lockCommands(cluster), ['a: lock', 'b: lock']);
  const gaveUp = new AbortController();
  const interrupted = lock(a, one, { first: 5 }, { ...caller, signal: gaveUp.signal });
  await idle();
  gaveUp.abort();
  t.equal(await code(interrupted), 'INTERRUPTED');
  a.client.replies.open();
  await Promise.all([...asked, wanted]);
  const found = await asked[2];
  t.match(found, { first: 0, last: 0, pid: 7 });
  t.same((await held(cluster, one)).sort(), ['p', 'p', 'q'], 'asked back before it was taken');
});

t.test('a mount that does not hear is asked again, and returns it in the end', async (t) => {
  const { cluster, a, b } = twoMounts();
  const one = await create(a, 'f');
  const other = await open(b, 'f', WRITE);
  await lock(a, one, { last: 0 });
  a.client.holdWatch();
  const wanted = lock(b, other, { first: 1 });
  const found = b.ops.getLock(one.ino, other.handle, EXCLUSIVE, caller);
  t.notOk(await isSettled(wanted));
  b.clock.advance(1_000);
  t.notOk(await isSettled(wanted));
  a.clock.advance(5_000);
  await wanted;
  t.match(await found, { first: 0, last: 0, pid: 0 });
  await lock(b, other, UNLOCK);
  await lock(a, one);
  t.notOk(lockCommands(cluster).length === 0);
  a.client.releaseWatch('reset');
  await idle();
  t.match(
    takeCommands(cluster),
    [/return-locks/],
    'or as soon as it knows that it has missed some',
  );
});

t.test('what a silent mount decides about counts as locked until its session ends', async (t) => {
  const { cluster, a, b } = twoMounts();
  const one = await create(a, 'f');
  const other = await open(b, 'f', WRITE);
  await lock(a, one);
  await lock(a, one, UNLOCK);
  a.client.commands.shut();
  const refused = code(lock(b, other));
  const tested = b.ops.getLock(one.ino, other.handle, EXCLUSIVE, caller);
  const gaveUp = new AbortController();
  const interrupted = code(lock(b, other, { waits: true }, { ...caller, signal: gaveUp.signal }));
  const waiting = lock(b, other, { owner: 'q', waits: true });
  await idle();
  gaveUp.abort();
  t.equal(await interrupted, 'INTERRUPTED');
  for (let second = 0; second < 11; second++) {
    b.clock.advance(1_000);
    await idle();
  }
  t.equal(await refused, 'EAGAIN');
  t.match(await tested, { exclusive: true, first: 0, last: LOCK_LAST_MAX, pid: 0 });
  t.notOk(await isSettled(waiting));
  cluster.expire(a.client);
  await waiting;
  t.same(await held(cluster, one), ['q']);
});

t.test('who cannot say what it granted has lost it', async (t) => {
  const { cluster, a, b } = twoMounts();
  const one = await create(a, 'f');
  await lock(a, one, { last: 0 });
  await lock(a, one, { first: 5 });
  // As where all addresses turn out to be another cluster's for a while.
  a.client.refuse = ({ type }) => (type === 'return-locks' ? 'WRONG_CLUSTER' : null);
  a.clock.advance(5_000);
  await idle();
  a.client.refuse = () => null;
  t.equal(await code(read(a, one)), 'SESSION_EXPIRED');
  await a.ops.release(one.ino, one.handle);
  const other = await open(b, 'f', WRITE);
  await lock(b, other);
  t.same(await held(cluster, one), ['p']);
});

t.test('who has let go of all that it locked, piece by piece, has lost nothing', async (t) => {
  for (const letsGo of [true, false]) {
    const { cluster, a, b } = twoMounts();
    const one = await create(a, 'f');
    // Two mounts lock the file: no one of them decides.
    await lock(b, await open(b, 'f', WRITE), { owner: 'q', first: 100, last: 100 });
    const piece = { first: 10, last: 19 };
    await lock(a, one, piece);
    await lock(a, one, { ...UNLOCK, first: 10, last: 14 });
    if (letsGo) await lock(a, one, { ...UNLOCK, first: 15, last: 30 });
    await write(a, one, 0, 'x');
    cluster.expire(a.client);
    const lost = letsGo ? 'ok' : 'SESSION_EXPIRED';
    t.equal(await code(a.ops.fsync(one.ino, one.handle, caller)), lost);
    t.equal(await code(read(a, one)), lost);
  }
});

t.test('what waits for room is lost with the locks under which it was written', async (t) => {
  const { cluster, a, b } = twoMounts({ uncommittedBytesMax: 4_096 });
  await put(b, 'f', '..........');
  const one = await open(a, 'f', WRITE);
  await lock(a, one);
  a.client.commands.shut();
  await write(a, one, 0, 'a'.repeat(4_000));
  const late = write(a, one, 4_000, 'a'.repeat(4_000));
  t.notOk(await isSettled(late));
  cluster.expire(a.client);
  const other = await open(b, 'f', WRITE);
  await lock(b, other);
  await write(b, other, 0, 'b has the lock');
  await b.ops.fsync(other.ino, other.handle, caller);
  a.client.commands.open();
  await late.catch(() => {});
  t.equal(await code(a.ops.fsync(one.ino, one.handle, caller)), 'SESSION_EXPIRED');
  a.clock.advance(1_000);
  await idle();
  t.equal(await contentOf(b, 'f'), 'b has the lock');
});

t.test('who is not certain of its session decides nothing', async (t) => {
  const { cluster, a, b } = twoMounts();
  const one = await create(a, 'f');
  const other = await open(b, 'f', WRITE);
  await lock(a, one);
  await lock(a, one, UNLOCK);
  a.client.isSure = false;
  a.client.commands.shut();
  const asked = lock(a, one);
  t.notOk(await isSettled(asked));
  cluster.expire(a.client);
  await lock(b, other);
  a.client.isSure = true;
  a.client.commands.open();
  t.equal(await code(asked), 'EAGAIN');
  await lock(b, other, UNLOCK);
  await lock(a, one);
  t.same(await held(cluster, one), ['p'], 'the file was not fenced: nothing was locked');
});

t.test('a decision that was given by an answer that never came', async (t) => {
  const { cluster, a, b } = twoMounts({ deadlineMs: 50 });
  const one = await create(a, 'f');
  const other = await open(b, 'f', WRITE);
  a.client.replies.shut();
  t.equal(await code(lock(a, one, { last: 0 })), 'NO_LEADER');
  t.ok(cluster.view.get(locksKey(one.ino))?.delegate, 'which the mount does not know');
  await lock(b, other, { first: 1 });
  t.same(takeCommands(cluster).slice(-3), ['b: lock', 'a: return-locks', 'b: lock']);
  t.same(await held(cluster, one), ['p', 'p']);
});

t.test('F_GETLK tells of a lock while the decision about it is on its way back', async (t) => {
  const { a } = twoMounts();
  const one = await create(a, 'f');
  await lock(a, one, { first: 0, last: 0 });
  await lock(a, one, { first: 5, last: 9 });
  await lock(a, one, { ...UNLOCK, last: 0 });
  a.client.commands.shut();
  a.clock.advance(5_000);
  const other = { ...EXCLUSIVE, owner: 'q' };
  const found = a.ops.getLock(one.ino, one.handle, other, caller);
  await idle();
  a.client.commands.open();
  t.match(await found, { first: 5, last: 9, pid: 7 });
});

t.test('who is interrupted while another mount is asked has no lock', async (t) => {
  const { cluster, a, b } = twoMounts();
  const one = await create(a, 'f');
  const other = await open(b, 'f', WRITE);
  await lock(a, one);
  a.client.commands.shut();
  b.client.replies.shut();
  const gaveUp = new AbortController();
  const asked = code(lock(b, other, { waits: true }, { ...caller, signal: gaveUp.signal }));
  await idle();
  gaveUp.abort();
  await idle();
  b.client.replies.open();
  t.equal(await asked, 'INTERRUPTED');
  a.client.commands.open();
  t.same(await held(cluster, one), ['p']);
});

t.test("more locks than can be returned are the cluster's", async (t) => {
  const { cluster, a } = twoMounts();
  const one = await create(a, 'f');
  for (let i = 0; i <= 2 * 128; i += 2) await lock(a, one, { first: i, last: i });
  t.same(lockCommands(cluster), ['a: lock', 'a: return-locks', 'a: lock']);
  t.equal((await held(cluster, one)).length, 129);
  a.clock.advance(1_000);
  await lock(a, one, { first: 0, last: 256 });
  await lock(a, one, { ...UNLOCK, first: 7, last: 7 });
  t.same(
    lockCommands(cluster).filter((line) => line.startsWith('a:')),
    ['a: lock'],
  );
  t.equal((await held(cluster, one)).length, 2);
});
