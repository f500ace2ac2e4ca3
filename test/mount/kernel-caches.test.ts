import t from 'tap';
import { LocalCluster } from '../support/local-client.js';
import {
  caller,
  close,
  code,
  contentOf,
  create,
  idle,
  name,
  newMount,
  node,
  open,
  put,
  READ,
  ROOT,
  read,
  type TestMount,
  text,
  twoMounts,
  WRITE,
  write,
} from '../support/mount-world.js';

/** The entries of the root, with attributes. */
async function listed(mount: TestMount) {
  const directory = await mount.ops.openDirectory(ROOT, caller);
  const entries = await mount.ops.readDirectory(ROOT, directory, 2, 4096, true, caller);
  mount.ops.releaseDirectory(ROOT, directory);
  return entries;
}

/** Renames in the root. */
function renamesOf({ ops }: Pick<ReturnType<typeof twoMounts>['a'], 'ops'>) {
  return (from: string, to: string) =>
    ops.rename(ROOT, name(from), ROOT, name(to), 'replace', caller);
}

t.test(
  'strong: the kernel keeps neither names nor attributes, and is told nothing of them',
  async (t) => {
    const { a, b } = twoMounts();
    await put(a, 'f', 'x');
    const found = await a.ops.lookup(ROOT, name('f'), caller);
    t.match(found, { attrTimeoutSec: 0, entryTimeoutSec: 0 });
    t.match(await listed(a), [{ attributes: { attrTimeoutSec: 0, entryTimeoutSec: 0 } }]);
    t.equal(a.ops.absenceTimeoutSec(ROOT, name('none')), 0);
    await b.ops.setAttributes(found.inode.ino, { mode: 0o600 }, caller);
    await b.ops.unlink(ROOT, name('f'), caller);
    await idle();
    t.strictSame(a.told, []);
  },
);

t.test('under a lease the kernel is promised nothing that it takes over unchecked', async (t) => {
  const { a } = twoMounts();
  const ino = await put(a, 'f', 'x');
  const { inode } = await a.ops.getAttributes(ino, caller);
  a.client.kept = (() => ({ inode, forMs: 150 })) as never;
  const found = await a.ops.lookup(ROOT, name('f'), caller);
  t.ok(found.attrTimeoutSec > 0 && found.entryTimeoutSec > 0);
  const [entry] = await listed(a);
  t.ok((entry?.attributes?.attrTimeoutSec ?? 0) > 0);
  t.equal(entry?.attributes?.entryTimeoutSec, 0, 'a listed name is of any epoch');
  const changed = await a.ops.setAttributes(ino, { mode: 0o600 }, caller);
  t.equal(changed.attrTimeoutSec, 0);
  const linked = await a.ops.link(ino, ROOT, name('g'), caller);
  t.equal(linked.attrTimeoutSec, 0);
  t.ok(linked.entryTimeoutSec > 0);
});

t.test('pages are kept while nobody else changes the file', async (t) => {
  const { a, b } = twoMounts();
  await put(b, 'f', 'one');
  const first = await open(a, 'f');
  t.equal(first.keepCache, false, 'never opened before');
  await close(a, first);
  t.equal((await open(a, 'f')).keepCache, true);
  t.equal((await open(a, 'f', WRITE)).keepCache, true);
  await put(b, 'f', 'two');
  const changed = await open(a, 'f');
  t.equal(changed.keepCache, false, 'changed by another');
  t.equal((await open(a, 'f')).keepCache, false, 'perhaps the kernel has not emptied them yet');
  await read(a, changed);
  t.equal((await open(a, 'f')).keepCache, true);
});

t.test('pages are kept over own writes and truncations', async (t) => {
  const { a } = twoMounts();
  const file = await create(a, 'f');
  await write(a, file, 0, 'abcdef');
  await close(a, file);
  await idle();
  t.equal((await open(a, 'f')).keepCache, true);
  const again = await open(a, 'f', WRITE);
  await write(a, again, 3, 'xyz');
  await a.ops.setAttributes(file.ino, { size: 4 }, caller);
  await write(a, again, 1, 'xyz');
  await close(a, again);
  await idle();
  t.strictSame(a.told, [], 'own changes need no telling');
  t.equal((await open(a, 'f')).keepCache, true);
});

