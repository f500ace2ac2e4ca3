import t from 'tap';
import { isMootError } from '../../src/base/errors.js';
import { CLEARED_BYTES_MAX, type Ino } from '../../src/filesystem/records.js';
import type { Caller } from '../../src/mount/mount.js';
import {
  caller,
  close,
  code,
  contentOf,
  create,
  isSettled,
  name,
  node,
  open,
  put,
  READ,
  ROOT,
  read,
  type TestMount,
  TRUNCATE,
  takeCommands,
  text,
  twoMounts,
  WRITE,
  write,
} from '../support/mount-world.js';

const DIRECTORY = 0o040755;
const FIFO = 0o010644;
const user: Caller = { ...caller, uid: 1000, gid: 1000 };

function attributes(mount: TestMount, ino: Ino) {
  return mount.ops.getAttributes(ino, caller).then(({ inode }) => inode);
}

t.test('what one mount has closed, the next open on another sees', async (t) => {
  const { a, b } = twoMounts();
  for (const data of ['first', 'second and longer', '']) {
    await put(a, 'f', data);
    t.equal(await contentOf(b, 'f'), data);
    await put(b, 'f', `${data}!`);
    t.equal(await contentOf(a, 'f'), `${data}!`);
  }
});

t.test(
  'after write returned the bytes are visible on this mount, however they are read',
  async (t) => {
    const { a } = twoMounts();
    const file = await create(a, 'f');
    await write(a, file, 0, '1');
    t.equal((await attributes(a, file.ino)).size, 1);
    await write(a, file, 1, '2');
    t.equal((await a.ops.lookup(ROOT, name('f'), caller)).inode.size, 2);
    await write(a, file, 2, '3');
    t.equal(await contentOf(a, 'f'), '123');
    await write(a, file, 3, '4');
    const directory = await a.ops.openDirectory(ROOT, caller);
    const listed = await a.ops.readDirectory(ROOT, directory, 2, 4096, true, caller);
    t.strictSame(
      listed.map((e) => [text(e.name), e.attributes?.inode.size]),
      [['f', undefined]],
      'attributes that do not count the write are left out',
    );
  },
);

t.test(
  'set-attributes takes effect after the writes before it, without waiting for each',
  async (t) => {
    const { cluster, a } = twoMounts();
    const file = await create(a, 'f');
    await write(a, file, 0, 'abcdef');
    const mtime = { sec: 1_000_000_000, nsec: 5 };
    const changed = await a.ops.setAttributes(file.ino, { mtime, mode: 0o600 }, caller);
    t.equal(changed.inode.size, 6);
    t.strictSame(changed.inode.mtime, mtime);
    await close(a, file);
    t.strictSame((await attributes(a, file.ino)).mtime, mtime);
    t.strictSame(takeCommands(cluster), [
      'a: make-node',
      'a: write at 0 abcdef',
      'a: set-attributes',
    ]);
    const again = await open(a, 'f', WRITE);
    await write(a, again, 6, 'ghi');
    await a.ops.setAttributes(file.ino, { size: 3 }, caller);
    await write(a, again, 4, 'x');
    t.equal(await contentOf(a, 'f'), 'abc\0x');
  },
);

t.test('O_TRUNC takes what was written before, and nothing written after', async (t) => {
  const { a, b } = twoMounts();
  const file = await create(a, 'f');
  await write(a, file, 0, 'before');
  const again = await open(a, 'f', TRUNCATE);
  t.equal(again.keepCache, false);
  await write(a, again, 0, 'new');
  await close(a, again);
  t.equal(await contentOf(b, 'f'), 'new');
});

