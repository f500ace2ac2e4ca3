import t from 'tap';
import { packReply, unpackReply } from '../../src/codec/values.js';
import { FilesystemWorld, ROOT } from '../support/filesystem-world.js';

t.test('a changed inode tells the version of its content before, over the wire too', async (t) => {
  const world = new FilesystemWorld();
  const session = world.open();
  const { inode } = world.do<'make-node'>(session, {
    type: 'make-node',
    parent: ROOT,
    name: Buffer.from('f'),
    mode: 0o100644,
    rdev: 0,
    uid: 0,
    gid: 0,
  });
  const data = new Uint8Array(5);
  const write = { type: 'write', ino: inode.ino, offset: 0, data } as const;
  const first = world.do<'write'>(session, write);
  t.equal(first.dataVersionBefore, inode.dataVersion);
  const second = world.do<'set-attributes'>(session, {
    type: 'set-attributes',
    ino: inode.ino,
    size: 2,
  });
  t.equal(second.dataVersionBefore, first.inode.dataVersion);
  t.ok(second.inode.dataVersion > second.dataVersionBefore);
  const same = world.do<'set-attributes'>(session, {
    type: 'set-attributes',
    ino: inode.ino,
    mode: 0o600,
  });
  t.equal(same.dataVersionBefore, same.inode.dataVersion);
  for (const value of [first, second, same]) {
    t.match(unpackReply(packReply({ ok: true, value })), { ok: true, value });
  }
});
