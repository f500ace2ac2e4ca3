import type { Clock } from '../base/clock.js';
import { isMootError, MootError } from '../base/errors.js';
import {
  type CallOptions,
  DEADLINE_MS_DEFAULT,
  type FilesystemClient,
} from '../client/filesystem-client.js';
import type { ReadLevel } from '../codec/client-messages.js';
import type { AllocateMode, Command } from '../filesystem/commands.js';
import { isRegular, isSymlink, PERMISSION_BITS, S_IFREG } from '../filesystem/mode.js';
import { FILE_BYTES_MAX, type Ino, type Inode } from '../filesystem/records.js';
import { doneOrAborted } from './abort.js';
import { ClusterCalls } from './cluster-calls.js';
import { Directories } from './directories.js';
import { figuresOf } from './figures.js';
import { Handles, type OpenFile } from './handles.js';
import { KernelCaches, type Watched } from './kernel-caches.js';
import type { AskedName } from './known-names.js';
import { Locks } from './locks.js';
import type {
  AttributeChange,
  Attributes,
  Caller,
  DirectoryEntry,
  FileRange,
  FilesystemFigures,
  Handle,
  KernelNotifier,
  LockHolder,
  LockRequest,
  MountOperations,
  NewNode,
  Opened,
  OpenFlags,
  WriteFlags,
} from './mount.js';
import { mayOpen, refuseForFlags } from './permission.js';
import { Ranges } from './ranges.js';
import { WriteBehind } from './write-behind.js';
import { checkXattrName, visibleXattrs } from './xattr-names.js';

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
   * Stops watching when what is written is committed, or the deadline has passed, or CLOSE_MS_MAX, or
   * `signal` is aborted. Fails when bytes are lost, or may be, of which no program was told.
   */
  close(signal?: AbortSignal): Promise<void>;
}

