import t from 'tap';
import type { Query } from '../../src/filesystem/queries.js';
import { FILE_BYTES_MAX, WRITE_BYTES_MAX } from '../../src/filesystem/records.js';
import { UNCOMMITTED_BYTES_MAX, WRITE_DELAY_MS } from '../../src/mount/write-behind.js';
import { LocalCluster } from '../support/local-client.js';
import {
  APPEND,
  caller,
  close,
  code,
  contentOf,
  create,
  idle,
  isSettled,
  name,
  newMount,
  open,
  PLAIN,
  put,
  READ,
  ROOT,
  read,
  type TestFile,
  type TestMount,
  takeCommands,
  twoMounts,
  WRITE,
  write,
} from '../support/mount-world.js';

t.test('small writes one behind the other share a command, sent by close', async (t) => {
  const { cluster, a, b } = twoMounts();
  const file = await create(a, 'f');
  for (const [at, data] of ['ab', 'cd', 'ef'].entries()) await write(a, file, 2 * at, data);
  await write(a, file, 1, 'XY');
  t.strictSame(takeCommands(cluster), ['a: make-node']);
  await close(a, file);
  t.strictSame(takeCommands(cluster), ['a: write at 0 aXYdef']);
  t.equal(await contentOf(b, 'f'), 'aXYdef');
});

t.test('writes apart from each other keep their order', async (t) => {
  const { cluster, a, b } = twoMounts();
  const file = await create(a, 'f');
  await write(a, file, 4, 'late');
  await write(a, file, 0, 'earl');
  await write(a, file, 2, 'EARL');
  await close(a, file);
  t.strictSame(takeCommands(cluster).slice(1), ['a: write at 4 late', 'a: write at 0 eaEARL']);
  t.equal(await contentOf(b, 'f'), 'eaEARLte');
});

t.test(
  'a full command is on its way before anybody asks; others follow without waiting',
  async (t) => {
    const { cluster, a } = twoMounts();
    const file = await create(a, 'f');
    cluster.pause();
    const part = 'x'.repeat(WRITE_BYTES_MAX / 4);
    for (let i = 0; i < 9; i++) await write(a, file, i * part.length, part);
    cluster.resume();
    await idle();
    t.strictSame(takeCommands(cluster), [
      'a: make-node',
      `a: write at 0 ${WRITE_BYTES_MAX}`,
      `a: write at ${WRITE_BYTES_MAX} ${WRITE_BYTES_MAX}`,
    ]);
    await close(a, file);
    t.strictSame(takeCommands(cluster), [`a: write at ${2 * WRITE_BYTES_MAX} ${part.length}`]);
  },
);

t.test('more than one command can carry is divided', async (t) => {
  const { cluster, a, b } = twoMounts();
  const file = await create(a, 'f');
  const data = 'abc'.repeat(WRITE_BYTES_MAX);
  await write(a, file, 0, data);
  await close(a, file);
  t.equal(takeCommands(cluster).length, 1 + 3);
  const opened = await open(b, 'f');
  for (let at = 0; at < data.length; at += WRITE_BYTES_MAX) {
    const part = data.slice(at, at + WRITE_BYTES_MAX);
    t.ok((await read(b, opened, at, WRITE_BYTES_MAX)) === part);
  }
});

t.test('what is not closed is visible to others soon', async (t) => {
  const { a, b } = twoMounts();
  const file = await create(a, 'f');
  await write(a, file, 0, 'soon');
  t.equal(await contentOf(b, 'f'), '');
  a.clock.advance(WRITE_DELAY_MS);
  await idle();
  t.equal(await contentOf(b, 'f'), 'soon');
});

t.test('flush and fsync wait for the commit; without writes they are free', async (t) => {
  const { cluster, a } = twoMounts();
  const file = await create(a, 'f');
  takeCommands(cluster);
  await a.ops.flush(file.ino, file.handle, caller);
  await a.ops.fsync(file.ino, file.handle, caller);
  t.strictSame(takeCommands(cluster), []);
  await write(a, file, 0, 'data');
  cluster.pause();
  const flushed = a.ops.flush(file.ino, file.handle, caller);
  t.notOk(await isSettled(flushed));
  cluster.resume();
  await flushed;
  takeCommands(cluster);
  await close(a, file);
  t.strictSame(takeCommands(cluster), []);
});

