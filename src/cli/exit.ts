import { describe, type ErrorCode, isMootError, MootError } from '../base/errors.js';

/** Exit codes, for scripts. Part of the interface: they do not change meaning. */
export const EXIT = {
  ok: 0,
  /** The operation was refused or failed: no such file, no space, … */
  failed: 1,
  /** The command line, the environment or the configuration file cannot be used. */
  usage: 2,
  /** Nobody who could decide answered in time; the outcome may be unknown. */
  unavailable: 3,
  /** Stored data cannot be used as it is: corrupt, foreign, in use, diverged, of a removed node. */
  data: 4,
  /** A prerequisite of this machine is missing: /dev/fuse, libfuse, the right to mount, a free port, an address. */
  prerequisite: 5,
} as const;

const EXIT_OF_CODE: Partial<Record<ErrorCode, number>> = {
  BAD_ARGUMENT: EXIT.usage,
  NO_LEADER: EXIT.unavailable,
  OUTCOME_UNKNOWN: EXIT.unavailable,
  UNREACHABLE: EXIT.unavailable,
  SESSION_EXPIRED: EXIT.unavailable,
  BUSY: EXIT.unavailable,
  DATA_DIR_IN_USE: EXIT.data,
  DATA_DIR_FOREIGN: EXIT.data,
  DATA_CORRUPT: EXIT.data,
  DISK_FAILED: EXIT.data,
  DIVERGED: EXIT.data,
  REMOVED: EXIT.data,
  MOUNT_UNAVAILABLE: EXIT.prerequisite,
  PORT_TAKEN: EXIT.prerequisite,
  ADDRESS_UNAVAILABLE: EXIT.prerequisite,
  NATIVE_UNUSABLE: EXIT.prerequisite,
};

/** A process of ours that we had started has ended: what it said, and its exit code if that is one of these. */
export class ChildFailed extends MootError {
  readonly exitCode: number;

  constructor(message: string, exitCode: number | null) {
    super('CLOSED', message);
    const ours: readonly (number | null)[] = Object.values(EXIT);
    this.exitCode =
      exitCode !== null && exitCode !== EXIT.ok && ours.includes(exitCode) ? exitCode : EXIT.failed;
  }
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof ChildFailed) return error.exitCode;
  return isMootError(error) ? (EXIT_OF_CODE[error.code] ?? EXIT.failed) : EXIT.failed;
}

/** One line on standard error; the stack only of what is a bug. */
export function reportFailure(command: string, error: unknown): void {
  const text = isMootError(error) || isSystemError(error) ? describe(error) : stackOf(error);
  process.stderr.write(`${`mootfs ${command}`.trim()}: ${text}\n`);
}

/** Of the operating system: its message names the errno, what was tried, and on what. */
export function isSystemError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string';
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
