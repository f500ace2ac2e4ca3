import t from 'tap';
import {
  type AclEntry,
  aclWithMode,
  encodeAcl,
  inheritAcl,
  isMinimalAcl,
  modeOfAcl,
  parseAcl,
} from '../../src/filesystem/acl.js';
import { S_IFDIR, S_IFREG, S_ISGID } from '../../src/filesystem/mode.js';
import { bytes, FilesystemWorld, ROOT } from '../support/filesystem-world.js';
import { checkTree } from '../support/tree-invariants.js';

const NO_ID = 0xffff_ffff;

/** '1:7 2:5:12': tag, permissions, id. */
function acl(text: string): readonly AclEntry[] {
  return text.split(' ').map((entry) => {
    const [tag = 0, permissions = 0, id = NO_ID] = entry.split(':').map(Number);
    return { tag, permissions, id };
  });
}

const FULL = acl('1:7 2:5:12 2:6:13 4:5 8:3:33 16:7 32:1');

t.test('lists come back as they were', async (t) => {
  t.same(parseAcl(encodeAcl(FULL)), FULL);
  t.same(parseAcl(encodeAcl([])), []);
});

t.test('what is no list', async (t) => {
  for (const wrong of [
    '1:7 4:5', // nothing for others
    '1:7 4:5 32:8', // no such permission
    '1:7 2:5:12 4:5 32:1', // a user without a mask
    '4:5 1:7 32:1', // out of order
    '1:7 1:7 4:5 32:1', // twice
    '1:7 3:7 4:5 32:1', // no such tag
  ]) {
    t.equal(parseAcl(encodeAcl(acl(wrong))), null, wrong);
  }
  const list = encodeAcl(FULL);
  t.equal(parseAcl(list.subarray(1)), null);
  t.equal(parseAcl(list.subarray(0, 3)), null);
  t.equal(parseAcl(Uint8Array.of(3, 0, 0, 0)), null, 'another version');
});

t.test('a list and the bits of a mode', async (t) => {
  t.equal(modeOfAcl(FULL), 0o771);
  t.equal(modeOfAcl(acl('1:6 4:4 32:0')), 0o640);
  t.notOk(isMinimalAcl(FULL));
  t.ok(isMinimalAcl(acl('1:6 4:4 32:0')));
  const changed = acl('1:6 2:5:12 2:6:13 4:5 8:3:33 16:4 32:0');
  t.same(parseAcl(aclWithMode(encodeAcl(FULL), 0o640)), changed);
});

t.test('inheritance gives what both the program and the list say', async (t) => {
  const { permissions, access } = inheritAcl(encodeAcl(FULL), 0o666);
  t.equal(permissions, 0o660);
  t.same(parseAcl(access ?? bytes('')), acl('1:6 2:5:12 2:6:13 4:5 8:3:33 16:6 32:0'));
  t.same(inheritAcl(encodeAcl(acl('1:7 4:5 32:1')), 0o666), { permissions: 0o640, access: null });
});

t.test('in the tree', async (t) => {
  const world = new FilesystemWorld();
  const session = world.open();
  const make = { type: 'make-node', parent: ROOT, rdev: 0, uid: 1, gid: 2, umask: 0o077 } as const;
  const directory = world.do(session, { ...make, name: bytes('d'), mode: S_IFDIR | 0o755 }).inode;
  t.equal(directory.mode, S_IFDIR | 0o700, 'the umask');
  const set = { type: 'set-xattr', ino: directory.ino, mode: 'set' } as const;
  const name = bytes('system.posix_acl_default');
  world.do(session, { ...set, name, value: encodeAcl(FULL) });
  const parent = directory.ino;
  const file = world.do(session, {
    ...make,
    parent,
    name: bytes('f'),
    mode: S_IFREG | 0o666,
  }).inode;
  t.match(file, { mode: S_IFREG | 0o660, xattrs: 1 }, 'no umask, where there is a default list');
  const inner = world.do(session, { ...make, parent, name: bytes('d'), mode: S_IFDIR | 0o777 });
  t.match(inner.inode, { mode: S_IFDIR | 0o771, xattrs: 2 });
  t.equal(world.code(session, { ...set, name, value: bytes('no list') }), 'EINVAL');
  t.equal(world.code(session, { ...set, ino: file.ino, name, value: encodeAcl(FULL) }), 'EACCES');
  const access = bytes('system.posix_acl_access');
  world.do(session, { type: 'set-attributes', ino: file.ino, mode: S_ISGID | 0o750 });
  const minimal = { ...set, ino: file.ino, name: access, value: encodeAcl(acl('1:6 4:4 32:0')) };
  world.do(session, minimal);
  const query = { type: 'get-inode', ino: file.ino } as const;
  t.match(world.query(query), { value: { inode: { mode: S_IFREG | S_ISGID | 0o640, xattrs: 0 } } });
  world.do(session, { ...minimal, killSetGid: true });
  t.match(world.query(query), { value: { inode: { mode: S_IFREG | 0o640 } } });
  const remove = { type: 'remove-xattr', ino: file.ino, name: access } as const;
  t.equal(world.code(session, remove), 'ok', 'what is not there is gone');
  checkTree(world.view);
});