t.test('with write-through each write waits for its commit, and fails itself', async (t) => {
  const { cluster, a } = twoMounts({ writeThrough: true });
  const file = await create(a, 'f');
  cluster.pause();
  const written = write(a, file, 0, 'data');
  t.notOk(await isSettled(written));
  cluster.resume();
  t.equal(await written, 4);
  a.client.refuse = () => 'ENOSPC';
  t.equal(await code(write(a, file, 4, 'more')), 'ENOSPC');
  t.equal(await code(close(a, file)), 'ok');
});

t.test(
  'uncommitted bytes are bounded: write waits, in order, and can be interrupted',
  async (t) => {
    const { cluster, a } = twoMounts();
    const file = await create(a, 'f');
    takeCommands(cluster);
    cluster.pause();
    const block = 'b'.repeat(WRITE_BYTES_MAX);
    let offset = 0;
    let last = write(a, file, offset, block);
    while (await isSettled(last)) {
      offset += block.length;
      last = write(a, file, offset, block);
    }
    t.ok(offset < UNCOMMITTED_BYTES_MAX && offset >= UNCOMMITTED_BYTES_MAX - 2 * WRITE_BYTES_MAX);
    const next = write(a, file, offset + block.length, 'end');
    const controller = new AbortController();
    const given = a.ops.write(file.ino, file.handle, 0, Buffer.from('never'), PLAIN, {
      ...caller,
      signal: controller.signal,
    });
    t.notOk(await isSettled(next));
    controller.abort();
    t.equal(await code(given), 'INTERRUPTED');
    cluster.resume();
    await Promise.all([last, next]);
    await close(a, file);
    const { inode } = await a.ops.getAttributes(file.ino, caller);
    t.equal(inode.size, offset + block.length + 3);
    t.notOk(takeCommands(cluster).some((line) => line.includes('never')));
  },
);

t.test('writes over each other count once, and nothing when they are committed', async (t) => {
  const { cluster, a } = twoMounts({ uncommittedBytesMax: 100_000 });
  const file = await create(a, 'f');
  const block = 'x'.repeat(4_000);
  for (let i = 0; i < 10_000; i++) {
    const written = write(a, file, (i % 3) * 1_000, block);
    if (!(await isSettled(written))) throw new Error(`write ${i} waits`);
    if (i % 100 === 0) a.clock.advance(WRITE_DELAY_MS);
  }
  await a.ops.fsync(file.ino, file.handle, caller);
  cluster.pause();
  const [part, overhead] = [20_000, 1_024];
  for (let at = 0; at + part + overhead <= 100_000; at += part + overhead) {
    t.ok(await isSettled(write(a, file, 2 * at, 'x'.repeat(part))), 'all the room is there');
  }
  cluster.resume();
  await close(a, file);
});

t.test('a write for which there is no room fails after the deadline', async (t) => {
  const { cluster, a } = twoMounts({ uncommittedBytesMax: 10_000, deadlineMs: 20 });
  const file = await create(a, 'f');
  cluster.pause();
  a.client.execute = () => new Promise(() => {});
  await write(a, file, 0, 'x'.repeat(9_000));
  const waiting = [write(a, file, 50_000, 'x'.repeat(9_000)), write(a, file, 90_000, 'x')];
  t.notOk(await isSettled(Promise.race(waiting)));
  a.clock.advance(20);
  t.strictSame(await Promise.all(waiting.map(code)), ['NO_LEADER', 'NO_LEADER']);
});

t.test('many small files in the buffer do not block each other', async (t) => {
  const { cluster, a } = twoMounts({ uncommittedBytesMax: 100_000 });
  const files = [];
  for (let i = 0; i < 60; i++) files.push(await create(a, `f${i}`));
  await Promise.all(files.map((file) => write(a, file, 0, 'x'.repeat(5_000))));
  await Promise.all(files.map((file) => close(a, file)));
  t.equal(takeCommands(cluster).filter((line) => line.includes('write')).length, 60);
});