t.test('create finds a name that somebody else made', async (t) => {
  const { a, b } = twoMounts();
  const ino = await put(b, 'f', 'content');
  t.equal(await code(create(a, 'f', { exclusive: true } as object)), 'EEXIST');
  const opened = await create(a, 'f');
  t.equal(opened.ino, ino);
  t.equal(await read(a, opened), 'content');
  const cut = await create(a, 'f', { truncate: true });
  t.equal(await read(a, cut), '');
  await b.ops.makeNode(ROOT, name('d'), node(DIRECTORY), caller);
  await b.ops.makeSymlink(ROOT, name('s'), name('f'), caller);
  for (const other of ['d', 's']) t.equal(await code(create(a, other)), 'ESTALE');
  const flags = { ...WRITE, exclusive: false };
  t.equal(
    await code(a.ops.create(ROOT, name('f'), node(0o644), flags, user)),
    'ESTALE',
    'not theirs',
  );
  const readFlags = { ...READ, exclusive: false };
  t.equal(
    await code(a.ops.create(ROOT, name('f'), node(0o644), readFlags, user)),
    'ok',
    'all may read',
  );
  const inode = await b.ops.lookup(ROOT, name('f'), caller);
  await b.ops.setXattr(inode.inode.ino, name('user.a'), name('1'), 'set', false, caller);
  t.equal(
    await code(a.ops.create(ROOT, name('f'), node(0o644), readFlags, user)),
    'ESTALE',
    'an ACL may say otherwise',
  );
});

t.test('create of a name that comes and goes makes it in the end', async (t) => {
  const { a, b } = twoMounts();
  await put(b, 'f', 'old');
  let removed = false;
  const { execute } = a.client;
  // Between the EEXIST and the lookup after it the file goes.
  a.client.execute = async (command, options) => {
    try {
      return (await execute.call(a.client, command as never, options)) as never;
    } catch (error) {
      if (isMootError(error, 'EEXIST') && !removed) {
        removed = true;
        await b.ops.unlink(ROOT, name('f'), caller);
      }
      throw error;
    }
  };
  const file = await create(a, 'f');
  t.ok(removed);
  t.equal(await read(a, file), '');
});

t.test('new inodes belong to the caller', async (t) => {
  const { a } = twoMounts();
  const flags = { ...WRITE, exclusive: true };
  const { inode } = await a.ops.create(ROOT, name('f'), node(0o640), flags, user);
  t.match(inode, { uid: 1000, gid: 1000, mode: 0o100640, nlink: 1 });
  const directory = await a.ops.makeNode(ROOT, name('d'), node(DIRECTORY), user);
  t.match(directory.inode, { uid: 1000, mode: DIRECTORY, nlink: 2 });
  const symlink = await a.ops.makeSymlink(ROOT, name('s'), name('to/there'), user);
  t.equal(text(await a.ops.readLink(symlink.inode.ino, user)), 'to/there');
  t.equal(await code(a.ops.readLink(inode.ino, user)), 'EINVAL');
});

t.test('links and renames show the bytes that were written before', async (t) => {
  const { cluster, a, b } = twoMounts();
  const file = await create(a, 'f');
  await write(a, file, 0, 'data');
  const linked = await a.ops.link(file.ino, ROOT, name('g'), caller);
  t.match(linked.inode, { ino: file.ino, nlink: 2, size: 4 });
  t.equal(await contentOf(b, 'g'), 'data');
  await put(b, 'h', 'old');
  const temporary = await create(a, 't');
  await write(a, temporary, 0, 'new');
  takeCommands(cluster);
  await a.ops.rename(ROOT, name('t'), ROOT, name('h'), 'replace', caller);
  t.strictSame(takeCommands(cluster), ['a: write at 0 new', 'a: rename']);
  t.equal(await contentOf(b, 'h'), 'new');
  t.equal(
    await code(a.ops.rename(ROOT, name('h'), ROOT, name('g'), 'no-replace', caller)),
    'EEXIST',
  );
  await a.ops.rename(ROOT, name('h'), ROOT, name('g'), 'exchange', caller);
  t.equal(await contentOf(b, 'g'), 'new');
  t.equal(await contentOf(b, 'h'), 'data');
});

/** Both mounts say what they hold, until orphans that nobody holds are gone. */
async function keepAlives(...mounts: TestMount[]): Promise<void> {
  for (let round = 0; round < 2; round++) {
    for (const mount of mounts) await mount.client.keepAlive();
  }
}

