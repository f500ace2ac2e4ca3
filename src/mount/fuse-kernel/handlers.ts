import { assert } from '../../base/assert.js';
import { ERRNO } from '../../base/errno.js';
import { isMootError, MootError } from '../../base/errors.js';
import type { AllocateMode } from '../../filesystem/commands.js';
import { S_IFDIR, S_IFMT, S_IFREG } from '../../filesystem/mode.js';
import type { MountOperations, OpenFlags } from '../mount.js';
import { negotiate } from './init.js';
import { ioctl } from './ioctl.js';
import {
  FALLOCATE,
  INIT,
  KERNEL_VERSION,
  OPCODE,
  type OpcodeName,
  RENAME_FLAG,
  SEEK,
  SIZE,
  XATTR_FLAG,
} from './protocol.js';
import { encodeDirectory, encodeInit, type OpenReply, type Replies } from './replies.js';
import {
  type Body,
  type KernelRequest,
  readBatchForget,
  readCopyRange,
  readCreate,
  readFallocate,
  readFlushOwner,
  readForget,
  readHandle,
  readInit,
  readInterrupt,
  readIoctl,
  readLink,
  readLock,
  readMakeDirectory,
  readMakeNode,
  readName,
  readOpen,
  readRead,
  readRename,
  readSeek,
  readSetAttributes,
  readSetAttributesHandle,
  readSetXattr,
  readTwoNames,
  readWrite,
  readXattrSize,
  XATTR_NAME_OFFSET,
} from './requests.js';

/** What handlers work with. */
export interface Served {
  readonly operations: MountOperations;
  readonly replies: Replies;
  /** Locks are the cluster's, not the kernel's own. */
  readonly clusterLocks: boolean;
  /** INIT flags that both sides have. */
  agreedFlags: bigint;
  /** The kernel and we agree, or why not. */
  onNegotiated(kernelMinor: number, error: MootError | null): void;
  /** False: no such request is under way. */
  interrupt(unique: bigint): boolean;
}

/**
 * Handles one request and answers it exactly once, but for those that have no answer. Until its
 * first await a handler has the request's buffer; after it, only what it copied. A MootError that
 * it throws becomes the answer.
 */
export type Handler = (served: Served, request: KernelRequest, body: Body) => void | Promise<void>;

/** Data of at least this share of the buffer is handed over with it; less is copied out. */
const TAKE_BUFFER_SHARE = 0.5;

/** Not implemented, and the kernel knows how to do without: it remembers ENOSYS and never asks again. */
const notImplemented: Handler = ({ replies }, request) => replies.error(request, ERRNO.ENOSYS);

/** A request without an answer that means nothing here. */
const ignored: Handler = () => {};