/** Whoever stops a mount waits no longer for a cluster that does not decide, whatever the deadline. */
const CLOSE_MS_MAX = 30_000;
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
  private readonly callOptions: CallOptions;
  private readonly handles = new Handles();
  private readonly caches: KernelCaches;
  private readonly writes: WriteBehind;
  private readonly locks: Locks;
  private readonly cluster: ClusterCalls;
  private readonly ranges: Ranges;
  private readonly directories: Directories;
  private readonly unwatch: () => void;

  constructor(private readonly parts: MountOperationsParts) {
    const { client, clock, level, deadlineMs, uncommittedBytesMax } = parts;
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
      boundTo: () => this.locks.boundTo,
      ...(uncommittedBytesMax === undefined ? {} : { uncommittedBytesMax }),
    });
    caches.connect(this.writes);
    this.locks = new Locks({
      client,
      clock,
      callOptions,
      send: (ino) => this.writes.send(ino),
      sendAll: () => this.writes.sendAll(),
      check: (handle) => void this.used(handle),
      locked: (inode) => caches.locked(inode),
      lost: () => this.fence(),
    });
    this.cluster = new ClusterCalls({
      client,
      callOptions,
      level,
      boundTo: () => this.locks.boundTo,
      expired: (own) => caches.expired(own),
    });
    this.ranges = new Ranges(this.cluster, this.writes, caches, (handle) => this.used(handle));
    this.directories = new Directories(this.cluster, this.handles, caches, this.writes);
    client.setHolds(() => this.handles.holds());
    const unwatchCaches = client.watch(caches);
    const unwatchLocks = client.watch(this.locks);
    this.unwatch = () => {
      unwatchCaches();
      unwatchLocks();
    };
  }

  get listsAttributes(): boolean {
    return this.caches.keepsAttributes;
  }

  setNotifier(notifier: KernelNotifier): void {
    this.caches.setNotifier(notifier);
  }

  async close(signal?: AbortSignal): Promise<void> {
    try {
      const { deadlineMs = DEADLINE_MS_DEFAULT } = this.callOptions;
      await this.writes.end(Math.min(deadlineMs, CLOSE_MS_MAX), signal);
    } finally {
      this.locks.end();
      this.unwatch();
    }
  }

  // Names.

  async lookup(parent: Ino, name: Uint8Array, caller: Caller): Promise<Attributes> {
    const asked = { parent, name };
    const forgetting = this.caches.forgettingOf(caller);
    if (forgetting !== null) await forgetting;
    this.handles.lookedUp(parent);
    const begun = this.caches.beginLookup(asked);
    const { value, watched } = await this.caches.watching(async (watched) => {
      const inode = await this.find(asked, caller, watched);
      await this.caches.refuseMoved(asked, inode, begun, caller, (other) =>
        this.meaningOf(other, caller),
      );
      return inode;
    });
    this.caches.found(asked, value.ino, caller);
    return this.caches.entry(asked, value, watched);
  }

  private async find(asked: AskedName, caller: Caller, watched: Watched): Promise<Inode> {
    const query = { type: 'lookup', ...asked } as const;
    try {
      const { inode } = await this.cluster.query(query, caller);
      const isPending = this.writes.isPending(inode.ino);
      if (!isPending && !this.caches.isOld(inode)) return inode;
      if (isPending) await this.writes.settle(inode.ino, caller.signal);
      return (await this.cluster.queryAfterOwn(query, caller)).inode;
    } catch (error) {
      if (isMootError(error, 'ENOENT')) this.caches.absent(asked, caller, watched);
      throw error;
    }
  }

  /** null: there is no such name. */
  private async meaningOf(name: AskedName, caller: Caller): Promise<Ino | null> {
    try {
      return (await this.cluster.query({ type: 'lookup', ...name }, caller)).inode.ino;
    } catch (error) {
      if (isMootError(error, 'ENOENT') || isMootError(error, 'ESTALE')) return null;
      throw error;
    }
  }

  absenceTimeoutSec(parent: Ino, name: Uint8Array): number {
    return this.caches.absenceTimeoutSec({ parent, name });
  }

  forget(ino: Ino, count: number): void {
    this.caches.forget(ino, count);
  }

  makeNode(parent: Ino, name: Uint8Array, node: NewNode, caller: Caller): Promise<Attributes> {
    const { uid, gid } = caller;
    return this.makeEntry({ type: 'make-node', parent, name, ...node, uid, gid }, caller);
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

  async link(ino: Ino, parent: Ino, name: Uint8Array, caller: Caller): Promise<Attributes> {
    // The new name must not show the file without the bytes that were written before.
    this.writes.send(ino);
    const linked = await this.makeEntry({ type: 'link', ino, parent, name }, caller);
    // As in setAttributes.
    return { ...linked, attrTimeoutSec: 0 };
  }

  async unlink(parent: Ino, name: Uint8Array, caller: Caller): Promise<void> {
    await this.remove({ type: 'unlink', parent, name }, caller);
    this.caches.removedName({ parent, name });
  }

  async removeDirectory(parent: Ino, name: Uint8Array, caller: Caller): Promise<void> {
    await this.remove({ type: 'remove-directory', parent, name }, caller);
    this.caches.removedName({ parent, name });
  }

  async rename(
    parent: Ino,
    name: Uint8Array,
    newParent: Ino,
    newName: Uint8Array,
    mode: 'replace' | 'no-replace' | 'exchange',
    caller: Caller,
  ): Promise<void> {
    this.caches.walked(caller);
    // A file that is written and renamed over another is never seen under the new name without
    // its bytes. Which inode it is, only the cluster knows: so all that is buffered goes first.
    this.writes.sendAll();
    const names = [
      { parent, name },
      { parent: newParent, name: newName },
    ];
    const command = { type: 'rename', parent, name, newParent, newName, mode } as const;
    await this.caches.naming(names, () => this.remove(command, caller));
    this.caches.renamed(command);
  }

  private async remove(
    command: Extract<Command, { type: 'unlink' | 'remove-directory' | 'rename' }>,
    caller: Caller,
  ): Promise<void> {
    await this.handles.holdRemoved(
      () => this.cluster.execute(command, caller),
      ({ removed }) =>
        removed !== null &&
        removed.nlink === 0 &&
        // A file is held by whoever has it open; opening anything else the kernel does not tell.
        !isRegular(removed) &&
        this.caches.knows(removed.ino)
          ? removed.ino
          : null,
    );
  }

  // Attributes.

  async getAttributes(ino: Ino, caller: Caller): Promise<Attributes> {
    const { value, watched } = await this.caches.watching(async () => {
      await this.writes.settle(ino, caller.signal);
      const query = { type: 'get-inode', ino } as const;
      const answer = await this.cluster.query(query, caller);
      if (!this.caches.isOld(answer.inode)) return answer;
      return this.cluster.queryAfterOwn(query, caller);
    });
    return this.caches.attributes(value.inode, watched);
  }

  async setAttributes(
    ino: Ino,
    change: AttributeChange,
    caller: Caller,
    handle?: Handle,
  ): Promise<Attributes> {
    if (handle !== undefined) this.used(handle);
    if (change.size !== undefined) refuseBeyond(change.size);
    const command = { type: 'set-attributes', ino, ...change } as const;
    const value = await this.ranges.setAttributes(command, caller);
    if (change.size !== undefined) this.caches.resized(ino, change.size);
    // The kernel takes them over even if it was told meanwhile that they have changed again.
    return { inode: value.inode, attrTimeoutSec: 0, entryTimeoutSec: 0 };
  }

  async readLink(ino: Ino, caller: Caller): Promise<Uint8Array> {
    const { inode } = await this.cluster.query({ type: 'get-inode', ino }, caller);
    if (!isSymlink(inode)) {
      throw new MootError('EINVAL', `inode ${ino} is not a symbolic link`);
    }
    return inode.target;
  }

  // Files.

  async create(
    parent: Ino,
    name: Uint8Array,
    node: Omit<NewNode, 'rdev'>,
    flags: OpenFlags & { readonly exclusive: boolean },
    caller: Caller,
  ): Promise<Attributes & Opened> {
    for (let attempt = 1; attempt <= CREATE_ATTEMPTS_MAX; attempt++) {
      const made = await this.createAnew(parent, name, node, flags, caller);
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
    { mode, umask }: Omit<NewNode, 'rdev'>,
    flags: OpenFlags & { readonly exclusive: boolean },
    caller: Caller,
  ): Promise<(Attributes & Opened) | null> {
    const { uid, gid } = caller;
    const regular = { mode: S_IFREG | (mode & PERMISSION_BITS), umask, rdev: 0 };
    const command = { type: 'make-node', parent, name, ...regular } as const;
    try {
      const { value, watched } = await this.caches.watching(() =>
        this.handles.holdNew(
          () => this.cluster.execute({ ...command, uid, gid }, caller),
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
      const { ino } = found.inode;
      try {
        if (!isRegular(found.inode) || !mayOpen(found.inode, flags, caller)) {
          throw new MootError('ESTALE', 'the name was made by somebody else meanwhile');
        }
        const { inode, opened } = await this.openInode(ino, flags, caller);
        const present = flags.truncate ? inode : found.inode;
        return { ...found, inode: present, ...opened, attrTimeoutSec: 0 };
      } catch (error) {
        this.forget(ino, 1);
        throw error;
      }
    } catch (error) {
      if (isMootError(error, 'ENOENT')) return null;
      throw error;
    }
  }

  async createUnnamed(
    parent: Ino,
    { mode, umask }: Omit<NewNode, 'rdev'>,
    flags: OpenFlags,
    caller: Caller,
  ): Promise<Attributes & Opened> {
    const { uid, gid } = caller;
    const command = {
      type: 'make-unnamed',
      parent,
      mode: mode & PERMISSION_BITS,
      umask,
      uid,
      gid,
    } as const;
    const { value, watched } = await this.caches.watching(() =>
      this.handles.holdNew(
        () => this.cluster.execute(command, caller),
        (made) => made.inode.ino,
      ),
    );
    this.handles.markUnlinked(value.inode.ino);
    const known = this.caches.unnamed(value.inode, watched);
    return { ...known, ...this.addFile(value.inode, flags) };
  }

  async open(ino: Ino, flags: OpenFlags, caller: Caller): Promise<Opened> {
    return (await this.openInode(ino, flags, caller)).opened;
  }

  private async openInode(
    ino: Ino,
    flags: OpenFlags,
    caller: Caller,
  ): Promise<{ readonly inode: Inode; readonly opened: Opened }> {
    this.handles.hold(ino);
    try {
      const inode = await (flags.truncate
        ? this.truncate(ino, flags.killPrivileges === true, caller)
        : this.cluster.query({ type: 'get-inode', ino }, caller).then((value) => value.inode));
      // An inode that has lost its name may be opened again here only where it is open: another
      // one waits for nobody. The kernel walks the path again when it hears ESTALE.
      if (inode.nlink === 0 && !this.handles.hasFile(ino)) {
        throw new MootError('ESTALE', `inode ${ino} has no name any more`);
      }
      refuseForFlags(inode, flags);
      return { inode, opened: this.addFile(inode, flags) };
    } catch (error) {
      this.handles.letGo(ino);
      throw error;
    }
  }

  private async truncate(ino: Ino, killPrivileges: boolean, caller: Caller): Promise<Inode> {
    const value = await this.ranges.setAttributes(
      {
        ...{ type: 'set-attributes', ino, size: 0 },
        ...(killPrivileges && { killPrivileges }),
        // Open elsewhere, it must not be emptied by an open(2) that then finds that it has no name.
        ...(!this.handles.hasFile(ino) && { named: true }),
      },
      caller,
    );
    this.caches.resized(ino, 0);
    return value.inode;
  }

  /** The inode is held already. */
  private addFile(inode: Inode, flags: OpenFlags): Opened {
    const { ino } = inode;
    const handle = this.handles.addFile(ino, flags, this.writes.opened(ino));
    const keepCache = this.caches.opened(inode, handle);
    return { handle, keepCache: keepCache && !flags.truncate };
  }

  /** An open file through which something is to be done. */
  private used(handle: Handle): OpenFile {
    const file = this.known(handle);
    if (file.isFenced) throw fenced(file.ino);
    return file;
  }

  private known(handle: Handle): OpenFile {
    const file = this.handles.file(handle);
    this.caches.used(file.ino, handle);
    return file;
  }

  /** Locks of this mount were lost: whoever has a file open may believe to hold one. */
  private fence(): void {
    for (const ino of this.handles.fenceAll()) this.caches.dropPages(ino);
  }

  async read(
    ino: Ino,
    handle: Handle,
    offset: number,
    size: number,
    caller: Caller,
    isPast = false,
  ): Promise<Uint8Array> {
    this.used(handle);
    if (!isPast) this.caches.asked(ino);
    if (offset >= FILE_BYTES_MAX) return NO_BYTES;
    await this.writes.settle(ino, caller.signal);
    const query = { type: 'read', ino, offset, size } as const;
    // Pages that lack what this mount has written would stay: they count as of its own version.
    const { data } = this.caches.isAheadOfChanges(ino)
      ? await this.cluster.queryAfterOwn(query, caller)
      : await this.cluster.query(query, caller);
    if (!isPast) this.caches.filled(ino, offset + data.length);
    return data;
  }

  async write(
    _ino: Ino,
    handle: Handle,
    offset: number,
    data: Uint8Array,
    flags: WriteFlags,
    caller: Caller,
  ): Promise<number> {
    const file = this.used(handle);
    // Pages that a fenced file has made dirty may come through another one.
    if (flags.cached && this.handles.hasFenced(file.ino)) throw fenced(file.ino);
    const sure = this.locks.sure(caller.signal);
    if (sure !== null) await sure;
    const { signal } = caller;
    const { length } = data;
    // Where an append goes that is not in the pages, only the cluster knows.
    const isPlaced = !flags.cached && !(flags.append && file.direct);
    if (isPlaced) this.caches.filled(file.ino, offset + length);
    const own = flags.cached ? this.caches.ofPages(file.ino, offset, data) : data;
    if (own.length > 0) await this.writes.write(file, offset, own, flags, signal);
    // EINTR would say that nothing was written, and a program that appends would do so again.
    caller.begun?.();
    // While it waited for room, an answer may have said that the file ends before it.
    if (isPlaced) this.caches.filled(file.ino, offset + length);
    // Of what goes through its pages the kernel syncs itself what it shall, when all of it is written.
    const isSynced = flags.sync === true && file.direct;
    if (this.parts.writeThrough || isSynced) await this.writes.fsync(file, signal);
    if (flags.append && file.direct) {
      const appended = this.caches.appended(file.ino);
      // Who is interrupted learns all the same that it has written.
      if (appended !== null) await doneOrAborted(appended, signal);
    }
    return length;
  }

  async flush(_ino: Ino, handle: Handle, caller: Caller, owner?: string): Promise<void> {
    const file = this.known(handle);
    // EINTR of close(2) and fsync(2) programs take for data that is lost.
    caller.begun?.();
    const unlocked = owner === undefined ? null : this.locks.closed(file.ino, owner, caller.signal);
    // What a reader closes has nothing to commit, and its close(2) tells no other's failure.
    const flushed = file.write ? this.writes.close(file, caller.signal) : null;
    if (unlocked === null && flushed === null && !file.isFenced) return;
    const ended = await Promise.allSettled([flushed, unlocked]);
    if (file.isFenced) throw fenced(file.ino);
    for (const one of ended) if (one.status === 'rejected') throw one.reason;
  }

  async setLock(ino: Ino, handle: Handle, lock: LockRequest, caller: Caller): Promise<void> {
    this.used(handle);
    await this.locks.set(ino, handle, lock, caller.signal);
  }

  getLock(ino: Ino, handle: Handle, lock: LockRequest, caller: Caller): Promise<LockHolder | null> {
    this.used(handle);
    return this.locks.get(ino, lock, caller.signal);
  }

  async fsync(_ino: Ino, handle: Handle, caller: Caller): Promise<void> {
    caller.begun?.();
    await this.writes.fsync(this.used(handle), caller.signal);
  }

  async release(_ino: Ino, handle: Handle): Promise<void> {
    const file = this.known(handle);
    this.locks.released(file.ino, handle);
    this.handles.removeFile(handle);
    this.writes.released(file);
    this.handles.letGo(file.ino);
  }

  // Ranges of files.

  async allocate(
    range: FileRange,
    length: number,
    mode: AllocateMode,
    caller: Caller,
  ): Promise<void> {
    this.used(range.handle);
    refuseBeyond(range.offset + length);
    await this.ranges.allocate(range, length, mode, caller);
    // The others leave the size as it is, and what is behind it may be another mount's by now.
    const reaches = mode === 'reserve' || mode === 'zero';
    if (reaches) this.caches.filled(range.ino, range.offset + length);
  }

  async seek(range: FileRange, what: 'data' | 'hole', caller: Caller): Promise<number> {
    this.used(range.handle);
    if (range.offset >= FILE_BYTES_MAX) {
      throw new MootError('ENXIO', `no file reaches to ${range.offset}`);
    }
    return this.ranges.seek(range, what, caller);
  }

  async copyRange(from: FileRange, to: FileRange, length: number, caller: Caller): Promise<number> {
    this.used(from.handle);
    this.used(to.handle);
    refuseBeyond(to.offset + length);
    return this.ranges.copy(from, to, length, caller);
  }

  // Directories.

  async openDirectory(ino: Ino, _caller: Caller): Promise<Handle> {
    return this.directories.open(ino);
  }

  readDirectory(
    ino: Ino,
    handle: Handle,
    cookie: number,
    bytesMax: number,
    plus: boolean,
    caller: Caller,
  ): Promise<readonly DirectoryEntry[]> {
    return this.directories.read(ino, handle, cookie, bytesMax, plus, caller);
  }

  releaseDirectory(_ino: Ino, handle: Handle): void {
    this.directories.release(handle);
  }

  async fsyncDirectory(_ino: Ino, handle: Handle, _caller: Caller): Promise<void> {
    this.directories.fsync(handle);
  }

  // The whole.

  async statfs(caller: Caller): Promise<FilesystemFigures> {
    return figuresOf(await this.cluster.query({ type: 'statfs' }, caller));
  }

  sync(caller: Caller): Promise<void> {
    return this.writes.settleAll(caller.signal);
  }

  // Extended attributes.

  async setXattr(
    ino: Ino,
    name: Uint8Array,
    value: Uint8Array,
    mode: 'set' | 'create' | 'replace',
    killSetGid: boolean,
    caller: Caller,
  ): Promise<void> {
    checkXattrName(name);
    // What was written before must not take away what is set now (security.capability).
    this.writes.send(ino);
    const command = { type: 'set-xattr', ino, name, value, mode, killSetGid } as const;
    await this.dress(ino, command, caller);
  }

  async getXattr(ino: Ino, name: Uint8Array, caller: Caller): Promise<Uint8Array> {
    checkXattrName(name);
    // The kernel asks for security.capability before most writes, and hardly any file has one.
    if (await this.isBare(ino, caller)) throw new MootError('ENODATA', 'no extended attributes');
    return (await this.cluster.query({ type: 'get-xattr', ino, name }, caller)).value;
  }

  async listXattrs(ino: Ino, caller: Caller): Promise<readonly Uint8Array[]> {
    if (await this.isBare(ino, caller)) return [];
    const { names } = await this.cluster.query({ type: 'list-xattrs', ino }, caller);
    return visibleXattrs(names, caller);
  }

  /** Often known without asking; and who has none has no second question. */
  private async isBare(ino: Ino, caller: Caller): Promise<boolean> {
    if (this.caches.isBare(ino)) return true;
    return (await this.cluster.query({ type: 'get-inode', ino }, caller)).inode.xattrs === 0;
  }

  async removeXattr(ino: Ino, name: Uint8Array, caller: Caller): Promise<void> {
    checkXattrName(name);
    this.writes.send(ino);
    await this.dress(ino, { type: 'remove-xattr', ino, name }, caller);
  }

  private async dress(
    ino: Ino,
    command: Extract<Command, { type: 'set-xattr' | 'remove-xattr' }>,
    caller: Caller,
  ): Promise<void> {
    this.caches.dressed(ino);
    await this.cluster.execute(command, caller).finally(() => this.caches.dressed(ino));
  }

  private async makeEntry(
    command: Extract<Command, { type: 'make-node' | 'make-symlink' | 'link' }>,
    caller: Caller,
  ): Promise<Attributes> {
    const { value, watched } = await this.caches.watching(() =>
      this.caches.naming([command], () => this.cluster.execute(command, caller)),
    );
    return this.caches.entry(command, value.inode, watched);
  }
}

const NO_BYTES = new Uint8Array(0);

function refuseBeyond(end: number): void {
  if (end > FILE_BYTES_MAX) throw new MootError('EFBIG', `a file ends at ${FILE_BYTES_MAX} bytes`);
}

/** EIO, until the file is opened anew. */
function fenced(ino: Ino): MootError {
  const message = `a lock was lost with the session in which inode ${ino} was opened`;
  return new MootError('SESSION_EXPIRED', message);
}
