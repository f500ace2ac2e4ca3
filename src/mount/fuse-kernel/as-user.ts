import { readFile } from 'node:fs/promises';
import { installed } from '../../base/installation.js';
import { WRITE_BYTES_MAX } from '../../filesystem/records.js';
import { checkFuse, prepareDirectory } from '../mount-point.js';

/** Made from mount-as-user.c by the build. */
const MOUNT_AS_USER = installed('dist/src/mount/fuse-kernel/mount-as-user');
const HANDED_MOUNT = 'MOOTFS_FUSE_MOUNT';
/** What fusermount3 allows to others than the one who mounts, when root has said so. */
const FUSE_CONF = '/etc/fuse.conf';

/** A directory that is mounted already: the kernel's requests come from the descriptor. */
export interface HandedMount {
  readonly descriptor: number;
  readonly directory: string;
}

/**
 * The command line before a program that shall serve a mount which fusermount3 makes; the program
 * finds it by `takeHandedMount`. `withParent`: it is told to end when this process has ended.
 */
export async function mountAsUser(
  directory: string,
  source: string,
  flags: readonly string[],
  withParent: boolean,
): Promise<readonly [string, ...string[]]> {
  const path = await prepareDirectory(directory);
  await checkFuse();
  const options = [
    `fsname=${source}`,
    'subtype=mootfs',
    'default_permissions',
    `max_read=${WRITE_BYTES_MAX}`,
    ...((await othersMayBeAllowed()) ? ['allow_other'] : []),
    ...flags,
  ];
  return [MOUNT_AS_USER, withParent ? 'with-parent' : 'alone', options.join(','), path];
}

/** What mount-as-user has handed to this process; null: nothing. Programs started later do not see it. */
export function takeHandedMount(): HandedMount | null {
  const text = process.env[HANDED_MOUNT];
  delete process.env[HANDED_MOUNT];
  const [, descriptor, directory] = /^(\d+) (\/.*)$/s.exec(text ?? '') ?? [];
  if (descriptor === undefined || directory === undefined) return null;
  return { descriptor: Number(descriptor), directory };
}

async function othersMayBeAllowed(): Promise<boolean> {
  const text = await readFile(FUSE_CONF, 'utf8').catch(() => '');
  return /^\s*user_allow_other\s*$/m.test(text);
}
