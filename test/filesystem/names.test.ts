import t from 'tap';
import { inodeKey } from '../../src/filesystem/keys.js';
import {
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFREG,
  S_IFSOCK,
  S_ISGID,
} from '../../src/filesystem/mode.js';
import { type Ino, LINKS_MAX } from '../../src/filesystem/records.js';
import { bytes, FilesystemWorld, ROOT, text } from '../support/filesystem-world.js';
import { checkTree } from '../support/tree-invariants.js';

const NODE = { type: 'make-node', rdev: 0, uid: 1, gid: 2 } as const;

class Names {
  readonly world = new FilesystemWorld();
  readonly session = this.world.open();

  make(parent: Ino, name: string, mode = S_IFREG | 0o644): Ino {
    return this.world.do(this.session, { ...NODE, parent, name: bytes(name), mode }).inode.ino;
  }
  directory(parent: Ino, name: string): Ino {
    return this.make(parent, name, S_IFDIR | 0o755);
  }
  makeCode(parent: Ino, name: string, mode = S_IFREG | 0o644): string {
    return this.world.code(this.session, { ...NODE, parent, name: bytes(name), mode });
  }
  unlink(parent: Ino, name: string): string {
    return this.world.code(this.session, { type: 'unlink', parent, name: bytes(name) });
  }
  rmdir(parent: Ino, name: string): string {
    return this.world.code(this.session, { type: 'remove-directory', parent, name: bytes(name) });
  }
  link(ino: Ino, parent: Ino, name: string): string {
    return this.world.code(this.session, { type: 'link', ino, parent, name: bytes(name) });
  }
  inode(ino: Ino) {
    const result = this.world.query({ type: 'get-inode', ino });
    return result.ok ? result.value.inode : null;
  }
}

t.test('a new file', async (t) => {
  const names = new Names();
  const ino = names.make(ROOT, 'f', S_IFREG | 0o4751);
  const now = { sec: names.world.index, nsec: 0 };
  t.match(names.inode(ino), {
    ino,
    mode: S_IFREG | 0o4751,
    uid: 1,
    gid: 2,
    nlink: 1,
    atime: now,
    mtime: now,
    ctime: now,
    btime: now,
  });
  t.match(names.inode(ROOT), { nlink: 2, entries: 1, mtime: now, ctime: now });
  t.same(names.world.effects, [
    { type: 'entry', parent: ROOT, name: bytes('f') },
    { type: 'inode', ino, data: false, gone: false },
    { type: 'inode', ino: ROOT, data: true, gone: false },
  ]);
  t.equal(names.makeCode(ROOT, 'f'), 'EEXIST');
  t.same(names.world.effects, []);
  checkTree(names.world.view);
});

t.test('names that cannot be', async (t) => {
  const names = new Names();
  for (const name of ['', '.', '..', 'a/b', '/', 'a\0']) {
    t.equal(names.makeCode(ROOT, name), 'EINVAL', JSON.stringify(name));
    t.equal(names.unlink(ROOT, name), 'EINVAL', JSON.stringify(name));
  }
  t.equal(names.makeCode(ROOT, 'n'.repeat(256)), 'ENAMETOOLONG');
  t.equal(names.makeCode(ROOT, 'n'.repeat(255)), 'ok');
  t.equal(names.makeCode(ROOT, '\xff\xfe\x80'), 'ok', 'no UTF-8');
  t.equal(names.makeCode(ROOT, '...'), 'ok');
});

t.test('every type of node', async (t) => {
  const names = new Names();
  for (const type of [S_IFREG, S_IFDIR, S_IFCHR, S_IFIFO, S_IFSOCK]) {
    const mode = type | 0o600;
    const name = bytes(`type ${type}`);
    const made = names.world.do(names.session, { ...NODE, parent: ROOT, name, mode, rdev: 259 });
    t.match(made.inode, { mode, rdev: type === S_IFCHR ? 259 : 0 });
  }
  t.equal(names.makeCode(ROOT, 'l', S_IFLNK | 0o777), 'EINVAL');
  t.equal(names.makeCode(ROOT, 'n', 0o644), 'EINVAL');
});

t.test('parents that are none', async (t) => {
  const names = new Names();
  const file = names.make(ROOT, 'f');
  t.equal(names.makeCode(file, 'x'), 'ENOTDIR');
  t.equal(names.makeCode(99, 'x'), 'ENOENT');
  t.equal(names.unlink(file, 'x'), 'ENOTDIR');
  t.equal(names.unlink(99, 'x'), 'ENOENT');
});

t.test('a removed directory that is held open takes no entries', async (t) => {
  const names = new Names();
  const holder = names.world.open(true);
  const directory = names.directory(ROOT, 'd');
  t.equal(names.rmdir(ROOT, 'd'), 'ok');
  t.match(names.inode(directory), { nlink: 0 });
  t.equal(names.makeCode(directory, 'x'), 'ENOENT');
  names.world.do(holder, { type: 'keep-alive', seenIndex: names.world.index, holds: [] });
  t.equal(names.inode(directory), null);
  checkTree(names.world.view);
});