t.test('an error of a delayed write is told once to every open file', async (t) => {
  const { cluster, a } = twoMounts();
  const one = await create(a, 'f');
  const two = await open(a, 'f', WRITE);
  const reader = await open(a, 'f', READ);
  a.client.refuse = (command) => (command.type === 'write' ? 'ENOSPC' : null);
  await write(a, one, 0, 'lost');
  t.equal(await code(a.ops.fsync(one.ino, one.handle, caller)), 'ENOSPC');
  t.equal(await code(a.ops.fsync(one.ino, one.handle, caller)), 'ok');
  a.client.refuse = () => null;
  t.equal(await code(a.ops.flush(reader.ino, reader.handle, caller)), 'ok', 'close of a reader');
  t.equal(await code(a.ops.fsync(reader.ino, reader.handle, caller)), 'ENOSPC');
  t.equal(await code(write(a, two, 0, 'x')), 'ENOSPC', 'write tells what is known');
  t.equal(await code(write(a, two, 0, 'x')), 'ok', 'once');
  t.equal(await code(close(a, two)), 'ENOSPC', 'which does not mean that fsync has told it');
  const later = await open(a, 'f', WRITE);
  t.equal(await code(close(a, later)), 'ok', 'opened after it was told');
  t.equal(await code(close(a, one)), 'ok');
  cluster.resume();
});

t.test('who repeats a write that failed hears from fsync that others were lost', async (t) => {
  const { a, b } = twoMounts();
  const file = await create(a, 'f', APPEND);
  a.client.refuse = (command) => (command.type === 'write' ? 'EDQUOT' : null);
  await write(a, file, 0, 'first');
  a.clock.advance(WRITE_DELAY_MS);
  await idle();
  t.equal(await code(write(a, file, 5, 'second')), 'EDQUOT');
  a.client.refuse = () => null;
  t.equal(await code(write(a, file, 5, 'second')), 'ok');
  t.equal(await code(a.ops.fsync(file.ino, file.handle, caller)), 'EDQUOT');
  t.equal(await code(a.ops.fsync(file.ino, file.handle, caller)), 'ok');
  t.equal(await code(close(a, file)), 'ok');
  t.equal(await contentOf(b, 'f'), 'second');
});

t.test('a child that closes what it inherited takes no error away', async (t) => {
  const { a } = twoMounts();
  const file = await create(a, 'f');
  a.client.refuse = (command) => (command.type === 'write' ? 'EDQUOT' : null);
  await write(a, file, 0, 'lost');
  t.equal(await code(a.ops.flush(file.ino, file.handle, caller)), 'EDQUOT', 'of the child');
  t.equal(await code(a.ops.fsync(file.ino, file.handle, caller)), 'EDQUOT');
  t.equal(await code(close(a, file)), 'ok');
});

t.test('O_SYNC past the kernel’s pages waits for the commit', async (t) => {
  const { cluster, a } = twoMounts();
  const file = await create(a, 'f', { ...APPEND, direct: true });
  const append = (sync: boolean) =>
    a.ops.write(
      file.ino,
      file.handle,
      0,
      Buffer.from('line'),
      { append: true, killPrivileges: false, sync },
      caller,
    );
  cluster.pause();
  t.ok(await isSettled(append(false)));
  const written = append(true);
  t.notOk(await isSettled(written));
  cluster.resume();
  t.equal(await written, 4);
  await close(a, file);
});

t.test('an attribute that is set after a write is not taken away by it', async (t) => {
  const { cluster, a } = twoMounts();
  const file = await create(a, 'f');
  takeCommands(cluster);
  const capability = Buffer.from('security.capability');
  await write(a, file, 0, 'program');
  await a.ops.setXattr(file.ino, capability, Buffer.from('x'), 'set', false, caller);
  await close(a, file);
  t.strictSame(Buffer.from(await a.ops.getXattr(file.ino, capability, caller)).toString(), 'x');
});