t.test("pages are not kept when another's write lies between own ones", async (t) => {
  const { a, b } = twoMounts();
  const one = await create(a, 'f');
  const two = await open(b, 'f', WRITE);
  await write(a, one, 0, 'a');
  await a.ops.fsync(one.ino, one.handle, caller);
  await write(b, two, 5, 'b');
  await b.ops.fsync(two.ino, two.handle, caller);
  await write(a, one, 1, 'a');
  await close(a, one);
  t.equal((await open(a, 'f')).keepCache, false);
  await idle();
  t.ok(a.told.includes(`data ${one.ino}`));
});

t.test(
  'pages are not kept over a write that failed, nor when the kernel forgot the inode',
  async (t) => {
    const { a } = twoMounts();
    const file = await create(a, 'f');
    await write(a, file, 0, 'good');
    await a.ops.fsync(file.ino, file.handle, caller);
    a.client.refuse = (command) => (command.type === 'write' ? 'ENOSPC' : null);
    await write(a, file, 0, 'lost');
    await t.rejects(close(a, file));
    t.strictSame(a.told, [`data ${file.ino}`]);
    const emptied = await open(a, 'f');
    t.equal(emptied.keepCache, false);
    await close(a, emptied);
    t.equal((await open(a, 'f')).keepCache, true);
    a.ops.forget(file.ino, 4);
    t.equal((await open(a, 'f')).keepCache, false);
  },
);

t.test(
  "another's change of an open file drops its pages, one's own does not, in whatever form it comes",
  async (t) => {
    for (const how of ['each', 'merged'] as const) {
      const { a, b } = twoMounts();
      const file = await create(a, 'f');
      await write(a, file, 0, 'own');
      a.client.holdWatch();
      await a.ops.fsync(file.ino, file.handle, caller);
      await put(b, 'g', 'more');
      a.client.releaseWatch(how);
      await idle();
      t.strictSame(a.told, [], how);
      t.equal((await open(a, 'f')).keepCache, true, how);
      a.client.holdWatch();
      const other = await open(b, 'f', WRITE);
      await write(b, other, 0, 'other');
      await close(b, other);
      await put(b, 'g', 'more');
      t.strictSame(a.told, []);
      a.client.releaseWatch(how);
      await idle();
      t.strictSame(a.told, [`data ${file.ino}`], how);
      t.equal(await contentOf(a, 'f'), 'other');
    }
  },
);

t.test('missed changes: all pages are in doubt', async (t) => {
  const { a } = twoMounts();
  const ino = await put(a, 'f', 'x');
  t.equal((await open(a, 'f')).keepCache, true);
  a.client.holdWatch();
  a.client.releaseWatch('reset');
  t.strictSame(a.told, [`data ${ino}`]);
  t.equal((await open(a, 'f')).keepCache, false);
});

for (const level of ['session', 'local'] as const) {
  t.test(`${level}: the kernel keeps names and attributes, and is told of changes`, async (t) => {
    const { a, b } = twoMounts({ level });
    const ino = await put(a, 'f', 'x');
    const found = await a.ops.lookup(ROOT, name('f'), caller);
    t.ok(found.attrTimeoutSec > 0 && found.entryTimeoutSec > 0);
    t.ok(((await listed(a))[0]?.attributes?.entryTimeoutSec ?? 0) > 0);
    a.told.length = 0;
    await b.ops.setAttributes(ino, { mode: 0o600 }, caller);
    t.ok(a.told.includes(`attributes ${ino}`));
    await b.ops.rename(ROOT, name('f'), ROOT, name('g'), 'replace', caller);
    t.ok(a.told.includes('entry 1/f') && a.told.includes('entry 1/g'));
    a.told.length = 0;
    const { inode } = await b.ops.makeNode(ROOT, name('d'), node(0o040755), caller);
    a.told.length = 0;
    await b.ops.makeNode(inode.ino, name('unknown'), node(0o100644), caller);
    t.strictSame(a.told, [], 'of a directory that this kernel does not know');
  });
}

