import { MootError } from '../../base/errors.js';
import { LOCK_LAST_MAX } from '../../filesystem/lock-table.js';
import type { Ino } from '../../filesystem/records.js';
import { interrupted } from '../abort.js';
import type {
  AttributeChange,
  Caller,
  FileRange,
  Handle,
  LockRequest,
  OpenFlags,
  WriteFlags,
} from '../mount.js';
import {
  FATTR,
  INIT,
  LK_FLOCK,
  LOCK_TYPE,
  OPEN_FLAG,
  OPEN_KILL_SUIDGID,
  READ_LOCKOWNER,
  SETXATTR_ACL_KILL_SGID,
  SIZE,
  WRITE_CACHE,
  WRITE_KILL_SUIDGID,
} from './protocol.js';
import { renameCallOf } from './threads.js';

/**
 * A request as the kernel sent it: fuse_in_header, and where its arguments lie in the buffer.
 * The buffer is used again after the handler's first await, so what is kept is copied before.
 * Names and values that the functions below return are copies.
 */
export class KernelRequest implements Caller {
  #controller: AbortController | null = null;
  #interrupted = false;
  /** When it was read; only kept when somebody looks on. */
  startedMs = 0;
  hasBegun = false;

  constructor(
    readonly unique: bigint,
    readonly opcode: number,
    readonly ino: Ino,
    readonly uid: number,
    readonly gid: number,
    /** The thread that asks, in the pid namespace of the mount. 0: the kernel itself. */
    readonly pid: number,
  ) {}

  /** Made when it is first asked for: most requests are answered without one. */
  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#interrupted) this.#controller.abort(interrupted());
    }
    return this.#controller.signal;
  }

  renameCall(): Promise<string | null> {
    return renameCallOf(this.pid);
  }

  begun(): void {
    this.hasBegun = true;
  }

  interrupt(): void {
    this.#interrupted = true;
    this.#controller?.abort(interrupted());
  }
}

/** The arguments of one request. */
export interface Body {
  readonly buffer: Buffer;
  readonly start: number;
  readonly end: number;
  /** Set by a handler, before its first await, that keeps the buffer: nobody else uses it again. */
  taken: boolean;
}

/** fuse_lk_in, of GETLK, SETLK and SETLKW. EINVAL for a lock that begins beyond what any file reaches. */
export function readLock(
  body: Body,
  waits: boolean,
): { readonly handle: Handle; readonly lock: LockRequest } {
  const { buffer, start } = body;
  const first = buffer.readBigUInt64LE(start + 16);
  const last = buffer.readBigUInt64LE(start + 24);
  if (first >= LAST_MAX || last < first) throw new MootError('EINVAL', 'a lock of no bytes');
  return {
    handle: readUint64(buffer, start),
    lock: {
      kind: (buffer.readUInt32LE(start + 40) & LK_FLOCK) !== 0 ? 'flock' : 'posix',
      mode: lockModeOf(buffer.readUInt32LE(start + 32)),
      owner: readOwner(buffer, start + 8),
      pid: buffer.readUInt32LE(start + 36),
      first: Number(first),
      last: last >= LAST_MAX ? LOCK_LAST_MAX : Number(last),
      waits,
    },
  };
}

const LAST_MAX = BigInt(LOCK_LAST_MAX);

function lockModeOf(type: number): LockRequest['mode'] {
  switch (type) {
    case LOCK_TYPE.RDLCK:
      return 'shared';
    case LOCK_TYPE.WRLCK:
      return 'exclusive';
    case LOCK_TYPE.UNLCK:
      return 'unlock';
    default:
      throw new MootError('EINVAL', `lock type ${type} is unknown`);
  }
}

/** fuse_flush_in.lock_owner */
export function readFlushOwner(body: Body): string {
  return readOwner(body.buffer, body.start + 16);
}

function readOwner(buffer: Buffer, at: number): string {
  return buffer.readBigUInt64LE(at).toString(36);
}

/** Numbers above 2^53 are none of ours: inodes, handles, offsets and sizes are smaller. */
export function readUint64(buffer: Buffer, at: number): number {
  return buffer.readUInt32LE(at) + buffer.readUInt32LE(at + 4) * 0x1_0000_0000;
}

/** Like readUint64, for times before 1970 and offsets that may be negative. */
function readInt64(buffer: Buffer, at: number): number {
  return buffer.readUInt32LE(at) + buffer.readInt32LE(at + 4) * 0x1_0000_0000;
}