t.test('a page that was read before an append goes before the append returns', async (t) => {
  const { a } = twoMounts();
  await put(a, 'f', 'x');
  const reader = await open(a, 'f');
  const appending = await open(a, 'f', { ...APPEND, direct: true });
  await write(a, appending, 0, 'y');
  t.notOk(a.told.includes(`drop ${reader.ino}`), 'there is none');
  await read(a, reader);
  let dropped = () => {};
  a.notifier.dropPages = () =>
    new Promise((resolve) => {
      dropped = resolve;
    });
  const written = write(a, appending, 0, 'y');
  t.notOk(await isSettled(written));
  dropped();
  t.equal(await written, 1);
  t.ok(await isSettled(write(a, appending, 0, 'y')), 'none was read since');
  await a.ops.read(appending.ino, appending.handle, 0, 9, caller, true);
  t.ok(await isSettled(write(a, appending, 0, 'y')), 'nor by what goes past the pages');

  await read(a, reader);
  const controller = new AbortController();
  const waiting = a.ops.write(
    ...([appending.ino, appending.handle, 0, Buffer.from('y')] as const),
    { append: true, killPrivileges: false },
    { ...caller, signal: controller.signal },
  );
  t.notOk(await isSettled(waiting));
  controller.abort();
  t.equal(await waiting, 1, 'it is written, whoever was interrupted');
});

t.test('what is read past the pages is not in them', async (t) => {
  const { a, b } = twoMounts();
  await put(a, 'f', 'x'.repeat(100));
  const mapped = await open(b, 'f', WRITE);
  await read(b, mapped, 0, 4096);
  const appending = await open(a, 'f', APPEND);
  await write(a, appending, 100, 'y'.repeat(8_000));
  await close(a, appending);
  const direct = await open(b, 'f', { ...APPEND, direct: true });
  await b.ops.read(direct.ino, direct.handle, 4096, 4096, caller, true);
  const back = Buffer.from(`X${'x'.repeat(99)}${'\0'.repeat(3_996)}`);
  const flags = { append: false, killPrivileges: false, cached: true };
  await b.ops.write(mapped.ino, mapped.handle, 0, back, flags, caller);
  await b.ops.fsync(mapped.ino, mapped.handle, caller);
  t.equal(await contentOf(a, 'f'), `X${'x'.repeat(99)}${'y'.repeat(8_000)}`);
});

t.test('a page from before another mount’s append does not come over it', async (t) => {
  const { a, b } = twoMounts();
  await put(a, 'f', 'x'.repeat(100));
  const mapped = await open(b, 'f', WRITE);
  t.equal((await read(b, mapped, 0, 4096)).length, 100);
  const appending = await open(a, 'f', APPEND);
  await write(a, appending, 100, 'y'.repeat(50));
  await close(a, appending);
  await b.ops.getAttributes(mapped.ino, caller);
  const back = (offset: number, data: string) =>
    b.ops.write(
      mapped.ino,
      mapped.handle,
      offset,
      Buffer.from(data),
      { append: false, killPrivileges: false, cached: true },
      caller,
    );
  t.equal(await back(0, `X${'x'.repeat(99)}${'\0'.repeat(50)}`), 150);
  t.equal(await back(4096, '\0'.repeat(10)), 10);
  await b.ops.fsync(mapped.ino, mapped.handle, caller);
  t.equal(await contentOf(a, 'f'), `X${'x'.repeat(99)}${'y'.repeat(50)}`);
  t.ok(b.told.includes(`data ${mapped.ino}`), 'the page is dropped');

  await b.ops.setAttributes(mapped.ino, { size: 200 }, caller, mapped.handle);
  t.equal(await back(150, 'z'.repeat(50)), 50);
  await b.ops.fsync(mapped.ino, mapped.handle, caller);
  t.equal((await contentOf(a, 'f')).slice(150), 'z'.repeat(50), 'what it made longer itself');

  await put(a, 'f', 'x'.repeat(100));
  const anew = await open(b, 'f', WRITE);
  await read(b, anew, 0, 4096);
  await write(a, await open(a, 'f', APPEND), 100, 'y'.repeat(50));
  a.clock.advance(WRITE_DELAY_MS);
  await idle();
  await back(0, `X${'x'.repeat(99)}${'\0'.repeat(50)}`);
  await b.ops.fsync(anew.ino, anew.handle, caller);
  t.equal(await contentOf(a, 'f'), `X${'x'.repeat(99)}${'y'.repeat(50)}`, 'it was cut meanwhile');
});

