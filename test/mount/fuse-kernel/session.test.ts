import fc from 'fast-check';
import t, { type Test } from 'tap';
import { commandCodec } from '../../../src/codec/commands.js';
import { queryCodec } from '../../../src/codec/queries.js';
import { UNANSWERED } from '../../../src/mount/fuse-kernel/handlers.js';
import { INIT, OPCODE, type OpcodeName, SIZE } from '../../../src/mount/fuse-kernel/protocol.js';
import { Session } from '../../../src/mount/fuse-kernel/session.js';
import { LocalCluster } from '../../support/local-client.js';
import { newMount } from '../../support/mount-world.js';
import { until } from '../../support/until.js';

/** linux/pid.h: no process has this number, so whoever waits under it is gone. */
const NO_PID = 2 ** 31 - 1;
const BUFFER_BYTES = 65_536;
const EINTR = 4;
const MOST_NEGATIVE_ERRNO = -511;

interface Reply {
  readonly unique: bigint;
  readonly error: number;
  readonly body: Buffer;
}

/** A session of one mount of a cluster in memory, and all that it writes. */
class Talk {
  readonly cluster = new LocalCluster();
  readonly mount = newMount(this.cluster);
  readonly replies: Reply[] = [];
  readonly session: Session;
  /** Of who asks. */
  pid = NO_PID;
  #unique = 2n;
  /** What came before lies behind every request, as it does in a reader's buffer. */
  #buffer = Buffer.alloc(BUFFER_BYTES, 0xa5);

  constructor() {
    this.session = new Session({
      operations: this.mount.ops,
      write: (head, data) => this.#onReply(Buffer.concat([head, data ?? new Uint8Array(0)])),
      onNegotiated: () => {},
      debug: null,
      observer: null,
      clusterLocks: true,
    });
    const { execute, query } = this.mount.client;
    // As over a wire: what the session lets through must be what a node takes.
    this.mount.client.execute = (command, options) => {
      commandCodec.unpack(commandCodec.pack(command), undefined);
      return execute.call(this.mount.client, command as never, options) as never;
    };
    this.mount.client.query = (asked, options) => {
      queryCodec.unpack(queryCodec.pack(asked), undefined);
      return query.call(this.mount.client, asked as never, options) as never;
    };
  }

  #onReply(bytes: Buffer): void {
    if (bytes.readUInt32LE(0) !== bytes.length) throw new Error('a reply of the wrong length');
    const error = bytes.readInt32LE(4);
    if (error > 0 || error < MOST_NEGATIVE_ERRNO) throw new Error(`a reply with error ${error}`);
    this.replies.push({ unique: bytes.readBigUInt64LE(8), error, body: bytes.subarray(16) });
  }

  /** Whatever bytes. */
  feed(bytes: Uint8Array): void {
    this.#buffer.set(bytes);
    const taken = this.session.dispatch(this.#buffer, bytes.length);
    if (taken) this.#buffer = Buffer.alloc(BUFFER_BYTES, 0xa5);
  }

  /** A request with a whole header; returns its number. */
  send(opcode: number, ino: number | bigint, body: Uint8Array, unique = this.nextUnique()): bigint {
    const message = Buffer.alloc(SIZE.IN_HEADER + body.length);
    message.writeUInt32LE(message.length, 0);
    message.writeUInt32LE(opcode, 4);
    message.writeBigUInt64LE(unique, 8);
    message.writeBigUInt64LE(BigInt(ino), 16);
    message.writeUInt32LE(this.pid, 32);
    message.set(body, SIZE.IN_HEADER);
    this.feed(message);
    return unique;
  }

  nextUnique(): bigint {
    this.#unique += 2n;
    return this.#unique;
  }

  answersTo(unique: bigint): readonly Reply[] {
    return this.replies.filter((reply) => reply.unique === unique);
  }

  async answer(unique: bigint): Promise<Reply> {
    await until('an answer', () => this.answersTo(unique).length > 0);
    const [reply] = this.answersTo(unique);
    if (reply === undefined) throw new Error('no answer');
    return reply;
  }

  async answered(): Promise<void> {
    await until('all answers', () => this.session.underWay === 0);
  }
}

function words(...numbers: readonly (number | bigint)[]): Buffer {
  const body = Buffer.alloc(8 * numbers.length);
  for (const [i, number] of numbers.entries()) body.writeBigUInt64LE(BigInt(number), 8 * i);
  return body;
}

