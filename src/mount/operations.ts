import type { Clock } from '../base/clock.js';
import { isMootError, MootError } from '../base/errors.js';
import type { CallOptions, FilesystemClient } from '../client/filesystem-client.js';
import type { ReadLevel } from '../codec/client-messages.js';
import type { Command, CommandType, CommandValues } from '../filesystem/commands.js';
import type { ListedEntry, Query, QueryType, QueryValues } from '../filesystem/queries.js';
import { type Ino, type Inode, NAME_BYTES_MAX } from '../filesystem/records.js';
import { Handles, type OpenFile } from './handles.js';
import { type AskedName, KernelCaches } from './kernel-caches.js';
import { Listing } from './listing.js';
import type {
  AttributeChange,
  Attributes,
  Caller,
  FilesystemFigures,
  Handle,
  KernelNotifier,
  MountOperations,
  Opened,
  OpenFlags,
} from './mount.js';
import { mayOpen } from './permission.js';
import { WriteBehind } from './write-behind.js';
import { checkXattrName } from './xattr-names.js';

export interface MountOperationsParts {
  readonly client: FilesystemClient;
  /** How fresh what programs read is; see ReadLevel. */
  readonly level: ReadLevel;
  readonly clock: Clock;
  /** Each write(2) waits for its commit. Default: false. */
  readonly writeThrough?: boolean;
  /** Without a decision for this long an operation fails; Infinity waits for ever. Default: the client's. */
  readonly deadlineMs?: number;
  /** Written bytes that are not committed; beyond it write(2) waits. Default: UNCOMMITTED_BYTES_MAX. */
  readonly uncommittedBytesMax?: number;
}

/** The operations of one mount, with what its adapter and its owner need beside them. */
export interface ClusterOperations extends MountOperations {
  /** From now on the kernel is told of what others change. */
  setNotifier(notifier: KernelNotifier): void;
  /**
   * Stops watching when what is written is committed, or the deadline has passed; INTERRUPTED when
   * `signal` is aborted before.
   */
  close(signal?: AbortSignal): Promise<void>;
}

/** The unit of statfs's figures: the page of the kernel, as most filesystems have it. */
const STATFS_BLOCK_BYTES = 4_096;
/** Inodes are numbered, not reserved: this many free ones are shown, whatever is used. */
const INODES_FREE = 2 ** 30;
/** S_IFMT and S_IFREG, S_IFLNK of stat(2). */
const TYPE_MASK = 0o170000;
const REGULAR_TYPE = 0o100000;
const SYMLINK_TYPE = 0o120000;
/** A create that finds the name there, and then not there, that often is told to start anew. */
const CREATE_ATTEMPTS_MAX = 8;

/**
 * The operations of a mounted filesystem as commands and queries of the cluster. Written bytes
 * wait in WriteBehind; whatever reads an inode waits until they are committed, so that each answer
 * is the cluster's. What the kernel caches is KernelCaches' business, what is open Handles'.
 */
export function createMountOperations(parts: MountOperationsParts): ClusterOperations {
  return new Operations(parts);
}

class Operations implements ClusterOperations {
  private readonly client: FilesystemClient;
  private readonly callOptions: CallOptions;
  private readonly handles = new Handles();
  private readonly caches: KernelCaches;
  private readonly writes: WriteBehind;
  private readonly unwatch: () => void;

  constructor(private readonly parts: MountOperationsParts) {
    const { client, clock, level, deadlineMs, uncommittedBytesMax } = parts;
    this.client = client;
    const callOptions = deadlineMs === undefined ? {} : { deadlineMs };
    this.callOptions = callOptions;
    const caches = new KernelCaches({
      client,
      clock,
      level,
      callOptions,
      handles: this.handles,
    });
    this.caches = caches;
    this.writes = new WriteBehind({
      client,
      clock,
      callOptions,
      committed: (ino, value, misplaced) => caches.changed(ino, value, misplaced),
      failed: (ino) => caches.dropPages(ino),
      ...(uncommittedBytesMax === undefined ? {} : { uncommittedBytesMax }),
    });
    caches.connect(this.writes);
    client.setHolds(() => this.handles.holds());
    this.unwatch = client.watch(caches);
  }

  setNotifier(notifier: KernelNotifier): void {
    this.caches.setNotifier(notifier);
  }

  async close(signal?: AbortSignal): Promise<void> {
    try {
      await this.writes.settleAll(signal);
    } finally {
      this.unwatch();
    }
  }

  // Names.

