import { assert } from '../../base/assert.js';
import type { Timespec } from '../../base/clock.js';
import { FLAG_APPEND, FLAG_IMMUTABLE, FLAG_NODUMP } from '../../filesystem/inode-flags.js';
import { LOCK_LAST_MAX } from '../../filesystem/lock-table.js';
import type { Inode } from '../../filesystem/records.js';
import type {
  Attributes,
  DirectoryEntry,
  FilesystemFigures,
  LockHolder,
  Opened,
} from '../mount.js';
import { FOPEN, LOCK_TYPE, OFFSET_MAX, SIZE } from './protocol.js';
import type { KernelRequest } from './requests.js';

/**
 * st_blksize: how much stdio and the like write at once. Every write is one request, so the usual
 * 4 KiB would make such programs many times slower.
 */
const BLOCK_BYTES_PREFERRED = 65_536;
/** st_blocks counts in these, see stat(2). */
const STAT_BLOCK_BYTES = 512;
/** statx(2): what the mask and the attributes of an inode may say. */
const STATX_BASIC_STATS = 0x7ff;
const STATX_BTIME = 0x800;
/** STATX_ATTR_IMMUTABLE, _APPEND and _NODUMP have the numbers of the inode's flags. */
const STATX_ATTRIBUTES = FLAG_IMMUTABLE | FLAG_APPEND | FLAG_NODUMP;
/** fuse_ioctl_out: result 0, and no vectors to be tried again with. */
const NO_IOVECS = new Uint8Array(16);
/** The largest fixed reply is CREATE's: fuse_entry_out and fuse_open_out. */
const SCRATCH_BYTES = 4096;

/** Writes one whole reply: the head, and behind it the data. Both are the caller's again afterwards. */
export type WriteReply = (head: Uint8Array, data: Uint8Array | null) => void;

/** Encodes replies and writes them, each at once: so one scratch buffer serves all. */
export class Replies {
  readonly #scratch = Buffer.alloc(SCRATCH_BYTES);

  constructor(
    private readonly writeReply: WriteReply,
    /** Called for every reply; it asserts that the request was not answered before. */
    private readonly onReply: (request: KernelRequest, errno: number) => void,
  ) {}

  ok(request: KernelRequest): void {
    this.#send(request, 0);
  }

  error(request: KernelRequest, errno: number): void {
    this.onReply(request, errno);
    this.#writeHeader(request.unique, -errno, SIZE.OUT_HEADER);
    this.#write(SIZE.OUT_HEADER, null);
  }

  /** Not about a request of the table: see INTERRUPT. */
  errorForUnique(unique: bigint, errno: number): void {
    this.#writeHeader(unique, -errno, SIZE.OUT_HEADER);
    this.#write(SIZE.OUT_HEADER, null);
  }

