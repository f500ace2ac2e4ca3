import fc from 'fast-check';
import t from 'tap';
import { COUNTERS, tableOf } from '../../src/filesystem/keys.js';
import {
  CHUNK_BYTES,
  CLEARED_BYTES_MAX,
  FILE_BYTES_MAX,
  type Ino,
  READ_BYTES_MAX,
  WRITE_BYTES_MAX,
} from '../../src/filesystem/records.js';
import { bytes, FilesystemWorld, NEW_FILE, ROOT, text } from '../support/filesystem-world.js';
import { checkTree } from '../support/tree-invariants.js';

function worldWithFile(): { world: FilesystemWorld; session: number; ino: Ino } {
  const world = new FilesystemWorld();
  const session = world.open();
  const { inode } = world.do(session, { ...NEW_FILE, name: bytes('f') });
  return { world, session, ino: inode.ino };
}

/** All of a file, or its first 4 MiB. */
function read(world: FilesystemWorld, ino: Ino, offset = 0, size = 4 * READ_BYTES_MAX): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < size; at += READ_BYTES_MAX) {
    parts.push(readOnce(world, ino, offset + at, Math.min(READ_BYTES_MAX, size - at)));
  }
  return Buffer.concat(parts);
}

function readOnce(world: FilesystemWorld, ino: Ino, offset: number, size: number): Uint8Array {
  const result = world.query({ type: 'read', ino, offset, size });
  if (!result.ok) throw new Error(result.code);
  return result.value.data;
}

t.test('what is written is read', async (t) => {
  const { world, session, ino } = worldWithFile();
  const { inode } = world.do(session, { type: 'write', ino, offset: 0, data: bytes('hello') });
  t.match(inode, { size: 5, bytes: 5, dataVersion: world.index, mtime: { sec: world.index } });
  t.equal(text(read(world, ino)), 'hello');
  t.equal(text(read(world, ino, 1, 3)), 'ell');
  t.equal(read(world, ino, 5).length, 0, 'at the end');
  t.equal(read(world, ino, 1e6).length, 0, 'beyond the end');
  t.equal(world.counters.bytes, 5);
});

t.test('holes are zeros and cost nothing', async (t) => {
  const { world, session, ino } = worldWithFile();
  const at = 3 * CHUNK_BYTES + 10;
  world.do(session, { type: 'write', ino, offset: 2, data: bytes('a') });
  const { inode } = world.do(session, { type: 'write', ino, offset: at, data: bytes('b') });
  t.match(inode, { size: at + 1, bytes: 3 + 11 });
  const expected = Buffer.alloc(at + 1);
  expected[2] = 0x61;
  expected[at] = 0x62;
  t.ok(expected.equals(read(world, ino)));
  t.ok(expected.subarray(5, at).equals(read(world, ino, 5, at - 5)));
});

t.test('a file that is cut and grows again grows by zeros', async (t) => {
  const { world, session, ino } = worldWithFile();
  world.do(session, { type: 'write', ino, offset: 0, data: bytes('abcdef') });
  world.do(session, { type: 'set-attributes', ino, size: 3 });
  const { inode } = world.do(session, { type: 'set-attributes', ino, size: 6 });
  t.match(inode, { size: 6, bytes: 3 });
  t.equal(text(read(world, ino)), 'abc\0\0\0');
});

t.test('cutting to nothing gives a new content', async (t) => {
  const { world, session, ino } = worldWithFile();
  const written = world.do(session, { type: 'write', ino, offset: 0, data: bytes('abcdef') });
  const { inode } = world.do(session, { type: 'set-attributes', ino, size: 0 });
  t.not(inode.content, written.inode.content);
  t.match(inode, { size: 0, bytes: 0 });
  t.equal(world.counters.bytes, 0);
});

t.test('a sparse file of the greatest size', async (t) => {
  const { world, session, ino } = worldWithFile();
  const write = { type: 'write', ino, offset: FILE_BYTES_MAX - 1, data: bytes('z') } as const;
  t.match(world.do(session, write).inode, { size: FILE_BYTES_MAX });
  t.equal(text(read(world, ino, FILE_BYTES_MAX - 2, 9)), '\0z');
  t.equal(world.code(session, { ...write, data: bytes('zz') }), 'EFBIG');
  t.equal(world.code(session, { ...write, append: true }), 'EFBIG');
  const { inode } = world.do(session, { type: 'set-attributes', ino, size: 2 ** 40 + 1 });
  t.match(inode, { size: 2 ** 40 + 1, bytes: 0 });
  t.equal(world.code(session, { type: 'set-attributes', ino, size: FILE_BYTES_MAX + 1 }), 'EFBIG');
});

