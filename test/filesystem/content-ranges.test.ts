import fc from 'fast-check';
import t from 'tap';
import { seededRandom } from '../../src/base/random.js';
import type { Command } from '../../src/filesystem/commands.js';
import {
  CHUNK_BYTES,
  CLEARED_BYTES_MAX,
  COPIED_BYTES_MAX,
  FILE_BYTES_MAX,
  type Ino,
  READ_BYTES_MAX,
  WRITE_BYTES_MAX,
} from '../../src/filesystem/records.js';
import { bytes, FilesystemWorld, NEW_FILE, ROOT, text } from '../support/filesystem-world.js';
import { FlakyView } from '../support/flaky-view.js';
import { checkTree } from '../support/tree-invariants.js';

class Files {
  readonly world = new FilesystemWorld();
  readonly session = this.world.open();
  readonly inos: readonly Ino[];

  constructor(...names: string[]) {
    this.inos = names.map(
      (name) => this.world.do(this.session, { ...NEW_FILE, name: bytes(name) }).inode.ino,
    );
  }

  ino(which: number): Ino {
    return this.inos[which % this.inos.length] ?? 0;
  }

  read(ino: Ino, offset = 0, size = READ_BYTES_MAX): Uint8Array {
    const result = this.world.query({ type: 'read', ino, offset, size });
    if (!result.ok) throw new Error(result.code);
    return result.value.data;
  }

  seek(ino: Ino, offset: number, what: 'data' | 'hole'): number | string {
    const result = this.world.query({ type: 'seek', ino, offset, what });
    return result.ok ? result.value.offset : result.code;
  }
}

t.test('a file is made to reach, and nothing is stored for it', async (t) => {
  const { world, session, inos } = new Files('f');
  const [ino = 0] = inos;
  world.do(session, { type: 'write', ino, offset: 0, data: bytes('abc') });
  const reserve = { type: 'allocate', ino, offset: 2, length: 2 ** 40 } as const;
  t.match(world.do(session, { ...reserve, mode: 'reserve-keep-size' }).inode, { size: 3 });
  t.match(world.do(session, { ...reserve, mode: 'reserve' }).inode, {
    size: 2 ** 40 + 2,
    bytes: 3,
  });
  t.match(world.do(session, { ...reserve, length: 1, mode: 'reserve' }).inode, { bytes: 3 });
  t.equal(world.code(session, { ...reserve, length: FILE_BYTES_MAX, mode: 'reserve' }), 'EFBIG');
  t.equal(world.code(session, { ...reserve, length: 0, mode: 'reserve' }), 'EINVAL');
  const much = { ...reserve, length: CLEARED_BYTES_MAX + 1, mode: 'punch' } as const;
  t.equal(world.code(session, much), 'EINVAL');
  t.equal(world.code(session, { ...reserve, ino: ROOT, mode: 'punch', length: 1 }), 'EISDIR');
});

t.test('a chunk that is punched piece by piece is gone in the end', async (t) => {
  const files = new Files('f');
  const { world, session } = files;
  const ino = files.ino(0);
  world.do(session, { type: 'write', ino, offset: 0, data: new Uint8Array(CHUNK_BYTES).fill(7) });
  const punch = { type: 'allocate', ino, length: CHUNK_BYTES / 8, mode: 'punch' } as const;
  for (let piece = 0; piece < 7; piece++) {
    world.do(session, { ...punch, offset: (piece * CHUNK_BYTES) / 8 });
  }
  const { inode } = world.do(session, { ...punch, offset: (7 * CHUNK_BYTES) / 8 });
  t.match(inode, { size: CHUNK_BYTES, bytes: 0 });
  checkTree(world.view);
});

t.test('punched and zeroed ranges are zeros and cost nothing', async (t) => {
  const files = new Files('f');
  const { world, session } = files;
  const ino = files.ino(0);
  const data = new Uint8Array(4 * CHUNK_BYTES).fill(7);
  world.do(session, { type: 'write', ino, offset: 0, data });
  const range = {
    type: 'allocate',
    ino,
    offset: CHUNK_BYTES - 2,
    length: CHUNK_BYTES + 4,
  } as const;
  const { inode } = world.do(session, { ...range, mode: 'punch' });
  t.match(inode, { size: data.length, bytes: 3 * CHUNK_BYTES - 2 });
  data.fill(0, CHUNK_BYTES - 2, 2 * CHUNK_BYTES + 2);
  t.same(files.read(ino), data);
  t.match(world.do(session, { ...range, offset: 1e6, mode: 'punch' }).inode, { size: data.length });
  t.match(world.do(session, { ...range, offset: 1e6, mode: 'zero' }).inode, {
    size: 1e6 + CHUNK_BYTES + 4,
  });
  checkTree(world.view);
});

