import type { Command, CommandType } from '../../src/filesystem/commands.js';
import type { HandlerOf } from '../../src/filesystem/filesystem.js';
import type { Ino } from '../../src/filesystem/records.js';

/**
 * A filesystem as a person would write it down: objects that point to each other, whole contents,
 * times in whole seconds. It shares no code with the state machine, so that both being wrong in
 * the same way is unlikely. Inode numbers are the state machine's: `adopt` tells them.
 */
export interface ModelNode {
  kind: 'file' | 'directory' | 'symlink' | 'fifo';
  ino: Ino;
  permissions: number;
  uid: number;
  gid: number;
  names: number;
  content: Buffer;
  target: string;
  entries: Map<string, ModelNode>;
  parent: ModelNode | null;
  xattrs: Map<string, string>;
  atime: number;
  mtime: number;
  ctime: number;
  holders: Set<number>;
  queued: number;
  /** inode-flags.ts; made without a name, it may get one. */
  flags: number;
  linkable: boolean;
}

export type ModelOutcome =
  | { readonly code: string }
  | { readonly node: ModelNode | null; readonly created: boolean };

interface Holder {
  seen: number;
}

class Refused {
  constructor(readonly code: string) {}
}

const KINDS = new Map<number, ModelNode['kind']>([
  [0o100000, 'file'],
  [0o040000, 'directory'],
  [0o010000, 'fifo'],
]);

const DONE: ModelOutcome = { node: null, created: false };

export class TreeModel {
  readonly root = newNode('directory', 0o755, 0, 0, 0);
  readonly nodes = new Map<Ino, ModelNode>([[1, this.root]]);
  readonly #holders = new Map<number, Holder>();
  #queue: { node: ModelNode; index: number }[] = [];
  #now = 0;
  #session = 0;

  constructor() {
    this.root.ino = 1;
    this.root.names = 1;
    this.root.parent = this.root;
  }

  opened(session: number, index: number): void {
    this.#holders.set(session, { seen: index });
  }

  adopt(node: ModelNode, ino: Ino): void {
    if (node.ino !== 0 || this.nodes.has(ino)) throw new Error(`inode number ${ino} comes twice`);
    node.ino = ino;
    // A file without a name is gone at once when nobody can hold it open.
    if (node.names > 0 || this.#isHeld(node)) this.nodes.set(ino, node);
  }

  /** `index` is also the time in seconds. */
  apply(index: number, session: number, command: Command): ModelOutcome {
    this.#now = index;
    this.#session = session;
    try {
      return this.#run(command);
    } catch (thrown) {
      if (thrown instanceof Refused) return { code: thrown.code };
      throw thrown;
    }
  }

  subdirectories(node: ModelNode): number {
    return [...node.entries.values()].filter((child) => child.kind === 'directory').length;
  }

  #run<T extends CommandType>(command: Extract<Command, { type: T }>): ModelOutcome {
    const action: (command: HandlerOf<T>) => ModelOutcome = this.#actions[command.type as T];
    return action(command);
  }

  readonly #actions: { readonly [T in CommandType]: (command: HandlerOf<T>) => ModelOutcome } = {
    'open-session': () => no('EINVAL'),
    'expire-session': () => no('EINVAL'),
    nothing: () => DONE,
    // Locks have a model of their own: see locks.test.ts.
    lock: () => DONE,
    'cancel-lock': () => DONE,
    'recall-locks': () => DONE,
    'return-locks': () => DONE,
    'set-quota': () => DONE,

