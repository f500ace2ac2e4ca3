import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { MootError } from '../base/errors.js';
import { fusermount, isRoot } from '../mount/mount-point.js';
import { addExample, directoryName } from './settings.js';

export function addUmountCommand(program: Command): void {
  const command = program
    .command('umount')
    .description('Unmount a directory that mootfs has mounted; its process then ends by itself.')
    .argument('<directory>', 'where it is mounted', directoryName)
    .option('--lazy', 'detach it now, and let programs that still use it finish')
    .action(async (directory: string, options: { readonly lazy?: boolean }) => {
      const path = resolve(directory);
      if (!isMootfsMount(path)) {
        throw new MootError('BAD_ARGUMENT', `${path} is not a mounted mootfs directory`);
      }
      await unmount(path, options.lazy === true);
    });
  addExample(command, 'mootfs umount /srv/shared');
}

/** Looks into /proc/self/mounts, whose paths have spaces and the like as octal escapes (proc(5), getmntent(3)). */
export function isMootfsMount(path: string): boolean {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .some(
      ([source, at, type]) =>
        unescapeMount(at ?? '') === path &&
        (type === 'fuse.mootfs' || (type?.startsWith('fuse') === true && source === 'mootfs')),
    );
}

function unescapeMount(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(parseInt(octal, 8)),
  );
}

async function unmount(path: string, lazy: boolean): Promise<void> {
  const [program, args] = isRoot()
    ? ['umount', lazy ? ['-l', path] : [path]]
    : [fusermount(), lazy ? ['-u', '-z', path] : ['-u', path]];
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (data: Buffer) => {
    said += data.toString();
  });
  const failure = await new Promise<string | null>((done) => {
    child.once('error', (error) => done(error.message));
    child.once('close', (code) =>
      done(code === 0 ? null : said.trim() || `${program} ended with ${code}`),
    );
  });
  if (failure === null) return;
  if (!failure.includes('busy')) throw new MootError('MOUNT_UNAVAILABLE', failure);
  throw new MootError('EBUSY', `${failure} (a program still uses it; --lazy detaches it anyway)`);
}