t.test('a file that lost its name lives as long as a mount has it open', async (t) => {
  const { a, b } = twoMounts();
  await put(a, 'f', 'content');
  const file = await open(a, 'f', WRITE);
  const second = await open(a, 'f', READ);
  await b.ops.unlink(ROOT, name('f'), caller);
  await keepAlives(a, b);
  t.equal(await read(a, file), 'content');
  await write(a, file, 0, 'C');
  t.match(await attributes(a, file.ino), { nlink: 0, size: 7 });
  t.equal(await code(open(a, 'f')), 'ENOENT');
  t.equal(await code(b.ops.open(file.ino, READ, caller)), 'ESTALE', 'not open on that mount');
  t.equal(await code(a.ops.open(file.ino, READ, caller)), 'ok', 'as through /proc/self/fd');
  await close(a, file);
  await keepAlives(a, b);
  t.equal(await read(a, second), 'Content');
  await close(a, second);
  await a.ops.release(file.ino, second.handle + 1);
  await keepAlives(a, b);
  t.equal(await code(attributes(a, file.ino)), 'ESTALE');
});

t.test('who opens what has lost its name elsewhere is sent to walk again', async (t) => {
  const { a, b } = twoMounts();
  const ino = await put(a, 'f', 'content');
  const file = await open(b, 'f');
  await b.ops.unlink(ROOT, name('f'), caller);
  const opens = [READ, READ, TRUNCATE].map((flags) => code(a.ops.open(ino, flags, caller)));
  t.strictSame(await Promise.all(opens), ['ESTALE', 'ESTALE', 'ESTALE']);
  t.equal(await read(b, file), 'content', 'nor is it emptied for those who have it open');
  await close(b, file);
});

t.test(
  'an open file survives its replacement by a rename, and an open directory its removal',
  async (t) => {
    const { a, b } = twoMounts();
    await put(a, 'f', 'old');
    await put(b, 'g', 'new');
    const file = await open(a, 'f');
    await b.ops.rename(ROOT, name('g'), ROOT, name('f'), 'replace', caller);
    const { inode } = await a.ops.makeNode(ROOT, name('d'), node(DIRECTORY), caller);
    const directory = await a.ops.openDirectory(inode.ino, caller);
    await b.ops.removeDirectory(ROOT, name('d'), caller);
    await keepAlives(a, b);
    t.equal(await read(a, file), 'old');
    t.equal(await contentOf(a, 'f'), 'new');
    t.match(await attributes(a, inode.ino), { nlink: 0 });
    await close(a, file);
    a.ops.releaseDirectory(inode.ino, directory);
    await keepAlives(a, b);
    t.equal(await code(attributes(a, file.ino)), 'ESTALE');
    t.equal(await code(attributes(a, inode.ino)), 'ESTALE');
  },
);

t.test('what the kernel opens without asking lives for as long as it knows it', async (t) => {
  const { a, b } = twoMounts();
  const { inode } = await a.ops.makeNode(ROOT, name('pipe'), node(FIFO), caller);
  await a.ops.unlink(ROOT, name('pipe'), caller);
  await keepAlives(a, b);
  t.match(await attributes(a, inode.ino), { nlink: 0 });
  a.ops.forget(inode.ino, 1);
  await keepAlives(a, b);
  t.equal(await code(attributes(a, inode.ino)), 'ESTALE');
});

t.test(
  "a file unlinked by another before its creator has the reply is still the creator's",
  async (t) => {
    const { cluster, a, b } = twoMounts();
    let unlinked: Promise<void> | null = null;
    const { execute } = a.client;
    a.client.execute = async (command, options) => {
      const value = await execute.call(a.client, command as never, options);
      if (command.type === 'make-node') {
        unlinked = b.ops.unlink(ROOT, name('f'), caller);
        await unlinked;
        await keepAlives(b, a);
      }
      return value as never;
    };
    const file = await create(a, 'f');
    t.ok(unlinked);
    a.client.execute = execute;
    await keepAlives(a, b);
    await write(a, file, 0, 'data');
    t.equal(await read(a, file), 'data');
    await close(a, file);
    await keepAlives(a, b);
    t.equal(await code(attributes(a, file.ino)), 'ESTALE');
    t.ok(cluster.index > 0);
  },
);

t.test('after missed changes everything open is held', async (t) => {
  const { a, b } = twoMounts();
  await put(a, 'f', 'content');
  await put(a, 'kept', 'k');
  const file = await open(a, 'f');
  const kept = await open(a, 'kept');
  a.client.holdWatch();
  await b.ops.unlink(ROOT, name('f'), caller);
  a.client.releaseWatch('reset');
  await keepAlives(a, b);
  t.equal(await read(a, file), 'content');
  await close(a, file);
  await close(a, kept);
  await keepAlives(a, b);
  t.equal(await code(attributes(a, file.ino)), 'ESTALE');
  t.equal(await contentOf(a, 'kept'), 'k');
});