function withNames(fixed: Uint8Array, ...names: readonly string[]): Buffer {
  return Buffer.concat([fixed, ...names.map((name) => Buffer.from(`${name}\0`))]);
}

const O_RDWR = 2n;

/** Two open files of a directory `d`, so that requests can name what is there. */
async function furnished(): Promise<Talk & { d: number; f: number; g: number; open: number[] }> {
  const talk = new Talk();
  const init = Buffer.alloc(64);
  init.writeUInt32LE(7, 0);
  init.writeUInt32LE(45, 4);
  init.writeUInt32LE(Number(INIT.MAX_PAGES | INIT.SETXATTR_EXT), 12);
  talk.send(OPCODE.INIT, 0, init);
  const made = await talk.answer(talk.send(OPCODE.MKDIR, 1, withNames(words(0o755), 'd')));
  const d = Number(made.body.readBigUInt64LE(0));
  const open: number[] = [];
  const files: number[] = [];
  for (const name of ['f', 'g']) {
    const body = withNames(words(O_RDWR | (0o100644n << 32n), 0), name);
    const created = await talk.answer(talk.send(OPCODE.CREATE, d, body));
    files.push(Number(created.body.readBigUInt64LE(0)));
    open.push(Number(created.body.readBigUInt64LE(SIZE.ENTRY_OUT)));
  }
  const [f = 0, g = 0] = files;
  return Object.assign(talk, { d, f, g, open });
}

/** Requests that wait for the cluster, by their opcodes. */
function waitingRequests(
  talk: Awaited<ReturnType<typeof furnished>>,
): readonly (readonly [OpcodeName, number, Buffer])[] {
  const { d, f, g, open } = talk;
  const [fh = 0, gh = 0] = open;
  return [
    ['LOOKUP', d, withNames(words(), 'f')],
    ['GETATTR', f, words(0, 0)],
    ['SETATTR', f, Buffer.concat([words(1), words(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)])],
    ['SYMLINK', d, withNames(words(), 's', 'target')],
    ['MKNOD', d, withNames(words(0o100644, 0), 'n')],
    ['MKDIR', d, withNames(words(0o755), 'm')],
    ['UNLINK', d, withNames(words(), 'f')],
    ['RMDIR', 1, withNames(words(), 'd')],
    ['RENAME', d, withNames(words(d), 'f', 'h')],
    ['RENAME2', d, withNames(words(d, 1), 'f', 'h')],
    ['LINK', d, withNames(words(f), 'l')],
    ['CREATE', d, withNames(words(O_RDWR | (0o100644n << 32n), 0), 'c')],
    ['TMPFILE', d, withNames(words(O_RDWR | (0o100644n << 32n), 0), 't')],
    ['OPEN', f, words(O_RDWR)],
    ['READ', f, words(fh, 0, 4096, 0, 0)],
    ['FALLOCATE', f, words(fh, 0, 10, 0)],
    ['LSEEK', f, words(fh, 0, 3)],
    ['COPY_FILE_RANGE', f, words(fh, 0, g, gh, 0, 10, 0)],
    ['COPY_FILE_RANGE_64', f, words(fh, 0, g, gh, 0, 10, 0)],
    ['READDIR', d, words(0, 0, 4096, 0, 0)],
    ['READDIRPLUS', d, words(0, 0, 4096, 0, 0)],
    ['STATFS', 1, words()],
    ['STATX', f, words(0, 0, 0)],
    ['SETXATTR', f, withNames(words(1n | (0n << 32n), 0), 'user.a', 'v')],
    ['GETXATTR', f, withNames(words(0), 'user.a')],
    ['LISTXATTR', f, words(0)],
    ['REMOVEXATTR', f, withNames(words(), 'user.a')],
    ['IOCTL', f, words(fh, 0x80086601n << 32n, 0, 4n << 32n)],
  ];
}

t.test('an interrupted request is answered EINTR, once, whatever it was', async (t) => {
  const talk = await furnished();
  const listing = await talk.answer(talk.send(OPCODE.OPENDIR, talk.d, words(0)));
  const directory = listing.body.readBigUInt64LE(0);
  for (const [name, ino, body] of waitingRequests(talk)) {
    if (name === 'READDIR' || name === 'READDIRPLUS') body.writeBigUInt64LE(directory, 0);
    talk.cluster.pause();
    const unique = talk.send(OPCODE[name], ino, body);
    await new Promise((resolve) => setImmediate(resolve));
    t.same(talk.answersTo(unique), [], `${name} waits`);
    talk.send(OPCODE.INTERRUPT, 0, words(unique), unique + 1n);
    t.equal((await talk.answer(unique)).error, -EINTR, name);
    // Answered: now the kernel's second interrupt finds nothing, and is told so.
    talk.send(OPCODE.INTERRUPT, 0, words(unique), unique + 1n);
    talk.cluster.resume();
    await talk.answered();
    await new Promise((resolve) => setImmediate(resolve));
    t.equal(talk.answersTo(unique).length, 1, `${name} is answered once`);
  }
});

