import { readdir, readFile, readlink, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { MootError } from '../base/errors.js';

/**
 * DATA_DIR_IN_USE when a running process has this database open. For who looks at its files without
 * opening them for writing, which alone takes RocksDB's lock: that lock is a POSIX one on the file
 * LOCK, and Linux lists them all (proc_locks(5)).
 */
export async function refuseInUse(database: string): Promise<void> {
  const path = join(database, 'LOCK');
  const file = await stat(path).catch(() => null);
  if (file === null) return;
  const locks = await readFile('/proc/locks', 'latin1').catch(() => '');
  // "1: POSIX  ADVISORY  WRITE 4711 fd:01:1234 0 EOF": the process, then device and inode.
  for (const [, pid, inode] of locks.matchAll(/ (\d+) [0-9a-f]+:[0-9a-f]+:(\d+) /g)) {
    if (Number(inode) === file.ino && (await hasOpen(pid ?? '', await realpath(path)))) {
      throw new MootError(
        'DATA_DIR_IN_USE',
        `${database} is in use by process ${pid}: stop that node first`,
      );
    }
  }
}

/** Inode numbers are of one filesystem: another one may have the same. Who cannot look believes it. */
async function hasOpen(pid: string, path: string): Promise<boolean> {
  const directory = `/proc/${pid}/fd`;
  try {
    for (const fd of await readdir(directory)) {
      const target = await readlink(join(directory, fd)).catch(() => '');
      if (target === path) return true;
    }
    return false;
  } catch {
    return true;
  }
}