t.test('what is written to a file without a name troubles nobody', async (t) => {
  const { a } = twoMounts();
  const file = await create(a, 'f');
  await write(a, file, 0, 'data');
  await a.ops.unlink(ROOT, name('f'), caller);
  await close(a, file);
  await keepAlives(a);
  const again = await create(a, 'f', { exclusive: true } as object);
  t.equal(await read(a, again), '');
});

t.test('extended attributes', async (t) => {
  const { a, b } = twoMounts();
  const ino = await put(a, 'f', '');
  await a.ops.setXattr(ino, name('user.x'), name('value'), 'set', false, caller);
  t.equal(text(await b.ops.getXattr(ino, name('user.x'), caller)), 'value');
  t.equal(
    await code(a.ops.setXattr(ino, name('user.x'), name(''), 'create', false, caller)),
    'EEXIST',
  );
  t.equal(
    await code(a.ops.setXattr(ino, name('user.y'), name(''), 'replace', false, caller)),
    'ENODATA',
  );
  await a.ops.setXattr(ino, name('security.y'), name(''), 'set', false, caller);
  t.strictSame((await b.ops.listXattrs(ino, caller)).map(text).sort(), ['security.y', 'user.x']);
  await a.ops.setXattr(ino, name('trusted.z'), name(''), 'set', false, caller);
  const shown = (await b.ops.listXattrs(ino, user)).map(text).sort();
  t.strictSame(shown, ['security.y', 'user.x'], 'trusted ones are for root');
  await b.ops.removeXattr(ino, name('user.x'), caller);
  t.equal(await code(a.ops.getXattr(ino, name('user.x'), caller)), 'ENODATA');
  for (const other of ['system.posix_acl', 'system.x', 'other.x', 'user']) {
    t.equal(await code(a.ops.getXattr(ino, name(other), caller)), 'EOPNOTSUPP', other);
    t.equal(
      await code(a.ops.setXattr(ino, name(other), name(''), 'set', false, caller)),
      'EOPNOTSUPP',
    );
    t.equal(await code(a.ops.removeXattr(ino, name(other), caller)), 'EOPNOTSUPP');
  }
});

t.test('statfs shows what is stored, and what is free', async (t) => {
  const { cluster, a } = twoMounts();
  const before = await a.ops.statfs(caller);
  t.match(before, { blockBytes: 4096, blocks: 2 ** 27, blocksFree: 2 ** 27, nameBytesMax: 255 });
  await put(a, 'f', 'x'.repeat(5_000));
  const after = await a.ops.statfs(caller);
  t.equal(after.inodes - after.inodesFree, before.inodes - before.inodesFree + 1);
  t.equal(after.blocks - after.blocksFree, 2);
  await a.client.execute({ type: 'set-quota', bytes: 3 * 4096, inodes: 3 });
  t.match(await a.ops.statfs(caller), { blocks: 3, blocksFree: 1, inodes: 3, inodesFree: 1 });
  cluster.diskBytesFree = 0;
  t.match(await a.ops.statfs(caller), { blocks: 2, blocksFree: 0 });
  await a.client.execute({ type: 'set-quota', bytes: 10, inodes: 1 });
  t.match(await a.ops.statfs(caller), { blocks: 2, blocksFree: 0, inodes: 2, inodesFree: 0 });
});

t.test('beyond the quota: fsync(2) or close(2) says so, and what was there stays', async (t) => {
  const { a } = twoMounts();
  await put(a, 'f', 'before');
  await a.client.execute({ type: 'set-quota', bytes: 10, inodes: null });
  const file = await open(a, 'f', WRITE);
  await write(a, file, 6, ' and more');
  t.equal(await code(a.ops.fsync(file.ino, file.handle, caller)), 'EDQUOT');
  await write(a, file, 0, 'BE');
  await close(a, file);
  t.equal(await contentOf(a, 'f'), 'BEfore');
});

