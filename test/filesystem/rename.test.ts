import fc from 'fast-check';
import t from 'tap';
import { encodeClientResponse } from '../../src/codec/client-wire.js';
import { FRAME_BYTES_MAX } from '../../src/codec/limits.js';
import { S_IFDIR, S_IFREG } from '../../src/filesystem/mode.js';
import { SWEEP_ORPHANS_MAX } from '../../src/filesystem/orphans.js';
import { type Ino, LISTED_ENTRIES_MAX, SYMLINK_BYTES_MAX } from '../../src/filesystem/records.js';
import { bytes, FilesystemWorld, ROOT, text } from '../support/filesystem-world.js';
import { checkTree } from '../support/tree-invariants.js';

type Mode = 'replace' | 'no-replace' | 'exchange';

class Tree {
  readonly world = new FilesystemWorld();
  readonly session = this.world.open();

  file(parent: Ino, name: string): Ino {
    return this.#make(parent, name, S_IFREG | 0o644);
  }
  directory(parent: Ino, name: string): Ino {
    return this.#make(parent, name, S_IFDIR | 0o755);
  }
  rename(parent: Ino, name: string, newParent: Ino, newName: string, mode: Mode = 'replace') {
    const names = { parent, name: bytes(name), newParent, newName: bytes(newName) };
    const code = this.world.code(this.session, { type: 'rename', ...names, mode });
    checkTree(this.world.view);
    return code;
  }
  at(parent: Ino, name: string): Ino | null {
    const result = this.world.query({ type: 'lookup', parent, name: bytes(name) });
    return result.ok ? result.value.inode.ino : null;
  }
  inode(ino: Ino) {
    const result = this.world.query({ type: 'get-inode', ino });
    return result.ok ? result.value.inode : null;
  }
  #make(parent: Ino, name: string, mode: number): Ino {
    const command = { type: 'make-node', parent, mode, rdev: 0, uid: 0, gid: 0 } as const;
    return this.world.do(this.session, { ...command, name: bytes(name) }).inode.ino;
  }
}

t.test('to a new name, within a directory and across', async (t) => {
  const tree = new Tree();
  const file = tree.file(ROOT, 'f');
  const directory = tree.directory(ROOT, 'd');
  t.equal(tree.rename(ROOT, 'f', ROOT, 'g'), 'ok');
  t.equal(tree.at(ROOT, 'f'), null);
  t.equal(tree.at(ROOT, 'g'), file);
  t.match(tree.inode(file), { ctime: { sec: tree.world.index } });
  t.same(tree.world.effects, [
    { type: 'entry', parent: ROOT, name: bytes('f') },
    { type: 'entry', parent: ROOT, name: bytes('g') },
    { type: 'inode', ino: ROOT, data: true, gone: false },
    { type: 'inode', ino: file, data: false, gone: false },
  ]);
  t.equal(tree.rename(ROOT, 'g', directory, 'h'), 'ok');
  t.equal(tree.at(directory, 'h'), file);
  t.match(tree.inode(directory), { entries: 1, mtime: { sec: tree.world.index } });
  t.equal(tree.rename(ROOT, 'x', ROOT, 'y'), 'ENOENT');
});

t.test('over a file', async (t) => {
  const tree = new Tree();
  const [from, to] = [tree.file(ROOT, 'a'), tree.file(ROOT, 'b')];
  const replace = { parent: ROOT, name: bytes('a'), newParent: ROOT, newName: bytes('b') } as const;
  const { removed } = tree.world.do(tree.session, { type: 'rename', ...replace, mode: 'replace' });
  t.match(removed, { ino: to, nlink: 0 });
  t.equal(tree.at(ROOT, 'b'), from);
  t.equal(tree.inode(to), null);
  t.ok(tree.world.effects.some((e) => e.type === 'inode' && e.ino === to && e.gone));
  t.ok(tree.world.effects.some((e) => e.type === 'inode' && e.ino === from && !e.gone));
  checkTree(tree.world.view);
});

t.test('two names of one inode: nothing happens', async (t) => {
  const tree = new Tree();
  const file = tree.file(ROOT, 'a');
  const link = { type: 'link', ino: file, parent: ROOT, name: bytes('b') } as const;
  tree.world.do(tree.session, link);
  t.equal(tree.rename(ROOT, 'a', ROOT, 'b'), 'ok');
  t.same(tree.world.effects, []);
  t.equal(tree.rename(ROOT, 'a', ROOT, 'b', 'exchange'), 'ok');
  t.equal(tree.rename(ROOT, 'a', ROOT, 'a'), 'ok');
  t.same([tree.at(ROOT, 'a'), tree.at(ROOT, 'b')], [file, file]);
});