t.test('writes, flush and fsync can be interrupted, too', async (t) => {
  const talk = await furnished();
  const { f, open } = talk;
  const [fh = 0] = open;
  talk.cluster.pause();
  const write = Buffer.concat([words(fh, 0, 5, 0, 0), Buffer.from('hello')]);
  t.equal((await talk.answer(talk.send(OPCODE.WRITE, f, write))).error, 0, 'nothing to wait for');
  for (const opcode of [OPCODE.FLUSH, OPCODE.FSYNC, OPCODE.SYNCFS]) {
    const unique = talk.send(opcode, f, words(fh, 0, 0));
    talk.send(OPCODE.INTERRUPT, 0, words(unique), unique + 1n);
    t.equal((await talk.answer(unique)).error, -EINTR);
  }
  talk.cluster.resume();
  t.equal((await talk.answer(talk.send(OPCODE.FSYNC, f, words(fh, 0)))).error, 0);
  const read = await talk.answer(talk.send(OPCODE.READ, f, words(fh, 0, 4096, 0, 0)));
  t.equal(read.body.toString(), 'hello');
});

t.test('a page fault is not interrupted by a signal that a program survives', async (t) => {
  const talk = await furnished();
  const { f, open } = talk;
  talk.pid = process.pid;
  talk.cluster.pause();
  const unique = talk.send(OPCODE.READ, f, words(open[0] ?? 0, 0, 4096, 0, 0));
  talk.send(OPCODE.INTERRUPT, 0, words(unique), unique + 1n);
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  talk.cluster.resume();
  t.equal((await talk.answer(unique)).error, 0);
});

t.test('what may take effect is not interrupted by a signal that a program survives', async (t) => {
  const talk = await furnished();
  const { d, f, open } = talk;
  const [fh = 0] = open;
  talk.pid = process.pid;
  talk.cluster.pause();
  const write = Buffer.concat([words(fh, 0, 5, 0, 0), Buffer.from('hello')]);
  t.equal((await talk.answer(talk.send(OPCODE.WRITE, f, write))).error, 0);
  const uniques = [
    talk.send(OPCODE.MKDIR, d, withNames(words(0o755), 'm')),
    talk.send(OPCODE.FSYNC, f, words(fh, 0)),
    talk.send(OPCODE.FLUSH, f, words(fh, 0, 0)),
  ];
  await new Promise((resolve) => setImmediate(resolve));
  for (const unique of uniques) talk.send(OPCODE.INTERRUPT, 0, words(unique), unique + 1n);
  // Longer than anybody has who can be interrupted.
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  talk.cluster.resume();
  for (const unique of uniques) t.equal((await talk.answer(unique)).error, 0);
});

t.test('a synced append that has begun is not done again by who was interrupted', async (t) => {
  const talk = await furnished();
  const { f } = talk;
  const [O_WRONLY, O_APPEND, O_SYNC] = [1, 0o2000, 0o4010000];
  const opened = await talk.answer(talk.send(OPCODE.OPEN, f, words(O_WRONLY | O_APPEND | O_SYNC)));
  const handle = Number(opened.body.readBigUInt64LE(0));
  talk.pid = process.pid;
  talk.cluster.pause();
  const write = Buffer.concat([
    words(handle, 0, 5, 0, O_WRONLY | O_APPEND | O_SYNC),
    Buffer.from('hello'),
  ]);
  const unique = talk.send(OPCODE.WRITE, f, write);
  talk.send(OPCODE.INTERRUPT, 0, words(unique), unique + 1n);
  // Longer than anybody has who can be interrupted.
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  talk.cluster.resume();
  t.equal((await talk.answer(unique)).error, 0);
});

t.test('an interrupt that comes before its request is to be sent again', async (t) => {
  const talk = await furnished();
  talk.send(OPCODE.INTERRUPT, 0, words(1000), 1001n);
  t.match(await talk.answer(1001n), { error: -11 });
});

