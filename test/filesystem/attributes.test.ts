import t from 'tap';
import type { SetAttributes } from '../../src/filesystem/commands.js';
import { S_IFDIR, S_IFREG } from '../../src/filesystem/mode.js';
import {
  type Ino,
  type Inode,
  XATTR_NAME_BYTES_MAX,
  XATTR_VALUE_BYTES_MAX,
} from '../../src/filesystem/records.js';
import { bytes, FilesystemWorld, ROOT, text } from '../support/filesystem-world.js';
import { checkTree } from '../support/tree-invariants.js';

class File {
  readonly world = new FilesystemWorld();
  readonly session = this.world.open();
  readonly ino: Ino;

  constructor(mode = S_IFREG | 0o644) {
    const command = { type: 'make-node', parent: ROOT, mode, rdev: 0, uid: 1, gid: 2 } as const;
    this.ino = this.world.do(this.session, { ...command, name: bytes('f') }).inode.ino;
  }

  set(change: Omit<SetAttributes, 'type' | 'ino'>): Inode {
    const { ino } = this;
    return this.world.do(this.session, { type: 'set-attributes', ino, ...change }).inode;
  }

  setXattr(name: string, value: string, mode: 'set' | 'create' | 'replace' = 'set'): string {
    const { ino } = this;
    const [nameBytes, valueBytes] = [bytes(name), bytes(value)];
    const command = { type: 'set-xattr', ino, name: nameBytes, value: valueBytes, mode } as const;
    return this.world.code(this.session, command);
  }

  removeXattr(name: string): string {
    const { ino } = this;
    return this.world.code(this.session, { type: 'remove-xattr', ino, name: bytes(name) });
  }

  getXattr(name: string): string {
    const found = this.world.query({ type: 'get-xattr', ino: this.ino, name: bytes(name) });
    return found.ok ? text(found.value.value) : found.code;
  }
}

t.test('only what is named changes', async (t) => {
  const file = new File();
  const before = file.set({});
  const after = file.set({ uid: 7, mode: S_IFDIR | 0o4711 });
  const ctime = { sec: file.world.index, nsec: 0 };
  t.same(after, { ...before, uid: 7, mode: S_IFREG | 0o4711, ctime });
  t.same(file.world.effects, [{ type: 'inode', ino: file.ino, data: false, gone: false }]);
});

t.test('times', async (t) => {
  const file = new File();
  const given = { sec: -5, nsec: 999_999_999 };
  const now = { sec: file.world.index + 1, nsec: 0 };
  t.match(file.set({ mtime: given, atime: 'now' }), { mtime: given, atime: now, ctime: now });
  t.match(file.set({ size: 0 }), { mtime: { sec: file.world.index } }, 'also to the same size');
  t.match(file.set({ size: 9, mtime: given }), { mtime: given, size: 9 });
  t.match(file.set({ ctime: given }), { ctime: given });
});

t.test('sizes are content', async (t) => {
  const file = new File();
  t.match(file.set({ size: 9 }), { size: 9, bytes: 0, dataVersion: file.world.index });
  t.same(file.world.effects, [{ type: 'inode', ino: file.ino, data: true, gone: false }]);
  const at = file.world.index;
  t.match(file.set({ size: 9 }), { dataVersion: at }, 'nothing changed');
});

t.test('privileges go with a change by others', async (t) => {
  const killing = { uid: 5, killPrivileges: true };
  t.match(new File(S_IFREG | 0o6755).set(killing), { mode: S_IFREG | 0o755 });
  t.match(
    new File(S_IFREG | 0o6745).set(killing),
    { mode: S_IFREG | 0o2745 },
    'no group execution',
  );
  t.match(new File(S_IFDIR | 0o6755).set(killing), { mode: S_IFDIR | 0o6755 });
  t.match(new File(S_IFREG | 0o6755).set({ uid: 5 }), { mode: S_IFREG | 0o6755 });
  const file = new File(S_IFREG | 0o6755);
  const write = { type: 'write', ino: file.ino, offset: 0, data: bytes('x') } as const;
  const command = { ...write, killPrivileges: true };
  t.match(file.world.do(file.session, command).inode, { mode: S_IFREG | 0o755 });
});

t.test('extended attributes', async (t) => {
  const file = new File();
  t.equal(file.getXattr('user.a'), 'ENODATA');
  t.equal(file.setXattr('user.a', 'one', 'replace'), 'ENODATA');
  t.equal(file.setXattr('user.a', 'one', 'create'), 'ok');
  t.equal(file.setXattr('user.a', 'two', 'create'), 'EEXIST');
  t.equal(file.setXattr('user.a', 'two', 'replace'), 'ok');
  t.equal(file.setXattr('user.\xff', ''), 'ok');
  t.equal(file.getXattr('user.a'), 'two');
  t.equal(file.getXattr('user.\xff'), '');
  t.match(file.set({}), { ino: file.ino });
  const listed = file.world.query({ type: 'list-xattrs', ino: file.ino });
  t.same(listed.ok && listed.value.names.map(text), ['user.a', 'user.\xff']);
  t.equal(file.removeXattr('user.a'), 'ok');
  t.equal(file.removeXattr('user.a'), 'ENODATA');
  t.equal(file.removeXattr('user.\xff'), 'ok');
  checkTree(file.world.view);
});

t.test('limits of extended attributes', async (t) => {
  const file = new File();
  t.equal(file.setXattr('', 'x'), 'ERANGE');
  t.equal(file.setXattr('n'.repeat(XATTR_NAME_BYTES_MAX), 'x'), 'ok');
  t.equal(file.setXattr('n'.repeat(XATTR_NAME_BYTES_MAX + 1), 'x'), 'ERANGE');
  t.equal(file.setXattr('a', 'v'.repeat(XATTR_VALUE_BYTES_MAX + 1)), 'E2BIG');
  const big = 'v'.repeat(XATTR_VALUE_BYTES_MAX);
  t.same(
    ['a', 'b', 'c', 'd'].map((name) => file.setXattr(name, big)),
    ['ok', 'ok', 'ok', 'ENOSPC'],
  );
  t.equal(file.setXattr('c', ''), 'ok');
});

t.test('xattrs go with their inode', async (t) => {
  const file = new File();
  file.setXattr('user.a', 'x');
  file.world.do(file.session, { type: 'unlink', parent: ROOT, name: bytes('f') });
  checkTree(file.world.view);
  t.equal(file.setXattr('user.a', 'x'), 'ESTALE');
  t.equal(file.getXattr('user.a'), 'ESTALE');
});

t.test('statfs', async (t) => {
  const file = new File();
  const data = bytes('12345');
  file.world.do(file.session, { type: 'write', ino: file.ino, offset: 100, data });
  t.match(file.world.query({ type: 'statfs' }), { ok: true, value: { inodes: 2, bytes: 105 } });
});