  async lookup(parent: Ino, name: Uint8Array, caller: Caller): Promise<Attributes> {
    const { value, watched } = await this.caches.watching(async () => {
      const { inode } = await this.query({ type: 'lookup', parent, name }, caller);
      if (!this.writes.isPending(inode.ino)) return inode;
      await this.writes.settle(inode.ino, caller.signal);
      return (await this.query({ type: 'lookup', parent, name }, caller)).inode;
    });
    return this.caches.entry({ parent, name }, value, watched);
  }

  absenceTimeoutSec(parent: Ino, name: Uint8Array): number {
    return this.caches.absenceTimeoutSec({ parent, name });
  }

  listed(parent: Ino, name: Uint8Array, inode: Inode): Attributes {
    return this.caches.named({ parent, name }, inode, { touched: new Set(), all: false });
  }

  forget(ino: Ino, count: number): void {
    this.caches.forget(ino, count);
  }

  makeNode(
    parent: Ino,
    name: Uint8Array,
    mode: number,
    rdev: number,
    caller: Caller,
  ): Promise<Attributes> {
    const { uid, gid } = caller;
    return this.makeEntry({ type: 'make-node', parent, name, mode, rdev, uid, gid }, caller);
  }

  makeSymlink(
    parent: Ino,
    name: Uint8Array,
    target: Uint8Array,
    caller: Caller,
  ): Promise<Attributes> {
    const { uid, gid } = caller;
    return this.makeEntry({ type: 'make-symlink', parent, name, target, uid, gid }, caller);
  }

  link(ino: Ino, parent: Ino, name: Uint8Array, caller: Caller): Promise<Attributes> {
    // The new name must not show the file without the bytes that were written before.
    this.writes.send(ino);
    return this.makeEntry({ type: 'link', ino, parent, name }, caller);
  }

  async unlink(parent: Ino, name: Uint8Array, caller: Caller): Promise<void> {
    await this.execute({ type: 'unlink', parent, name }, caller);
  }

  async removeDirectory(parent: Ino, name: Uint8Array, caller: Caller): Promise<void> {
    await this.execute({ type: 'remove-directory', parent, name }, caller);
  }

  async rename(
    parent: Ino,
    name: Uint8Array,
    newParent: Ino,
    newName: Uint8Array,
    mode: 'replace' | 'no-replace' | 'exchange',
    caller: Caller,
  ): Promise<void> {
    // A file that is written and renamed over another is never seen under the new name without
    // its bytes. Which inode it is, only the cluster knows: so all that is buffered goes first.
    this.writes.sendAll();
    await this.execute({ type: 'rename', parent, name, newParent, newName, mode }, caller);
  }

  // Attributes.

  async getAttributes(ino: Ino, caller: Caller): Promise<Attributes> {
    const { value, watched } = await this.caches.watching(async () => {
      await this.writes.settle(ino, caller.signal);
      return this.query({ type: 'get-inode', ino }, caller);
    });
    return this.caches.attributes(value.inode, watched);
  }

  async setAttributes(
    ino: Ino,
    change: AttributeChange,
    _handle: Handle | null,
    caller: Caller,
  ): Promise<Attributes> {
    const { value, watched } = await this.caches.watching(() => {
      // In order: bytes written before must neither survive a truncation nor move the mtime.
      this.writes.send(ino);
      return this.execute({ type: 'set-attributes', ino, ...change }, caller);
    });
    this.caches.changed(ino, value, false);
    return this.caches.attributes(value.inode, watched);
  }

  async readLink(ino: Ino, caller: Caller): Promise<Uint8Array> {
    const { inode } = await this.query({ type: 'get-inode', ino }, caller);
    if ((inode.mode & TYPE_MASK) !== SYMLINK_TYPE) {
      throw new MootError('EINVAL', `inode ${ino} is not a symbolic link`);
    }
    return inode.target;
  }

  // Files.

  async create(
    parent: Ino,
    name: Uint8Array,
    mode: number,
    flags: OpenFlags & { readonly exclusive: boolean },
    caller: Caller,
  ): Promise<Attributes & Opened> {
    for (let attempt = 1; attempt <= CREATE_ATTEMPTS_MAX; attempt++) {
      const made = await this.createAnew(parent, name, mode, flags, caller);
      if (made !== null) return made;
      const opened = await this.createOverExisting(parent, name, flags, caller);
      if (opened !== null) return opened;
    }
    throw new MootError('ESTALE', 'the name comes and goes too fast');
  }

