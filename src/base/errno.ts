import type { ErrorCode } from './errors.js';

/** Linux errno numbers (asm-generic/errno-base.h, asm-generic/errno.h) of all that a mount answers. */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  EAGAIN: 11,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENOTTY: 25,
  EFBIG: 27,
  ENOSPC: 28,
  EMLINK: 31,
  ERANGE: 34,
  EDEADLK: 35,
  ENAMETOOLONG: 36,
  ENOLCK: 37,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  ENODATA: 61,
  EOPNOTSUPP: 95,
  ETIMEDOUT: 110,
  ESTALE: 116,
  EDQUOT: 122,
} as const;

export type ErrnoName = keyof typeof ERRNO;

/** The one table from an error's code to the errno that a program on the mount sees. */
const ERRNO_OF_CODE: Record<ErrorCode, ErrnoName> = {
  EACCES: 'EACCES',
  EAGAIN: 'EAGAIN',
  EBUSY: 'EBUSY',
  EDEADLK: 'EDEADLK',
  EDQUOT: 'EDQUOT',
  EEXIST: 'EEXIST',
  EFBIG: 'EFBIG',
  EINVAL: 'EINVAL',
  EISDIR: 'EISDIR',
  ELOOP: 'ELOOP',
  EMLINK: 'EMLINK',
  ENAMETOOLONG: 'ENAMETOOLONG',
  ENODATA: 'ENODATA',
  ENOENT: 'ENOENT',
  ENOLCK: 'ENOLCK',
  ENOSPC: 'ENOSPC',
  ENOTDIR: 'ENOTDIR',
  ENOTEMPTY: 'ENOTEMPTY',
  ENXIO: 'ENXIO',
  EOPNOTSUPP: 'EOPNOTSUPP',
  EPERM: 'EPERM',
  ERANGE: 'ERANGE',
  ESTALE: 'ESTALE',
  EXDEV: 'EXDEV',
  E2BIG: 'E2BIG',
  NO_LEADER: 'ETIMEDOUT',
  OUTCOME_UNKNOWN: 'ETIMEDOUT',
  INTERRUPTED: 'EINTR',
  SESSION_EXPIRED: 'EIO',
  NOT_LEADER: 'EIO',
  BUSY: 'EAGAIN',
  NOT_ALLOWED: 'EPERM',
  MEMBERS_REFUSED: 'EINVAL',
  REMOVED: 'EIO',
  CLOSED: 'ENODEV',
  UNREACHABLE: 'EIO',
  BAD_MESSAGE: 'EIO',
  BAD_ARGUMENT: 'EINVAL',
  WRONG_CLUSTER: 'EIO',
  WRONG_NODE: 'EIO',
  DATA_DIR_IN_USE: 'EIO',
  DATA_DIR_FOREIGN: 'EIO',
  DATA_CORRUPT: 'EIO',
  DISK_FAILED: 'EIO',
  DIVERGED: 'EIO',
  PORT_TAKEN: 'EIO',
  ADDRESS_UNAVAILABLE: 'EIO',
  NATIVE_UNUSABLE: 'EIO',
  MOUNT_UNAVAILABLE: 'ENODEV',
};

export function errnoOf(code: ErrorCode): number {
  return ERRNO[ERRNO_OF_CODE[code]];
}

/** For codes that come over the wire. */
export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERRNO_OF_CODE, code);
}
