import type { Timespec } from '../../src/base/clock.js';
import { type ErrorCode, MootError } from '../../src/base/errors.js';
import type { ListedEntry } from '../../src/filesystem/queries.js';
import { type Ino, type Inode, NAME_BYTES_MAX, ROOT_INO } from '../../src/filesystem/records.js';
import type {
  AttributeChange,
  Attributes,
  Caller,
  Handle,
  MountOperations,
  OpenFlags,
} from '../../src/mount/mount.js';

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFLNK = 0o120000;
const S_IFREG = 0o100000;
const S_ISGID = 0o2000;
const TIMEOUT_SEC = 1;

type Node = { -readonly [K in keyof Inode]: Inode[K] } & {
  content: number;
  readonly names: Map<string, { ino: Ino; cookie: number }>;
  readonly xattrs: Map<string, Uint8Array>;
  data: Buffer;
  opens: number;
};

/** A filesystem in memory with the semantics that an adapter needs, to test adapters by themselves. */
export class MemoryOperations implements MountOperations {
  readonly listingTimeoutSec = TIMEOUT_SEC;
  readonly #nodes = new Map<Ino, Node>();
  readonly #handles = new Map<Handle, { ino: Ino; append: boolean }>();
  #nextIno = ROOT_INO;
  #nextHandle = 1;

  constructor() {
    this.#make(S_IFDIR | 0o755, 0, 0, 0, ROOT_INO);
  }

