import t, { type Test } from 'tap';
import { MootError } from '../../src/base/errors.js';
import { createFilesystemClient } from '../../src/client/client.js';
import type { FilesystemClient } from '../../src/client/filesystem-client.js';
import { Paths } from '../../src/client/paths.js';
import { FLAG_IMMUTABLE } from '../../src/filesystem/inode-flags.js';
import { S_IFDIR } from '../../src/filesystem/mode.js';
import { ROOT_INO } from '../../src/filesystem/records.js';
import { FakeCluster } from '../support/fake-cluster.js';
import { until } from '../support/until.js';

const NEW = { mode: 0o640, uid: 3, gid: 4 } as const;

function world(t: Test) {
  const cluster = new FakeCluster();
  const client = createFilesystemClient({
    dialer: cluster.dialer,
    addresses: cluster.addresses,
    name: 'test',
    deadlineMs: 5_000,
  });
  t.teardown(() => client.close());
  const paths = new Paths(client);
  const makeDirectory = async (parent: number, name: string) => {
    const { inode } = await client.execute({
      type: 'make-node',
      parent,
      name: Buffer.from(name),
      mode: S_IFDIR | 0o755,
      rdev: 0,
      uid: 0,
      gid: 0,
    });
    return inode.ino;
  };
  const makeLink = (parent: number, name: string, target: string) =>
    client.execute({
      type: 'make-symlink',
      parent,
      name: Buffer.from(name),
      target: Buffer.from(target),
      uid: 0,
      gid: 0,
    });
  return { cluster, client, paths, makeDirectory, makeLink };
}

async function* chunks(...values: (string | Uint8Array)[]) {
  for (const value of values) yield Buffer.from(value);
}

async function all(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of source) parts.push(part);
  return Buffer.concat(parts);
}

async function namesIn(paths: Paths, path: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of paths.list(path)) names.push(Buffer.from(name).toString());
  return names;
}

t.test('a file is put, read, replaced and appended to', async (t) => {
  const { paths, makeDirectory } = world(t);
  await makeDirectory(ROOT_INO, 'd');
  const inode = await paths.put('d/f', chunks('one ', 'two'), NEW);
  t.match(inode, { size: 7, uid: 3, gid: 4, nlink: 1 });
  t.equal(inode.mode & 0o7777, 0o640);
  t.equal((await all(paths.read('/d//f'))).toString(), 'one two');
  const again = await paths.put('d/f', chunks('three'), { mode: 0o600, uid: 0, gid: 0 });
  t.match({ ...again, mode: again.mode & 0o7777 }, { size: 5, uid: 3, gid: 4, mode: 0o640 });
  await paths.append('d/f', chunks(' four', ' five'), NEW);
  t.equal((await all(paths.read('d/f'))).toString(), 'three four five');
  await paths.append('d/g', chunks('new'), NEW);
  t.equal((await all(paths.read('d/g'))).toString(), 'new');
  t.strictSame(await namesIn(paths, 'd'), ['f', 'g']);
});

t.test('large and empty files come back as they went in', async (t) => {
  const { paths } = world(t);
  for (const size of [0, 1, 1_048_576, 3 * 1_048_576, 9_500_001]) {
    const content = Buffer.alloc(size, 'moot');
    await paths.put('f', chunks(content.subarray(0, size / 3), content.subarray(size / 3)), NEW);
    t.ok((await all(paths.read('f'))).equals(content), `${size} bytes`);
  }
  for await (const piece of paths.read('f')) {
    t.equal(piece.length, 1_048_576);
    break;
  }
});

t.test('a put that fails leaves the old file and nothing else', async (t) => {
  const { paths } = world(t);
  await paths.put('f', chunks('old'), NEW);
  async function* broken() {
    yield Buffer.from('new');
    throw new Error('the source broke');
  }
  await t.rejects(paths.put('f', broken(), NEW), /the source broke/);
  t.equal((await all(paths.read('f'))).toString(), 'old');
  t.strictSame(await namesIn(paths, '/'), ['f']);
});

/** Nothing comes of it any more, and it does not notice that nobody listens. */
async function* silent() {
  yield Buffer.from('new');
  await new Promise<never>(() => {});
}

t.test('a put or an append that is interrupted does not wait for its source', async (t) => {
  const { client, paths } = world(t);
  await paths.put('f', chunks('old'), NEW);
  for (const does of ['put', 'append'] as const) {
    const interrupted = new AbortController();
    const { signal } = interrupted;
    const writing = new Paths(client, { signal })[does]('f', silent(), NEW);
    await until('it has begun', async () => {
      const names = await namesIn(paths, '/');
      return does === 'put' ? names.length === 2 : (await paths.stat('f')).size === 6;
    });
    interrupted.abort();
    await t.rejects(writing, { code: 'INTERRUPTED', message: 'f: interrupted' });
    t.strictSame(await namesIn(paths, '/'), ['f']);
  }
  t.equal((await all(paths.read('f'))).toString(), 'oldnew');
});

/** The client, whose commands go this way. */
function executing(client: FilesystemClient, execute: FilesystemClient['execute']) {
  const other: FilesystemClient = Object.create(client);
  other.execute = execute;
  return other;
}

t.test('a temporary file that was on its way when a put was interrupted is removed', async (t) => {
  const { cluster, client, paths } = world(t);
  await paths.put('f', chunks('old'), NEW);
  const interrupted = new AbortController();
  const interrupting = executing(client, (command, options) => {
    const result = client.execute(command, options);
    if (command.type === 'make-node') interrupted.abort();
    return result;
  });
  const { signal } = interrupted;
  await t.rejects(new Paths(interrupting, { signal }).put('f', chunks('new'), NEW), {
    code: 'INTERRUPTED',
  });
  t.equal(cluster.effective().filter(({ command }) => command.type === 'make-node').length, 2);
  t.strictSame(await namesIn(paths, '/'), ['f']);
  t.equal((await all(paths.read('f'))).toString(), 'old');
});