t.test('a long file is cut in the middle and near its start', async (t) => {
  const { world, session, ino } = worldWithFile();
  const whole = Buffer.alloc(100 * CHUNK_BYTES, 'x');
  for (let at = 0; at < whole.length; at += 10 * CHUNK_BYTES) {
    const data = whole.subarray(at, at + 10 * CHUNK_BYTES);
    world.do(session, { type: 'write', ino, offset: at, data });
  }
  t.equal(world.counters.bytes, whole.length);
  for (const size of [90 * CHUNK_BYTES - 7, 3 * CHUNK_BYTES + 5, CHUNK_BYTES]) {
    const { inode } = world.do(session, { type: 'set-attributes', ino, size });
    t.match(inode, { size, bytes: size });
    t.equal(world.counters.bytes, size);
    t.ok(whole.subarray(0, size).equals(read(world, ino)));
  }
});

t.test('large files: random writes and cuts', async (t) => {
  const chunks = 200;
  const place = fc
    .tuple(fc.integer({ min: 0, max: chunks }), fc.integer({ min: -3, max: 3 }))
    .map(([chunk, beside]) => Math.max(0, chunk * CHUNK_BYTES + beside));
  const change = fc.record({
    cut: fc.boolean(),
    at: place,
    length: fc.oneof(
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 3 }).map((n) => n * CHUNK_BYTES),
      fc.integer({ min: CHUNK_BYTES, max: WRITE_BYTES_MAX }),
    ),
  });
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 25, size: 'max' }), (changes) => {
      const { world, session, ino } = worldWithFile();
      const expected = Buffer.alloc((chunks + 40) * CHUNK_BYTES);
      let size = 0;
      for (const [i, { cut, at, length }] of changes.entries()) {
        if (cut) {
          world.do(session, { type: 'set-attributes', ino, size: at });
          expected.fill(0, at);
          size = at;
        } else {
          const data = new Uint8Array(length).fill(i + 1);
          world.do(session, { type: 'write', ino, offset: at, data });
          expected.set(data, at);
          size = Math.max(size, at + length);
        }
        checkTree(world.view);
      }
      for (let at = 0; at <= size; at += READ_BYTES_MAX) {
        const part = expected.subarray(at, Math.min(at + READ_BYTES_MAX, size));
        if (!part.equals(readOnce(world, ino, at, READ_BYTES_MAX)))
          throw new Error(`differs behind ${at}`);
      }
    }),
    { numRuns: 150 },
  );
  t.pass();
});

t.test('a large file is cut without loading what goes', async (t) => {
  const { world, session, ino } = worldWithFile();
  const data = new Uint8Array(WRITE_BYTES_MAX).fill(1);
  for (let at = 0; at < 64 * WRITE_BYTES_MAX; at += WRITE_BYTES_MAX) {
    world.do(session, { type: 'write', ino, offset: at, data });
  }
  let chunksAsked = 0;
  world.through = (view) => ({
    get(key) {
      const record = view.get(key);
      if (tableOf(key) === 'chunk' && record !== undefined && record instanceof Uint8Array) {
        if (record.length === CHUNK_BYTES) chunksAsked++;
      }
      return record;
    },
    scan: (range, limit) => view.scan(range, limit),
  });
  const size = 32 * WRITE_BYTES_MAX + 1;
  const { inode } = world.do(session, { type: 'set-attributes', ino, size });
  t.match(inode, { size, bytes: size });
  t.equal(chunksAsked, 1, 'only the last');
  world.do(session, { type: 'write', ino, offset: 0, data });
  world.do(session, { type: 'write', ino, offset: 8 * WRITE_BYTES_MAX, data });
  t.equal(chunksAsked, 1 + WRITE_BYTES_MAX / CHUNK_BYTES, 'only those of the first group');
  checkTree(world.view);
});

t.test('stored chunks do not keep a larger buffer alive', async (t) => {
  const { world, session, ino } = worldWithFile();
  const data = new Uint8Array(5 * CHUNK_BYTES).subarray(0, 2 * CHUNK_BYTES).fill(1);
  world.do(session, { type: 'write', ino, offset: 0, data });
  data.fill(2);
  t.ok(read(world, ino).every((byte) => byte === 1));
});

