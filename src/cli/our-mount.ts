import { MootError } from '../base/errors.js';
import {
  canonicalPath,
  type MountPoint,
  mountAt,
  readMountinfo,
  run,
} from '../mount/mount-point.js';

/** The absolute path of a directory that mootfs has mounted; BAD_ARGUMENT for any other: it is somebody else's. */
export async function ourMountAt(directory: string): Promise<string> {
  const path = await canonicalPath(directory);
  if (isOurs(mountAt(await readMountinfo(), path))) return path;
  throw new MootError('BAD_ARGUMENT', `${path} is not a mounted mootfs directory`);
}

function isOurs(mount: MountPoint | undefined): boolean {
  if (mount === undefined) return false;
  const { type, source } = mount;
  return type === 'fuse.mootfs' || (type.startsWith('fuse') && source === 'mootfs');
}

/**
 * mount(8) or umount(8) on one of ours. Fails with EBUSY, or MOUNT_UNAVAILABLE with what the program said;
 * what helps is told in brackets.
 */
export async function changeMount(
  [program, ...args]: readonly [string, ...string[]],
  { timeoutMs, whenBusy, whenLate = '' }: ChangeOptions,
): Promise<void> {
  const { status, errorText } = await run(program, args, undefined, timeoutMs);
  if (status === 0) return;
  if (status === null) throw new MootError('MOUNT_UNAVAILABLE', `${errorText}${whenLate}`);
  if (!errorText.includes('busy')) throw new MootError('MOUNT_UNAVAILABLE', errorText);
  throw new MootError('EBUSY', `${errorText}${whenBusy}`);
}

interface ChangeOptions {
  readonly timeoutMs?: number;
  readonly whenBusy: string;
  /** It did not end in time, or could not be started. */
  readonly whenLate?: string;
}