t.test('a temporary file that may be left is named', async (t) => {
  const { client } = world(t);
  const paths = new Paths(
    executing(client, (command, options) =>
      command.type === 'make-node'
        ? client.execute(command, options)
        : Promise.reject(new MootError('NO_LEADER', `nobody decides about ${command.type}`)),
    ),
  );
  await t.rejects(paths.put('f', chunks('new'), NEW), {
    code: 'NO_LEADER',
    message: /^f: nobody decides about write; \.mootfs-put-\w+ may be left beside it$/,
  });
});

t.test('a source may use its buffer again', async (t) => {
  const { paths } = world(t);
  async function* reusing() {
    const buffer = Buffer.alloc(4);
    for (const word of ['one ', 'two ', 'end ']) {
      buffer.write(word);
      yield buffer;
    }
  }
  await paths.put('f', reusing(), NEW);
  await paths.append('f', reusing(), NEW);
  t.equal((await all(paths.read('f'))).toString(), 'one two end one two end ');
});

t.test('symbolic links are followed, not for ever', async (t) => {
  const { paths, makeDirectory, makeLink } = world(t);
  const d = await makeDirectory(ROOT_INO, 'd');
  await makeLink(ROOT_INO, 'to-d', 'd');
  await makeLink(d, 'up', '../d/f');
  await makeLink(d, 'root', '/');
  await makeLink(ROOT_INO, 'loop', 'loop');
  await makeLink(ROOT_INO, 'dangling', 'd/made');
  await paths.put('to-d/f', chunks('text'), NEW);
  t.equal((await all(paths.read('d/up'))).toString(), 'text');
  t.equal((await paths.stat('d/root/', true)).ino, ROOT_INO);
  t.equal((await paths.stat('d/root/to-d/', true)).ino, d);
  t.equal((await paths.stat('d/up')).target.length, 6);
  t.equal((await paths.stat('d/up', true)).size, 4);
  await t.rejects(paths.stat('loop', true), { code: 'ELOOP', message: /^loop: / });
  await paths.put('dangling', chunks('made'), NEW);
  t.equal((await all(paths.read('d/made'))).toString(), 'made');
  t.equal((await paths.stat('dangling')).target.length, 6, 'the link stays');
  await paths.remove('dangling');
  t.equal((await paths.stat('d/made')).size, 4);
});

t.test('directories are removed with all that is in them', async (t) => {
  const { paths, makeDirectory } = world(t);
  const d = await makeDirectory(ROOT_INO, 'd');
  const e = await makeDirectory(d, 'e');
  await makeDirectory(e, 'g');
  for (let i = 0; i < 30; i++) await paths.put(`d/e/f${i}`, chunks('x'), NEW);
  await t.rejects(paths.remove('d'), { code: 'EISDIR', message: 'd: is a directory' });
  await paths.remove('d/', true);
  t.strictSame(await namesIn(paths, ''), []);
});

t.test('what cannot be removed is named, among however many', async (t) => {
  const { client, paths, makeDirectory } = world(t);
  const d = await makeDirectory(ROOT_INO, 'd');
  await makeDirectory(d, 'e');
  for (let i = 0; i < 200; i++) await paths.append(`d/e/f${i}`, chunks(), NEW);
  for (const kept of ['f3', 'f199']) {
    const { ino } = await paths.stat(`d/e/${kept}`);
    const flag = (flags: number) => client.execute({ type: 'set-attributes', ino, flags });
    await flag(FLAG_IMMUTABLE);
    await t.rejects(paths.remove('d', true), {
      code: 'EPERM',
      message: `d/e/${kept}: unlink: EPERM`,
    });
    await flag(0);
  }
});

t.test('errors name the path', async (t) => {
  const { cluster, paths, makeDirectory } = world(t);
  await makeDirectory(ROOT_INO, 'd');
  await paths.put('f', chunks('x'), NEW);
  const none = { code: 'ENOENT', message: 'd/none: no such file or directory' };
  await t.rejects(paths.stat('d/none'), none);
  await t.rejects(all(paths.read('d/none')), none);
  await t.rejects(namesIn(paths, 'd/none'), none);
  await t.rejects(paths.remove('d/none'), none);
  await t.rejects(paths.stat('f/x'), { code: 'ENOTDIR', message: 'f/x: not a directory' });
  await t.rejects(paths.stat('f/'), { code: 'ENOTDIR' });
  await t.rejects(all(paths.read('d')), { code: 'EISDIR', message: 'd: is a directory' });
  await t.rejects(paths.put('d', chunks('x'), NEW), { code: 'EISDIR' });
  await t.rejects(paths.put('none/f', chunks('x'), NEW), { code: 'ENOENT' });
  await t.rejects(paths.put('d/.', chunks('x'), NEW), { code: 'EISDIR' });
  await t.rejects(paths.put('d/g/', chunks('x'), NEW), { code: 'ENOENT' });
  await t.rejects(paths.remove('/', true), { code: 'EBUSY' });
  await t.rejects(paths.remove('d/.', true), { code: 'EINVAL' });
  await t.rejects(paths.stat('n'.repeat(256)), { code: 'ENAMETOOLONG' });
  t.equal(cluster.world.counters.inodes, 3);
});