t.test('holes and data are found', async (t) => {
  const files = new Files('f');
  const { world, session } = files;
  const ino = files.ino(0);
  t.equal(files.seek(ino, 0, 'data'), 'ENXIO');
  t.equal(files.seek(ino, 0, 'hole'), 'ENXIO', 'at the end there is neither');
  const far = 300 * CHUNK_BYTES;
  world.do(session, { type: 'write', ino, offset: CHUNK_BYTES, data: bytes('abc') });
  world.do(session, { type: 'write', ino, offset: far, data: new Uint8Array(CHUNK_BYTES + 9) });
  world.do(session, { type: 'set-attributes', ino, size: far + 10 * CHUNK_BYTES });
  t.equal(files.seek(ino, 0, 'data'), CHUNK_BYTES);
  t.equal(files.seek(ino, 0, 'hole'), 0);
  t.equal(files.seek(ino, CHUNK_BYTES + 1, 'data'), CHUNK_BYTES + 1);
  t.equal(files.seek(ino, CHUNK_BYTES + 1, 'hole'), CHUNK_BYTES + 3);
  t.equal(files.seek(ino, CHUNK_BYTES + 3, 'data'), far);
  t.equal(files.seek(ino, far, 'hole'), far + CHUNK_BYTES + 9);
  t.equal(files.seek(ino, far + 2 * CHUNK_BYTES, 'data'), 'ENXIO');
  t.equal(files.seek(ino, far + 2 * CHUNK_BYTES, 'hole'), far + 2 * CHUNK_BYTES);
  t.equal(files.seek(ROOT, 0, 'data'), 'EISDIR');
  const all = new Uint8Array(4 * CHUNK_BYTES);
  world.do(session, { type: 'write', ino, offset: far, data: all });
  world.do(session, { type: 'set-attributes', ino, size: far + 4 * CHUNK_BYTES });
  t.equal(files.seek(ino, far + 5, 'hole'), far + all.length, 'the end of the file');
});

t.test('ranges are copied, with their holes', async (t) => {
  const files = new Files('from', 'to');
  const { world, session } = files;
  const [ino, toIno] = [files.ino(0), files.ino(1)];
  world.do(session, { type: 'write', ino, offset: 0, data: bytes('hello') });
  world.do(session, { type: 'write', ino, offset: 5 * CHUNK_BYTES, data: bytes('world') });
  const copy = { type: 'copy-range', ino, offset: 1, toIno, toOffset: 3 } as const;
  const { copied, inode } = world.do(session, { ...copy, length: COPIED_BYTES_MAX });
  t.equal(copied, 5 * CHUNK_BYTES + 4, 'to the end of the source');
  t.match(inode, { ino: toIno, size: 5 * CHUNK_BYTES + 7 });
  t.ok(inode.bytes < CHUNK_BYTES + 10, 'the hole stayed one');
  const expected = Buffer.alloc(inode.size);
  expected.write('ello', 3);
  expected.write('world', 5 * CHUNK_BYTES + 2);
  t.ok(expected.equals(files.read(toIno)));
  const atEnd = { ...copy, offset: 1e9, length: 1 } as const;
  t.match(world.do(session, atEnd), { copied: 0, dataVersionBefore: inode.dataVersion });
  t.same(world.effects, []);
  t.equal(world.code(session, { ...copy, toIno: ino, length: 3 }), 'EINVAL', 'overlapping');
  t.equal(world.code(session, { ...copy, length: COPIED_BYTES_MAX + 1 }), 'EINVAL');
  t.equal(world.code(session, { ...copy, toOffset: FILE_BYTES_MAX, length: 1 }), 'EFBIG');
  t.equal(world.code(session, { ...copy, ino: ROOT, length: 1 }), 'EISDIR');
  checkTree(world.view);
});

type Step = Readonly<Record<'kind' | 'from' | 'to' | 'at' | 'length' | 'toAt', number>>;

