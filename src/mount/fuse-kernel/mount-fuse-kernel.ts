import { spawnSync } from 'node:child_process';
import { endianness } from 'node:os';
import type {
  KernelNotifier,
  Mount,
  MountCapabilities,
  MountOperations,
  RequestObserver,
} from '../mount.js';
import {
  FLAGS_DEFAULT,
  forceUnmountCommand,
  prepareDirectory,
  unavailable,
  unmountPath,
  within,
} from '../mount-point.js';
import type { HandedMount } from './as-user.js';
import { Connection } from './connection.js';
import { deviceOf, mountDescriptor, openDevice, widenReadAhead } from './mounting.js';
import { Notifier } from './notifier.js';

/**
 * Each keeps a thread of libuv's pool. One reads while the others' requests are on their way to
 * JavaScript; more than a few gain nothing, as one thread answers them all.
 */
export const READERS_DEFAULT = 4;

/** After a successful umount(8) the kernel still writes back; then waiting operations are ended. */
const END_TIMEOUT_MS = 10_000;
const FORCED_END_TIMEOUT_MS = 5_000;

export interface FuseKernelOptions {
  /** Where to mount: a directory. */
  readonly directory: string;
  readonly operations: MountOperations;
  /** What stands in the first column of df(1). */
  readonly source: string;
  /** Options of mount(8) for the kernel; default FLAGS_DEFAULT. */
  readonly flags?: readonly string[];
  /** Requests read at once; default 4. UV_THREADPOOL_SIZE must be larger, see connection.ts. */
  readonly readers?: number;
  /** For whom flock(2) and fcntl(2) lock: the whole cluster (the default), or this mount. */
  readonly locks?: 'cluster' | 'mount';
  /** Gets a line for every request and reply. */
  readonly debug?: (line: string) => void;
  readonly observer?: RequestObserver;
  /** Is mounted already, at `directory`; not by root. */
  readonly handed?: HandedMount;
}

const CAPABILITIES: MountCapabilities = {
  renameFlags: true,
  nonUtf8Names: true,
  hardLinkIdentity: true,
  notify: true,
  openUnlinked: true,
  interrupt: true,
  symlinkOwnership: true,
  specialFiles: true,
  callerOwnership: true,
  setTimes: true,
  xattrs: true,
  writeFlags: true,
  removedDirectories: true,
  allocate: true,
  seekHoles: true,
  unnamedFiles: true,
  acls: true,
  inodeFlags: true,
  birthTime: true,
  clusterLocks: true,
};

/**
 * Mounts by speaking the kernel's own protocol over /dev/fuse (linux/fuse.h), without native code.
 * Needs root, unless the mount was handed over. Fails with MOUNT_UNAVAILABLE and a sentence that says what to do. While it is
 * mounted, an exit of the process by whatever error unmounts it: the readers would otherwise keep
 * the process from ending.
 */
export async function mountFuseKernel(
  options: FuseKernelOptions,
): Promise<Mount & { readonly notifier: KernelNotifier }> {
  if (endianness() !== 'LE') {
    throw unavailable('this adapter works on little-endian machines only');
  }
  const path = options.handed?.directory ?? (await prepareDirectory(options.directory));
  const device = options.handed === undefined ? await openDevice() : deviceOf(options.handed);
  const clusterLocks = options.locks !== 'mount';
  const connection = new Connection(
    device.fd,
    options.operations,
    options.debug ?? null,
    options.observer ?? null,
    clusterLocks,
  );
  // A reader before mount(8) has ended: it may itself ask something of the new mount.
  connection.addReaders(1);
  try {
    if (options.handed === undefined) {
      await mountDescriptor(device.fd, options.source, path, options.flags ?? FLAGS_DEFAULT);
    }
  } catch (error) {
    connection.giveUp();
    await connection.ended;
    await device.close();
    throw error;
  }
  connection.setMounted();
  connection.addReaders((options.readers ?? READERS_DEFAULT) - 1);

  const notifier = new Notifier(device.fd, () => connection.kernelMinor);
  const onExit = () => endByForce(path);
  process.on('exit', onExit);
  const ended = connection.ended.then(async () => {
    process.off('exit', onExit);
    connection.close();
    await notifier.close();
    await device.close();
  });
  let unmounting: Promise<void> | null = null;
  const mount = {
    directory: path,
    capabilities: { ...CAPABILITIES, clusterLocks },
    ended,
    notifier,
    unmount() {
      unmounting ??= unmount(path, connection, ended);
      return unmounting;
    },
  };
  try {
    await connection.negotiated;
    await widenReadAhead(path);
  } catch (error) {
    await mount.unmount();
    throw error;
  }
  return mount;
}

/**
 * In a process that is exiting: whatever keeps the kernel from closing the connection, the readers
 * must not keep the process. Synchronous, as nothing else runs any more; it asks nothing of us.
 */
function endByForce(path: string): void {
  const [program, ...args] = forceUnmountCommand(path);
  const { status } = spawnSync(program, args, {
    timeout: FORCED_END_TIMEOUT_MS,
    killSignal: 'SIGKILL',
  });
  if (status !== 0) process.kill(process.pid, 'SIGKILL');
}

async function unmount(path: string, connection: Connection, ended: Promise<void>): Promise<void> {
  let isOver = false;
  void ended.then(() => {
    isOver = true;
  });
  await unmountPath(path, () => isOver);
  await within(END_TIMEOUT_MS, ended);
  if (!isOver) {
    connection.interruptAll();
    await within(END_TIMEOUT_MS, ended);
  }
  if (!isOver) throw unavailable(`${path} is unmounted but the kernel still uses it`);
}
