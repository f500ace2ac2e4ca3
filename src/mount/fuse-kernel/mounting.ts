import { close } from 'node:fs';
import { type FileHandle, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { WRITE_BYTES_MAX } from '../../filesystem/records.js';
import {
  isRoot,
  mountAt,
  openFuse,
  RIGHT_TO_MOUNT,
  readMountinfo,
  run,
  unavailable,
} from '../mount-point.js';
import type { HandedMount } from './as-user.js';

/** The type in mtab and df: the kernel takes what follows the dot for a name. */
const FILESYSTEM_TYPE = 'fuse.mootfs';

/**
 * How far the kernel reads ahead of a program: each request may be a round trip to the leader, and
 * the default of 128 KiB is for disks. More would cost where files are mapped: a page fault reads
 * as much around it.
 */
const READ_AHEAD_KIB = 512;

/** /dev/fuse, open. */
export type Device = Pick<FileHandle, 'fd' | 'close'>;

/** That of a mount that somebody else has made. */
export function deviceOf({ descriptor: fd }: HandedMount): Device {
  return { fd, close: () => promisify(close)(fd) };
}

/** Opens /dev/fuse, or says what is missing. */
export async function openDevice(): Promise<Device> {
  if (!isRoot()) {
    throw unavailable(
      'mounting from this process needs root: use mootfs mount, which goes through fusermount3, or --adapter fuse-native',
    );
  }
  return openFuse();
}

/** Runs mount(8) with the descriptor of /dev/fuse as its third; `flags` are its own options. */
export async function mountDescriptor(
  fd: number,
  source: string,
  path: string,
  flags: readonly string[],
): Promise<void> {
  const options = [
    'fd=3',
    'rootmode=40000',
    'user_id=0',
    'group_id=0',
    'allow_other',
    'default_permissions',
    `max_read=${WRITE_BYTES_MAX}`,
    ...flags,
  ].join(',');
  const args = ['-i', '-t', FILESYSTEM_TYPE, '-o', options, '--', source, path];
  const mount = await run('mount', args, fd);
  if (mount.status === 0) return;
  // Nothing more about it is there.
  const reason = mount.errorText.replace(/ *dmesg\(1\) may have more information.*$/, '');
  const hint = reason.includes('permission denied') ? ` (${RIGHT_TO_MOUNT})` : '';
  throw unavailable(`mount(8) failed at ${path}: ${reason}${hint}`);
}

/** A favour of the kernel, which INIT cannot ask for: it only takes less than the default. */
export async function widenReadAhead(path: string): Promise<void> {
  const device = mountAt(await readMountinfo(), path)?.device;
  // Not in a container whose /sys is read-only: reading is slower there.
  await writeFile(`/sys/class/bdi/${device}/read_ahead_kb`, `${READ_AHEAD_KIB}`).catch(() => {});
}