t.test('without a leader operations end by the deadline or an interruption', async (t) => {
  const { cluster, a } = twoMounts({ deadlineMs: 30 });
  const file = await create(a, 'f');
  await write(a, file, 0, 'x');
  cluster.pause();
  const controller = new AbortController();
  const impatient = { ...caller, signal: controller.signal };
  const calls = [
    a.ops.getAttributes(ROOT, impatient),
    a.ops.getAttributes(file.ino, impatient),
    a.ops.read(file.ino, file.handle, 0, 10, impatient),
    a.ops.makeNode(ROOT, name('d'), node(DIRECTORY), impatient),
    a.ops.fsync(file.ino, file.handle, impatient),
    a.ops.open(file.ino, READ, impatient),
  ].map((call) => code(call));
  t.notOk(await isSettled(Promise.race(calls)));
  controller.abort();
  for (const call of calls) t.equal(await call, 'INTERRUPTED');
  t.equal(await code(a.ops.getAttributes(ROOT, caller)), 'NO_LEADER');
  t.equal(await code(a.ops.unlink(ROOT, name('f'), caller)), 'NO_LEADER');
  cluster.resume();
});

t.test('handles that the kernel does not have are refused', async (t) => {
  const { a } = twoMounts();
  const file = await create(a, 'f');
  await close(a, file);
  t.equal(await code(read(a, file)), 'ESTALE');
  t.equal(await code(write(a, file, 0, 'x')), 'ESTALE');
  t.equal(await code(a.ops.flush(file.ino, file.handle, caller)), 'ESTALE');
  t.equal(await code(a.ops.release(file.ino, file.handle)), 'ESTALE');
  t.equal(await code(a.ops.readDirectory(ROOT, 99, 0, 4096, false, caller)), 'ESTALE');
});

t.test('close commits what is written', async (t) => {
  const { a, b } = twoMounts();
  const file = await create(a, 'f');
  await write(a, file, 0, 'data');
  await a.ops.close();
  t.equal(await contentOf(b, 'f'), 'data');
});

t.test('close can be interrupted', async (t) => {
  const { cluster, a } = twoMounts();
  const file = await create(a, 'f');
  cluster.pause();
  await write(a, file, 0, 'data');
  const controller = new AbortController();
  const closed = a.ops.close(controller.signal);
  t.notOk(await isSettled(closed));
  controller.abort();
  t.equal(await code(closed), 'OUTCOME_UNKNOWN');
});

t.test('close says what is lost, and waits no longer than a while', async (t) => {
  const { cluster, a } = twoMounts({ deadlineMs: Infinity });
  const files = [];
  for (let i = 0; i < 3; i++) files.push(await create(a, `f${i}`));
  const [one, two, three] = files;
  if (!one || !two || !three) throw new Error('made above');
  a.client.refuse = (command) => (command.type === 'write' ? 'ENOSPC' : null);
  for (const file of [one, two]) await write(a, file, 0, 'lost');
  t.equal(await code(close(a, one)), 'ENOSPC', 'this program was told');
  a.client.refuse = (command) => (command.type === 'write' ? 'EFBIG' : null);
  await a.ops.release(two.ino, two.handle);
  await isSettled(Promise.resolve());
  a.client.refuse = () => null;
  cluster.pause();
  await write(a, three, 0, 'nobody knows');
  const closed = a.ops.close().catch((error: Error) => error.message);
  t.notOk(await isSettled(closed));
  a.clock.advance(60_000);
  const message = await closed;
  t.match(message, new RegExp(`inode ${two.ino} .*refused.*inode ${three.ino} .not decided`));
  t.notMatch(message, `inode ${one.ino} `);
});

/** All of a directory, as a program reads it with a buffer of this size. */
async function list(mount: TestMount, bytesMax: number, plus: boolean): Promise<string[]> {
  const directory = await mount.ops.openDirectory(ROOT, caller);
  const names: string[] = [];
  for (let cookie = 0; ; ) {
    const entries = await mount.ops.readDirectory(ROOT, directory, cookie, bytesMax, plus, caller);
    if (entries.length === 0) break;
    names.push(...entries.map((entry) => text(entry.name)));
    cookie = entries.at(-1)?.cookie ?? cookie;
  }
  mount.ops.releaseDirectory(ROOT, directory);
  return names;
}