for (const mode of ['reserve-keep-size', 'punch'] as const) {
  t.test(`nor after fallocate behind the end: ${mode}`, async (t) => {
    const { a, b } = twoMounts();
    await put(a, 'f', 'x'.repeat(100));
    const mapped = await open(b, 'f', WRITE);
    await read(b, mapped, 0, 4096);
    const { ino, handle } = mapped;
    await b.ops.allocate({ ino, handle, offset: 100 }, 1_048_576, mode, caller);
    const appending = await open(a, 'f', APPEND);
    await write(a, appending, 100, 'y'.repeat(50));
    await close(a, appending);
    await writeBack(b, mapped, `X${'x'.repeat(99)}${'\0'.repeat(50)}`);
    await b.ops.fsync(ino, handle, caller);
    t.equal(await contentOf(a, 'f'), `X${'x'.repeat(99)}${'y'.repeat(50)}`);
  });
}

/** The kernel writes back a page that was changed through a mapping. */
function writeBack(mount: TestMount, file: TestFile, data: string) {
  const flags = { append: false, killPrivileges: false, cached: true };
  return mount.ops.write(file.ino, file.handle, 0, Buffer.from(data), flags, caller);
}

t.test('what this mount made longer by itself may come back from its pages', async (t) => {
  const { a } = twoMounts();
  await put(a, 'source', 'c'.repeat(4096));
  await put(a, 'f', 'x'.repeat(100));
  const source = await open(a, 'source');
  const mapped = await open(a, 'f', WRITE);
  await read(a, mapped, 0, 4096);
  const page = `${'x'.repeat(100)}${'\0'.repeat(100)}HELLO${'\0'.repeat(3891)}`;

  const from = { ino: source.ino, handle: source.handle, offset: 0 };
  const to = { ino: mapped.ino, handle: mapped.handle, offset: 8192 };
  t.equal(await a.ops.copyRange(from, to, 4096, caller), 4096);
  await writeBack(a, mapped, page);
  await a.ops.fsync(mapped.ino, mapped.handle, caller);
  t.equal((await contentOf(a, 'f')).slice(200, 205), 'HELLO', 'by copy_file_range(2)');

  await put(a, 'f', 'x'.repeat(100));
  const anew = await open(a, 'f', WRITE);
  await read(a, anew, 0, 4096);
  // Its O_APPEND was taken away by fcntl(2).
  const past = await open(a, 'f', { ...APPEND, direct: true });
  await write(a, { ...past, append: false }, 8192, 'y'.repeat(100));
  await writeBack(a, anew, page);
  await a.ops.fsync(anew.ino, anew.handle, caller);
  t.equal((await contentOf(a, 'f')).slice(200, 205), 'HELLO', 'past the pages');
});

t.test(
  'a file that is looked at while a write to it waits for room is as long as that',
  async (t) => {
    const cluster = new LocalCluster();
    const a = newMount(cluster, { uncommittedBytesMax: 4096 });
    await put(a, 'f', 'x'.repeat(100));
    const file = await open(a, 'f', WRITE);
    const other = await create(a, 'other');
    await read(a, file, 0, 4096);
    a.client.commands.shut();
    await write(a, other, 0, 'o'.repeat(4000));
    const written = write(a, file, 100, 'B'.repeat(1000));
    t.notOk(await isSettled(written));
    await open(a, 'f');
    a.client.commands.open();
    await written;
    await a.ops.fsync(file.ino, file.handle, caller);
    await writeBack(a, file, `${'x'.repeat(100)}${'B'.repeat(500)}HELLO${'B'.repeat(495)}`);
    await a.ops.fsync(file.ino, file.handle, caller);
    t.equal((await contentOf(a, 'f')).slice(600, 605), 'HELLO');
  },
);