t.test('session: an answer that a change overtook is not kept', async (t) => {
  const cluster = new LocalCluster();
  const a = newMount(cluster, { level: 'session', latencyMs: 20 });
  const b = newMount(cluster);
  const ino = await put(b, 'f', 'x');
  const [found, attributes] = await Promise.all([
    a.ops.lookup(ROOT, name('f'), caller),
    a.ops.getAttributes(ino, caller),
    b.ops.setAttributes(ino, { mode: 0o600 }, caller),
  ]);
  t.equal(found.attrTimeoutSec + attributes.attrTimeoutSec, 0);
  t.ok(found.entryTimeoutSec > 0, 'the name still means the same');
  const [again] = await Promise.all([
    a.ops.lookup(ROOT, name('f'), caller),
    b.ops.unlink(ROOT, name('f'), caller),
  ]);
  t.equal(again.entryTimeoutSec, 0);
});

t.test('session: missed changes: everything the kernel knows is in doubt', async (t) => {
  const { a, b } = twoMounts({ level: 'session' });
  const one = await put(a, 'f', 'x');
  const two = await put(b, 'g', 'y');
  await a.ops.lookup(ROOT, name('g'), caller);
  a.client.holdWatch();
  a.told.length = 0;
  a.client.releaseWatch('reset');
  t.strictSame(
    [...new Set(a.told)].sort(),
    [`data ${ROOT}`, `data ${one}`, `data ${two}`, 'entry 1/f', 'entry 1/g'].sort(),
  );
});

t.test('session: the kernel believes that a name is absent until it is told of it', async (t) => {
  const { a, b } = twoMounts({ level: 'session' });
  const timeoutSec = (file: string) => a.ops.absenceTimeoutSec(ROOT, name(file));
  const look = (file: string) => code(a.ops.lookup(ROOT, name(file), caller));
  t.equal(timeoutSec('f'), 0, 'nobody has looked');
  for (const file of ['f', 'g']) t.equal(await look(file), 'ENOENT');
  t.ok(timeoutSec('f') > 0 && timeoutSec('g') > 0);
  await put(b, 'f', 'x');
  t.ok(a.told.includes('entry 1/f'));
  t.equal(timeoutSec('f'), 0);
  a.client.seesChanges = false;
  t.equal(timeoutSec('g'), 0, 'not while changes are behind');
  a.client.seesChanges = true;
  a.client.holdWatch();
  a.told.length = 0;
  a.client.releaseWatch('reset');
  t.ok(a.told.includes('entry 1/g'), 'changes were missed');
  t.equal(timeoutSec('g'), 0);
});

t.test('session: a name that came while it was looked for is not believed absent', async (t) => {
  const cluster = new LocalCluster();
  const a = newMount(cluster, { level: 'session', latencyMs: 20 });
  const b = newMount(cluster);
  const begun = code(a.ops.lookup(ROOT, name('f'), caller));
  await b.ops.makeNode(ROOT, name('f'), node(0o100644), caller);
  t.equal(await begun, 'ENOENT');
  t.equal(a.ops.absenceTimeoutSec(ROOT, name('f')), 0);
});