const HANDLERS: Readonly<Record<OpcodeName, Handler>> = {
  async LOOKUP({ operations, replies }, request, body) {
    const name = readName(body);
    try {
      replies.entry(request, await operations.lookup(request.ino, name, request));
    } catch (error) {
      const timeoutSec = isMootError(error, 'ENOENT')
        ? operations.absenceTimeoutSec(request.ino, name)
        : 0;
      if (timeoutSec === 0) throw error;
      replies.absent(request, timeoutSec);
    }
  },

  FORGET({ operations }, request, body) {
    operations.forget(request.ino, readForget(body));
  },

  BATCH_FORGET({ operations }, _request, body) {
    readBatchForget(body, (ino, count) => operations.forget(ino, count));
  },

  async GETATTR({ operations, replies }, request) {
    replies.attributes(request, await operations.getAttributes(request.ino, request));
  },

  async SETATTR({ operations, replies }, request, body) {
    const change = readSetAttributes(body);
    const handle = readSetAttributesHandle(body);
    const changed = await operations.setAttributes(request.ino, change, request, handle);
    replies.attributes(request, changed);
  },

  async READLINK({ operations, replies }, request) {
    replies.data(request, await operations.readLink(request.ino, request));
  },

  async SYMLINK({ operations, replies }, request, body) {
    const [name, target] = readTwoNames(body, 0);
    replies.entry(request, await operations.makeSymlink(request.ino, name, target, request));
  },

  async MKNOD({ operations, replies }, request, body) {
    const { name, ...node } = readMakeNode(body);
    replies.entry(request, await operations.makeNode(request.ino, name, node, request));
  },

  async MKDIR({ operations, replies }, request, body) {
    const { name, mode, umask } = readMakeDirectory(body);
    const node = { mode: (mode & ~S_IFMT) | S_IFDIR, umask, rdev: 0 };
    replies.entry(request, await operations.makeNode(request.ino, name, node, request));
  },

  async UNLINK({ operations, replies }, request, body) {
    await operations.unlink(request.ino, readName(body), request);
    replies.ok(request);
  },

  async RMDIR({ operations, replies }, request, body) {
    await operations.removeDirectory(request.ino, readName(body), request);
    replies.ok(request);
  },

  RENAME: (served, request, body) => rename(served, request, body, false),
  RENAME2: (served, request, body) => rename(served, request, body, true),

  async LINK({ operations, replies }, request, body) {
    const { ino, name } = readLink(body);
    replies.entry(request, await operations.link(ino, request.ino, name, request));
  },

  async CREATE(served, request, body) {
    const { operations, replies } = served;
    const { name, mode, umask, flags } = readCreate(body, mayMapDirect(served));
    const node = { mode: (mode & ~S_IFMT) | S_IFREG, umask };
    const created = await operations.create(request.ino, name, node, flags, request);
    replies.created(request, created, openReply(flags, served));
  },

  async TMPFILE(served, request, body) {
    const { operations, replies } = served;
    const { mode, umask, flags } = readCreate(body, mayMapDirect(served));
    const made = await operations.createUnnamed(request.ino, { mode, umask }, flags, request);
    replies.created(request, made, openReply(flags, served));
  },

  async OPEN(served, request, body) {
    const { operations, replies } = served;
    const flags = readOpen(body, mayMapDirect(served));
    const opened = await operations.open(request.ino, flags, request);
    replies.opened(request, opened, openReply(flags, served));
  },

  async READ({ operations, replies }, request, body) {
    const { handle, offset, size, isPast } = readRead(body);
    const data = await operations.read(request.ino, handle, offset, size, request, isPast);
    assert(data.length <= size, 'a read gives no more than was asked for');
    replies.data(request, data);
  },

  async WRITE({ operations, replies }, request, body) {
    const { handle, offset, data, flags } = readWrite(body);
    body.taken = data.length >= body.buffer.length * TAKE_BUFFER_SHARE;
    const own = body.taken ? data : new Uint8Array(data);
    replies.written(
      request,
      await operations.write(request.ino, handle, offset, own, flags, request),
    );
  },

  async FALLOCATE({ operations, replies }, request, body) {
    const { range, length, mode } = readFallocate(body, request.ino);
    await operations.allocate(range, length, allocateModeOf(mode), request);
    replies.ok(request);
  },

  async LSEEK({ operations, replies }, request, body) {
    const { range, whence } = readSeek(body, request.ino);
    if (whence !== SEEK.DATA && whence !== SEEK.HOLE) {
      throw new MootError('EINVAL', `whence ${whence} is unknown`);
    }
    const what = whence === SEEK.DATA ? 'data' : 'hole';
    replies.number(request, await operations.seek(range, what, request));
  },

  async COPY_FILE_RANGE({ operations, replies }, request, body) {
    const { from, to, length } = readCopyRange(body, request.ino);
    replies.written(request, await operations.copyRange(from, to, length, request));
  },

  async COPY_FILE_RANGE_64({ operations, replies }, request, body) {
    const { from, to, length } = readCopyRange(body, request.ino);
    replies.number(request, await operations.copyRange(from, to, length, request));
  },

  async FLUSH({ operations, replies }, request, body) {
    const handle = readHandle(body);
    await operations.flush(request.ino, handle, request, readFlushOwner(body));
    replies.ok(request);
  },

  async FSYNC({ operations, replies }, request, body) {
    await operations.fsync(request.ino, readHandle(body), request);
    replies.ok(request);
  },

  async RELEASE({ operations, replies }, request, body) {
    await operations.release(request.ino, readHandle(body));
    replies.ok(request);
  },

  async OPENDIR({ operations, replies }, request) {
    const handle = await operations.openDirectory(request.ino, request);
    replies.opened(request, { handle, keepCache: false }, { flush: true, direct: false });
  },

  READDIR: (served, request, body) => readDirectory(served, request, body, false),
  READDIRPLUS: (served, request, body) => readDirectory(served, request, body, true),

  RELEASEDIR({ operations, replies }, request, body) {
    operations.releaseDirectory(request.ino, readHandle(body));
    replies.ok(request);
  },

  async FSYNCDIR({ operations, replies }, request, body) {
    await operations.fsyncDirectory(request.ino, readHandle(body), request);
    replies.ok(request);
  },

  async STATFS({ operations, replies }, request) {
    replies.figures(request, await operations.statfs(request));
  },

  async SETXATTR({ operations, replies, agreedFlags }, request, body) {
    const extended = (agreedFlags & INIT.SETXATTR_EXT) !== 0n;
    const { name, value, flags, killSetGid } = readSetXattr(body, extended);
    const mode = xattrModeOf(flags);
    if (mode === 'neither') {
      // Local filesystems look at both, and find one that does not hold.
      await operations.getXattr(request.ino, name, request);
      throw new MootError('EEXIST', 'to be created, and there already');
    }
    await operations.setXattr(request.ino, name, value, mode, killSetGid, request);
    replies.ok(request);
  },

  async GETXATTR({ operations, replies }, request, body) {
    const size = readXattrSize(body);
    const name = readName(body, XATTR_NAME_OFFSET);
    replyXattr(replies, request, size, await operations.getXattr(request.ino, name, request));
  },

  async LISTXATTR({ operations, replies }, request, body) {
    const size = readXattrSize(body);
    const names = await operations.listXattrs(request.ino, request);
    const list = Buffer.concat(names.flatMap((name) => [name, NUL]));
    replyXattr(replies, request, size, list);
  },

  async REMOVEXATTR({ operations, replies }, request, body) {
    await operations.removeXattr(request.ino, readName(body), request);
    replies.ok(request);
  },

  async STATX({ operations, replies }, request) {
    replies.statx(request, await operations.getAttributes(request.ino, request));
  },

  async SYNCFS({ operations, replies }, request) {
    await operations.sync(request);
    replies.ok(request);
  },

  async IOCTL({ operations, replies }, request, body) {
    const { command, data, answerBytesMax } = readIoctl(body);
    const answer = await ioctl(operations, request, command, data);
    if (answer === null) replies.error(request, ERRNO.ENOTTY);
    else if (answer.length > answerBytesMax) replies.error(request, ERRNO.EINVAL);
    else replies.ioctl(request, answer);
  },

  INIT(served, request, body) {
    const { replies, onNegotiated, clusterLocks } = served;
    const kernel = readInit(body);
    const { listsAttributes } = served.operations;
    const agreed = negotiate(kernel, { clusterLocks, listsAttributes });
    if (agreed === 'major-mismatch') {
      // The kernel reads nothing but the major version and sends INIT again.
      replies.data(request, encodeInit(KERNEL_VERSION, NOTHING_AGREED));
    } else if (agreed === 'too-old') {
      replies.error(request, ERRNO.EOPNOTSUPP);
      const version = `${kernel.major}.${kernel.minor}`;
      onNegotiated(
        kernel.minor,
        new MootError(
          'MOUNT_UNAVAILABLE',
          `the kernel speaks FUSE ${version}, too old: use Linux 4.20 or later`,
        ),
      );
    } else {
      served.agreedFlags = agreed.flags;
      replies.data(request, encodeInit(KERNEL_VERSION, agreed));
      onNegotiated(kernel.minor, null);
    }
  },

  INTERRUPT({ replies, interrupt }, request, body) {
    // Read by another reader before its request, or answered meanwhile: in the first case the
    // kernel sends EAGAIN's interrupt again, in the second it takes no notice (fuse_dev_do_write
    // and Documentation/filesystems/fuse: "Interrupting filesystem operations").
    if (!interrupt(readInterrupt(body))) replies.errorForUnique(request.unique, ERRNO.EAGAIN);
  },

  DESTROY({ replies }, request) {
    replies.ok(request);
  },

  // Checked by the kernel: default_permissions.
  ACCESS: notImplemented,
  async GETLK({ operations, replies }, request, body) {
    const { handle, lock } = readLock(body, false);
    replies.lock(request, await operations.getLock(request.ino, handle, lock, request));
  },

  SETLK: (served, request, body) => setLock(served, request, body, false),
  SETLKW: (served, request, body) => setLock(served, request, body, true),

  // Always ready, says the kernel.
  POLL: notImplemented,
  BMAP: notImplemented,
  // Direct access to memory that a host shares (virtiofs).
  SETUPMAPPING: notImplemented,
  REMOVEMAPPING: notImplemented,
  // Answers a RETRIEVE, which is never sent.
  NOTIFY_REPLY: ignored,
};

