import type { Stats } from 'node:fs';
import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { MootError } from '../base/errors.js';

/**
 * DATA_DIR_IN_USE when a running process has this database open. For who looks at its files without
 * opening them for writing, which alone takes RocksDB's lock, or changes them before: that lock is a POSIX
 * one on the file LOCK, and Linux lists them all (proc_locks(5)).
 */
export async function refuseInUse(database: string): Promise<void> {
  const path = join(database, 'LOCK');
  const file = await stat(path).catch(() => null);
  if (file === null) return;
  const locks = await readFile('/proc/locks', 'latin1').catch(() => '');
  // "1: POSIX  ADVISORY  WRITE 4711 fd:01:1234 0 EOF": the process, then device and inode.
  for (const [, pid, inode] of locks.matchAll(/ (\d+) [0-9a-f]+:[0-9a-f]+:(\d+) /g)) {
    if (Number(inode) === file.ino && (await hasOpen(pid ?? '', file))) {
      throw new MootError(
        'DATA_DIR_IN_USE',
        `${database} is in use by process ${pid}: stop that node first`,
      );
    }
  }
}

/**
 * Inode numbers are of one filesystem: another one may have the same. Paths say nothing: the process may see
 * the directory at another one. Who cannot look believes it.
 */
async function hasOpen(pid: string, file: Pick<Stats, 'dev' | 'ino'>): Promise<boolean> {
  const directory = `/proc/${pid}/fd`;
  try {
    for (const fd of await readdir(directory)) {
      const link = join(directory, fd);
      // Of another file, which may lie on a mount that waits for this very node, nothing is asked.
      if (!/\/LOCK$/.test(await readlink(link).catch(() => ''))) continue;
      const open = await stat(link).catch(() => null);
      if (open?.dev === file.dev && open.ino === file.ino) return true;
    }
    return false;
  } catch {
    return true;
  }
}
