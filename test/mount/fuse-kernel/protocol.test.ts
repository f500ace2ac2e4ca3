import t from 'tap';
import { ERRNO } from '../../../src/base/errno.js';
import { MootError } from '../../../src/base/errors.js';
import { negotiate } from '../../../src/mount/fuse-kernel/init.js';
import { INIT, OPEN_FLAG } from '../../../src/mount/fuse-kernel/protocol.js';
import { encodeDirectory, encodeInit } from '../../../src/mount/fuse-kernel/replies.js';
import {
  KernelRequest,
  readBatchForget,
  readHeader,
  readInit,
  readName,
  readOpen,
  readSetAttributes,
  readTwoNames,
} from '../../../src/mount/fuse-kernel/requests.js';
import type { DirectoryEntry } from '../../../src/mount/mount.js';

function bodyOf(buffer: Buffer) {
  return { buffer, start: 0, end: buffer.length, taken: false };
}

t.test('INIT: the smaller minor version, and only flags that the kernel offers', async (t) => {
  const kernel = { major: 7, minor: 31, readaheadBytesMax: 131_072, flags: INIT.MAX_PAGES | 1n };
  const usual = { clusterLocks: true, listsAttributes: false };
  const agreed = negotiate(kernel, usual);
  t.match(agreed, { minor: 31, flags: INIT.MAX_PAGES | INIT.ASYNC_READ, pagesMax: 256 });
  t.match(negotiate({ ...kernel, minor: 46 }, usual), { minor: 45, writeBytesMax: 1_048_576 });
  const listing = INIT.DO_READDIRPLUS | INIT.READDIRPLUS_AUTO;
  const flags = INIT.MAX_PAGES | listing;
  t.match(negotiate({ ...kernel, flags }, usual), { flags });
  t.match(negotiate({ ...kernel, flags }, { ...usual, listsAttributes: true }), {
    flags: flags & ~INIT.READDIRPLUS_AUTO,
  });
  t.equal(negotiate({ ...kernel, major: 8 }, usual), 'major-mismatch');
  t.equal(negotiate({ ...kernel, minor: 27 }, usual), 'too-old');
  t.equal(
    negotiate({ ...kernel, flags: INIT.ASYNC_READ }, usual),
    'too-old',
    'whatever it says it is',
  );
});

t.test('INIT: flags beyond 32 bits, where the kernel says that there are any', async (t) => {
  const body = Buffer.alloc(64);
  body.writeUInt32LE(Number(INIT.MAX_PAGES | INIT.INIT_EXT), 12);
  body.writeUInt32LE(Number(INIT.DIRECT_IO_ALLOW_MMAP >> 32n), 16);
  t.equal(readInit(bodyOf(body)).flags, INIT.MAX_PAGES | INIT.INIT_EXT | INIT.DIRECT_IO_ALLOW_MMAP);
  t.equal(readInit({ ...bodyOf(body), end: 16 }).flags, INIT.MAX_PAGES | INIT.INIT_EXT, 'cut off');
  body.writeUInt32LE(Number(INIT.MAX_PAGES), 12);
  t.equal(readInit(bodyOf(body)).flags, INIT.MAX_PAGES);
  const agreed = { minor: 45, readaheadBytesMax: 0, backgroundMax: 0, congestionThreshold: 0 };
  const sizes = { writeBytesMax: 0, timeGranularityNs: 1, pagesMax: 1 };
  const flags = INIT.SETXATTR_EXT | INIT.INIT_EXT | INIT.DIRECT_IO_ALLOW_MMAP;
  const reply = encodeInit(7, { ...agreed, ...sizes, flags });
  t.equal(reply.readUInt32LE(12), Number(INIT.SETXATTR_EXT | INIT.INIT_EXT));
  t.equal(reply.readUInt32LE(32), 1 << 4);
});