  /** null: the name is there, and that is no error. */
  private async createAnew(
    parent: Ino,
    name: Uint8Array,
    mode: number,
    flags: OpenFlags & { readonly exclusive: boolean },
    caller: Caller,
  ): Promise<(Attributes & Opened) | null> {
    const { uid, gid } = caller;
    const type = 'make-node';
    const command = { type, parent, name, mode: REGULAR_TYPE | (mode & 0o7777), rdev: 0 } as const;
    try {
      const { value, watched } = await this.caches.watching(() =>
        this.handles.holdNew(
          () => this.execute({ ...command, uid, gid }, caller),
          (made) => made.inode.ino,
        ),
      );
      const { inode } = value;
      const entry = this.caches.entry({ parent, name }, inode, watched);
      return { ...entry, ...this.addFile(inode, flags) };
    } catch (error) {
      if (isMootError(error, 'EEXIST') && !flags.exclusive) return null;
      throw error;
    }
  }

  /**
   * Somebody else made the file after the kernel had found nothing. null: it is gone again. The
   * kernel checks no permission for a file that create(2) opens; where the mode alone does not
   * say that the caller may, ESTALE makes it walk the path again, and check.
   */
  private async createOverExisting(
    parent: Ino,
    name: Uint8Array,
    flags: OpenFlags,
    caller: Caller,
  ): Promise<(Attributes & Opened) | null> {
    try {
      const found = await this.lookup(parent, name, caller);
      const { ino, mode } = found.inode;
      try {
        if ((mode & TYPE_MASK) !== REGULAR_TYPE || !mayOpen(found.inode, flags, caller)) {
          throw new MootError('ESTALE', 'the name was made by somebody else meanwhile');
        }
        const opened = await this.open(ino, flags, caller);
        return { ...found, ...opened, attrTimeoutSec: 0 };
      } catch (error) {
        this.forget(ino, 1);
        throw error;
      }
    } catch (error) {
      if (isMootError(error, 'ENOENT')) return null;
      throw error;
    }
  }

  async open(ino: Ino, flags: OpenFlags, caller: Caller): Promise<Opened> {
    this.handles.hold(ino);
    try {
      const inode = await (flags.truncate
        ? this.truncate(ino, flags.killPrivileges === true, caller)
        : this.query({ type: 'get-inode', ino }, caller).then((value) => value.inode));
      // An inode that has lost its name may be opened again here only where it is open: another
      // one waits for nobody. The kernel walks the path again when it hears ESTALE.
      if (inode.nlink === 0 && this.handles.openCount(ino) === 1) {
        throw new MootError('ESTALE', `inode ${ino} has no name any more`);
      }
      return this.addFile(inode, flags);
    } catch (error) {
      this.handles.letGo(ino);
      throw error;
    }
  }

  private async truncate(ino: Ino, killPrivileges: boolean, caller: Caller): Promise<Inode> {
    this.writes.send(ino);
    const command = { type: 'set-attributes', ino, size: 0 } as const;
    const value = await this.execute(
      killPrivileges ? { ...command, killPrivileges } : command,
      caller,
    );
    this.caches.changed(ino, value, false);
    return value.inode;
  }

  /** The inode is held already. */
  private addFile(inode: Inode, flags: OpenFlags): Opened {
    const { ino } = inode;
    const handle = this.handles.addFile(ino, flags, this.writes.opened(ino));
    const keepCache = this.caches.opened(inode);
    return { handle, keepCache: keepCache && !flags.truncate };
  }

  async read(
    ino: Ino,
    handle: Handle,
    offset: number,
    size: number,
    caller: Caller,
  ): Promise<Uint8Array> {
    this.handles.file(handle);
    await this.writes.settle(ino, caller.signal);
    return (await this.query({ type: 'read', ino, offset, size }, caller)).data;
  }

  async write(
    _ino: Ino,
    handle: Handle,
    offset: number,
    data: Uint8Array,
    killPrivileges: boolean,
    caller: Caller,
  ): Promise<number> {
    const file = this.handles.file(handle);
    await this.writes.write(file, offset, data, killPrivileges, caller.signal);
    if (this.parts.writeThrough) await this.writes.flush(file, caller.signal);
    return data.length;
  }

  async flush(_ino: Ino, handle: Handle, caller: Caller): Promise<void> {
    const file = this.handles.file(handle);
    // What a reader closes has nothing to commit, and its close(2) tells no other's failure.
    if (file.write) await this.writes.flush(file, caller.signal);
  }

  async fsync(_ino: Ino, handle: Handle, caller: Caller): Promise<void> {
    await this.writes.flush(this.handles.file(handle), caller.signal);
  }