    'keep-alive': ({ seenIndex, holds }) => {
      const holder = this.#holders.get(this.#session);
      if (holder !== undefined) {
        holder.seen = Math.max(holder.seen, Math.min(seenIndex, this.#now));
        for (const node of [...this.nodes.values()]) {
          const held = holds.includes(node.ino);
          if (!held) this.#letGo(node, this.#session);
          else if (node.names === 0) node.holders.add(this.#session);
        }
      }
      this.#sweep(Infinity);
      return DONE;
    },

    'close-session': () => {
      for (const node of [...this.nodes.values()]) this.#letGo(node, this.#session);
      this.#holders.delete(this.#session);
      this.#sweep(Infinity);
      return DONE;
    },

    'make-node': ({ parent, name, mode, umask = 0, uid, gid }) => {
      const text = nameOf(name);
      const directory = this.#directory(parent);
      if (directory.entries.has(text)) no('EEXIST');
      const kind = KINDS.get(mode & 0o170000) ?? no('EINVAL');
      unchangeable(directory);
      const inherits = (directory.permissions & 0o2000) !== 0;
      const permissions = mode & 0o7777 & ~(umask & 0o777);
      const node = newNode(kind, permissions, uid, inherits ? directory.gid : gid, this.#now);
      node.flags = directory.flags & INHERITED;
      if (inherits && kind === 'directory') node.permissions |= 0o2000;
      this.#attach(directory, text, node);
      return { node, created: true };
    },

    'make-symlink': ({ parent, name, target, uid, gid }) => {
      const text = nameOf(name);
      if (target.length === 0) no('ENOENT');
      const directory = this.#directory(parent);
      if (directory.entries.has(text)) no('EEXIST');
      unchangeable(directory);
      const inherits = (directory.permissions & 0o2000) !== 0;
      const node = newNode('symlink', 0o777, uid, inherits ? directory.gid : gid, this.#now);
      node.flags = directory.flags & INHERITED;
      node.target = Buffer.from(target).toString('latin1');
      this.#attach(directory, text, node);
      return { node, created: true };
    },

    'make-unnamed': ({ parent, mode, umask = 0, uid, gid }) => {
      const directory = this.#directory(parent);
      unchangeable(directory);
      const inherits = (directory.permissions & 0o2000) !== 0;
      const permissions = mode & 0o7777 & ~(umask & 0o777);
      const node = newNode('file', permissions, uid, inherits ? directory.gid : gid, this.#now);
      node.flags = directory.flags & INHERITED;
      node.linkable = true;
      this.#lost(node);
      return { node, created: true };
    },

    link: ({ ino, parent, name }) => {
      const text = nameOf(name);
      const directory = this.#directory(parent);
      const node = this.#any(ino);
      if (node.kind === 'directory') no('EPERM');
      if (directory.entries.has(text)) no('EEXIST');
      if (node.names === 0 && !node.linkable) no('ENOENT');
      frozen(node);
      unchangeable(directory);
      node.linkable = false;
      node.ctime = this.#now;
      this.#attach(directory, text, node);
      return { node, created: false };
    },

    unlink: ({ parent, name }) => {
      const text = nameOf(name);
      const directory = this.#directory(parent);
      const node = directory.entries.get(text) ?? no('ENOENT');
      if (node.kind === 'directory') no('EISDIR');
      frozen(node);
      frozen(directory);
      this.#detach(directory, text);
      this.#lost(node);
      return { node, created: false };
    },

    'remove-directory': ({ parent, name }) => {
      const text = nameOf(name);
      const directory = this.#directory(parent);
      const node = directory.entries.get(text) ?? no('ENOENT');
      if (node.kind !== 'directory') no('ENOTDIR');
      frozen(node);
      if (node.entries.size > 0) no('ENOTEMPTY');
      frozen(directory);
      this.#detach(directory, text);
      this.#lost(node);
      return { node, created: false };
    },

    rename: ({ parent, name, newParent, newName, mode }) => {
      const [from, to] = [nameOf(name), nameOf(newName)];
      const [source, target] = [this.#directory(parent), this.#directory(newParent)];
      const node = source.entries.get(from) ?? no('ENOENT');
      const other = target.entries.get(to);
      frozen(node);
      if (mode === 'no-replace' && other !== undefined) no('EEXIST');
      if (mode === 'exchange' && other === undefined) no('ENOENT');
      if (other !== undefined) frozen(other);
      if (isWithin(target, node)) no('EINVAL');
      if (mode === 'exchange' && other !== undefined && isWithin(source, other)) no('EINVAL');
      if (node === other) return DONE;
      if (other !== undefined && mode === 'exchange') {
        frozen(source);
        frozen(target);
        this.#detach(source, from);
        this.#detach(target, to);
        this.#attach(target, to, node);
        this.#attach(source, from, other);
        node.ctime = this.#now;
        other.ctime = this.#now;
        return { node: other, created: false };
      }
      if (other !== undefined) {
        if (node.kind === 'directory' && other.kind !== 'directory') no('ENOTDIR');
        if (node.kind !== 'directory' && other.kind === 'directory') no('EISDIR');
        if (other.entries.size > 0) no('ENOTEMPTY');
        frozen(target);
        frozen(source);
        this.#detach(target, to);
        this.#lost(other);
      }
      frozen(source);
      unchangeable(target);
      this.#detach(source, from);
      this.#attach(target, to, node);
      node.ctime = this.#now;
      return { node: other ?? null, created: false };
    },

    'set-attributes': (command) => {
      const node = this.#any(command.ino);
      const { mode, uid, gid, size, atime, mtime } = command;
      const given = [mode, uid, gid, size].some((value) => value !== undefined);
      if (given || typeof atime === 'object' || typeof mtime === 'object') frozen(node);
      if (atime === 'now' || mtime === 'now') unchangeable(node);
      if (command.size !== undefined) {
        if (node.kind === 'directory') no('EISDIR');
        if (node.kind !== 'file') no('EINVAL');
        const grown = Buffer.alloc(command.size);
        node.content.copy(grown);
        node.content = grown;
        node.mtime = this.#now;
      }
      if (command.mode !== undefined) node.permissions = command.mode & 0o7777;
      else if (command.killPrivileges === true) killPrivileges(node);
      node.uid = command.uid ?? node.uid;
      node.gid = command.gid ?? node.gid;
      if (command.mtime !== undefined) {
        node.mtime = command.mtime === 'now' ? this.#now : command.mtime.sec;
      }
      if (command.atime !== undefined) {
        node.atime = command.atime === 'now' ? this.#now : command.atime.sec;
      }
      if (command.flags !== undefined) node.flags = command.flags;
      const owned = uid !== undefined || gid !== undefined;
      if (size !== undefined || (owned && node.kind !== 'directory')) {
        node.xattrs.delete('security.capability');
      }
      node.ctime = this.#now;
      return { node, created: false };
    },

    write: ({ ino, offset, data, append, killPrivileges: kill }) => {
      const node = this.#any(ino);
      if (node.kind === 'directory') no('EISDIR');
      if (node.kind !== 'file') no('EINVAL');
      unchangeable(node);
      if (data.length === 0) return { node, created: false };
      const at = append === true ? node.content.length : offset;
      const grown = Buffer.alloc(Math.max(node.content.length, at + data.length));
      node.content.copy(grown);
      grown.set(data, at);
      return this.#written(node, grown, kill === true);
    },

    allocate: ({ ino, offset, length, mode, killPrivileges: kill }) => {
      const node = this.#any(ino);
      if (node.kind === 'directory') no('EISDIR');
      if (node.kind !== 'file' || length === 0) no('EINVAL');
      unchangeable(node);
      if (mode === 'punch' || mode === 'zero') frozen(node);
      const { content } = node;
      const grows = mode === 'reserve' || mode === 'zero';
      const grown = Buffer.alloc(
        grows ? Math.max(content.length, offset + length) : content.length,
      );
      content.copy(grown);
      if (mode === 'punch' || mode === 'zero') grown.subarray(offset, offset + length).fill(0);
      return this.#written(node, grown, kill === true);
    },

    'copy-range': ({ ino, offset, toIno, toOffset, length, killPrivileges: kill }) => {
      const source = this.#any(ino);
      const node = this.#any(toIno);
      for (const { kind } of [source, node]) {
        if (kind === 'directory') no('EISDIR');
        if (kind !== 'file') no('EINVAL');
      }
      frozen(node);
      if (source === node && Math.abs(offset - toOffset) < length) no('EINVAL');
      const part = Buffer.from(source.content.subarray(offset, offset + length));
      if (part.length === 0) return { node, created: false };
      const grown = Buffer.alloc(Math.max(node.content.length, toOffset + part.length));
      node.content.copy(grown);
      part.copy(grown, toOffset);
      return this.#written(node, grown, kill === true);
    },

    'set-xattr': ({ ino, name, value, mode }) => {
      const node = this.#any(ino);
      const text = Buffer.from(name).toString('latin1');
      frozen(node);
      if (mode === 'create' && node.xattrs.has(text)) no('EEXIST');
      if (mode === 'replace' && !node.xattrs.has(text)) no('ENODATA');
      node.xattrs.set(text, Buffer.from(value).toString('latin1'));
      node.ctime = this.#now;
      return DONE;
    },

    'remove-xattr': ({ ino, name }) => {
      const node = this.#any(ino);
      frozen(node);
      if (!node.xattrs.delete(Buffer.from(name).toString('latin1'))) no('ENODATA');
      node.ctime = this.#now;
      return DONE;
    },
  };

  #any(ino: Ino): ModelNode {
    return this.nodes.get(ino) ?? no('ESTALE');
  }

  #directory(ino: Ino): ModelNode {
    const node = this.nodes.get(ino) ?? no('ENOENT');
    if (node.kind !== 'directory') no('ENOTDIR');
    if (node.names === 0) no('ENOENT');
    return node;
  }

  #written(node: ModelNode, content: Buffer, kill: boolean): ModelOutcome {
    node.content = content;
    node.mtime = this.#now;
    node.ctime = this.#now;
    if (kill) killPrivileges(node);
    node.xattrs.delete('security.capability');
    return { node, created: false };
  }

  #attach(directory: ModelNode, name: string, node: ModelNode): void {
    directory.entries.set(name, node);
    directory.mtime = this.#now;
    directory.ctime = this.#now;
    node.names++;
    if (node.kind === 'directory') node.parent = directory;
  }

  #detach(directory: ModelNode, name: string): void {
    const node = directory.entries.get(name);
    if (node === undefined) throw new Error(`no ${name} to detach`);
    directory.entries.delete(name);
    directory.mtime = this.#now;
    directory.ctime = this.#now;
    node.names--;
  }

  /** The state machine's rule: new orphans take up to four old ones from the queue. */
  #lost(node: ModelNode): void {
    node.ctime = this.#now;
    if (node.names > 0) return;
    if (this.#holders.size === 0 && this.#queue.length === 0 && !this.#isHeld(node)) {
      this.nodes.delete(node.ino);
      return;
    }
    node.queued++;
    this.#queue.push({ node, index: this.#now });
    this.#sweep(4);
  }

