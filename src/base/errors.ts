/**
 * Every error that can happen without a bug has a stable code. Codes are part of the interface:
 * scripts match on them, `--json` prints them, and errno.ts maps them to what a program sees.
 */
export type ErrorCode =
  // Filesystem results: POSIX names, decided by the state machine.
  | FilesystemErrorCode
  // Reaching the cluster.
  | 'NO_LEADER' // nobody who could decide answered before the deadline
  | 'OUTCOME_UNKNOWN' // the deadline passed after the command was sent: it may or may not count
  | 'INTERRUPTED' // the caller gave up (a signal, Ctrl-C)
  | 'SESSION_EXPIRED' // the cluster has forgotten this client; its unfinished commands are unknown
  | 'NOT_LEADER' // internal to client and node: try the node named instead
  | 'BUSY' // a bounded queue is full; try again
  | 'NOT_ALLOWED' // the node was not started with the flag that permits this
  | 'MEMBERS_REFUSED' // such a change of the members or the leader cannot be made
  | 'REMOVED' // this node was removed from the cluster, for ever
  | 'CLOSED' // the object was closed
  | 'UNREACHABLE' // a connection could not be made
  // Input from outside.
  | 'BAD_MESSAGE' // a frame that is malformed, too large, too deep, or of an unknown version
  | 'BAD_ARGUMENT' // a flag, an environment variable or a configuration file
  | 'WRONG_CLUSTER'
  | 'WRONG_NODE'
  // The data directory.
  | 'DATA_DIR_IN_USE'
  | 'DATA_DIR_FOREIGN' // not ours, of another node or cluster, or of a newer format
  | 'DATA_CORRUPT' // a checksum or an invariant of stored data does not hold
  | 'DISK_FAILED' // the operating system refused a read, a write or a sync
  | 'DIVERGED' // this node's state differs from the others' at the same index
  // This machine.
  | 'PORT_TAKEN'
  | 'ADDRESS_UNAVAILABLE' // not, or not yet, an address or a name of this machine
  | 'NATIVE_UNUSABLE' // a native dependency does not work with this Node
  | 'MOUNT_UNAVAILABLE'; // a prerequisite is missing; the message says what to do

/** The errno names that commands and queries of the filesystem end with. */
const FILESYSTEM_ERROR_CODES = [
  'EACCES',
  'EAGAIN',
  'EBUSY',
  'EDEADLK',
  'EDQUOT',
  'EEXIST',
  'EFBIG',
  'EINVAL',
  'EISDIR',
  'ELOOP',
  'EMLINK',
  'ENAMETOOLONG',
  'ENODATA',
  'ENOENT',
  'ENOLCK',
  'ENOSPC',
  'ENOTDIR',
  'ENOTEMPTY',
  'ENXIO',
  'EOPNOTSUPP',
  'EPERM',
  'ERANGE',
  'ESTALE',
  'EXDEV',
  'E2BIG',
] as const;

export type FilesystemErrorCode = (typeof FILESYSTEM_ERROR_CODES)[number];

const FILESYSTEM_ERRORS: ReadonlySet<string> = new Set(FILESYSTEM_ERROR_CODES);

export function isFilesystemErrorCode(code: string): code is FilesystemErrorCode {
  return FILESYSTEM_ERRORS.has(code);
}

/** V8's, where there is one. */
const TRACES: ErrorConstructor & { stackTraceLimit?: number | undefined } = Error;

export class MootError extends Error {
  override readonly name = 'MootError';

  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    const { stackTraceLimit } = TRACES;
    // Programs look for names that are not there all the time: a result, of which a stack tells
    // nothing, and ten times as dear with one.
    if (isFilesystemErrorCode(code)) TRACES.stackTraceLimit = 0;
    super(message, options);
    TRACES.stackTraceLimit = stackTraceLimit;
  }
}

export function isMootError(error: unknown, code?: ErrorCode): error is MootError {
  return error instanceof MootError && (code === undefined || error.code === code);
}

/** One line for a person: the message and, after a colon each, the messages of its causes. */
export function describe(error: unknown): string {
  const parts: string[] = [];
  for (let e: unknown = error; e !== undefined && parts.length < 5; ) {
    parts.push(e instanceof Error ? e.message : String(e));
    e = e instanceof Error ? e.cause : undefined;
  }
  return parts.join(': ');
}