export function readHeader(buffer: Buffer): KernelRequest {
  return new KernelRequest(
    buffer.readBigUInt64LE(8),
    buffer.readUInt32LE(4),
    readUint64(buffer, 16),
    buffer.readUInt32LE(24),
    buffer.readUInt32LE(28),
    buffer.readUInt32LE(32),
  );
}

/** fuse_in_header.len */
export function readLength(buffer: Buffer): number {
  return buffer.readUInt32LE(0);
}

function copyOf(buffer: Buffer, from: number, to: number): Uint8Array {
  const copy = new Uint8Array(to - from);
  copy.set(buffer.subarray(from, to));
  return copy;
}

/** A string that ends with NUL before `body.end`; EINVAL when none does. */
export function readName(body: Body, offset = 0): Uint8Array {
  const from = body.start + offset;
  return copyOf(body.buffer, from, endOfName(body, from));
}

/** Two strings, one after the other. */
export function readTwoNames(body: Body, offset: number): readonly [Uint8Array, Uint8Array] {
  const from = body.start + offset;
  const middle = endOfName(body, from);
  return [
    copyOf(body.buffer, from, middle),
    copyOf(body.buffer, middle + 1, endOfName(body, middle + 1)),
  ];
}

function endOfName(body: Body, from: number): number {
  const end = body.buffer.indexOf(0, from);
  if (end < 0 || end >= body.end) throw new MootError('EINVAL', 'a name without an end');
  return end;
}

/** fuse_init_in */
export function readInit(body: Body): {
  readonly major: number;
  readonly minor: number;
  readonly readaheadBytesMax: number;
  readonly flags: bigint;
} {
  const { buffer, start, end } = body;
  const flags = BigInt(buffer.readUInt32LE(start + 12));
  // The second word is there since 7.36, where the first says so.
  const hasMore = (flags & INIT.INIT_EXT) !== 0n && start + 20 <= end;
  const more = hasMore ? BigInt(buffer.readUInt32LE(start + 16)) << 32n : 0n;
  return {
    major: buffer.readUInt32LE(start),
    minor: buffer.readUInt32LE(start + 4),
    readaheadBytesMax: buffer.readUInt32LE(start + 8),
    flags: flags | more,
  };
}

/** fuse_setattr_in.fh, when it is by an open file. */
export function readSetAttributesHandle({ buffer, start }: Body): Handle | undefined {
  const has = (buffer.readUInt32LE(start) & FATTR.FH) !== 0;
  return has ? readUint64(buffer, start + 8) : undefined;
}

const SECONDS_MAX = Number.MAX_SAFE_INTEGER;

/** fuse_setattr_in */
export function readSetAttributes(body: Body): AttributeChange {
  const { buffer, start } = body;
  const valid = buffer.readUInt32LE(start);
  // What no time can be is the nearest that can, as in Linux's own filesystems (timestamp_truncate).
  const timeAt = (sec: number, nsec: number) => ({
    sec: Math.max(-SECONDS_MAX, Math.min(SECONDS_MAX, readInt64(buffer, start + sec))),
    nsec: buffer.readUInt32LE(start + nsec),
  });
  const has = (flag: number) => (valid & flag) !== 0;
  return {
    ...(has(FATTR.MODE) && { mode: buffer.readUInt32LE(start + 68) & 0o7777 }),
    ...(has(FATTR.UID) && { uid: buffer.readUInt32LE(start + 76) }),
    ...(has(FATTR.GID) && { gid: buffer.readUInt32LE(start + 80) }),
    ...(has(FATTR.SIZE) && { size: readUint64(buffer, start + 16) }),
    ...(has(FATTR.ATIME) && { atime: has(FATTR.ATIME_NOW) ? 'now' : timeAt(32, 56) }),
    ...(has(FATTR.MTIME) && { mtime: has(FATTR.MTIME_NOW) ? 'now' : timeAt(40, 60) }),
    ...(has(FATTR.KILL_SUIDGID) && { killPrivileges: true }),
  };
}

/**
 * Open flags of open(2) with the FUSE_OPEN_* flags beside them. Who appends goes past the kernel's
 * pages: through pages the kernel divides a write(2) behind a page of the file's that it does not have
 * whole (fuse_fill_write_pages), and what another mount appends may then lie between the parts. Where
 * such files cannot be mapped, those do so that are opened for nothing else.
 */
function openFlagsOf(flags: number, openFlags: number, mayMapDirect: boolean): OpenFlags {
  const mode = flags & OPEN_FLAG.ACCMODE;
  const read = mode !== OPEN_FLAG.WRONLY;
  const write = mode !== OPEN_FLAG.RDONLY;
  const append = (flags & OPEN_FLAG.APPEND) !== 0;
  return {
    read,
    write,
    append,
    direct: write && append && (mayMapDirect || !read),
    truncate: (flags & OPEN_FLAG.TRUNC) !== 0,
    killPrivileges: (openFlags & OPEN_KILL_SUIDGID) !== 0,
  };
}

