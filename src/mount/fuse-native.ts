import { describe } from '../base/errors.js';
import { PathOperations } from './fuse-native-paths.js';
import type { Mount, MountCapabilities, MountOperations } from './mount.js';
import {
  checkFuse,
  errnoNameOf,
  FLAGS_DEFAULT,
  isRoot,
  mountAt,
  prepareDirectory,
  RIGHT_TO_MOUNT,
  readMountinfo,
  unavailable,
  unmountPath,
  within,
} from './mount-point.js';

export interface FuseNativeOptions {
  /** Where to mount: a directory. */
  readonly directory: string;
  readonly operations: MountOperations;
  /** What stands in the first column of df(1): no comma and no space. */
  readonly source: string;
  /** Options of mount(8) for the kernel; default FLAGS_DEFAULT. */
  readonly flags?: readonly string[];
}

const CAPABILITIES: MountCapabilities = {
  // The package's interface has no flags for rename, so the kernel answers EINVAL.
  renameFlags: false,
  // Paths are JavaScript strings decoded from UTF-8.
  nonUtf8Names: false,
  // libfuse knows paths: each name of a file has an inode number of its own.
  hardLinkIdentity: false,
  notify: false,
  // By renaming to .fuse_hidden… until the last close.
  openUnlinked: true,
  interrupt: false,
  symlinkOwnership: true,
  specialFiles: true,
  // The package does not say who asks: what is made belongs to the user of the mount's process.
  callerOwnership: false,
  // The package hands over the access time twice, and both in milliseconds.
  setTimes: false,
  // Without them the kernel does not ask for security.capability before every write.
  xattrs: false,
  writeFlags: false,
  removedDirectories: false,
  allocate: false,
  seekHoles: false,
  unnamedFiles: false,
  acls: false,
  inodeFlags: false,
  birthTime: false,
  clusterLocks: false,
};

/** How often to look whether somebody else has unmounted: the package does not tell. */
const MOUNTED_CHECK_MS = 500;
/** After umount, libfuse's thread may still be on its way out. */
const CLOSE_TIMEOUT_MS = 5_000;
/**
 * Options of libfuse 2.9 that the package has no names for: writes of up to 128 KiB rather than
 * 4 KiB; no belief in names and attributes, as nothing could take it back; and a directory that is
 * not empty may be mounted on, as mount(8) allows.
 */
const LIBFUSE_OPTIONS = 'big_writes,nonempty,attr_timeout=0,entry_timeout=0,negative_timeout=0';
/** What libfuse 2.9 passes on (mount_flags in its mount.c); the kernel's own default is relatime. */
const LIBFUSE_FLAGS = new Set([
  'rw',
  'ro',
  'suid',
  'nosuid',
  'dev',
  'nodev',
  'exec',
  'noexec',
  'noatime',
]);

type Package = typeof import('fuse-native');

function flagsOf({ flags }: FuseNativeOptions): readonly string[] {
  return (flags ?? FLAGS_DEFAULT).filter((flag) => LIBFUSE_FLAGS.has(flag));
}

/**
 * Mounts with the package fuse-native, on libfuse 2.9. Slower and less able than the kernel's own
 * protocol (see `capabilities` and native-notes/fuse-native.md), but works for users without
 * privilege, through fusermount. Fails with MOUNT_UNAVAILABLE and a sentence that says what to do.
 */
export async function mountFuseNative(options: FuseNativeOptions): Promise<Mount> {
  const { default: Fuse } = await loadPackage();
  const path = await prepareDirectory(options.directory);
  // libfuse itself would say on standard error what is missing.
  await checkFuse();
  const adapter = new PathOperations(options.operations);
  // We unmount ourselves; the package would stop halfway when it finds no mount any more.
  Fuse.unmount = (_directory, done) => done(null);
  const fuse = new Fuse(path, adapter.handlers(), {
    // Others than the mounting user need user_allow_other in /etc/fuse.conf, but for root.
    allowOther: isRoot(),
    defaultPermissions: true,
    fsname: [options.source, LIBFUSE_OPTIONS, ...flagsOf(options)].join(','),
    subtype: 'mootfs',
    // The package's own time limit answers twice; operations have their own deadline.
    timeout: false,
  });
  await new Promise<void>((resolve, reject) => {
    fuse.mount((error) => {
      if (error instanceof Error) {
        const hint = isRoot()
          ? RIGHT_TO_MOUNT
          : 'without root it needs fusermount (Debian: apt-get install fuse)';
        reject(unavailable(`fuse-native cannot mount ${path}: ${hint}`, error));
      } else {
        resolve();
      }
    });
  });

  let isOver = false;
  let resolveEnded: () => void = () => {};
  const ended = new Promise<void>((resolve) => {
    resolveEnded = resolve;
  });
  const check = async () => {
    if (isOver) return;
    const mountinfo = await readMountinfo().catch(() => null);
    if (mountinfo !== null && mountAt(mountinfo, path) === undefined) {
      isOver = true;
      clearInterval(timer);
      adapter.interruptAll();
      // Only lets go of the package's hold on the event loop.
      await within(CLOSE_TIMEOUT_MS, new Promise<void>((resolve) => fuse.unmount(() => resolve())));
      resolveEnded();
    }
  };
  const timer = setInterval(() => void check(), MOUNTED_CHECK_MS);
  let unmounting: Promise<void> | null = null;
  const unmount = async () => {
    await unmountPath(path, () => isOver);
    await check();
    await ended;
  };
  return {
    directory: path,
    capabilities: CAPABILITIES,
    ended,
    unmount() {
      unmounting ??= unmount();
      return unmounting;
    },
  };
}

async function loadPackage(): Promise<Package> {
  try {
    return await import('fuse-native');
  } catch (error) {
    if (describe(error).includes('libfuse')) {
      throw unavailable(
        'install libfuse2 (Debian: apt-get install libfuse2 fuse) or use the default adapter',
        error,
      );
    }
    const reason = errnoNameOf(error) === 'ERR_MODULE_NOT_FOUND' ? 'is not installed' : 'fails';
    throw unavailable(`the package fuse-native ${reason}: use the default adapter`, error);
  }
}
