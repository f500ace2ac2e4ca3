import { assert } from '../base/assert.js';
import type { Timespec } from '../base/clock.js';
import { errnoOf } from '../base/errno.js';
import { isMootError, MootError } from '../base/errors.js';
import { S_IFDIR, S_IFMT, S_IFREG } from '../filesystem/mode.js';
import { type Ino, type Inode, ROOT_INO } from '../filesystem/records.js';
import type {
  AttributeChange,
  Caller,
  FilesystemFigures,
  Handle,
  MountOperations,
  OpenFlags,
} from './mount.js';

const BLOCK_BYTES_PREFERRED = 65_536;
const STAT_BLOCK_BYTES = 512;
/** Directory entries asked for at once. */
const LISTING_BYTES = 65_536;
const UINT32_MAX = 2 ** 32 - 1;
/** chown(2): this one stays. */
const UNCHANGED_ID = UINT32_MAX;
/** What Node puts where bytes are not UTF-8. */
const REPLACEMENT_CHARACTER = '\uFFFD';
const O_ACCMODE = 0o3;
const O_WRONLY = 0o1;
const O_APPEND = 0o2000;
const O_TRUNC = 0o1000;

/** A path and its inode, as long as they belong together. */
interface Place {
  readonly parent: Ino;
  readonly name: Uint8Array;
}

interface OpenHandle {
  readonly append: boolean;
  readonly ino: Ino;
  readonly handle: Handle;
}

/**
 * libfuse's operations on paths as operations on inodes. Every path is walked anew, name by name:
 * slow, and never wrong about what another mount has renamed meanwhile.
 */