t.test('listings of any size in buffers of any size', async (t) => {
  const { a, b } = twoMounts();
  const expected = ['.', '..'];
  t.strictSame(await list(a, 4096, false), expected);
  for (let i = 0; i < 2_345; i++) {
    expected.push(`file number ${i}`);
    await a.ops.makeNode(ROOT, name(`file number ${i}`), node(0o100644), caller);
  }
  t.strictSame(await list(b, 4096, false), expected);
  t.strictSame(await list(b, 128 * 1024, false), expected);
  t.strictSame(await list(b, 4096, true), expected);
  t.strictSame(await list(b, 1 << 20, true), expected);
});

t.test(
  'a directory emptied while it is read: nothing is skipped, nothing comes twice',
  async (t) => {
    const { a, b } = twoMounts();
    const directory = await a.ops.openDirectory(ROOT, caller);
    const count = 10_000;
    for (let i = 0; i < count; i++) {
      await a.ops.makeNode(ROOT, name(`f${i}`), node(0o100644), caller);
    }
    const seen = new Set<string>();
    for (let cookie = 0; ; ) {
      const entries = await a.ops.readDirectory(ROOT, directory, cookie, 4096, false, caller);
      if (entries.length === 0) break;
      for (const entry of entries) {
        cookie = entry.cookie;
        if (cookie <= 2) continue;
        if (seen.has(text(entry.name))) t.fail('twice');
        seen.add(text(entry.name));
        await (seen.size % 2 === 0 ? a : b).ops.unlink(ROOT, entry.name, caller);
      }
    }
    t.equal(seen.size, count);
    t.strictSame(await list(a, 4096, false), ['.', '..']);
  },
);

t.test('rewinding shows the directory as it is; seeking goes on anywhere', async (t) => {
  const { a, b } = twoMounts();
  for (const file of ['a', 'b', 'c', 'd']) await put(a, file, '');
  const directory = await a.ops.openDirectory(ROOT, caller);
  const readFrom = async (cookie: number) => {
    const entries = await a.ops.readDirectory(ROOT, directory, cookie, 4096, false, caller);
    return entries.map((entry) => [text(entry.name), entry.cookie] as const);
  };
  const all = await readFrom(0);
  t.strictSame(all.map(([of]) => of).join(' '), '. .. a b c d');
  for (const [i, [, cookie]] of all.entries())
    t.strictSame(await readFrom(cookie), all.slice(i + 1));
  await b.ops.unlink(ROOT, name('b'), caller);
  await put(b, 'e', '');
  t.strictSame((await readFrom(0)).map(([of]) => of).join(' '), '. .. a c d e');
  t.equal(await code(a.ops.readDirectory(ROOT, directory, 2, 24, false, caller)), 'EINVAL');
});

t.test('a listing fits the buffer as the kernel counts it', async (t) => {
  const { a } = twoMounts();
  for (let i = 0; i < 50; i++) await put(a, 'x'.repeat(1 + 5 * i), '');
  const directory = await a.ops.openDirectory(ROOT, caller);
  for (const plus of [false, true]) {
    for (const bytesMax of [512, 1000, 4096]) {
      const entries = await a.ops.readDirectory(ROOT, directory, 0, bytesMax, plus, caller);
      const bytes = entries.map((e) => Math.ceil(((plus ? 152 : 24) + e.name.length) / 8) * 8);
      t.ok(bytes.reduce((sum, one) => sum + one, 0) <= bytesMax && entries.length > 2);
    }
  }
});

t.test('a truncation of more than one command may clear', async (t) => {
  const { a, b } = twoMounts();
  const file = await create(a, 'f');
  const group = 2_097_152;
  const groups = (2 * CLEARED_BYTES_MAX) / group + 7;
  for (let at = 0; at < groups; at++) await write(a, file, at * group, 'x');
  const size = 2 * group + 1;
  const { inode } = await a.ops.setAttributes(file.ino, { size, mode: 0o640 }, caller);
  t.match(inode, { size, bytes: 3 });
  t.equal(inode.mode & 0o777, 0o640);
  t.match(await attributes(b, file.ino), { size, bytes: 3 });
  await a.ops.setAttributes(file.ino, { size: groups * group }, caller);
  const end = { ino: file.ino, handle: file.handle, offset: size };
  await t.rejects(a.ops.seek(end, 'data', caller), { code: 'ENXIO' });
});
