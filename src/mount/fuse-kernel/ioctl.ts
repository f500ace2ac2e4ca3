import { MootError } from '../../base/errors.js';
import {
  FLAG_APPEND,
  FLAG_IMMUTABLE,
  FLAG_NOATIME,
  FLAG_NODUMP,
  SETTABLE_FLAGS,
} from '../../filesystem/inode-flags.js';
import type { MountOperations } from '../mount.js';
import { IOCTL } from './protocol.js';
import type { KernelRequest } from './requests.js';

/** What only somebody with CAP_LINUX_IMMUTABLE may change: ioctl_iflags(2). */
const PRIVILEGED_FLAGS = FLAG_IMMUTABLE | FLAG_APPEND;
/** struct fsxattr of linux/fs.h: the flags, then what is of no use here. */
const FSXATTR_BYTES = 28;
/** FS_XFLAG_* of linux/fs.h beside the flags of an inode. */
const XFLAGS: readonly (readonly [number, number])[] = [
  [0x08, FLAG_IMMUTABLE],
  [0x10, FLAG_APPEND],
  [0x40, FLAG_NOATIME],
  [0x80, FLAG_NODUMP],
];

/**
 * ioctl(2) on an inode: its flags. null: there is no such one here. Since Linux 5.13 the kernel checks
 * who may set flags; what is checked here is for those before it.
 */
export async function ioctl(
  operations: MountOperations,
  request: KernelRequest,
  command: number,
  data: Buffer,
): Promise<Uint8Array | null> {
  switch (command) {
    case IOCTL.FS_IOC_GETFLAGS:
      return uint32(await flagsOf(operations, request));
    case IOCTL.FS_IOC_SETFLAGS:
      await setFlags(operations, request, readUint32(data));
      return new Uint8Array(0);
    case IOCTL.FS_IOC_FSGETXATTR: {
      const flags = await flagsOf(operations, request);
      const answer = Buffer.alloc(FSXATTR_BYTES);
      answer.writeUInt32LE(XFLAGS.reduce((x, [from, to]) => (flags & to ? x | from : x), 0));
      return answer;
    }
    case IOCTL.FS_IOC_FSSETXATTR: {
      const known = XFLAGS.reduce((all, [from]) => all | from, 0);
      const xflags = readUint32(data);
      if (data.length < FSXATTR_BYTES || (xflags & ~known) !== 0 || data.some(isSetBehindFlags)) {
        throw new MootError('EOPNOTSUPP', 'no such file attributes');
      }
      const flags = XFLAGS.reduce((all, [from, to]) => (xflags & from ? all | to : all), 0);
      await setFlags(operations, request, flags);
      return new Uint8Array(0);
    }
    default:
      return null;
  }
}

async function flagsOf(operations: MountOperations, request: KernelRequest): Promise<number> {
  const { inode } = await operations.getAttributes(request.ino, request);
  return inode.flags & SETTABLE_FLAGS;
}

async function setFlags(
  operations: MountOperations,
  request: KernelRequest,
  flags: number,
): Promise<void> {
  if ((flags & ~SETTABLE_FLAGS) !== 0) throw new MootError('EOPNOTSUPP', 'no such inode flags');
  const { inode } = await operations.getAttributes(request.ino, request);
  const changes = (inode.flags & SETTABLE_FLAGS) ^ flags;
  if (request.uid !== 0 && (request.uid !== inode.uid || (changes & PRIVILEGED_FLAGS) !== 0)) {
    throw new MootError('EPERM', 'only root may set these flags');
  }
  await operations.setAttributes(request.ino, { flags }, request);
}

/** Sizes for extents, and projects. */
function isSetBehindFlags(byte: number, at: number): boolean {
  return at >= 4 && byte !== 0;
}

function uint32(value: number): Uint8Array {
  const data = Buffer.alloc(4);
  data.writeUInt32LE(value);
  return data;
}

function readUint32(data: Buffer): number {
  if (data.length < 4) throw new MootError('EINVAL', 'too few bytes for flags');
  return data.readUInt32LE();
}
