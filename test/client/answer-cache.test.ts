import t from 'tap';
import { AnswerCache } from '../../src/client/answer-cache.js';
import {
  type Fact,
  factsOfReply,
  type Look,
  nameKey,
  tracesOf,
} from '../../src/filesystem/facts.js';
import type { Effect } from '../../src/filesystem/filesystem.js';
import { inodeKey } from '../../src/filesystem/keys.js';
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
const keepName = (text: string, ino: Ino | null): Fact => ({
  key: nameKey(1, name(text)),
  parent: 1,
  ino,
});
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

t.test('missed changes end everything older', async (t) => {
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

const directory = (entries: number): Fact => ({
  key: 1,
  inode: { ...inode(1), mode: 0o040755, nlink: 2, entries },
});

t.test('with all names of a directory known, all others are not there', async (t) => {
  const cache = new AnswerCache();
  const absent = { ok: false, code: 'ENOENT' } as const;
  cache.learn(1, [directory(0)]);
  t.strictSame(cache.answer(lookup('a')), absent, 'it is empty');
  t.notOk(cache.isKnownItself(lookup('a')), 'and who is told of changes of the name is not told');
  cache.learn(1, [keepName('gone', null)]);
  t.ok(cache.isKnownItself(lookup('gone')));
  cache.change(2, false, [inodeEffect(1), nameEffect('a')]);
  t.equal(cache.answer(lookup('a')), undefined);
  cache.learn(2, [directory(1)]);
  t.equal(cache.answer(lookup('b')), undefined, 'one name is not known');
  cache.learn(2, [keepName('a', 7)]);
  t.strictSame(cache.answer(lookup('b')), absent);
  t.equal(cache.answer(lookup('a')), undefined, 'its inode is not known');
  cache.learn(3, [keepName('none', null)]);
  t.strictSame(cache.answer(lookup('b')), absent, 'what is not there does not count');
  t.equal(cache.answer(lookup('b/c')), undefined, 'only the tree says what it is');
  t.equal(cache.answer(lookup('x'.repeat(256))), undefined);
  cache.change(4, false, [nameEffect('a')]);
  t.equal(cache.answer(lookup('b')), undefined);
});

t.test('names that were let go do not count as known', async (t) => {
  const cache = new AnswerCache(3);
  cache.learn(1, [keepName('a', 7), keepName('b', 8), directory(2)]);
  t.match(cache.answer(lookup('c')), { ok: false });
  cache.learn(1, [keepInode(9)]);
  t.equal(cache.answer(lookup('c')), undefined);
  cache.clear();
  cache.learn(1, [directory(0)]);
  t.match(cache.answer(lookup('c')), { ok: false });
});

t.test('a command leaves traces of what its reply does not say', async (t) => {
  const parent = { ...inode(1), mode: 0o040755, entries: 1 };
  const made = { type: 'make-node', parent: 1, name: name('a'), mode: 0, rdev: 0, uid: 0, gid: 0 };
  const reply = { ok: true, value: { inode: inode(7) } } as const;
  const records = new Map<string, unknown>([
    [inodeKey(1), parent],
    [inodeKey(8), inode(8, 0, 0)],
    [nameKey(1, name('b')), null],
  ]);
  const look: Look = (key) => records.get(key) as undefined;
  const effects = [inodeEffect(7), inodeEffect(8), inodeEffect(1), nameEffect('a')];
  const traces = tracesOf({ ...made, type: 'make-node' }, reply, effects, look);
  t.match(traces, [{ type: 'inode', inode: { ino: 1 } }]);
  t.equal(traces.length, 1, 'neither what the reply says nor what has no name');
  t.match(tracesOf({ ...made, type: 'make-node' }, reply, [nameEffect('b')], look), [
    { type: 'entry', parent: 1, ino: null },
  ]);
  const write = { type: 'write', ino: 7, offset: 0, data: name('x') } as const;
  t.strictSame(tracesOf(write, reply, effects, look), []);
});