export class PathOperations {
  readonly #open = new Map<number, OpenHandle>();
  /** 0 is no handle: the package does not hand it on. */
  #nextHandle = 1;
  readonly #interrupt = new AbortController();
  readonly #caller: Caller = {
    uid: process.geteuid?.() ?? 0,
    gid: process.getegid?.() ?? 0,
    pid: 0,
    signal: this.#interrupt.signal,
  };

  constructor(private readonly operations: MountOperations) {}

  interruptAll(): void {
    this.#interrupt.abort(new MootError('INTERRUPTED', 'unmounted'));
  }

  handlers(): import('fuse-native').Operations {
    const caller = this.#caller;
    const ops = this.operations;
    return {
      getattr: (path, done) =>
        answer(done, async () => {
          const { inode } = await this.#withInode(path, (ino) => ops.getAttributes(ino, caller));
          return [0, statOf(inode)];
        }),
      readlink: (path, done) =>
        answer(done, async () => {
          const target = await this.#withInode(path, (ino) => ops.readLink(ino, caller));
          return [0, Buffer.from(target).toString('utf8')];
        }),
      mknod: (path, mode, rdev, done) =>
        this.#make(path, done, ({ parent, name }) =>
          ops.makeNode(parent, name, { mode, umask: 0, rdev }, caller),
        ),
      mkdir: (path, mode, done) =>
        this.#make(path, done, ({ parent, name }) =>
          ops.makeNode(
            parent,
            name,
            { mode: (mode & ~S_IFMT) | S_IFDIR, umask: 0, rdev: 0 },
            caller,
          ),
        ),
      symlink: (target, path, done) =>
        this.#make(path, done, ({ parent, name }) =>
          ops.makeSymlink(parent, name, bytesOf(target), caller),
        ),
      link: (existing, path, done) =>
        this.#make(path, done, ({ parent, name }) =>
          this.#withInode(existing, (ino) => ops.link(ino, parent, name, caller)),
        ),
      unlink: (path, done) =>
        this.#change(done, () =>
          this.#withPlace(path, ({ parent, name }) => ops.unlink(parent, name, caller)),
        ),
      rmdir: (path, done) =>
        this.#change(done, () =>
          this.#withPlace(path, ({ parent, name }) => ops.removeDirectory(parent, name, caller)),
        ),
      rename: (path, newPath, done) =>
        this.#change(done, () =>
          this.#withPlace(path, (from) =>
            this.#withPlace(newPath, (to) =>
              ops.rename(from.parent, from.name, to.parent, to.name, 'replace', caller),
            ),
          ),
        ),
      chmod: (path, mode, done) => this.#setAttributes(path, { mode: mode & 0o7777 }, done),
      chown: (path, uid, gid, done) =>
        this.#setAttributes(
          path,
          { ...(uid !== UNCHANGED_ID && { uid }), ...(gid !== UNCHANGED_ID && { gid }) },
          done,
        ),
      truncate: (path, size, done) => this.#setAttributes(path, { size }, done),
      ftruncate: (_path, handle, size, done) =>
        this.#change(done, async () => {
          const open = this.#opened(handle);
          await ops.setAttributes(open.ino, { size }, caller);
        }),
      utimens: (path, atimeMs, mtimeMs, done) =>
        this.#setAttributes(
          path,
          { atime: timespecOfMs(atimeMs), mtime: timespecOfMs(mtimeMs) },
          done,
        ),
      create: (path, mode, done) =>
        answer(done, () =>
          this.#withPlace(path, async ({ parent, name }) => {
            const fileMode = (mode & ~S_IFMT) | S_IFREG;
            const created = await this.#createExclusive(parent, name, fileMode);
            return [0, this.#addHandle(created.inode.ino, created.handle, false)];
          }),
        ),
      open: (path, flags, done) =>
        answer(done, async () => {
          const openFlags = openFlagsOf(flags);
          const open = await this.#withInode(path, async (ino) => ({
            ino,
            handle: (await ops.open(ino, openFlags, caller)).handle,
          }));
          return [0, this.#addHandle(open.ino, open.handle, openFlags.append)];
        }),
      read: (_path, handle, buffer, size, offset, done) =>
        answer(done, async () => {
          const open = this.#opened(handle);
          const data = await ops.read(open.ino, open.handle, offset, size, caller);
          buffer.set(data);
          return [data.length];
        }),
      write: (_path, handle, buffer, size, offset, done) =>
        answer(done, async () => {
          const open = this.#opened(handle);
          const own = new Uint8Array(buffer.subarray(0, size));
          const writeFlags = { append: open.append, killPrivileges: false };
          return [await ops.write(open.ino, open.handle, offset, own, writeFlags, caller)];
        }),
      flush: (_path, handle, done) =>
        this.#change(done, () => {
          const open = this.#opened(handle);
          return ops.flush(open.ino, open.handle, caller);
        }),
      fsync: (_path, _dataOnly, handle, done) =>
        this.#change(done, () => {
          const open = this.#opened(handle);
          return ops.fsync(open.ino, open.handle, caller);
        }),
      release: (_path, handle, done) =>
        this.#change(done, () => {
          const open = this.#opened(handle);
          this.#open.delete(handle);
          return ops.release(open.ino, open.handle);
        }),
      opendir: (path, _flags, done) =>
        answer(done, async () => {
          const open = await this.#withInode(path, async (ino) => ({
            ino,
            handle: await ops.openDirectory(ino, caller),
          }));
          return [0, this.#addHandle(open.ino, open.handle, false)];
        }),
      readdir: (path, done) =>
        answer(done, async () => [0, await this.#withInode(path, (ino) => this.#list(ino))]),
      releasedir: (_path, handle, done) =>
        this.#change(done, async () => {
          const open = this.#opened(handle);
          this.#open.delete(handle);
          ops.releaseDirectory(open.ino, open.handle);
        }),
      fsyncdir: (_path, _dataOnly, handle, done) =>
        this.#change(done, () => {
          const open = this.#opened(handle);
          return ops.fsyncDirectory(open.ino, open.handle, caller);
        }),
      statfs: (_path, done) => answer(done, async () => [0, statFsOf(await ops.statfs(caller))]),
    };
  }

  #change(done: Done, action: () => Promise<void>): void {
    answer(done, async () => {
      await action();
      return [0];
    });
  }

  /** The new name's inode counts as looked up; the kernel does not hear of it here. */
  #make(
    path: string,
    done: Done,
    action: (place: Place) => Promise<{ readonly inode: Inode }>,
  ): void {
    this.#change(done, () =>
      this.#withPlace(path, async (place) => {
        const { inode } = await action(place);
        this.operations.forget(inode.ino, 1);
      }),
    );
  }

  #setAttributes(path: string, change: AttributeChange, done: Done): void {
    this.#change(done, () =>
      this.#withInode(path, async (ino) => {
        await this.operations.setAttributes(ino, change, this.#caller);
      }),
    );
  }

  /**
   * The package does not say whether O_EXCL was given, and libfuse comes here only when the name
   * was not there. If it has come up meanwhile, ESTALE makes the kernel look again and decide.
   */
  async #createExclusive(parent: Ino, name: Uint8Array, mode: number) {
    const flags = { read: true, write: true, append: false, truncate: false, exclusive: true };
    try {
      const created = await this.operations.create(
        parent,
        name,
        // The kernel has applied the umask.
        { mode, umask: 0 },
        flags,
        this.#caller,
      );
      this.operations.forget(created.inode.ino, 1);
      return created;
    } catch (error) {
      if (!isMootError(error, 'EEXIST')) throw error;
      throw new MootError('ESTALE', 'the name was made by another mount meanwhile', {
        cause: error,
      });
    }
  }

  async #list(ino: Ino): Promise<string[]> {
    const { operations } = this;
    const handle = await operations.openDirectory(ino, this.#caller);
    try {
      const names: string[] = [];
      for (let cookie = 0; ; ) {
        const entries = await operations.readDirectory(
          ino,
          handle,
          cookie,
          LISTING_BYTES,
          false,
          this.#caller,
        );
        const last = entries.at(-1);
        if (last === undefined) return names;
        for (const { name } of entries) names.push(Buffer.from(name).toString('utf8'));
        cookie = last.cookie;
      }
    } finally {
      operations.releaseDirectory(ino, handle);
    }
  }

  async #withInode<T>(path: string, action: (ino: Ino) => Promise<T>): Promise<T> {
    const ino = await this.#walk(namesOf(path));
    try {
      return await action(ino);
    } finally {
      this.#forget(ino);
    }
  }

  async #withPlace<T>(path: string, action: (place: Place) => Promise<T>): Promise<T> {
    const names = namesOf(path);
    const name = names.pop();
    if (name === undefined) throw new MootError('EBUSY', 'the root cannot be renamed or removed');
    const parent = await this.#walk(names);
    try {
      return await action({ parent, name });
    } finally {
      this.#forget(parent);
    }
  }

  /** Each step holds its inode until the next one has been looked up. */
  async #walk(names: readonly Uint8Array[]): Promise<Ino> {
    let ino = ROOT_INO;
    for (const name of names) {
      const parent = ino;
      try {
        ino = (await this.operations.lookup(parent, name, this.#caller)).inode.ino;
      } finally {
        this.#forget(parent);
      }
    }
    return ino;
  }

  #forget(ino: Ino): void {
    if (ino !== ROOT_INO) this.operations.forget(ino, 1);
  }

  #addHandle(ino: Ino, handle: Handle, append: boolean): number {
    const number = this.#nextHandle++;
    this.#open.set(number, { ino, handle, append });
    return number;
  }

  #opened(number: number): OpenHandle {
    const open = this.#open.get(number);
    assert(open !== undefined, 'libfuse uses the handles that it was given');
    return open;
  }
}