t.test('appends go to the end as it is', async (t) => {
  const { world, session, ino } = worldWithFile();
  const append = { type: 'write', ino, offset: 0, append: true } as const;
  world.do(session, { ...append, data: bytes('one ') });
  world.do(session, { ...append, data: bytes('two') });
  t.equal(text(read(world, ino)), 'one two');
});

t.test('writing nothing changes nothing', async (t) => {
  const { world, session, ino } = worldWithFile();
  const write = { type: 'write', ino, offset: 50, data: bytes('') } as const;
  t.match(world.do(session, write).inode, { size: 0, dataVersion: 2, mtime: { sec: 2 } });
  t.same(world.effects, []);
});

t.test('only regular files have content', async (t) => {
  const { world, session } = worldWithFile();
  const made = world.do(session, { ...NEW_FILE, name: bytes('p'), mode: 0o010644 });
  for (const [ino, code] of [
    [ROOT, 'EISDIR'],
    [made.inode.ino, 'EINVAL'],
    [99, 'ESTALE'],
  ] as const) {
    t.equal(world.code(session, { type: 'write', ino, offset: 0, data: bytes('x') }), code);
    t.equal(world.code(session, { type: 'set-attributes', ino, size: 0 }), code);
    t.match(world.query({ type: 'read', ino, offset: 0, size: 1 }), { ok: false, code });
  }
});

for (const content of [2 ** 21 + 1, 2 ** 23 + 1, 2 ** 24 - 1, 2 ** 40 + 2 ** 23 + 3]) {
  t.test(`large files are cut and searched alike as content ${content}`, async (t) => {
    const world = new FilesystemWorld();
    const session = world.open();
    const nextIno = content - 1;
    world.view.take([{ type: 'put', key: COUNTERS, value: { ...world.counters, nextIno } }]);
    const { inode } = world.do(session, { ...NEW_FILE, name: bytes('f') });
    t.equal(inode.content, content);
    const { ino } = inode;
    // Groups with data are 1, 3, 5 and on, to more than a few, so that their maps are scanned for.
    const group = 64 * CHUNK_BYTES;
    const groups = Array.from({ length: 20 }, (_, i) => 2 * i + 1);
    for (const at of groups) {
      world.do(session, { type: 'write', ino, offset: at * group, data: bytes(`group ${at}`) });
    }
    const seek = (offset: number, what: 'data' | 'hole') =>
      world.query({ type: 'seek', ino, offset, what });
    for (const at of groups) {
      t.match(seek((at - 1) * group + 1, 'data'), { value: { offset: at * group } });
      t.match(seek(at * group, 'hole'), { value: { offset: at * group + `group ${at}`.length } });
    }
    const from = 3 * group + 2;
    world.do(session, { type: 'set-attributes', ino, size: from });
    world.do(session, { type: 'set-attributes', ino, size: 40 * group });
    t.equal(text(read(world, ino, group, 7)), 'group 1');
    t.equal(text(read(world, ino, 3 * group, 7)), 'gr\0\0\0\0\0');
    for (const at of groups.slice(2)) {
      t.ok(
        read(world, ino, at * group, 16).every((byte) => byte === 0),
        `group ${at} is zeros`,
      );
    }
    t.match(seek(from, 'data'), { ok: false, code: 'ENXIO' });
    checkTree(world.view);
  });
}

t.test('a cut of too much is refused as a whole, and made in steps', async (t) => {
  const { world, session, ino } = worldWithFile();
  const group = 64 * CHUNK_BYTES;
  const steps = CLEARED_BYTES_MAX / group;
  // In each group of 2 GiB one byte.
  for (let at = 0; at < 2 * steps; at++) {
    const offset = at * group + 5;
    world.do(session, { type: 'write', ino, offset, data: bytes('x') });
  }
  const before = world.query({ type: 'get-inode', ino });
  const cut = (size: number) =>
    world.code(session, { type: 'set-attributes', ino, size, mode: 0o600 });
  t.equal(cut(2 * group), 'E2BIG');
  t.same(world.query({ type: 'get-inode', ino }), before, 'nothing has changed');
  t.equal(cut((2 * steps - 1) * group + 6 - CLEARED_BYTES_MAX), 'ok');
  t.equal(cut(2 * group), 'ok');
  world.do(session, { type: 'set-attributes', ino, size: 2 ** 40 });
  t.match(world.query({ type: 'seek', ino, offset: 2 * group, what: 'data' }), { code: 'ENXIO' });
  t.equal(cut(0), 'ok');
  checkTree(world.view);
});