t.test('unknown opcodes and cut requests are refused', async (t) => {
  const talk = await furnished();
  for (const opcode of [0, 7, 19, 54, 999, 4096, 2 ** 32 - 1]) {
    t.equal((await talk.answer(talk.send(opcode, 1, words(1, 2, 3)))).error, -38, `${opcode}`);
  }
  for (const name of Object.keys(OPCODE) as OpcodeName[]) {
    if (UNANSWERED.has(OPCODE[name]) || name === 'INIT') continue;
    const unique = talk.send(OPCODE[name], talk.f, Buffer.alloc(0));
    await talk.answer(unique);
    t.equal(talk.answersTo(unique).length, 1, name);
  }
  const nobody = await talk.answer(talk.send(OPCODE.GETATTR, 2n ** 60n, words(0, 0)));
  t.equal(nobody.error, -22, 'no inode has such a number');
  const long = talk.send(OPCODE.WRITE, talk.f, words(talk.open[0] ?? 0, 0, 2 ** 31, 0, 0));
  t.equal((await talk.answer(long)).error, -22, 'says it is longer than it is');
  await talk.answered();
});

/** Requests of all kinds, of which much is right: inodes and handles that are there, sizes that fit. */
const number64 = fc.oneof(
  fc.bigInt({ min: 0n, max: 12n }),
  fc.bigInt({ min: 0n, max: 70_000n }),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  fc.constantFrom(2n ** 32n, 2n ** 44n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n),
);
const tail = fc.oneof(
  fc
    .constantFrom('f\0', 'g\0', 'd\0', 'f\0h\0', 'user.a\0v', '..\0', '.\0', '', '/\0')
    .map(Buffer.from),
  fc.uint8Array({ maxLength: 40 }),
);
const body = fc
  .tuple(fc.array(number64, { maxLength: 12 }), tail)
  .map(([numbers, rest]) => Buffer.concat([words(...numbers), rest]));
/** Of kernels that there are not: INIT with any versions and flags. */
const init = fc
  .record({
    major: fc.integer({ min: 6, max: 8 }),
    minor: fc.nat(60),
    flags: fc.oneof(fc.constant(0), fc.nat(2 ** 32 - 1)),
  })
  .map(({ major, minor, flags }) =>
    words(BigInt(major) | (BigInt(minor) << 32n), BigInt(flags) << 32n, 0),
  );
const step = fc.oneof(
  {
    weight: 1,
    arbitrary: init.map((body) => ({ opcode: OPCODE.INIT, ino: 0n, body, again: false })),
  },
  {
    weight: 12,
    arbitrary: fc.record({
      opcode: fc.constantFrom(...Object.values(OPCODE)),
      ino: fc.oneof(fc.bigInt({ min: 1n, max: 9n }), number64),
      body,
      again: fc.nat(20).map((n) => n === 0),
    }),
  },
  { weight: 2, arbitrary: fc.record({ interrupt: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ bytes: fc.uint8Array({ maxLength: 200 }) }) },
  { weight: 1, arbitrary: fc.record({ paused: fc.boolean() }) },
);

t.test('a fuzzed stream crashes nothing, and each request has its one answer', async (t: Test) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 80, size: 'max' }),
      async (steps) => {
        const talk = await furnished();
        const sent: bigint[] = [];
        for (const what of steps) {
          if ('bytes' in what) {
            talk.feed(what.bytes);
          } else if ('paused' in what) {
            if (what.paused) talk.cluster.pause();
            else talk.cluster.resume();
          } else if ('interrupt' in what) {
            const unique = sent.at(-1 - what.interrupt) ?? 0n;
            talk.send(OPCODE.INTERRUPT, 0, words(unique), unique + 1n);
          } else {
            const { opcode, ino, body, again } = what;
            const unique = talk.send(opcode, ino, body);
            if (!UNANSWERED.has(opcode)) sent.push(unique);
            // A second one of the same number while the first is under way is nobody's.
            if (again && talk.answersTo(unique).length === 0) talk.send(opcode, ino, body, unique);
          }
        }
        talk.cluster.resume();
        talk.session.interruptAll();
        await talk.answered();
        for (const unique of sent) {
          const { length } = talk.answersTo(unique);
          if (length !== 1) throw new Error(`request ${unique} has ${length} answers`);
        }
      },
    ),
    { numRuns: 150 },
  );
  t.pass();
});
