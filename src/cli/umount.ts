import type { Command } from 'commander';
import { MootError } from '../base/errors.js';
import {
  canonicalPath,
  fusermount,
  isRoot,
  type MountPoint,
  mountAt,
  readMountinfo,
  run,
} from '../mount/mount-point.js';
import { addExample, directoryName } from './settings.js';

/** What programs have mapped and written is handed to the mount first, which waits half a minute at most. */
const UMOUNT_TIMEOUT_MS = 45_000;

export function addUmountCommand(program: Command): void {
  const command = program
    .command('umount')
    .description('Unmount a directory that mootfs has mounted; its process then ends by itself.')
    .argument('<directory>', 'where it is mounted', directoryName)
    .option('--lazy', 'detach it now, and let programs that still use it finish')
    .action(async (directory: string, options: { readonly lazy?: boolean }) => {
      const path = await canonicalPath(directory);
      if (!isOurs(mountAt(await readMountinfo(), path))) {
        throw new MootError('BAD_ARGUMENT', `${path} is not a mounted mootfs directory`);
      }
      await unmount(path, options.lazy === true);
    });
  addExample(command, 'mootfs umount /srv/shared');
}

function isOurs(mount: MountPoint | undefined): boolean {
  if (mount === undefined) return false;
  const { type, source } = mount;
  return type === 'fuse.mootfs' || (type.startsWith('fuse') && source === 'mootfs');
}

async function unmount(path: string, lazy: boolean): Promise<void> {
  // -c: the path is known, and looking at a mount that does not answer would hang.
  const [program, ...args] = isRoot()
    ? ['umount', '-i', '-c', ...(lazy ? ['-l'] : [])]
    : [fusermount(), '-u', ...(lazy ? ['-z'] : [])];
  const { status, errorText } = await run(
    program,
    [...args, '--', path],
    undefined,
    UMOUNT_TIMEOUT_MS,
  );
  if (status === 0) return;
  if (status === null) {
    throw new MootError('MOUNT_UNAVAILABLE', `${errorText} (--lazy detaches it anyway)`);
  }
  if (!errorText.includes('busy')) throw new MootError('MOUNT_UNAVAILABLE', errorText);
  throw new MootError('EBUSY', `${errorText} (a program still uses it; --lazy detaches it anyway)`);
}
