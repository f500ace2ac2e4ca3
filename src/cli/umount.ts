import type { Command } from 'commander';
import { fusermount, isRoot } from '../mount/mount-point.js';
import { changeMount, ourMountAt } from './our-mount.js';
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
      await unmount(await ourMountAt(directory), options.lazy === true);
    });
  addExample(command, 'mootfs umount /srv/shared');
}

function unmount(path: string, lazy: boolean): Promise<void> {
  // -c: the path is known, and looking at a mount that does not answer would hang.
  const [program, ...args] = isRoot()
    ? (['umount', '-i', '-c', ...(lazy ? ['-l'] : [])] as const)
    : ([fusermount(), '-u', ...(lazy ? ['-z'] : [])] as const);
  return changeMount([program, ...args, '--', path], {
    timeoutMs: UMOUNT_TIMEOUT_MS,
    whenBusy: ' (a program still uses it; --lazy detaches it anyway)',
    whenLate: ' (--lazy detaches it anyway)',
  });
}