t.test('a set-group-ID directory hands its group on', async (t) => {
  const names = new Names();
  const parent = ROOT;
  const name = bytes('shared');
  const mode = S_IFDIR | S_ISGID | 0o775;
  const shared = names.world.do(names.session, { ...NODE, parent, name, mode, gid: 50 }).inode.ino;
  const file = names.make(shared, 'f');
  const below = names.directory(shared, 'd');
  t.match(names.inode(file), { gid: 50, mode: S_IFREG | 0o644 });
  t.match(names.inode(below), { gid: 50, mode: S_IFDIR | S_ISGID | 0o755 });
  const target = bytes('f');
  const symlink = { type: 'make-symlink', parent: shared, name: target, uid: 1, gid: 2 } as const;
  const made = names.world.do(names.session, { ...symlink, name: bytes('l'), target });
  t.match(made.inode, { gid: 50 });
});

t.test('directories count their subdirectories', async (t) => {
  const names = new Names();
  const directory = names.directory(ROOT, 'd');
  t.match(names.inode(ROOT), { nlink: 3 });
  names.directory(directory, 'e');
  t.equal(names.rmdir(ROOT, 'd'), 'ENOTEMPTY');
  t.equal(names.unlink(ROOT, 'd'), 'EISDIR');
  t.equal(names.rmdir(directory, 'e'), 'ok');
  t.match(names.inode(directory), { nlink: 2, entries: 0 });
  t.equal(names.rmdir(ROOT, 'd'), 'ok');
  t.match(names.inode(ROOT), { nlink: 2 });
  names.make(ROOT, 'f');
  t.equal(names.rmdir(ROOT, 'f'), 'ENOTDIR');
  t.equal(names.rmdir(ROOT, 'g'), 'ENOENT');
  checkTree(names.world.view);
});

t.test('hard links', async (t) => {
  const names = new Names();
  const file = names.make(ROOT, 'f');
  const directory = names.directory(ROOT, 'd');
  t.equal(names.link(file, directory, 'g'), 'ok');
  t.match(names.inode(file), { nlink: 2, ctime: { sec: names.world.index } });
  t.equal(names.link(file, ROOT, 'd'), 'EEXIST');
  t.equal(names.link(directory, ROOT, 'x'), 'EPERM');
  t.equal(names.link(99, ROOT, 'x'), 'ESTALE');
  t.equal(names.unlink(ROOT, 'f'), 'ok');
  t.match(names.inode(file), { nlink: 1 });
  t.ok(names.world.effects.every((effect) => effect.type !== 'inode' || !effect.gone));
  names.world.open(true);
  t.equal(names.unlink(directory, 'g'), 'ok');
  t.ok(names.world.effects.some((e) => e.type === 'inode' && e.ino === file && e.gone));
  t.equal(names.link(file, ROOT, 'h'), 'ENOENT', 'an orphan gets no new name');
  checkTree(names.world.view);
});

t.test('symbolic links', async (t) => {
  const names = new Names();
  const make = { type: 'make-symlink', parent: ROOT, uid: 1, gid: 2 } as const;
  const target = bytes('../some/where');
  const { inode } = names.world.do(names.session, { ...make, name: bytes('l'), target });
  t.match(inode, { mode: S_IFLNK | 0o777, size: target.length, nlink: 1 });
  t.equal(text(inode.target), '../some/where');
  const withNul = { ...make, name: bytes('nul'), target: bytes('a\0b') };
  t.equal(names.world.code(names.session, withNul), 'EINVAL');
  const code = (length: number) =>
    names.world.code(names.session, {
      ...make,
      name: bytes(`l${length}`),
      target: new Uint8Array(length).fill(0x61),
    });
  t.equal(code(0), 'ENOENT');
  t.equal(code(4095), 'ok');
  t.equal(code(4096), 'ENAMETOOLONG');
});

t.test('as many links as there may be', async (t) => {
  const names = new Names();
  const file = names.make(ROOT, 'f');
  const inode = names.inode(file);
  if (inode === null) throw new Error('no file');
  const nearly = { ...inode, nlink: LINKS_MAX - 1 };
  names.world.view.take([{ type: 'put', key: inodeKey(file), value: nearly }]);
  t.equal(names.link(file, ROOT, 'last'), 'ok');
  t.equal(names.link(file, ROOT, 'more'), 'EMLINK');
  const root = names.inode(ROOT);
  if (root === null) throw new Error('no root');
  const full = { ...root, nlink: LINKS_MAX };
  names.world.view.take([{ type: 'put', key: inodeKey(ROOT), value: full }]);
  t.equal(names.makeCode(ROOT, 'd', S_IFDIR | 0o755), 'ok', 'directories may have any number');
});

t.test('lookup', async (t) => {
  const names = new Names();
  const directory = names.directory(ROOT, 'd');
  const file = names.make(directory, 'f');
  const lookup = (parent: Ino, name: string) => {
    const result = names.world.query({ type: 'lookup', parent, name: bytes(name) });
    return result.ok ? result.value.inode.ino : result.code;
  };
  t.equal(lookup(directory, 'f'), file);
  t.equal(lookup(directory, '.'), directory);
  t.equal(lookup(directory, '..'), ROOT);
  t.equal(lookup(ROOT, '..'), ROOT);
  t.equal(lookup(directory, 'g'), 'ENOENT');
  t.equal(lookup(file, 'x'), 'ENOTDIR');
  t.equal(lookup(99, 'x'), 'ESTALE');
  t.equal(lookup(ROOT, 'n'.repeat(256)), 'ENAMETOOLONG');
});