  #sweep(limit: number): void {
    const seen = Math.min(...[...this.#holders.values()].map((holder) => holder.seen));
    for (let i = 0; i < limit; i++) {
      const head = this.#queue[0];
      if (head === undefined || head.index > seen) return;
      this.#queue = this.#queue.slice(1);
      head.node.queued--;
      this.#dropUnheld(head.node);
    }
  }

  #letGo(node: ModelNode, session: number): void {
    if (node.holders.delete(session)) this.#dropUnheld(node);
  }

  #isHeld(node: ModelNode): boolean {
    return node.holders.size > 0 || node.queued > 0;
  }

  #dropUnheld(node: ModelNode): void {
    if (node.names === 0 && !this.#isHeld(node)) this.nodes.delete(node.ino);
  }
}

const IMMUTABLE = 0x10;
const INHERITED = 0xc0;
const APPEND_ONLY = 0x20;

function unchangeable(node: ModelNode): void {
  if ((node.flags & IMMUTABLE) !== 0) no('EPERM');
}

function frozen(node: ModelNode): void {
  if ((node.flags & (IMMUTABLE | APPEND_ONLY)) !== 0) no('EPERM');
}

function no(code: string): never {
  throw new Refused(code);
}

function nameOf(name: Uint8Array): string {
  const text = Buffer.from(name).toString('latin1');
  if (text.length > 255) no('ENAMETOOLONG');
  if (/^\.{0,2}$/.test(text) || /[/\0]/.test(text)) no('EINVAL');
  return text;
}

function isWithin(inner: ModelNode, outer: ModelNode): boolean {
  let node = inner;
  while (node !== outer) {
    if (node.parent === null || node.parent === node) return false;
    node = node.parent;
  }
  return true;
}

function killPrivileges(node: ModelNode): void {
  if (node.kind === 'directory') return;
  node.permissions &= ~0o4000;
  if ((node.permissions & 0o10) !== 0) node.permissions &= ~0o2000;
}

function newNode(
  kind: ModelNode['kind'],
  permissions: number,
  uid: number,
  gid: number,
  now: number,
): ModelNode {
  return {
    kind,
    ino: 0,
    permissions,
    uid,
    gid,
    names: 0,
    content: Buffer.alloc(0),
    target: '',
    entries: new Map(),
    parent: null,
    xattrs: new Map(),
    atime: now,
    mtime: now,
    ctime: now,
    holders: new Set(),
    queued: 0,
    flags: 0,
    linkable: false,
  };
}