t.test('large files: random ranges written, cleared, copied, cut', async (t) => {
  const chunks = 200;
  const place = fc
    .tuple(fc.integer({ min: 0, max: chunks }), fc.integer({ min: -3, max: 3 }))
    .map(([chunk, beside]) => Math.max(0, chunk * CHUNK_BYTES + beside));
  const step: fc.Arbitrary<Step> = fc.record({
    kind: fc.nat(4),
    from: fc.nat(1),
    to: fc.nat(1),
    at: place,
    length: fc.oneof(
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 80 }).map((n) => n * CHUNK_BYTES),
    ),
    toAt: place,
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 15, size: 'max' }), (steps) => {
      const files = new Files('a', 'b');
      const { world, session } = files;
      const contents: Buffer[] = [Buffer.alloc(0), Buffer.alloc(0)];
      for (const [i, { kind, from, to, at, length, toAt }] of steps.entries()) {
        const old = contents[to] ?? Buffer.alloc(0);
        const source = contents[from] ?? Buffer.alloc(0);
        const ino = files.ino(to);
        let after: Buffer = old;
        let command: Command;
        if (kind === 0) {
          const data = new Uint8Array(Math.min(length, WRITE_BYTES_MAX)).fill(i + 1);
          command = { type: 'write', ino, offset: at, data };
          after = grown(old, at + data.length);
          after.set(data, at);
        } else if (kind === 1) {
          command = { type: 'allocate', ino, offset: at, length, mode: 'punch' };
          after = Buffer.from(old);
          after.subarray(at, at + length).fill(0);
        } else if (kind === 2) {
          command = { type: 'set-attributes', ino, size: at };
          after = grown(Buffer.from(old.subarray(0, at)), at);
        } else {
          const overlap = from === to && Math.abs(at - toAt) < length;
          if (overlap) continue;
          const part = Buffer.from(source.subarray(at, at + length));
          command = {
            type: 'copy-range',
            ino: files.ino(from),
            offset: at,
            toIno: ino,
            toOffset: toAt,
            length,
          };
          if (part.length > 0) {
            after = grown(old, toAt + part.length);
            after.set(part, toAt);
          }
        }
        world.do(session, command);
        contents[to] = after;
      }
      checkTree(world.view);
      for (const [i, content] of contents.entries()) compare(files, files.ino(i), content);
    }),
    { numRuns: 40 },
  );
  t.pass();
});

function grown(content: Buffer, size: number): Buffer {
  const after = Buffer.alloc(Math.max(content.length, size));
  content.copy(after);
  return after;
}

/** Also that what is called a hole has nothing in it, and that data is not far from any byte. */
function compare(files: Files, ino: Ino, content: Buffer): void {
  for (let at = 0; at <= content.length; at += READ_BYTES_MAX) {
    const part = content.subarray(at, at + READ_BYTES_MAX);
    if (!part.equals(files.read(ino, at))) throw new Error(`differs behind ${at}`);
  }
  for (let at = 0; at < content.length; ) {
    const data = files.seek(ino, at, 'data');
    const end = typeof data === 'number' ? data : content.length;
    if (content.subarray(at, end).some((byte) => byte !== 0)) throw new Error(`no hole at ${at}`);
    if (typeof data !== 'number') return;
    const hole = files.seek(ino, data, 'hole');
    if (typeof hole !== 'number' || hole <= data) throw new Error(`${hole} behind ${data}`);
    at = hole;
  }
}

t.test('a copy of many pieces does not run many times', async (t) => {
  const files = new Files('from', 'to');
  const { world, session } = files;
  const [ino, toIno] = [files.ino(0), files.ino(1)];
  for (let chunk = 64; chunk < 400; chunk += 2) {
    const data = bytes('x');
    world.do(session, { type: 'write', ino, offset: chunk * CHUNK_BYTES, data });
    world.do(session, { type: 'write', ino: toIno, offset: (chunk + 1) * CHUNK_BYTES, data });
  }
  const command: Command = {
    type: 'copy-range',
    ino,
    offset: 64 * CHUNK_BYTES,
    toIno,
    toOffset: 64 * CHUNK_BYTES,
    length: 300 * CHUNK_BYTES,
  };
  const entry = { session, sequence: 1e6, acknowledged: 0, time: { sec: 9e5, nsec: 0 }, command };
  const sequence = world.run(session, { type: 'nothing' }).ok ? world.index - 2 : 0;
  const view = new FlakyView(world.view, seededRandom(1));
  const { rounds } = view.run((flaky) =>
    world.filesystem.apply(flaky, world.index + 1, { ...entry, sequence }),
  );
  t.ok(rounds < 10, `${rounds} rounds`);
});

t.test('text stays text', async (t) => {
  const files = new Files('f');
  const ino = files.ino(0);
  files.world.do(files.session, { type: 'write', ino, offset: 0, data: bytes('some words') });
  const copy = { type: 'copy-range', ino, offset: 0, toIno: ino, toOffset: 10, length: 5 } as const;
  files.world.do(files.session, copy);
  t.equal(text(files.read(ino)), 'some wordssome ');
});
