import { readFile } from 'node:fs';
import { open } from 'node:fs/promises';
import { errnoNameOf } from '../mount-point.js';

const SIGKILL_BIT = 1n << 8n;

/**
 * rename(2), renameat(2) and renameat2(2) of x86-64, arm64 and their 32-bit programs (unistd.h). Where
 * one of them has such a number for something else, an answer is refused once more than needed.
 */
const RENAME_SYSCALLS: ReadonlySet<number> = new Set([82, 264, 316, 38, 276, 302, 353, 329, 382]);

/** A thread that has just asked may not have fallen asleep yet: looked at again so often. */
const LOOKS_MAX = 10;

/**
 * A thread with SIGKILL pending ends as soon as its call returns. The kernel pends it, too, for
 * every thread of a process that another signal kills (proc_pid_status(5), SigPnd).
 */
export function isBeingKilled(pid: number): Promise<boolean> {
  return new Promise((resolve) => {
    readFile(`/proc/${pid}/status`, 'latin1', (error, status) => {
      const gone = error !== null && ['ENOENT', 'ESRCH'].includes(errnoNameOf(error));
      resolve(error === null ? hasSigkillPending(status) : gone);
    });
  });
}

function hasSigkillPending(status: string): boolean {
  const pending = /^SigPnd:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  return pending !== undefined && (BigInt(`0x${pending}`) & SIGKILL_BIT) !== 0n;
}

/** Arguments of rename(2) that may be paths; of renameat(2) and renameat2(2) these are the second and the fourth. */
const PATH_ARGUMENTS = 4;
/** As much of a path as tells it from another one. */
const PATH_BYTES = 4_096;
/** Memory of programs that is read at once, each by a thread of the pool. */
const READS_MAX = 2;
/** What is in memory takes microseconds; what a program has mapped from elsewhere may never come. */
const READ_MS_MAX = 100;
let reads = 0;
const waiting = new Set<() => void>();

/**
 * The rename(2) that a thread that waits for an answer is in, with its arguments and paths: a program may
 * use the same memory for the next ones. proc_pid_syscall(5) says in which call it is. '': in another
 * one. null: unknown, as of threads of io_uring, and threads that we may not look at.
 */
export async function renameCallOf(pid: number): Promise<string | null> {
  for (let looks = 0; looks < LOOKS_MAX; looks++) {
    const text = await syscallOf(pid);
    if (text === null) return null;
    if (text.startsWith('running')) continue;
    const number = Number.parseInt(text, 10);
    if (number < 0) return null;
    if (!RENAME_SYSCALLS.has(number)) return '';
    const addresses = text.split(' ').slice(1, 1 + PATH_ARGUMENTS);
    const paths = await soon(() => stringsOf(pid, addresses.map(Number)));
    return paths === null ? null : `${text}${paths.join('\0')}`;
  }
  return null;
}

/** null: not in time. Nobody must be able to take all threads of the pool: who finds no place waits for one. */
export async function soon<T>(read: () => Promise<T>): Promise<T | null> {
  let isLate = false;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => {
      isLate = true;
      // What has come while this thread did something else is in time.
      setImmediate(() => resolve(null));
    }, READ_MS_MAX);
  });
  const place = () =>
    new Promise<void>((resolve) => {
      waiting.add(resolve);
      void late.then(() => {
        waiting.delete(resolve);
        resolve();
      });
    });
  const inTurn = async () => {
    while (reads >= READS_MAX && !isLate) await place();
    if (isLate) return null;
    reads++;
    try {
      return await read();
    } finally {
      reads--;
      const [next] = waiting;
      if (next !== undefined) waiting.delete(next);
      next?.();
    }
  };
  return Promise.race([inTurn(), late]).finally(() => clearTimeout(timer));
}

/** What lies at these addresses up to the next NUL; '' where nothing does, or we may not look. */
export async function stringsOf(pid: number, addresses: readonly number[]): Promise<string[]> {
  const memory = await open(`/proc/${pid}/mem`, 'r').catch(() => null);
  if (memory === null) return [];
  try {
    const strings: string[] = [];
    for (const address of addresses) {
      const buffer = Buffer.alloc(PATH_BYTES);
      const isAddress = Number.isSafeInteger(address) && address > 0;
      const read = isAddress ? memory.read(buffer, 0, PATH_BYTES, address) : null;
      const bytesRead = (await read?.catch(() => null))?.bytesRead ?? 0;
      const end = buffer.indexOf(0);
      strings.push(buffer.toString('latin1', 0, end === -1 ? bytesRead : Math.min(end, bytesRead)));
    }
    return strings;
  } finally {
    await memory.close();
  }
}

/** null: unknown. */
function syscallOf(pid: number): Promise<string | null> {
  return new Promise((resolve) => {
    readFile(`/proc/${pid}/syscall`, 'latin1', (error, text) =>
      resolve(error === null ? text : null),
    );
  });
}
