import { spawn } from 'node:child_process';
import { constants, existsSync } from 'node:fs';
import { type FileHandle, open, readFile, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { describe, MootError } from '../base/errors.js';

/** mount(8), umount(8) and stat(1) of something that works take milliseconds. */
const PROGRAM_TIMEOUT_MS = 10_000;
/** Dead mounts on top of each other that are cleared away; more is not what a crash leaves. */
const DEAD_MOUNTS_MAX = 16;
/** Error text of a program that is worth repeating. */
const ERROR_TEXT_CHARS_MAX = 500;

/** Where programs of the system are looked for. */
const PROGRAM_DIRECTORIES: readonly string[] = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/** Device and set-user-ID files of the cluster have no power on this machine. Options of mount(8). */
export const FLAGS_DEFAULT: readonly string[] = ['nosuid', 'nodev'];

export function unavailable(message: string, cause?: unknown): MootError {
  return new MootError('MOUNT_UNAVAILABLE', message, { cause });
}

export function errnoNameOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

/** What root may lack, too. */
export const RIGHT_TO_MOUNT = 'in a container, mounting needs --cap-add SYS_ADMIN';

/** Opens /dev/fuse, or says what is missing. */
export async function openFuse(): Promise<FileHandle> {
  try {
    return await open('/dev/fuse', constants.O_RDWR);
  } catch (error) {
    switch (errnoNameOf(error)) {
      case 'ENOENT':
      case 'ENODEV':
      case 'ENXIO':
        throw unavailable(
          'there is no /dev/fuse: load the fuse module (modprobe fuse), or give the container the device (--device /dev/fuse)',
          error,
        );
      case 'EACCES':
      case 'EPERM':
        throw unavailable(
          isRoot()
            ? '/dev/fuse may not be opened: give the container the device and the right to mount (--device /dev/fuse --cap-add SYS_ADMIN)'
            : '/dev/fuse may be opened by root only: open it to all (chmod 666 /dev/fuse, as udev does), or mount as root',
          error,
        );
      default:
        throw unavailable('/dev/fuse cannot be opened', error);
    }
  }
}

/** Before somebody else opens /dev/fuse for us, as us. */
export async function checkFuse(): Promise<void> {
  await (await openFuse()).close();
}

/**
 * The absolute path of a directory that can be mounted on. A dead mount there (its server was
 * killed) is unmounted; a living one is refused, whatever it is, but for an automount, which waits for us.
 */
export async function prepareDirectory(directory: string): Promise<string> {
  for (let i = 0; i < DEAD_MOUNTS_MAX; i++) {
    const path = await canonicalPath(directory);
    const type = mountAt(await readMountinfo(), path)?.type;
    if (type === undefined || type === 'autofs') return checkDirectory(path, directory);
    if (!type.startsWith('fuse')) throw alreadyMounted(path, type);
    // By statfs(2), as the kernel may still have the attributes. Not in this process: a server that
    // is stopped would hold a thread for ever.
    const probe = await run('stat', ['-f', '-c', '%T', '--', path]);
    if (probe.status === 0 || !probe.errorText.includes('not connected')) {
      throw alreadyMounted(path, type);
    }
    await forceUnmount(path);
  }
  throw unavailable(`${directory} has dead mounts that cannot be unmounted: run umount -l there`);
}

function alreadyMounted(path: string, type: string): MootError {
  return unavailable(`${path} is a mounted ${type} already: unmount it first`);
}

async function checkDirectory(path: string, asGiven: string): Promise<string> {
  try {
    if ((await stat(path)).isDirectory()) return path;
  } catch (error) {
    if (errnoNameOf(error) === 'ENOENT') {
      throw unavailable(`there is no directory ${asGiven}: make it first (mkdir -p)`, error);
    }
    throw unavailable(`${asGiven} cannot be mounted on`, error);
  }
  throw unavailable(`${asGiven} is not a directory`);
}

/** Also of a mount point whose server is dead, or does not answer: the kernel asks it for nothing here. */
export async function canonicalPath(directory: string): Promise<string> {
  const path = resolve(directory);
  try {
    return await realpath(path);
  } catch {
    const parent = await realpath(dirname(path)).catch(() => dirname(path));
    return join(parent, basename(path));
  }
}

export interface MountPoint {
  readonly type: string;
  readonly device: string;
  readonly source: string;
}

/** The uppermost mount at a path (proc_pid_mountinfo(5)); undefined: not a mount point. */
export function mountAt(mountinfo: string, path: string): MountPoint | undefined {
  let found: MountPoint | undefined;
  for (const line of mountinfo.split('\n')) {
    const [before, after] = line.split(' - ', 2);
    const [, , device, , point] = before?.split(' ') ?? [];
    const [type, source = ''] = after?.split(' ') ?? [];
    if (point === undefined || device === undefined || type === undefined) continue;
    if (unescapeOctal(point) === path) found = { type, device, source };
  }
  return found;
}

export function readMountinfo(): Promise<string> {
  return readFile('/proc/self/mountinfo', 'latin1');
}

/** Space, tab, newline and backslash stand there as \040 and so on, other bytes as they are. */
function unescapeOctal(latin1: string): string {
  const bytes = latin1.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

/** A program that is just ending gets this many chances to let go before it is cut off. */
const UNMOUNT_ATTEMPTS = 5;
const UNMOUNT_RETRY_MS = 200;

/** Unmounts, by force in the end; `isOver` says that it is not mounted any more. */
export async function unmountPath(path: string, isOver: () => boolean): Promise<void> {
  for (let i = 0; i < UNMOUNT_ATTEMPTS; i++) {
    if (i > 0) await new Promise((settle) => setTimeout(settle, UNMOUNT_RETRY_MS));
    if (isOver() || (await tryUnmount(path))) return;
  }
  if (!isOver()) await forceUnmount(path);
}

/** Waits for `promise`, but not longer than `timeoutMs`. */
export async function within(timeoutMs: number, promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<void>((settle) => {
    timer = setTimeout(settle, timeoutMs);
  });
  await Promise.race([promise, timeout]);
  clearTimeout(timer);
}

/** True: unmounted. False: busy, or not possible. */
async function tryUnmount(path: string): Promise<boolean> {
  const [program, ...args] = isRoot() ? ['umount', '-i', '-c', '--'] : [fusermount(), '-u', '--'];
  return (await run(program, [...args, path])).status === 0;
}

/** mount(8) and umount(8) are for root; for others there is the set-user-ID program fusermount. */
export function isRoot(): boolean {
  return process.geteuid?.() === 0;
}

/** That of libfuse 3, or where there is none, of libfuse 2. */
export function fusermount(): string {
  const found = PROGRAM_DIRECTORIES.some((at) => existsSync(join(at, 'fusermount3')));
  return found ? 'fusermount3' : 'fusermount';
}

/**
 * Takes the mount away whoever uses it: -f makes the kernel end the connection and all that waits
 * for it, -l detaches it now and cleans up when the last user is gone (umount(8)).
 */
async function forceUnmount(path: string): Promise<void> {
  const [program, ...args] = forceUnmountCommand(path);
  const umount = await run(program, args);
  if (umount.status === 0 || /not (mounted|found)/.test(umount.errorText)) return;
  throw unavailable(`${path} cannot be unmounted: ${umount.errorText}`);
}

/** By umount(8), or for others than root by fusermount, which cannot end what waits. */
export function forceUnmountCommand(path: string): readonly [string, ...string[]] {
  return isRoot()
    ? ['umount', '-i', '-c', '-f', '-l', '--', path]
    : [fusermount(), '-u', '-z', '--', path];
}

interface ProgramResult {
  /** null: could not be started, or did not end in time. */
  readonly status: number | null;
  /** One line. */
  readonly errorText: string;
}

/** Runs a program to its end, without a shell, messages in English. Never waits for ever. */
export function run(
  program: string,
  args: readonly string[],
  fd?: number,
  timeoutMs = PROGRAM_TIMEOUT_MS,
): Promise<ProgramResult> {
  return new Promise((settle) => {
    const child = spawn(program, args, {
      cwd: '/',
      env: { PATH: PROGRAM_DIRECTORIES.join(':'), LC_ALL: 'C' },
      stdio: ['ignore', 'ignore', 'pipe', ...(fd === undefined ? [] : [fd])],
    });
    let errorText = '';
    const end = (status: number | null, reason = '') => {
      clearTimeout(timer);
      const text = errorText.trim().replace(/\s*\n\s*/g, ' ') || reason;
      settle({ status, errorText: text.slice(0, ERROR_TEXT_CHARS_MAX) });
    };
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      child.unref();
      child.stderr?.destroy();
      end(null, `${program} did not end within ${timeoutMs / 1000} s`);
    }, timeoutMs);
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      if (errorText.length < ERROR_TEXT_CHARS_MAX) errorText += text;
    });
    child.on('error', (error) => end(null, describe(error)));
    child.on('close', (code, signal) => end(code, `${program} ended with ${code ?? signal}`));
  });
}