t.test('who appends goes past the kernel’s pages, if it can be mapped all the same', async (t) => {
  const { RDONLY, WRONLY, RDWR, APPEND } = OPEN_FLAG;
  const direct = (flags: number, mayMapDirect: boolean) => {
    const body = Buffer.alloc(8);
    body.writeUInt32LE(flags, 0);
    return readOpen(bodyOf(body), mayMapDirect).direct;
  };
  for (const flags of [RDONLY, WRONLY, RDWR, RDONLY | APPEND]) t.notOk(direct(flags, true));
  t.ok(direct(WRONLY | APPEND, false));
  t.notOk(direct(RDWR | APPEND, false));
  t.ok(direct(RDWR | APPEND, true));
});

t.test('a request header with 64-bit numbers', async (t) => {
  const buffer = Buffer.alloc(40);
  buffer.writeUInt32LE(15, 4);
  buffer.writeBigUInt64LE(0x8000_0000_0000_0006n, 8);
  buffer.writeBigUInt64LE(2n ** 52n + 1n, 16);
  buffer.writeUInt32LE(1000, 24);
  const request = readHeader(buffer);
  t.match(request, { opcode: 15, unique: 0x8000_0000_0000_0006n, ino: 2 ** 52 + 1, uid: 1000 });
});

t.test('names end at their NUL and are copies', async (t) => {
  const buffer = Buffer.from('one\0two\0garbage');
  const [one, two] = readTwoNames({ ...bodyOf(buffer), end: 8 }, 0);
  const name = readName({ ...bodyOf(buffer), end: 8 }, 4);
  buffer.fill(0);
  t.same(
    [one, two, name].map(String),
    [...'one two two'.split(' ')].map((x) => String(utf8(x))),
  );
});

t.test('SETATTR: only what is valid, times before 1970', async (t) => {
  const buffer = Buffer.alloc(88);
  buffer.writeUInt32LE((1 << 3) | (1 << 4) | (1 << 5) | (1 << 8) | (1 << 6) | (1 << 11), 0);
  buffer.writeBigUInt64LE(77n, 8);
  buffer.writeBigUInt64LE(2n ** 40n, 16);
  buffer.writeBigInt64LE(-2n, 32);
  buffer.writeUInt32LE(500_000_000, 56);
  t.same(readSetAttributes(bodyOf(buffer)), {
    size: 2 ** 40,
    atime: { sec: -2, nsec: 500_000_000 },
    mtime: 'now',
    killPrivileges: true,
  });
});

t.test('BATCH_FORGET names each inode with its count', async (t) => {
  const buffer = Buffer.alloc(8 + 2 * 16);
  buffer.writeUInt32LE(2, 0);
  [5n, 1n, 6n, 300n].forEach((value, i) => {
    buffer.writeBigUInt64LE(value, 8 + 8 * i);
  });
  const forgotten: number[][] = [];
  readBatchForget(bodyOf(buffer), (ino, count) => forgotten.push([ino, count]));
  t.same(forgotten, [
    [5, 1],
    [6, 300],
  ]);
});

t.test('directory records are whole, aligned, and as many as fit', async (t) => {
  const entries: DirectoryEntry[] = ['.', '..', 'abc', 'x'.repeat(255)].map((name, i) => ({
    name: utf8(name),
    ino: 10 + i,
    type: 0o100000,
    cookie: i + 1,
    attributes: null,
  }));
  const { body, count } = encodeDirectory(entries, 100, false);
  t.equal(count, 3);
  t.equal(body.length, 96);
  t.equal(body.readBigUInt64LE(64), 12n);
  t.equal(body.readBigUInt64LE(72), 3n);
  t.equal(body.readUInt32LE(84), 8, 'DT_REG');
  t.equal(body.toString('utf8', 88, 91), 'abc');
  t.equal(encodeDirectory(entries, 1000, false).count, 4);
  t.equal(encodeDirectory(entries, 31, false).count, 0);
  t.equal(encodeDirectory(entries, 160, true).body.readBigUInt64LE(0), 0n, 'no node id');
});

t.test('a signal that is asked for after the interrupt is aborted', async (t) => {
  const request = new KernelRequest(2n, 15, 1, 0, 0, 0);
  request.interrupt();
  t.ok(request.signal.aborted);
  t.ok(request.signal.reason instanceof MootError);
  t.match(request.signal.reason, { code: 'INTERRUPTED' });
  t.equal(ERRNO.EINTR, 4);
});

function utf8(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text));
}