  async release(_ino: Ino, handle: Handle): Promise<void> {
    const file: OpenFile = this.handles.removeFile(handle);
    this.writes.released(file.ino);
    this.handles.letGo(file.ino);
  }

  // Directories.

  async openDirectory(ino: Ino, _caller: Caller): Promise<Handle> {
    this.handles.hold(ino);
    return this.handles.addDirectory(ino, new Listing(ino));
  }

  async readDirectory(
    ino: Ino,
    handle: Handle,
    cookie: number,
    bytesMax: number,
    plus: boolean,
    caller: Caller,
  ): Promise<readonly ListedEntry[]> {
    const { listing } = this.handles.directory(handle);
    const { value, watched } = await this.caches.watching(() =>
      listing.read(cookie, bytesMax, plus, (after, limit, withInodes) =>
        this.query({ type: 'read-directory', ino, cookie: after, limit, plus: withInodes }, caller),
      ),
    );
    if (!plus) return value;
    return value.map((entry) => {
      const { inode } = entry;
      if (inode === null) return entry;
      const asked: AskedName = { parent: ino, name: entry.name };
      const mayBeOld =
        this.writes.isPending(inode.ino) ||
        this.caches.isTouched(inode.ino, watched) ||
        this.caches.isNameTouched(asked, watched);
      if (mayBeOld) return { ...entry, inode: null };
      this.caches.entry(asked, inode, watched);
      return entry;
    });
  }

  releaseDirectory(_ino: Ino, handle: Handle): void {
    this.handles.letGo(this.handles.removeDirectory(handle).ino);
  }

  /** Whatever changed a directory was committed before its call returned. */
  async fsyncDirectory(_ino: Ino, handle: Handle, _caller: Caller): Promise<void> {
    this.handles.directory(handle);
  }

  // The whole.

  async statfs(caller: Caller): Promise<FilesystemFigures> {
    const { inodes, bytes, diskBytesTotal, diskBytesFree } = await this.query(
      { type: 'statfs' },
      caller,
    );
    return {
      blockBytes: STATFS_BLOCK_BYTES,
      blocks: Math.floor(Math.max(diskBytesTotal, bytes) / STATFS_BLOCK_BYTES),
      blocksFree: Math.floor(diskBytesFree / STATFS_BLOCK_BYTES),
      inodes: inodes + INODES_FREE,
      inodesFree: INODES_FREE,
      nameBytesMax: NAME_BYTES_MAX,
    };
  }

  // Extended attributes.

  async setXattr(
    ino: Ino,
    name: Uint8Array,
    value: Uint8Array,
    mode: 'set' | 'create' | 'replace',
    caller: Caller,
  ): Promise<void> {
    checkXattrName(name);
    await this.execute({ type: 'set-xattr', ino, name, value, mode }, caller);
  }

  async getXattr(ino: Ino, name: Uint8Array, caller: Caller): Promise<Uint8Array> {
    checkXattrName(name);
    // The kernel asks for security.capability before most writes, and hardly any file has one.
    const { inode } = await this.query({ type: 'get-inode', ino }, caller);
    if (inode.xattrs === 0) throw new MootError('ENODATA', 'no extended attributes');
    return (await this.query({ type: 'get-xattr', ino, name }, caller)).value;
  }

  async listXattrs(ino: Ino, caller: Caller): Promise<readonly Uint8Array[]> {
    return (await this.query({ type: 'list-xattrs', ino }, caller)).names;
  }

  async removeXattr(ino: Ino, name: Uint8Array, caller: Caller): Promise<void> {
    checkXattrName(name);
    await this.execute({ type: 'remove-xattr', ino, name }, caller);
  }

  private async makeEntry(
    command: Extract<Command, { type: 'make-node' | 'make-symlink' | 'link' }>,
    caller: Caller,
  ): Promise<Attributes> {
    const { value, watched } = await this.caches.watching(() => this.execute(command, caller));
    return this.caches.entry(command, value.inode, watched);
  }

  private async execute<T extends CommandType>(
    command: Extract<Command, { type: T }>,
    { signal }: Caller,
  ): Promise<CommandValues[T]> {
    const value = await this.client.execute(command, { ...this.callOptions, signal });
    const { expired } = this.caches;
    if (expired !== null) await expired;
    return value;
  }

  private query<T extends QueryType>(
    query: Extract<Query, { type: T }>,
    { signal }: Caller,
  ): Promise<QueryValues[T]> {
    const { level } = this.parts;
    return this.client.query(query, { ...this.callOptions, signal, level });
  }
}