/**
 * The least that comes behind the header, in bytes: the fixed structure of linux/fuse.h, as far as it
 * is read, and the NUL of each name.
 */
export const BODY_BYTES_MIN: Readonly<Record<number, number>> = byOpcode({
  LOOKUP: 1,
  FORGET: 8,
  BATCH_FORGET: 8,
  SETATTR: 88,
  SYMLINK: 2,
  MKNOD: SIZE.CREATE_IN + 1,
  MKDIR: 9,
  UNLINK: 1,
  RMDIR: 1,
  RENAME: 10,
  RENAME2: 18,
  LINK: 9,
  CREATE: SIZE.CREATE_IN + 1,
  TMPFILE: SIZE.CREATE_IN,
  OPEN: 8,
  READ: 20,
  WRITE: SIZE.WRITE_IN,
  FALLOCATE: 28,
  LSEEK: 20,
  COPY_FILE_RANGE: 48,
  COPY_FILE_RANGE_64: 48,
  FLUSH: 24,
  FSYNC: 8,
  RELEASE: 8,
  READDIR: 20,
  READDIRPLUS: 20,
  RELEASEDIR: 8,
  FSYNCDIR: 8,
  SETXATTR: SIZE.SETXATTR_IN_COMPAT + 1,
  GETXATTR: 9,
  LISTXATTR: 8,
  REMOVEXATTR: 1,
  IOCTL: SIZE.IOCTL_IN,
  GETLK: SIZE.LK_IN,
  SETLK: SIZE.LK_IN,
  SETLKW: SIZE.LK_IN,
  INIT: 16,
  INTERRUPT: 8,
});