  async lookup(parent: Ino, name: Uint8Array): Promise<Attributes> {
    return attributesOf(this.#find(parent, name));
  }

  forget(): void {}

  async getAttributes(ino: Ino): Promise<Attributes> {
    return attributesOf(this.#node(ino));
  }

  async setAttributes(ino: Ino, change: AttributeChange): Promise<Attributes> {
    const node = this.#node(ino);
    if (change.size !== undefined) {
      resize(node, change.size);
      node.mtime = now();
    }
    if (change.uid !== undefined) node.uid = change.uid;
    if (change.gid !== undefined) node.gid = change.gid;
    if (change.killPrivileges === true) killPrivileges(node);
    if (change.mode !== undefined) node.mode = (node.mode & S_IFMT) | change.mode;
    if (change.atime !== undefined) node.atime = change.atime === 'now' ? now() : change.atime;
    if (change.mtime !== undefined) node.mtime = change.mtime === 'now' ? now() : change.mtime;
    node.ctime = now();
    return attributesOf(node);
  }

  async readLink(ino: Ino): Promise<Uint8Array> {
    return this.#node(ino).target;
  }

  async makeNode(
    parent: Ino,
    name: Uint8Array,
    mode: number,
    rdev: number,
    caller: Caller,
  ): Promise<Attributes> {
    return attributesOf(this.#makeIn(parent, name, mode, rdev, caller));
  }

  async makeSymlink(
    parent: Ino,
    name: Uint8Array,
    target: Uint8Array,
    caller: Caller,
  ): Promise<Attributes> {
    const node = this.#makeIn(parent, name, S_IFLNK | 0o777, 0, caller);
    node.target = target;
    node.size = target.length;
    return attributesOf(node);
  }

  async link(ino: Ino, parent: Ino, name: Uint8Array): Promise<Attributes> {
    const node = this.#node(ino);
    this.#enter(parent, name, node);
    return attributesOf(node);
  }

  async unlink(parent: Ino, name: Uint8Array): Promise<void> {
    const node = this.#find(parent, name);
    if (isDirectory(node)) throw failure('EISDIR');
    this.#leave(parent, name, node);
  }

  async removeDirectory(parent: Ino, name: Uint8Array): Promise<void> {
    const node = this.#find(parent, name);
    if (!isDirectory(node)) throw failure('ENOTDIR');
    if (node.names.size > 0) throw failure('ENOTEMPTY');
    this.#leave(parent, name, node);
  }

  async rename(
    parent: Ino,
    name: Uint8Array,
    newParent: Ino,
    newName: Uint8Array,
    mode: 'replace' | 'no-replace' | 'exchange',
  ): Promise<void> {
    const node = this.#find(parent, name);
    checkName(newName);
    const target = this.#node(newParent).names.get(keyOf(newName));
    if (mode === 'exchange') {
      if (target === undefined) throw failure('ENOENT');
      const other = this.#node(target.ino);
      this.#leave(parent, name, node, true);
      this.#leave(newParent, newName, other, true);
      this.#enter(newParent, newName, node, true);
      this.#enter(parent, name, other, true);
      return;
    }
    if (target !== undefined) {
      if (mode === 'no-replace') throw failure('EEXIST');
      const other = this.#node(target.ino);
      if (other === node) return;
      if (isDirectory(other) !== isDirectory(node)) {
        throw failure(isDirectory(other) ? 'EISDIR' : 'ENOTDIR');
      }
      if (other.names.size > 0) throw failure('ENOTEMPTY');
      this.#leave(newParent, newName, other);
    }
    this.#leave(parent, name, node, true);
    this.#enter(newParent, newName, node, true);
  }

  async create(
    parent: Ino,
    name: Uint8Array,
    mode: number,
    flags: OpenFlags & { readonly exclusive: boolean },
    caller: Caller,
  ) {
    const there = this.#node(parent).names.get(keyOf(name));
    if (there !== undefined && flags.exclusive) throw failure('EEXIST');
    const node =
      there === undefined ? this.#makeIn(parent, name, mode, 0, caller) : this.#node(there.ino);
    const opened = await this.open(node.ino, flags);
    return { ...attributesOf(node), ...opened };
  }

  async open(ino: Ino, flags: OpenFlags) {
    const node = this.#node(ino);
    if (flags.truncate) {
      resize(node, 0);
      if (flags.killPrivileges === true) killPrivileges(node);
      node.mtime = now();
      node.ctime = node.mtime;
    }
    node.opens++;
    const handle = this.#nextHandle++;
    this.#handles.set(handle, { ino, append: flags.append });
    return { handle, keepCache: false };
  }

  async read(ino: Ino, _handle: Handle, offset: number, size: number): Promise<Uint8Array> {
    const node = this.#node(ino);
    return node.data.subarray(offset, Math.min(offset + size, node.size));
  }

  async write(
    ino: Ino,
    handle: Handle,
    offset: number,
    data: Uint8Array,
    kill: boolean,
  ): Promise<number> {
    const node = this.#node(ino);
    const at = this.#handles.get(handle)?.append === true ? node.size : offset;
    if (at + data.length > node.size) resize(node, at + data.length);
    node.data.set(data, at);
    if (kill) killPrivileges(node);
    node.mtime = now();
    node.ctime = node.mtime;
    return data.length;
  }

  async flush(): Promise<void> {}
  async fsync(): Promise<void> {}

  async release(ino: Ino, handle: Handle): Promise<void> {
    this.#handles.delete(handle);
    const node = this.#node(ino);
    node.opens--;
    this.#reclaim(node);
  }

  async openDirectory(): Promise<Handle> {
    return this.#nextHandle++;
  }

  async readDirectory(
    ino: Ino,
    _handle: Handle,
    cookie: number,
    bytesMax: number,
    plus: boolean,
  ): Promise<readonly ListedEntry[]> {
    const node = this.#node(ino);
    const entries: ListedEntry[] = [];
    const add = (name: string, of: Node, at: number) => {
      if (at <= cookie || entries.length > bytesMax / 24) return;
      entries.push({
        name: Buffer.from(name, 'latin1'),
        ino: of.ino,
        type: of.mode & S_IFMT,
        cookie: at,
        inode: plus ? inodeOf(of) : null,
      });
    };
    add('.', node, 1);
    add('..', this.#node(node.parent), 2);
    for (const [name, entry] of node.names) add(name, this.#node(entry.ino), entry.cookie + 2);
    return entries;
  }

  releaseDirectory(): void {}
  async fsyncDirectory(): Promise<void> {}

  async statfs() {
    return {
      blockBytes: 4096,
      blocks: 1_000_000,
      blocksFree: 600_000,
      inodes: 1_000_000,
      inodesFree: 1_000_000 - this.#nodes.size,
      nameBytesMax: NAME_BYTES_MAX,
    };
  }

  async setXattr(
    ino: Ino,
    name: Uint8Array,
    value: Uint8Array,
    mode: 'set' | 'create' | 'replace',
  ): Promise<void> {
    const { xattrs } = this.#node(ino);
    const key = keyOf(name);
    if (mode === 'create' && xattrs.has(key)) throw failure('EEXIST');
    if (mode === 'replace' && !xattrs.has(key)) throw failure('ENODATA');
    xattrs.set(key, value);
  }

  async getXattr(ino: Ino, name: Uint8Array): Promise<Uint8Array> {
    const value = this.#node(ino).xattrs.get(keyOf(name));
    if (value === undefined) throw failure('ENODATA');
    return value;
  }

  async listXattrs(ino: Ino): Promise<readonly Uint8Array[]> {
    return [...this.#node(ino).xattrs.keys()].map((name) => Buffer.from(name, 'latin1'));
  }

  async removeXattr(ino: Ino, name: Uint8Array): Promise<void> {
    if (!this.#node(ino).xattrs.delete(keyOf(name))) throw failure('ENODATA');
  }

  #node(ino: Ino): Node {
    const node = this.#nodes.get(ino);
    if (node === undefined) throw failure('ESTALE');
    return node;
  }

  #find(parent: Ino, name: Uint8Array): Node {
    checkName(name);
    const entry = this.#node(parent).names.get(keyOf(name));
    if (entry === undefined) throw failure('ENOENT');
    return this.#node(entry.ino);
  }

  #make(mode: number, rdev: number, uid: number, gid: number, parent: Ino): Node {
    const time = now();
    const node: Node = {
      ino: this.#nextIno++,
      mode,
      uid,
      gid,
      nlink: (mode & S_IFMT) === S_IFDIR ? 2 : 0,
      size: 0,
      bytes: 0,
      rdev,
      atime: time,
      mtime: time,
      ctime: time,
      btime: time,
      dataVersion: 0,
      content: 0,
      parent,
      entries: 0,
      nextCookie: 1,
      target: new Uint8Array(0),
      holds: 0,
      names: new Map(),
      xattrs: new Map(),
      data: Buffer.alloc(0),
      opens: 0,
    };
    this.#nodes.set(node.ino, node);
    return node;
  }

  #makeIn(parent: Ino, name: Uint8Array, mode: number, rdev: number, caller: Caller): Node {
    checkName(name);
    const directory = this.#node(parent);
    if (directory.names.has(keyOf(name))) throw failure('EEXIST');
    const inherits = (directory.mode & S_ISGID) !== 0;
    const inheritedBits = inherits && (mode & S_IFMT) === S_IFDIR ? S_ISGID : 0;
    const gid = inherits ? directory.gid : caller.gid;
    const node = this.#make(mode | inheritedBits, rdev, caller.uid, gid, parent);
    this.#enter(parent, name, node);
    return node;
  }

  #enter(parent: Ino, name: Uint8Array, node: Node, moved = false): void {
    checkName(name);
    const directory = this.#node(parent);
    if (directory.names.has(keyOf(name))) throw failure('EEXIST');
    directory.names.set(keyOf(name), { ino: node.ino, cookie: directory.nextCookie++ });
    if (isDirectory(node)) {
      node.parent = parent;
      directory.nlink++;
    } else if (!moved) {
      node.nlink++;
    }
    directory.mtime = now();
    node.ctime = directory.mtime;
  }

  #leave(parent: Ino, name: Uint8Array, node: Node, moved = false): void {
    const directory = this.#node(parent);
    directory.names.delete(keyOf(name));
    directory.mtime = now();
    if (isDirectory(node)) {
      directory.nlink--;
      if (!moved) node.nlink = 0;
    } else if (!moved) {
      node.nlink--;
    }
    this.#reclaim(node);
  }

  #reclaim(node: Node): void {
    if (node.nlink === 0 && node.opens === 0) this.#nodes.delete(node.ino);
  }
}

