import t from 'tap';
import { S_IFREG } from '../../src/filesystem/mode.js';
import { isBeyondQuota } from '../../src/filesystem/quota.js';
import type { Ino } from '../../src/filesystem/records.js';
import { bytes, FilesystemWorld, ROOT } from '../support/filesystem-world.js';
import { checkTree } from '../support/tree-invariants.js';

class Quota {
  readonly world = new FilesystemWorld();
  readonly session = this.world.open();

  set(limits: { readonly bytes?: number; readonly inodes?: number }): void {
    const { bytes: most = null, inodes = null } = limits;
    this.world.do(this.session, { type: 'set-quota', bytes: most, inodes });
  }

  make(name: string): Ino {
    return this.world.do(this.session, this.makeCommand(name)).inode.ino;
  }

  makeCommand(name: string) {
    const node = { mode: S_IFREG | 0o644, rdev: 0, uid: 1, gid: 2 };
    return { type: 'make-node', parent: ROOT, name: bytes(name), ...node } as const;
  }

  write(ino: Ino, offset: number, length: number): string {
    return this.world.code(this.session, writeOf(ino, offset, length));
  }
}

function writeOf(ino: Ino, offset: number, length: number) {
  return { type: 'write', ino, offset, data: new Uint8Array(length).fill(1) } as const;
}

t.test('bytes: what grows is refused, and nothing of it is done', async (t) => {
  const quota = new Quota();
  const { world, session } = quota;
  quota.set({ bytes: 1_000 });
  const ino = quota.make('f');
  t.equal(quota.write(ino, 0, 900), 'ok');
  t.equal(quota.write(ino, 900, 101), 'EDQUOT');
  t.match(world.query({ type: 'get-inode', ino }), { value: { inode: { size: 900, bytes: 900 } } });
  t.equal(quota.write(ino, 900, 100), 'ok', 'up to the last byte');
  t.equal(quota.write(ino, 0, 1_000), 'ok', 'what is there may change');
  const copy = { type: 'copy-range', ino, offset: 0, toIno: ino, toOffset: 5_000 } as const;
  t.equal(world.code(session, { ...copy, length: 10 }), 'EDQUOT');
  quota.set({ bytes: 500 });
  t.equal(quota.write(ino, 0, 1_000), 'ok', 'also when there is too much already');
  t.equal(world.code(session, { type: 'set-attributes', ino, size: 700 }), 'ok');
  t.equal(quota.write(ino, 700, 1), 'EDQUOT');
  t.equal(world.code(session, { type: 'unlink', parent: ROOT, name: bytes('f') }), 'ok');
  t.equal(quota.write(quota.make('g'), 0, 500), 'ok');
  t.match(world.query({ type: 'statfs' }), {
    value: { bytes: 500, bytesMax: 500, inodesMax: null },
  });
  quota.set({});
  t.equal(quota.write(quota.make('h'), 0, 5_000), 'ok');
  checkTree(world.view);
});

t.test('inodes: of any kind', async (t) => {
  const quota = new Quota();
  const { world, session } = quota;
  quota.set({ inodes: 3 });
  quota.make('f');
  const ino = quota.make('g');
  t.equal(world.code(session, quota.makeCommand('h')), 'EDQUOT');
  const owner = { uid: 1, gid: 2 };
  const link = { type: 'make-symlink', parent: ROOT, name: bytes('s'), ...owner } as const;
  t.equal(world.code(session, { ...link, target: bytes('f') }), 'EDQUOT');
  t.equal(world.code(session, { type: 'link', ino, parent: ROOT, name: bytes('l') }), 'ok');
  t.equal(world.code(session, { type: 'unlink', parent: ROOT, name: bytes('f') }), 'ok');
  t.equal(world.code(session, quota.makeCommand('h')), 'ok');
  t.equal(world.counters.inodes, 3);
  checkTree(world.view);
});

t.test('what goes beyond for certain need not enter the log', async (t) => {
  const quota = new Quota();
  const { world } = quota;
  const ino = quota.make('f');
  quota.write(ino, 0, 100);
  const beyond = (command: Parameters<typeof isBeyondQuota>[0]) =>
    isBeyondQuota(command, world.counters, (key) => world.view.get(key) ?? null);
  t.notOk(beyond(writeOf(ino, 100, 1_000)));
  quota.set({ bytes: 150, inodes: 2 });
  t.ok(beyond(writeOf(ino, 100, 51)));
  t.ok(beyond({ ...writeOf(ino, 0, 51), append: true }));
  t.notOk(beyond(writeOf(ino, 100, 50)));
  t.notOk(beyond(writeOf(ino, 0, 51)), 'it may lie over what is there');
  t.notOk(beyond(writeOf(99, 0, 51)), 'what is not known is left to apply');
  t.ok(beyond(quota.makeCommand('g')));
  t.notOk(beyond({ type: 'unlink', parent: ROOT, name: bytes('f') }));
});