function byOpcode(sizes: Partial<Record<OpcodeName, number>>): Record<number, number> {
  const names = Object.keys(sizes) as OpcodeName[];
  return Object.fromEntries(names.map((name) => [OPCODE[name], sizes[name] ?? 0]));
}

/** Requests without an answer: they are not in the table of requests under way. */
export const UNANSWERED: ReadonlySet<number> = new Set([
  OPCODE.FORGET,
  OPCODE.BATCH_FORGET,
  OPCODE.INTERRUPT,
  OPCODE.NOTIFY_REPLY,
]);

/** The handler of an opcode; of one that is newer than this code, ENOSYS. */
export const handlerOf: (opcode: number) => Handler = (() => {
  const table: Handler[] = [];
  for (const name of Object.keys(OPCODE) as OpcodeName[]) table[OPCODE[name]] = HANDLERS[name];
  return (opcode) => table[opcode] ?? notImplemented;
})();

const NUL = new Uint8Array(1);

const NOTHING_AGREED = {
  minor: 0,
  readaheadBytesMax: 0,
  flags: 0n,
  backgroundMax: 0,
  congestionThreshold: 0,
  writeBytesMax: 0,
  timeGranularityNs: 0,
  pagesMax: 0,
};

/** A file that goes past the kernel's pages can be mapped and shared all the same. */
function mayMapDirect({ agreedFlags }: Served): boolean {
  return (agreedFlags & INIT.DIRECT_IO_ALLOW_MMAP) !== 0n;
}