t.test('session: a directory of this mount keeps its path for those who work in it', async (t) => {
  const { a, b } = twoMounts({ level: 'session' });
  const entries = () => a.told.filter((one) => /^(entry|ask for) 1\//.test(one));
  await a.ops.makeNode(ROOT, name('d'), node(0o040755), caller);
  t.strictSame(entries(), ['ask for 1/d']);
  a.told.length = 0;
  await a.ops.rename(ROOT, name('d'), ROOT, name('e'), 'replace', caller);
  t.strictSame(entries().sort(), ['ask for 1/d', 'ask for 1/e']);
  a.clock.advance(5_000);
  a.told.length = 0;
  await b.ops.rename(ROOT, name('e'), ROOT, name('f'), 'replace', caller);
  t.strictSame(entries().sort(), ['entry 1/e', 'entry 1/f'], 'by another mount');
});

t.test('session: while its changes are behind, nothing is kept', async (t) => {
  const { a } = twoMounts({ level: 'session' });
  const ino = await put(a, 'f', 'x');
  t.ok((await a.ops.lookup(ROOT, name('f'), caller)).attrTimeoutSec > 0);
  a.client.seesChanges = false;
  const found = await a.ops.lookup(ROOT, name('f'), caller);
  t.match(found, { attrTimeoutSec: 0, entryTimeoutSec: 0 });
  t.equal((await a.ops.getAttributes(ino, caller)).attrTimeoutSec, 0);
});

t.test('session: who has no extended attributes is not asked for each', async (t) => {
  const { a, b } = twoMounts({ level: 'session' });
  const ino = await put(a, 'f', 'x');
  await a.ops.lookup(ROOT, name('f'), caller);
  let queries = 0;
  const { query } = a.client;
  a.client.query = ((...asked: Parameters<typeof query>) => {
    queries++;
    return query.apply(a.client, asked);
  }) as typeof query;
  const list = async () => (await a.ops.listXattrs(ino, caller)).map(text);
  const get = () => code(a.ops.getXattr(ino, name('user.a'), caller));
  t.strictSame(await list(), []);
  t.equal(await get(), 'ENODATA');
  t.equal(queries, 0);
  // Another mount sets one, and this one is told.
  await b.ops.setXattr(ino, name('user.a'), name('1'), 'set', false, caller);
  await idle();
  t.strictSame(await list(), ['user.a']);
  await b.ops.removeXattr(ino, name('user.a'), caller);
  await idle();
  await a.ops.lookup(ROOT, name('f'), caller);
  t.strictSame(await list(), []);
  // This mount sets one, and is told of it late.
  a.client.holdWatch();
  await a.ops.setXattr(ino, name('user.b'), name('1'), 'set', false, caller);
  t.strictSame(await list(), ['user.b']);
  await a.ops.removeXattr(ino, name('user.b'), caller);
  a.client.releaseWatch();
  await a.ops.lookup(ROOT, name('f'), caller);
  a.client.seesChanges = false;
  queries = 0;
  t.strictSame(await list(), []);
  t.ok(queries > 0, 'nothing is believed while changes are behind');
  a.client.seesChanges = true;
  a.clock.advance(10_000);
  queries = 0;
  t.strictSame(await list(), []);
  t.ok(queries > 0, 'nor for longer than the kernel would');
});

t.test('session: what the kernel was not told again, it need not forget again', async (t) => {
  const { a, b } = twoMounts({ level: 'session' });
  const ino = await put(a, 'f', 'x');
  await a.ops.getAttributes(ino, caller);
  a.told.length = 0;
  for (const mode of [0o600, 0o640]) await b.ops.setAttributes(ino, { mode }, caller);
  await idle();
  t.strictSame(a.told, [`attributes ${ino}`]);
  await a.ops.getAttributes(ino, caller);
  await b.ops.setAttributes(ino, { mode: 0o644 }, caller);
  await idle();
  t.strictSame(a.told, [`attributes ${ino}`, `attributes ${ino}`]);
});

t.test('session: an inode that the kernel does not have yet is told of until it has', async (t) => {
  const { a, b } = twoMounts({ level: 'session' });
  const ino = await put(a, 'f', 'x');
  await a.ops.getAttributes(ino, caller);
  let hasIt = false;
  let times = 0;
  a.notifier.invalidateInode = (_, __, onUnknown) => {
    times++;
    if (!hasIt) onUnknown?.();
  };
  await b.ops.setAttributes(ino, { mode: 0o600 }, caller);
  const pass = async () => {
    a.clock.advance(1_000);
    await idle();
  };
  await idle();
  await pass();
  await pass();
  t.equal(times, 3);
  hasIt = true;
  await pass();
  await pass();
  t.equal(times, 4);
  hasIt = false;
  await a.ops.getAttributes(ino, caller);
  await b.ops.setAttributes(ino, { mode: 0o640 }, caller);
  await idle();
  a.ops.forget(ino, 100);
  await pass();
  const timesWithout = times;
  await pass();
  await pass();
  t.equal(times, timesWithout, 'it has forgotten it');
});

t.test('session: a listing tells the kernel of its inodes', async (t) => {
  const { a, b } = twoMounts({ level: 'session' });
  const ino = await put(b, 'f', 'x');
  t.equal((await listed(a))[0]?.attributes?.inode.ino, ino);
  a.told.length = 0;
  await b.ops.setAttributes(ino, { mode: 0o600 }, caller);
  t.ok(a.told.includes(`attributes ${ino}`));
  a.ops.forget(ino, 1);
  a.told.length = 0;
  await b.ops.setAttributes(ino, { mode: 0o644 }, caller);
  t.notOk(a.told.includes(`attributes ${ino}`));
});

t.test('local reads work without a leader', async (t) => {
  const { cluster, a } = twoMounts({ level: 'local' });
  await put(a, 'f', 'here');
  cluster.pause();
  const opened = await open(a, 'f', READ);
  t.equal(await read(a, opened), 'here');
  cluster.resume();
});

t.test('a name found for an inode that another mount has moved is refused once', async (t) => {
  const { a, b } = twoMounts();
  const lookup = (of: string, pid = 1) => code(a.ops.lookup(ROOT, name(of), { ...caller, pid }));
  const rename = (mount: typeof a, from: string, to: string, mode = 'replace' as const) =>
    mount.ops.rename(ROOT, name(from), ROOT, name(to), mode, caller);
  for (const mode of [0o100644, 0o040755]) {
    await a.ops.makeNode(ROOT, name('b'), node(mode), caller);
    await rename(b, 'b', 'c');
    t.equal(await lookup('c'), 'ESTALE', 'the kernel may just be renaming b to c');
    t.equal(await lookup('c', 2), 'ESTALE', 'and so may another thread');
    t.equal(await lookup('b'), 'ENOENT', 'it asks again');
    t.equal(await lookup('c'), 'ok');
    t.equal(await lookup('c', 2), 'ok');
    await rename(a, 'c', 'd');
    t.equal(await lookup('d'), 'ok', 'what the kernel has renamed itself it knows');
    await rename(b, 'd', 'e');
    a.clock.advance(5_000);
    t.equal(await lookup('e'), 'ok', 'nobody can be between two names for so long');
    await b.ops[mode === 0o040755 ? 'removeDirectory' : 'unlink'](ROOT, name('e'), caller);
    a.clock.advance(5_000);
  }
});

t.test('it is moved to and fro: no call hears ESTALE twice', async (t) => {
  const { a, b } = twoMounts();
  const renaming = { ...caller, renameCall: async () => '82 b c' };
  const lookup = (of: string) => code(a.ops.lookup(ROOT, name(of), renaming));
  const rename = renamesOf(b);
  await put(a, 'b', 'x');
  await rename('b', 'c');
  t.equal(await lookup('c'), 'ESTALE');
  await rename('c', 'b');
  t.equal(await lookup('b'), 'ok', 'the second walk');
  await rename('b', 'c');
  t.equal(await lookup('c'), 'ENOENT', 'it was not there when the walk began');
  t.equal(await lookup('c'), 'ok');
});

t.test('both names of a rename were moved: it walks once more, and finds both', async (t) => {
  const { a, b } = twoMounts();
  const renaming = { ...caller, renameCall: async () => '82 c e' };
  const lookup = (of: string) => code(a.ops.lookup(ROOT, name(of), renaming));
  const rename = renamesOf(b);
  await put(a, 'b', 'x');
  await put(a, 'd', 'y');
  await rename('b', 'c');
  await rename('d', 'e');
  t.equal(await lookup('c'), 'ESTALE');
  t.equal(await lookup('c'), 'ok', 'the second walk');
  t.equal(await lookup('e'), 'ok');
});

t.test(
  'both names of a rename mean one file by now: it is not done by doing nothing',
  async (t) => {
    const { a, b } = twoMounts();
    const renaming = { ...caller, renameCall: async () => '82 todo done' };
    const lookup = (of: string) => code(a.ops.lookup(ROOT, name(of), renaming));
    const rename = (from: string, to: string) =>
      b.ops.rename(ROOT, name(from), ROOT, name(to), 'replace', caller);
    await put(a, 'job', 'x');
    await rename('job', 'other');
    await put(a, 'todo', 'y');
    t.equal(await lookup('other'), 'ESTALE');
    // The kernel ends that call, and the next one has the same arguments.
    t.equal(await lookup('todo'), 'ok');
    await rename('todo', 'done');
    t.equal(await lookup('done'), 'ENOENT');
  },
);

t.test('of a directory that changed its parent the kernel hears by itself', async (t) => {
  const { a, b } = twoMounts();
  const { inode } = await a.ops.makeNode(ROOT, name('d'), node(0o040755), caller);
  await a.ops.makeNode(ROOT, name('e'), node(0o040755), caller);
  await b.ops.rename(ROOT, name('e'), inode.ino, name('e'), 'replace', caller);
  t.equal(await code(a.ops.lookup(inode.ino, name('e'), caller)), 'ok');
});

t.test('rename(2) finds a directory that was moved: its old name goes', async (t) => {
  const { a, b } = twoMounts();
  const renaming = { ...caller, renameCall: async () => '82 b c' };
  const made = await a.ops.makeNode(ROOT, name('d'), node(0o040755), caller);
  const parent = made.inode.ino;
  for (const moved of ['e', 'g']) {
    await a.ops.makeNode(ROOT, name(moved), node(0o040755), caller);
    await b.ops.rename(ROOT, name(moved), parent, name(moved), 'replace', caller);
  }
  await b.ops.makeNode(ROOT, name('g'), node(0o040755), caller);
  t.equal(await code(a.ops.lookup(ROOT, name('g'), caller)), 'ok', 'it means another one by now');
  await idle();
  a.told.length = 0;
  t.equal(await code(a.ops.lookup(parent, name('e'), caller)), 'ok');
  t.strictSame(a.told, [], 'only in rename(2)');
  await b.ops.rename(parent, name('e'), ROOT, name('f'), 'replace', caller);
  a.clock.advance(5_000);
  t.equal(await code(a.ops.lookup(ROOT, name('f'), renaming)), 'ok');
  t.strictSame(a.told, [`entry ${parent}/e`]);
  t.equal(await code(a.ops.lookup(parent, name('g'), renaming)), 'ok');
  t.strictSame(a.told, [`entry ${parent}/e`], 'what the name means now stays');
});

t.test('it is refused again when the kernel was only checking a name that it had', async (t) => {
  const { a, b } = twoMounts();
  await put(a, 'b', 'x');
  await put(a, 'c', 'y');
  await b.ops.rename(ROOT, name('b'), ROOT, name('c'), 'replace', caller);
  t.equal(await code(a.ops.lookup(ROOT, name('c'), caller)), 'ESTALE');
  t.equal(await code(a.ops.lookup(ROOT, name('c'), caller)), 'ESTALE');
  t.equal(await code(a.ops.lookup(ROOT, name('c'), caller)), 'ok');
});

t.test('a name of before an epoch is asked for as if the kernel had none', async (t) => {
  const { a, b } = twoMounts();
  const rename = renamesOf(b);
  for (const one of ['b', 'c', 'g']) await put(a, one, 'x');
  await rename('g', 'h');
  t.equal(await code(a.ops.lookup(ROOT, name('h'), caller)), 'ESTALE');
  t.ok(a.told.includes('expire names'));
  await rename('b', 'c');
  t.equal(await code(a.ops.lookup(ROOT, name('c'), caller)), 'ESTALE');
  t.equal(await code(a.ops.lookup(ROOT, name('c'), caller)), 'ok', 'the second walk');
});

t.test('another name of the same file is refused only when the first is gone', async (t) => {
  const { a, b } = twoMounts();
  const ino = await put(a, 'one', 'x');
  await b.ops.link(ino, ROOT, name('two'), caller);
  await b.ops.link(ino, ROOT, name('three'), caller);
  t.equal(await code(a.ops.lookup(ROOT, name('two'), caller)), 'ok');
  await b.ops.unlink(ROOT, name('one'), caller);
  t.equal(await code(a.ops.lookup(ROOT, name('three'), caller)), 'ESTALE');
  t.equal(await code(a.ops.lookup(ROOT, name('three'), caller)), 'ok');
  await a.ops.unlink(ROOT, name('two'), caller);
  t.equal(await code(a.ops.lookup(ROOT, name('three'), caller)), 'ok');
  await b.ops.rename(ROOT, name('three'), ROOT, name('four'), 'replace', caller);
  a.ops.forget(ino, 10);
  t.equal(await code(a.ops.lookup(ROOT, name('four'), caller)), 'ok', 'the kernel knows no name');
});