t.test('files and directories do not replace each other', async (t) => {
  const tree = new Tree();
  tree.file(ROOT, 'f');
  const directory = tree.directory(ROOT, 'd');
  tree.directory(ROOT, 'e');
  tree.file(directory, 'x');
  t.equal(tree.rename(ROOT, 'd', ROOT, 'f'), 'ENOTDIR');
  t.equal(tree.rename(ROOT, 'f', ROOT, 'd'), 'EISDIR');
  t.equal(tree.rename(ROOT, 'e', ROOT, 'd'), 'ENOTEMPTY');
  t.equal(tree.rename(ROOT, 'd', ROOT, 'e'), 'ok');
  t.match(tree.inode(ROOT), { nlink: 3, entries: 2 });
});

t.test('no-replace', async (t) => {
  const tree = new Tree();
  const file = tree.file(ROOT, 'f');
  tree.file(ROOT, 'g');
  t.equal(tree.rename(ROOT, 'f', ROOT, 'g', 'no-replace'), 'EEXIST');
  t.equal(tree.rename(ROOT, 'f', ROOT, 'f', 'no-replace'), 'EEXIST');
  t.equal(tree.rename(ROOT, 'f', ROOT, 'h', 'no-replace'), 'ok');
  t.equal(tree.at(ROOT, 'h'), file);
});

t.test('a directory moves with its subtree, but never into itself', async (t) => {
  const tree = new Tree();
  const a = tree.directory(ROOT, 'a');
  const b = tree.directory(a, 'b');
  const c = tree.directory(b, 'c');
  const other = tree.directory(ROOT, 'other');
  t.equal(tree.rename(ROOT, 'a', a, 'x'), 'EINVAL');
  t.equal(tree.rename(ROOT, 'a', c, 'x'), 'EINVAL');
  t.equal(tree.rename(a, 'b', b, 'c'), 'EINVAL');
  t.equal(tree.rename(b, 'c', ROOT, 'a'), 'ENOTEMPTY', 'over an ancestor');
  t.equal(tree.rename(a, 'b', other, 'b'), 'ok');
  t.match(tree.inode(b), { parent: other });
  t.match(tree.inode(a), { nlink: 2 });
  t.match(tree.inode(other), { nlink: 3 });
});

t.test('exchange', async (t) => {
  const tree = new Tree();
  const [d, e] = [tree.directory(ROOT, 'd'), tree.directory(ROOT, 'e')];
  const inner = tree.directory(d, 'inner');
  const file = tree.file(e, 'f');
  t.equal(tree.rename(d, 'inner', e, 'f', 'exchange'), 'ok');
  t.same([tree.at(d, 'inner'), tree.at(e, 'f')], [file, inner]);
  t.match(tree.inode(inner), { parent: e });
  t.match(tree.inode(d), { nlink: 2 });
  t.match(tree.inode(e), { nlink: 3 });
  t.equal(tree.rename(d, 'inner', e, 'none', 'exchange'), 'ENOENT');
  t.equal(tree.rename(ROOT, 'e', e, 'f', 'exchange'), 'EINVAL');
  t.equal(tree.rename(e, 'f', ROOT, 'e', 'exchange'), 'EINVAL');
  t.equal(tree.rename(ROOT, 'd', ROOT, 'e', 'exchange'), 'ok');
  t.same([tree.at(ROOT, 'd'), tree.at(ROOT, 'e')], [e, d]);
});

t.test('listings that cannot be', async (t) => {
  const { world } = new Tree();
  const list = { type: 'read-directory', ino: ROOT, cookie: 0, limit: 1, plus: false } as const;
  for (const limit of [0, -1, LISTED_ENTRIES_MAX + 1]) {
    t.match(world.query({ ...list, limit }), { ok: false, code: 'EINVAL' });
  }
  t.match(world.query({ ...list, cookie: -1 }), { ok: false, code: 'EINVAL' });
  t.match(world.query({ ...list, ino: 99 }), { ok: false, code: 'ESTALE' });
  t.match(world.query(list), { ok: true, value: { entries: [], parent: ROOT, end: true } });
});

t.test('what leaves the orphan queue while it is renamed is as it is then', async (t) => {
  const tree = new Tree();
  const { world, session } = tree;
  const holder = world.open(true);
  // One keep-alive takes so many from the queue, and leaves the file that has a name again by then.
  for (let i = 0; i < SWEEP_ORPHANS_MAX; i++) {
    tree.file(ROOT, 'gone');
    world.do(session, { type: 'unlink', parent: ROOT, name: bytes('gone') });
  }
  const unnamed = { type: 'make-unnamed', parent: ROOT, mode: 0o600, uid: 0, gid: 0 } as const;
  const { ino } = world.do(session, unnamed).inode;
  world.do(session, { type: 'link', ino, parent: ROOT, name: bytes('source') });
  t.match(tree.inode(ino), { holds: 1 });
  world.do(holder, { type: 'keep-alive', seenIndex: world.index, holds: [] });
  t.match(tree.inode(ino), { holds: 1 });
  tree.file(ROOT, 'target');
  t.equal(tree.rename(ROOT, 'source', ROOT, 'target'), 'ok');
  t.match(tree.inode(ino), { holds: 0, nlink: 1 });
});