/**
 * A file that is open for reading only has nothing that close(2) must wait for, but locks: any
 * close(2) lets all POSIX locks of the process on the file go.
 */
function openReply({ write, direct = false }: OpenFlags, { clusterLocks }: Served): OpenReply {
  return { flush: write || clusterLocks, direct };
}

async function rename(
  { operations, replies }: Served,
  request: KernelRequest,
  body: Body,
  withFlags: boolean,
): Promise<void> {
  const { newParent, name, newName, flags } = readRename(body, withFlags);
  const mode = renameModeOf(flags);
  await operations.rename(request.ino, name, newParent, newName, mode, request);
  replies.ok(request);
}

function renameModeOf(flags: number): 'replace' | 'no-replace' | 'exchange' {
  switch (flags) {
    case 0:
      return 'replace';
    case RENAME_FLAG.NOREPLACE:
      return 'no-replace';
    case RENAME_FLAG.EXCHANGE:
      return 'exchange';
    default:
      // RENAME_WHITEOUT, and what may come.
      throw new MootError('EINVAL', `rename flags ${flags} are not supported`);
  }
}

async function setLock(
  { operations, replies }: Served,
  request: KernelRequest,
  body: Body,
  waits: boolean,
): Promise<void> {
  const { handle, lock } = readLock(body, waits);
  await operations.setLock(request.ino, handle, lock, request);
  replies.ok(request);
}

async function readDirectory(
  { operations, replies }: Served,
  request: KernelRequest,
  body: Body,
  plus: boolean,
): Promise<void> {
  const { handle, offset, size } = readRead(body);
  const { ino } = request;
  const entries = await operations.readDirectory(ino, handle, offset, size, plus, request);
  const { body: encoded, count } = encodeDirectory(entries, size, plus);
  for (const entry of entries.slice(count)) {
    if (entry.attributes !== null) operations.forget(entry.ino, 1);
  }
  replies.data(request, encoded);
}

/** Of fallocate(2); the kernel has refused the modes that are neither here nor there. */
function allocateModeOf(mode: number): AllocateMode {
  switch (mode) {
    case 0:
      return 'reserve';
    case FALLOCATE.KEEP_SIZE:
      return 'reserve-keep-size';
    case FALLOCATE.PUNCH_HOLE | FALLOCATE.KEEP_SIZE:
    case FALLOCATE.ZERO_RANGE | FALLOCATE.KEEP_SIZE:
      return 'punch';
    case FALLOCATE.ZERO_RANGE:
      return 'zero';
    default:
      throw new MootError('EOPNOTSUPP', `fallocate mode ${mode} is not supported`);
  }
}

function xattrModeOf(flags: number): 'set' | 'create' | 'replace' | 'neither' {
  if (flags === XATTR_FLAG.CREATE) return 'create';
  if (flags === (XATTR_FLAG.CREATE | XATTR_FLAG.REPLACE)) return 'neither';
  return flags === XATTR_FLAG.REPLACE ? 'replace' : 'set';
}

/** getxattr(2) and listxattr(2): size 0 asks for the size. */
function replyXattr(
  replies: Replies,
  request: KernelRequest,
  size: number,
  value: Uint8Array,
): void {
  if (size === 0) {
    replies.xattrSize(request, value.length);
  } else if (value.length > size) {
    replies.error(request, ERRNO.ERANGE);
  } else {
    replies.data(request, value);
  }
}