/** The result, and the value when there is one. */
type Answer = readonly [result: number, value?: unknown];
// The package's callbacks have values of many types; each is given with its own operation above.
type Done = (result: number, value?: never) => void;

/** Answers exactly once. What is not a MootError is a bug and ends the process, see assert.ts. */
function answer(done: Done, work: () => Promise<Answer>): void {
  work().then(
    ([result, value]) => done(result, value as never),
    (error: unknown) => {
      if (!isMootError(error)) throw error;
      done(-errnoOf(error.code));
    },
  );
}

function bytesOf(text: string): Uint8Array {
  if (text.includes(REPLACEMENT_CHARACTER)) {
    throw new MootError('EINVAL', 'names that are not UTF-8 need the default adapter');
  }
  return Buffer.from(text, 'utf8');
}

function namesOf(path: string): Uint8Array[] {
  return path
    .split('/')
    .filter((name) => name !== '')
    .map(bytesOf);
}

function openFlagsOf(flags: number): OpenFlags {
  const access = flags & O_ACCMODE;
  return {
    read: access !== O_WRONLY,
    write: access !== 0,
    append: (flags & O_APPEND) !== 0,
    truncate: (flags & O_TRUNC) !== 0,
  };
}

function statOf(inode: Inode): import('fuse-native').Stat {
  return {
    mode: inode.mode,
    uid: inode.uid,
    gid: inode.gid,
    size: inode.size,
    nlink: inode.nlink,
    rdev: inode.rdev,
    blksize: BLOCK_BYTES_PREFERRED,
    blocks: Math.ceil(inode.bytes / STAT_BLOCK_BYTES),
    atime: dateOf(inode.atime),
    mtime: dateOf(inode.mtime),
    ctime: dateOf(inode.ctime),
  };
}

/** The package has no times before 1970. */
function dateOf({ sec, nsec }: Timespec): Date {
  return new Date(Math.max(0, sec * 1000 + Math.floor(nsec / 1e6)));
}

function timespecOfMs(ms: number): Timespec {
  return { sec: Math.floor(ms / 1000), nsec: (ms % 1000) * 1e6 };
}

/** The package has 32 bits for each figure: larger filesystems are shown in larger blocks. */
function statFsOf(figures: FilesystemFigures): import('fuse-native').StatFs {
  let scale = 1;
  while (figures.blocks / scale > UINT32_MAX) scale *= 2;
  const blockBytes = figures.blockBytes * scale;
  const blocksFree = Math.floor(figures.blocksFree / scale);
  return {
    bsize: blockBytes,
    frsize: blockBytes,
    blocks: Math.floor(figures.blocks / scale),
    bfree: blocksFree,
    bavail: blocksFree,
    files: Math.min(figures.inodes, UINT32_MAX),
    ffree: Math.min(figures.inodesFree, UINT32_MAX),
    favail: Math.min(figures.inodesFree, UINT32_MAX),
    namemax: figures.nameBytesMax,
  };
}