  entry(request: KernelRequest, attributes: Attributes): void {
    writeEntry(this.#scratch, SIZE.OUT_HEADER, attributes);
    this.#send(request, SIZE.ENTRY_OUT);
  }

  /** A node id of 0: the kernel may believe for that long that there is no such name. */
  absent(request: KernelRequest, timeoutSec: number): void {
    const at = SIZE.OUT_HEADER;
    this.#scratch.fill(0, at, at + SIZE.ENTRY_OUT);
    writeTimeout(this.#scratch, at + 16, at + 32, timeoutSec);
    this.#send(request, SIZE.ENTRY_OUT);
  }

  created(request: KernelRequest, created: Attributes & Opened, how: OpenReply): void {
    writeEntry(this.#scratch, SIZE.OUT_HEADER, created);
    this.#writeOpen(SIZE.OUT_HEADER + SIZE.ENTRY_OUT, created, how);
    this.#send(request, SIZE.ENTRY_OUT + SIZE.OPEN_OUT);
  }

  opened(request: KernelRequest, opened: Opened, how: OpenReply): void {
    this.#writeOpen(SIZE.OUT_HEADER, opened, how);
    this.#send(request, SIZE.OPEN_OUT);
  }

  attributes(request: KernelRequest, { inode, attrTimeoutSec }: Attributes): void {
    const b = this.#scratch;
    const at = SIZE.OUT_HEADER;
    writeTimeout(b, at, at + 8, attrTimeoutSec);
    b.writeUInt32LE(0, at + 12);
    writeInode(b, at + 16, inode);
    this.#send(request, SIZE.ATTR_OUT);
  }

  written(request: KernelRequest, bytes: number): void {
    this.#scratch.writeUInt32LE(bytes, SIZE.OUT_HEADER);
    this.#scratch.writeUInt32LE(0, SIZE.OUT_HEADER + 4);
    this.#send(request, SIZE.WRITE_OUT);
  }

  /** fuse_lseek_out, fuse_copy_file_range_out */
  number(request: KernelRequest, value: number): void {
    writeUint64(this.#scratch, SIZE.OUT_HEADER, value);
    this.#send(request, SIZE.NUMBER_OUT);
  }

  /** fuse_statx_out. The device number is the kernel's to fill in. */
  statx(request: KernelRequest, { inode, attrTimeoutSec }: Attributes): void {
    const b = this.#scratch;
    const at = SIZE.OUT_HEADER;
    b.fill(0, at, at + SIZE.STATX_OUT);
    writeTimeout(b, at, at + 8, attrTimeoutSec);
    writeStatx(b, at + 32, inode);
    this.#send(request, SIZE.STATX_OUT);
  }

  /** fuse_ioctl_out with result 0, and the data. */
  ioctl(request: KernelRequest, data: Uint8Array): void {
    this.data(request, Buffer.concat([NO_IOVECS, data]));
  }

  /** fuse_lk_out. null: nobody is in the way. */
  lock(request: KernelRequest, holder: LockHolder | null): void {
    const b = this.#scratch;
    const at = SIZE.OUT_HEADER;
    b.fill(0, at, at + SIZE.LK_OUT);
    if (holder === null) {
      b.writeUInt32LE(LOCK_TYPE.UNLCK, at + 16);
    } else {
      const { exclusive, first, last, pid } = holder;
      writeUint64(b, at, first);
      b.writeBigUInt64LE(last === LOCK_LAST_MAX ? OFFSET_MAX : BigInt(last), at + 8);
      b.writeUInt32LE(exclusive ? LOCK_TYPE.WRLCK : LOCK_TYPE.RDLCK, at + 16);
      b.writeUInt32LE(pid, at + 20);
    }
    this.#send(request, SIZE.LK_OUT);
  }

  xattrSize(request: KernelRequest, bytes: number): void {
    this.written(request, bytes); // fuse_getxattr_out has fuse_write_out's layout
  }

  figures(request: KernelRequest, figures: FilesystemFigures): void {
    const b = this.#scratch;
    const at = SIZE.OUT_HEADER;
    b.fill(0, at, at + SIZE.STATFS_OUT);
    writeUint64(b, at, figures.blocks);
    writeUint64(b, at + 8, figures.blocksFree);
    writeUint64(b, at + 16, figures.blocksFree);
    writeUint64(b, at + 24, figures.inodes);
    writeUint64(b, at + 32, figures.inodesFree);
    b.writeUInt32LE(figures.blockBytes, at + 40);
    b.writeUInt32LE(figures.nameBytesMax, at + 44);
    b.writeUInt32LE(figures.blockBytes, at + 48);
    this.#send(request, SIZE.STATFS_OUT);
  }

  data(request: KernelRequest, data: Uint8Array): void {
    this.onReply(request, 0);
    this.#writeHeader(request.unique, 0, SIZE.OUT_HEADER + data.length);
    this.#write(SIZE.OUT_HEADER, data);
  }

  #send(request: KernelRequest, bodyBytes: number): void {
    this.onReply(request, 0);
    this.#writeHeader(request.unique, 0, SIZE.OUT_HEADER + bodyBytes);
    this.#write(SIZE.OUT_HEADER + bodyBytes, null);
  }

  #writeOpen(at: number, opened: Opened, { flush, direct }: OpenReply): void {
    const b = this.#scratch;
    writeUint64(b, at, opened.handle);
    b.writeUInt32LE(
      (direct ? FOPEN.DIRECT_IO : 0) |
        (opened.keepCache ? FOPEN.KEEP_CACHE : 0) |
        (flush ? 0 : FOPEN.NOFLUSH),
      at + 8,
    );
    b.writeUInt32LE(0, at + 12);
  }

  #writeHeader(unique: bigint, error: number, length: number): void {
    const b = this.#scratch;
    b.writeUInt32LE(length, 0);
    b.writeInt32LE(error, 4);
    b.writeBigUInt64LE(unique, 8);
  }

  #write(scratchBytes: number, data: Uint8Array | null): void {
    this.writeReply(this.#scratch.subarray(0, scratchBytes), data);
  }
}

export function writeUint64(buffer: Buffer, at: number, value: number): void {
  buffer.writeUInt32LE(value >>> 0, at);
  buffer.writeInt32LE(Math.floor(value / 0x1_0000_0000) | 0, at + 4);
}

function writeTimeout(buffer: Buffer, secAt: number, nsecAt: number, timeoutSec: number): void {
  const whole = Math.floor(timeoutSec);
  writeUint64(buffer, secAt, whole);
  buffer.writeUInt32LE(Math.floor((timeoutSec - whole) * 1e9), nsecAt);
}

/** fuse_entry_out. Inode numbers are never used again, so the generation is 0. */
function writeEntry(buffer: Buffer, at: number, entry: Attributes): void {
  writeUint64(buffer, at, entry.inode.ino);
  writeUint64(buffer, at + 8, 0);
  writeTimeout(buffer, at + 16, at + 32, entry.entryTimeoutSec);
  writeTimeout(buffer, at + 24, at + 36, entry.attrTimeoutSec);
  writeInode(buffer, at + 40, entry.inode);
}

/** fuse_attr */
function writeInode(buffer: Buffer, at: number, inode: Inode): void {
  writeUint64(buffer, at, inode.ino);
  writeUint64(buffer, at + 8, inode.size);
  writeUint64(buffer, at + 16, Math.ceil(inode.bytes / STAT_BLOCK_BYTES));
  writeTime(buffer, at + 24, at + 48, inode.atime);
  writeTime(buffer, at + 32, at + 52, inode.mtime);
  writeTime(buffer, at + 40, at + 56, inode.ctime);
  buffer.writeUInt32LE(inode.mode, at + 60);
  buffer.writeUInt32LE(inode.nlink, at + 64);
  buffer.writeUInt32LE(inode.uid, at + 68);
  buffer.writeUInt32LE(inode.gid, at + 72);
  buffer.writeUInt32LE(inode.rdev, at + 76);
  buffer.writeUInt32LE(BLOCK_BYTES_PREFERRED, at + 80);
  buffer.writeUInt32LE(0, at + 84);
}

/** struct fuse_statx */
function writeStatx(buffer: Buffer, at: number, inode: Inode): void {
  buffer.writeUInt32LE(STATX_BASIC_STATS | STATX_BTIME, at);
  buffer.writeUInt32LE(BLOCK_BYTES_PREFERRED, at + 4);
  buffer.writeUInt32LE(inode.flags & STATX_ATTRIBUTES, at + 8);
  buffer.writeUInt32LE(inode.nlink, at + 16);
  buffer.writeUInt32LE(inode.uid, at + 20);
  buffer.writeUInt32LE(inode.gid, at + 24);
  buffer.writeUInt16LE(inode.mode, at + 28);
  writeUint64(buffer, at + 32, inode.ino);
  writeUint64(buffer, at + 40, inode.size);
  writeUint64(buffer, at + 48, Math.ceil(inode.bytes / STAT_BLOCK_BYTES));
  buffer.writeUInt32LE(STATX_ATTRIBUTES, at + 56);
  for (const [i, time] of [inode.atime, inode.btime, inode.ctime, inode.mtime].entries()) {
    writeTime(buffer, at + 64 + 16 * i, at + 72 + 16 * i, time);
  }
  // As the kernel packs device numbers for user space: new_encode_dev of linux/kdev_t.h.
  buffer.writeUInt32LE((inode.rdev >>> 8) & 0xfff, at + 128);
  buffer.writeUInt32LE((inode.rdev & 0xff) | ((inode.rdev >>> 12) & 0xfff00), at + 132);
}

function writeTime(buffer: Buffer, secAt: number, nsecAt: number, time: Timespec): void {
  writeUint64(buffer, secAt, time.sec);
  buffer.writeUInt32LE(time.nsec, nsecAt);
}

/** fuse_dirent and fuse_direntplus records are padded to eight bytes. */
function aligned(bytes: number): number {
  return (bytes + 7) & ~7;
}

/**
 * The body of READDIR and READDIRPLUS: as many entries as fit in `bytesMax`, and how many those are.
 */
export function encodeDirectory(
  entries: readonly DirectoryEntry[],
  bytesMax: number,
  plus: boolean,
): { readonly body: Buffer; readonly count: number } {
  const fixedBytes = (plus ? SIZE.ENTRY_OUT : 0) + SIZE.DIRENT;
  let bytes = 0;
  let count = 0;
  for (const entry of entries) {
    const next = bytes + aligned(fixedBytes + entry.name.length);
    if (next > bytesMax) break;
    bytes = next;
    count++;
  }
  const body = Buffer.alloc(bytes);
  let at = 0;
  for (let i = 0; i < count; i++) {
    const entry = entries[i];
    assert(entry !== undefined, 'count is within the entries');
    if (plus) {
      // A node id of 0 gives the name only; so for '.' and '..', which the kernel does not look up.
      if (entry.attributes !== null) writeEntry(body, at, entry.attributes);
      at += SIZE.ENTRY_OUT;
    }
    writeUint64(body, at, entry.ino);
    writeUint64(body, at + 8, entry.cookie);
    body.writeUInt32LE(entry.name.length, at + 16);
    body.writeUInt32LE(entry.type >>> 12, at + 20);
    body.set(entry.name, at + SIZE.DIRENT);
    at += aligned(SIZE.DIRENT + entry.name.length);
  }
  return { body, count };
}

/** fuse_open_out.open_flags, but for what `Opened` says. */
export interface OpenReply {
  /** close(2) must ask us. */
  readonly flush: boolean;
  /** Bytes go past the kernel's pages. */
  readonly direct: boolean;
}

/** fuse_init_out. `flags` and sizes are what was negotiated, see init.ts. */
export interface InitReply {
  readonly minor: number;
  readonly readaheadBytesMax: number;
  readonly flags: bigint;
  readonly backgroundMax: number;
  readonly congestionThreshold: number;
  readonly writeBytesMax: number;
  readonly timeGranularityNs: number;
  readonly pagesMax: number;
}

export function encodeInit(major: number, reply: InitReply): Buffer {
  const body = Buffer.alloc(SIZE.INIT_OUT);
  body.writeUInt32LE(major, 0);
  body.writeUInt32LE(reply.minor, 4);
  body.writeUInt32LE(reply.readaheadBytesMax, 8);
  body.writeUInt32LE(Number(reply.flags & 0xffff_ffffn), 12);
  body.writeUInt16LE(reply.backgroundMax, 16);
  body.writeUInt16LE(reply.congestionThreshold, 18);
  body.writeUInt32LE(reply.writeBytesMax, 20);
  body.writeUInt32LE(reply.timeGranularityNs, 24);
  body.writeUInt16LE(reply.pagesMax, 28);
  body.writeUInt32LE(Number(reply.flags >> 32n), 32);
  return body;
}
