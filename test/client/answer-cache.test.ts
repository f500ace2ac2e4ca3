import t from 'tap';
import { AnswerCache } from '../../src/client/answer-cache.js';
import { type Fact, factsOfReply, nameKey } from '../../src/filesystem/facts.js';
import type { Effect } from '../../src/filesystem/filesystem.js';
import type { Ino, Inode } from '../../src/filesystem/records.js';

const TIME = { sec: 1, nsec: 0 };

function inode(ino: Ino, size = 0, nlink = 1): Inode {
  return {
    ino,
    mode: 0o100644,
    uid: 0,
    gid: 0,
    nlink,
    size,
    bytes: 0,
    rdev: 0,
    atime: TIME,
    mtime: TIME,
    ctime: TIME,
    btime: TIME,
    dataVersion: 0,
    content: 0,
    parent: 0,
    entries: 0,
    nextCookie: 0,
    target: new Uint8Array(),
    holds: 0,
    xattrs: 0,
    flags: 0,
  };
}

function name(text: string): Uint8Array {
  return Buffer.from(text);
}

const keepInode = (ino: Ino, size = 0): Fact => ({ key: ino, inode: inode(ino, size) });
const keepName = (text: string, ino: Ino | null): Fact => ({ key: nameKey(1, name(text)), ino });
const inodeEffect = (ino: Ino): Effect => ({ type: 'inode', ino, data: false, gone: false });
const nameEffect = (text: string): Effect => ({ type: 'entry', parent: 1, name: name(text) });
const lookup = (text: string) => ({ type: 'lookup', parent: 1, name: name(text) }) as const;
const getInode = (ino: Ino) => ({ type: 'get-inode', ino }) as const;

t.test('a name is answered with its inode, an absent one beside its directory', async (t) => {
  const cache = new AnswerCache();
  cache.learn(5, [keepName('a', 7), keepInode(7), keepName('none', null)]);
  t.match(cache.answer(lookup('a')), { ok: true, value: { inode: { ino: 7 } } });
  t.match(cache.answer(getInode(7)), { ok: true });
  t.equal(cache.answer(lookup('none')), undefined, 'its directory may be gone');
  cache.learn(5, [keepInode(1)]);
  t.strictSame(cache.answer(lookup('none')), { ok: false, code: 'ENOENT' });
  t.equal(cache.answer(lookup('b')), undefined);
  t.equal(cache.answer(lookup('.')), undefined);
  t.equal(cache.answer({ type: 'statfs' }), undefined);
});

t.test('a change ends what older answers said, whichever comes first', async (t) => {
  const cache = new AnswerCache();
  cache.learn(5, [keepName('a', 7), keepInode(7, 1)]);
  cache.change(6, false, [inodeEffect(7)]);
  t.equal(cache.answer(getInode(7)), undefined);
  t.equal(cache.answer(lookup('a')), undefined);
  cache.learn(5, [keepInode(7, 1)]);
  t.equal(cache.answer(getInode(7)), undefined, 'an older answer comes too late');
  cache.learn(6, [keepInode(7, 2)]);
  t.match(cache.answer(lookup('a')), { value: { inode: { size: 2 } } }, 'the name was still known');
  cache.change(6, false, [inodeEffect(7)]);
  t.match(cache.answer(getInode(7)), { value: { inode: { size: 2 } } }, 'it knew of the change');
  cache.change(8, false, [nameEffect('a')]);
  t.equal(cache.answer(lookup('a')), undefined);
  t.ok(cache.answer(getInode(7)));
});

t.test('a reset ends everything older', async (t) => {
  const cache = new AnswerCache();
  cache.learn(5, [keepInode(7)]);
  cache.learn(9, [keepInode(8)]);
  cache.change(9, true, []);
  t.equal(cache.answer(getInode(7)), undefined);
  t.ok(cache.answer(getInode(8)));
  cache.learn(8, [keepInode(7)]);
  t.equal(cache.answer(getInode(7)), undefined);
  cache.clear();
  t.equal(cache.size, 0);
  cache.learn(8, [keepInode(7)]);
  t.equal(cache.size, 0, 'what is known of changes outlives a lease');
});

t.test('memory is bounded, and forgetting makes nothing wrong', async (t) => {
  const cache = new AnswerCache(10, 10);
  for (let ino = 1; ino <= 30; ino++) cache.learn(1, [keepInode(ino)]);
  t.equal(cache.size, 10);
  t.equal(cache.answer(getInode(20)), undefined);
  t.ok(cache.answer(getInode(30)));
  for (let ino = 1; ino <= 30; ino++) cache.change(100 + ino, false, [inodeEffect(ino)]);
  t.equal(cache.size, 0);
  for (let ino = 1; ino <= 30; ino++) cache.learn(100 + ino - 1, [keepInode(ino)]);
  t.equal(cache.size, 0);
  cache.learn(131, [keepInode(1)]);
  t.equal(cache.size, 1);
});

t.test('nothing is kept of an inode without a name', async (t) => {
  const value = { inode: inode(7, 0, 0), dataVersionBefore: 0 };
  const command = { type: 'set-attributes', ino: 7, mode: 0 } as const;
  t.strictSame(factsOfReply(command, { ok: true, value }), []);
  t.strictSame(factsOfReply(command, { ok: false, code: 'ESTALE' }), []);
  const made = { type: 'make-node', parent: 1, name: name('a'), mode: 0, rdev: 0, uid: 0, gid: 0 };
  const reply = { ok: true, value: { inode: inode(7) } } as const;
  t.match(factsOfReply({ ...made, type: 'make-node' }, reply), [{ ino: 7 }, { key: 7 }]);
});