function keyOf(name: Uint8Array): string {
  return Buffer.from(name).toString('latin1');
}

function checkName(name: Uint8Array): void {
  if (name.length > NAME_BYTES_MAX) throw failure('ENAMETOOLONG');
}

function isDirectory(node: Node): boolean {
  return (node.mode & S_IFMT) === S_IFDIR;
}

/** POSIX: the group bit means something only for a file that the group may execute. */
function killPrivileges(node: Node): void {
  if ((node.mode & S_IFMT) !== S_IFREG) return;
  node.mode &= ~0o4000;
  if ((node.mode & 0o010) !== 0) node.mode &= ~S_ISGID;
}

function resize(node: Node, size: number): void {
  if (size < node.size) node.data.fill(0, size, Math.min(node.size, node.data.length));
  if (size > node.data.length) {
    const larger = Buffer.alloc(Math.max(size, node.data.length * 2));
    node.data.copy(larger);
    node.data = larger;
  }
  node.size = size;
  node.bytes = size;
}

function inodeOf(node: Node): Inode {
  const { names: _names, xattrs: _xattrs, data: _data, opens: _opens, ...inode } = node;
  return inode;
}

function attributesOf(node: Node): Attributes {
  return { inode: inodeOf(node), attrTimeoutSec: TIMEOUT_SEC, entryTimeoutSec: TIMEOUT_SEC };
}

function now(): Timespec {
  const ns = BigInt(Date.now()) * 1_000_000n + (process.hrtime.bigint() % 1_000_000n);
  return { sec: Number(ns / 1_000_000_000n), nsec: Number(ns % 1_000_000_000n) };
}

function failure(code: ErrorCode): MootError {
  return new MootError(code, code);
}