t.test('an answer that an own write has overtaken is not told to the kernel', async (t) => {
  const { a } = twoMounts({ level: 'session' });
  const file = await create(a, 'f');
  await write(a, file, 0, 'x'.repeat(10));
  await a.ops.fsync(file.ino, file.handle, caller);
  const old = (await a.ops.getAttributes(file.ino, caller)).inode;
  await write(a, file, 10, 'y'.repeat(10));
  await a.ops.fsync(file.ino, file.handle, caller);
  // A node that is behind answers what was asked before.
  const { query } = a.client;
  let isLate = true;
  a.client.query = (async (asked: Query, options: object) => {
    const value = await query.call(a.client, asked as never, options);
    if (!isLate || asked.type !== 'lookup') return value;
    isLate = false;
    return { ...value, inode: old };
  }) as never;
  t.equal((await a.ops.lookup(ROOT, name('f'), caller)).inode.size, 20);
});

t.test('local: what this mount has written it reads, and from then on', async (t) => {
  const { a } = twoMounts({ level: 'local' });
  const file = await create(a, 'f');
  const levels: (string | undefined)[] = [];
  const { query } = a.client;
  a.client.query = ((asked: Query, options: { level?: string }) => {
    if (asked.type === 'read') levels.push(options.level);
    return query.call(a.client, asked as never, options as never);
  }) as never;
  a.client.holdWatch();
  await write(a, file, 0, 'x');
  await read(a, file);
  a.client.releaseWatch();
  await read(a, file);
  t.strictSame(levels, ['session', 'local'], 'until its node has it for certain');
});

t.test('local: what is older than an own write is asked again', async (t) => {
  const { a } = twoMounts({ level: 'local' });
  const file = await create(a, 'f');
  await write(a, file, 0, 'x');
  await a.ops.fsync(file.ino, file.handle, caller);
  const old = (await a.ops.getAttributes(file.ino, caller)).inode;
  await write(a, file, 1, 'y');
  await a.ops.fsync(file.ino, file.handle, caller);
  const { query } = a.client;
  a.client.query = (async (asked: Query, options: { level?: string }) => {
    const value = await query.call(a.client, asked as never, options as never);
    return options.level === 'local' ? { ...value, inode: old } : value;
  }) as never;
  t.equal((await a.ops.getAttributes(file.ino, caller)).inode.size, 2);
  t.equal((await a.ops.lookup(ROOT, name('f'), caller)).inode.size, 2);
});

t.test('what was read through a file that appends may come back from its mapping', async (t) => {
  const { a, b } = twoMounts();
  await put(a, 'f', 'x'.repeat(100));
  const mapped = await open(b, 'f', { ...APPEND, direct: true });
  await read(b, mapped, 0, 4096);
  const data = Buffer.from('X'.repeat(100));
  const flags = { append: false, killPrivileges: false, cached: true };
  await b.ops.write(mapped.ino, mapped.handle, 0, data, flags, caller);
  await b.ops.fsync(mapped.ino, mapped.handle, caller);
  t.equal(await contentOf(a, 'f'), 'X'.repeat(100));
});

t.test('an error that nobody was told of waits for the next who opens the file', async (t) => {
  const { a } = twoMounts();
  const one = await create(a, 'f');
  a.client.refuse = (command) => (command.type === 'write' ? 'EFBIG' : null);
  await write(a, one, 0, 'lost');
  a.clock.advance(WRITE_DELAY_MS);
  await idle();
  const two = await open(a, 'f', WRITE);
  t.equal(await code(close(a, two)), 'EFBIG');
  t.equal(await code(close(a, one)), 'EFBIG');
});

t.test('it waits also when all who had the file open are gone', async (t) => {
  const { a } = twoMounts();
  const one = await create(a, 'f');
  a.client.refuse = (command) => (command.type === 'write' ? 'EFBIG' : null);
  await write(a, one, 0, 'lost');
  await a.ops.release(one.ino, one.handle);
  await idle();
  const two = await open(a, 'f', WRITE);
  t.equal(await code(close(a, two)), 'EFBIG');
  const three = await open(a, 'f', WRITE);
  t.equal(await code(close(a, three)), 'ok');
  t.equal(await code(a.ops.close()), 'ok');
});