t.test('an answer ends when it has its bytes, and goes on behind them', async (t) => {
  const { world, session } = new Tree();
  const target = new Uint8Array(SYMLINK_BYTES_MAX).fill(0x61);
  const names = Array.from({ length: LISTED_ENTRIES_MAX + 10 }, (_, i) => `${i} `.padEnd(255, 'n'));
  for (const name of names) {
    const symlink = { type: 'make-symlink', parent: ROOT, target, uid: 0, gid: 0 } as const;
    world.do(session, { ...symlink, name: bytes(name) });
  }
  const limit = LISTED_ENTRIES_MAX;
  const listed: string[] = [];
  for (let cookie = 0, end = false; !end; ) {
    const query = { type: 'read-directory', ino: ROOT, cookie, limit, plus: true } as const;
    const result = world.query(query);
    if (!result.ok) throw new Error(result.code);
    const frame = encodeClientResponse({ type: 'query-reply', id: 1, index: 1, result });
    t.ok(frame.length <= FRAME_BYTES_MAX / 2, `${frame.length} bytes`);
    const { entries } = result.value;
    if (entries.length === 0) throw new Error('no entry at all');
    t.ok(entries.every(({ inode }) => inode?.target.length === SYMLINK_BYTES_MAX));
    listed.push(...entries.map((entry) => text(entry.name)));
    cookie = entries.at(-1)?.cookie ?? 0;
    end = result.value.end;
  }
  t.strictSame(listed, names);
  const withoutInodes = {
    type: 'read-directory',
    ino: ROOT,
    cookie: 0,
    limit,
    plus: false,
  } as const;
  t.match(world.query(withoutInodes), {
    ok: true,
    value: { entries: { length: limit }, end: false },
  });
});

t.test('a removed directory takes nothing', async (t) => {
  const tree = new Tree();
  tree.world.open(true);
  const directory = tree.directory(ROOT, 'd');
  tree.file(ROOT, 'f');
  const name = bytes('d');
  tree.world.do(tree.session, { type: 'remove-directory', parent: ROOT, name });
  t.equal(tree.rename(ROOT, 'f', directory, 'f'), 'ENOENT');
});

t.test('a listing neither skips nor repeats what is there throughout', async (t) => {
  const change = fc.record({
    what: fc.constantFrom('add', 'remove', 'rename', 'replace', 'exchange', 'list'),
    at: fc.nat(30),
    to: fc.nat(30),
    limit: fc.integer({ min: 1, max: 5 }),
  });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 80, size: 'max' }), (changes) => {
      const tree = new Tree();
      for (let i = 0; i < 10; i++) tree.file(ROOT, `stays ${i}`);
      const seen: string[] = [];
      let cookie = 0;
      let end = false;
      const list = (limit: number) => {
        const query = { type: 'read-directory', ino: ROOT, cookie, limit, plus: false } as const;
        const result = tree.world.query(query);
        if (!result.ok) throw new Error(result.code);
        for (const entry of result.value.entries) {
          if (entry.cookie <= cookie) throw new Error('cookies do not grow');
          cookie = entry.cookie;
          seen.push(Buffer.from(entry.name).toString());
        }
        end = result.value.end;
      };
      for (const { what, at, to, limit } of changes) {
        const name = bytes(`comes and goes ${at}`);
        if (what === 'list') list(limit);
        else if (what === 'remove') {
          tree.world.run(tree.session, { type: 'unlink', parent: ROOT, name });
        } else if (what === 'rename') {
          tree.rename(ROOT, `comes and goes ${at}`, ROOT, `comes and goes ${to}`);
        } else if (what === 'replace' || what === 'exchange') {
          // What the name means changes; the name stays.
          tree.rename(ROOT, `comes and goes ${at}`, ROOT, `stays ${to % 10}`, what);
        } else {
          const node = { mode: S_IFREG | 0o600, rdev: 0, uid: 0, gid: 0 };
          tree.world.run(tree.session, { type: 'make-node', parent: ROOT, name, ...node });
        }
      }
      while (!end) list(7);
      const stayed = seen.filter((name) => name.startsWith('stays')).sort();
      const expected = Array.from({ length: 10 }, (_, i) => `stays ${i}`);
      if (stayed.join() !== expected.join()) throw new Error(`listed: ${seen.join()}`);
      checkTree(tree.world.view);
    }),
    { numRuns: 200 },
  );
  t.pass();
});