/** fuse_open_in */
export function readOpen(body: Body, mayMapDirect: boolean): OpenFlags {
  const { buffer, start } = body;
  return openFlagsOf(buffer.readUInt32LE(start), buffer.readUInt32LE(start + 4), mayMapDirect);
}

/** fuse_create_in, of CREATE and TMPFILE. */
export function readCreate(
  body: Body,
  mayMapDirect: boolean,
): {
  readonly mode: number;
  readonly umask: number;
  readonly flags: OpenFlags & { readonly exclusive: boolean };
  readonly name: Uint8Array;
} {
  const { buffer, start } = body;
  const flags = buffer.readUInt32LE(start);
  return {
    mode: buffer.readUInt32LE(start + 4),
    umask: buffer.readUInt32LE(start + 8),
    flags: {
      ...openFlagsOf(flags, buffer.readUInt32LE(start + 12), mayMapDirect),
      exclusive: (flags & OPEN_FLAG.EXCL) !== 0,
    },
    name: readName(body, SIZE.CREATE_IN),
  };
}

/** fuse_mknod_in */
export function readMakeNode(body: Body): {
  readonly mode: number;
  readonly umask: number;
  readonly rdev: number;
  readonly name: Uint8Array;
} {
  const { buffer, start } = body;
  return {
    mode: buffer.readUInt32LE(start),
    rdev: buffer.readUInt32LE(start + 4),
    umask: buffer.readUInt32LE(start + 8),
    name: readName(body, SIZE.CREATE_IN),
  };
}

/** fuse_mkdir_in */
export function readMakeDirectory(body: Body): {
  readonly mode: number;
  readonly umask: number;
  readonly name: Uint8Array;
} {
  const { buffer, start } = body;
  return {
    mode: buffer.readUInt32LE(start),
    umask: buffer.readUInt32LE(start + 4),
    name: readName(body, 8),
  };
}

/** fuse_rename_in, or fuse_rename2_in with its flags. */
export function readRename(
  body: Body,
  withFlags: boolean,
): {
  readonly newParent: Ino;
  readonly flags: number;
  readonly name: Uint8Array;
  readonly newName: Uint8Array;
} {
  const { buffer, start } = body;
  const [name, newName] = readTwoNames(body, withFlags ? 16 : 8);
  return {
    newParent: readUint64(buffer, start),
    flags: withFlags ? buffer.readUInt32LE(start + 8) : 0,
    name,
    newName,
  };
}

/** fuse_link_in */
export function readLink(body: Body): { readonly ino: Ino; readonly name: Uint8Array } {
  return { ino: readUint64(body.buffer, body.start), name: readName(body, 8) };
}

/** The handle at the start of fuse_release_in, fuse_flush_in, fuse_fsync_in. */
export function readHandle(body: Body): Handle {
  return readUint64(body.buffer, body.start);
}

/**
 * fuse_read_in, of READ, READDIR and READDIRPLUS. `isPast`: what is read does not go into the page cache. A read(2) of an open file has a lock's
 * owner there, a page that is read has none (fuse_direct_io, fuse_read_args_fill).
 */
export function readRead(body: Body): {
  readonly handle: Handle;
  readonly offset: number;
  readonly size: number;
  readonly isPast: boolean;
} {
  const { buffer, start } = body;
  return {
    handle: readUint64(buffer, start),
    offset: readUint64(buffer, start + 8),
    size: buffer.readUInt32LE(start + 16),
    isPast: (buffer.readUInt32LE(start + 20) & READ_LOCKOWNER) !== 0,
  };
}

/**
 * fuse_write_in; `data` is a part of the request's own buffer. Whether it appends is what the file's
 * flags are now, not at its open(2); and what comes from the page cache has its place there.
 */