t.test('a write that nobody decides fails at close after the deadline', async (t) => {
  const { cluster, a, b } = twoMounts({ deadlineMs: 20 });
  const file = await create(a, 'f');
  await write(a, file, 0, 'lost');
  cluster.pause();
  t.equal(await code(close(a, file)), 'NO_LEADER');
  cluster.resume();
  await put(a, 'g', 'all goes on');
  t.equal(await contentOf(b, 'g'), 'all goes on');
});

t.test('a write beyond the largest file fails at once', async (t) => {
  const { cluster, a } = twoMounts();
  const file = await create(a, 'f');
  t.equal(await code(write(a, file, FILE_BYTES_MAX - 1, 'xy')), 'EFBIG');
  t.equal(await code(write(a, file, FILE_BYTES_MAX - 1, 'x')), 'ok');
  await close(a, file);
  t.equal(takeCommands(cluster).length, 2);
});

t.test('appends of two mounts never overwrite each other', async (t) => {
  const { cluster, a, b } = twoMounts();
  await put(a, 'f', 'start');
  const one = await open(a, 'f', APPEND);
  const two = await open(b, 'f', APPEND);
  takeCommands(cluster);
  await write(a, one, 5, '1');
  await write(a, one, 6, '2');
  await write(b, two, 5, '3');
  await close(b, two);
  await close(a, one);
  t.strictSame(takeCommands(cluster), ['b: write append 3', 'a: write append 12']);
  t.equal(await contentOf(a, 'f'), 'start312');
  t.equal(await contentOf(b, 'f'), 'start312');
});

t.test('an append that landed elsewhere than the kernel thinks drops its pages', async (t) => {
  const { a, b } = twoMounts();
  const ino = await put(a, 'f', 'start');
  const one = await open(a, 'f', APPEND);
  await put(b, 'g', 'unrelated');
  a.told.length = 0;
  await write(a, one, 5, '1');
  await a.ops.fsync(one.ino, one.handle, caller);
  t.strictSame(a.told, [], 'in its place');
  const two = await open(b, 'f', APPEND);
  await write(b, two, 6, '2');
  await close(b, two);
  await idle();
  a.told.length = 0;
  await write(a, one, 6, '3');
  await close(a, one);
  t.ok(a.told.includes(`data ${ino}`));
  t.equal(await contentOf(a, 'f'), 'start123');
});

t.test('appends and other writes of one mount stay in order', async (t) => {
  const { a } = twoMounts();
  const file = await create(a, 'f');
  const appender = await open(a, 'f', APPEND);
  await write(a, file, 0, 'abc');
  await write(a, appender, 3, 'def');
  await write(a, file, 2, 'C');
  await write(a, appender, 6, 'ghi');
  t.equal(await contentOf(a, 'f'), 'abCdefghi');
});

t.test('set-user-ID goes when a write says so', async (t) => {
  const { a } = twoMounts();
  const file = await create(a, 'f');
  await a.ops.setAttributes(file.ino, { mode: 0o6755 }, caller);
  await a.ops.write(file.ino, file.handle, 0, Buffer.from('a'), PLAIN, caller);
  await a.ops.write(
    file.ino,
    file.handle,
    1,
    Buffer.from('b'),
    { ...PLAIN, killPrivileges: true },
    caller,
  );
  const { inode } = await a.ops.getAttributes(file.ino, caller);
  t.equal(inode.mode & 0o7777, 0o755);
});

t.test(
  'the caller of an interrupted close gets EINTR; the bytes are committed all the same',
  async (t) => {
    const { cluster, a, b } = twoMounts();
    const file = await create(a, 'f');
    await write(a, file, 0, 'kept');
    cluster.pause();
    const controller = new AbortController();
    const flushed = a.ops.flush(file.ino, file.handle, { ...caller, signal: controller.signal });
    t.notOk(await isSettled(flushed));
    controller.abort();
    t.equal(await code(flushed), 'INTERRUPTED');
    await a.ops.release(file.ino, file.handle);
    cluster.resume();
    await idle();
    t.equal(await contentOf(b, 'f'), 'kept');
  },
);