export function readWrite(body: Body): {
  readonly handle: Handle;
  readonly offset: number;
  readonly flags: WriteFlags;
  readonly data: Buffer;
} {
  const { buffer, start } = body;
  const size = buffer.readUInt32LE(start + 16);
  const writeFlags = buffer.readUInt32LE(start + 20);
  const fileFlags = buffer.readUInt32LE(start + 32);
  const dataStart = start + SIZE.WRITE_IN;
  refuseCut(body, dataStart + size);
  return {
    handle: readUint64(buffer, start),
    offset: readUint64(buffer, start + 8),
    flags: {
      append: (fileFlags & OPEN_FLAG.APPEND) !== 0 && (writeFlags & WRITE_CACHE) === 0,
      cached: (writeFlags & WRITE_CACHE) !== 0,
      killPrivileges: (writeFlags & WRITE_KILL_SUIDGID) !== 0,
      sync: (fileFlags & (OPEN_FLAG.DSYNC | OPEN_FLAG.SYNC)) !== 0,
    },
    data: buffer.subarray(dataStart, dataStart + size),
  };
}

/** EINVAL for a request that says it is longer than it is. */
function refuseCut(body: Body, end: number): void {
  if (end > body.end) throw new MootError('EINVAL', 'a request ends before its data');
}

/** fuse_fallocate_in */
export function readFallocate(
  body: Body,
  ino: Ino,
): { readonly range: FileRange; readonly length: number; readonly mode: number } {
  const { buffer, start } = body;
  return {
    range: { ino, handle: readUint64(buffer, start), offset: readUint64(buffer, start + 8) },
    length: readUint64(buffer, start + 16),
    mode: buffer.readUInt32LE(start + 24),
  };
}

/** fuse_lseek_in */
export function readSeek(
  body: Body,
  ino: Ino,
): { readonly range: FileRange; readonly whence: number } {
  const { buffer, start } = body;
  return {
    range: { ino, handle: readUint64(buffer, start), offset: readUint64(buffer, start + 8) },
    whence: buffer.readUInt32LE(start + 16),
  };
}

/** fuse_copy_file_range_in */
export function readCopyRange(
  body: Body,
  ino: Ino,
): { readonly from: FileRange; readonly to: FileRange; readonly length: number } {
  const { buffer, start } = body;
  const number = (at: number) => readUint64(buffer, start + at);
  return {
    from: { ino, handle: number(0), offset: number(8) },
    to: { ino: number(16), handle: number(24), offset: number(32) },
    length: number(40),
  };
}

/** fuse_ioctl_in, and what the program hands in; a copy. */
export function readIoctl(body: Body): {
  readonly command: number;
  readonly data: Buffer;
  readonly answerBytesMax: number;
} {
  const { buffer, start } = body;
  const size = buffer.readUInt32LE(start + 24);
  const dataStart = start + SIZE.IOCTL_IN;
  refuseCut(body, dataStart + size);
  return {
    command: buffer.readUInt32LE(start + 12),
    data: Buffer.from(buffer.subarray(dataStart, dataStart + size)),
    answerBytesMax: buffer.readUInt32LE(start + 28),
  };
}

/** fuse_setxattr_in, `extended` with SETXATTR_EXT, then the name, then the value. */
export function readSetXattr(
  body: Body,
  extended: boolean,
): {
  readonly name: Uint8Array;
  readonly value: Uint8Array;
  readonly flags: number;
  readonly killSetGid: boolean;
} {
  const { buffer, start } = body;
  const size = buffer.readUInt32LE(start);
  const fixedBytes = extended ? SIZE.SETXATTR_IN : SIZE.SETXATTR_IN_COMPAT;
  const name = readName(body, fixedBytes);
  const valueStart = start + fixedBytes + name.length + 1;
  refuseCut(body, valueStart + size);
  return {
    killSetGid: extended && (buffer.readUInt32LE(start + 8) & SETXATTR_ACL_KILL_SGID) !== 0,
    name,
    value: copyOf(buffer, valueStart, valueStart + size),
    flags: buffer.readUInt32LE(start + 4),
  };
}

/** fuse_getxattr_in, of GETXATTR (a name follows) and LISTXATTR. Size 0 asks how much it is. */
export function readXattrSize(body: Body): number {
  return body.buffer.readUInt32LE(body.start);
}
export const XATTR_NAME_OFFSET = 8;

/** fuse_forget_in */
export function readForget(body: Body): number {
  return readUint64(body.buffer, body.start);
}

/** fuse_batch_forget_in with its fuse_forget_one's. */
export function readBatchForget(body: Body, forget: (ino: Ino, count: number) => void): void {
  const { buffer, start } = body;
  const count = Math.min(buffer.readUInt32LE(start), Math.floor((body.end - start - 8) / 16));
  for (let i = 0; i < count; i++) {
    const at = start + 8 + 16 * i;
    forget(readUint64(buffer, at), readUint64(buffer, at + 8));
  }
}

/** fuse_interrupt_in: which request is meant. */
export function readInterrupt(body: Body): bigint {
  return body.buffer.readBigUInt64LE(body.start);
}
