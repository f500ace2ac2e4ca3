import { setMaxListeners } from 'node:events';
import type { Clock, Timespec } from '../../src/base/clock.js';
import { isMootError } from '../../src/base/errors.js';
import type { Command } from '../../src/filesystem/commands.js';
import { ROOT_INO } from '../../src/filesystem/records.js';
import type {
  Attributes,
  Caller,
  KernelNotifier,
  NewNode,
  OpenFlags,
  WriteFlags,
} from '../../src/mount/mount.js';
import {
  type ClusterOperations,
  createMountOperations,
  type MountOperationsParts,
} from '../../src/mount/operations.js';
import { type LocalClient, type LocalClientOptions, LocalCluster } from './local-client.js';

/** Time that passes when a test says so. */
export class HandClock implements Clock {
  #ms = 0;
  readonly #timers = new Map<object, { readonly atMs: number; readonly action: () => void }>();

  monotonicMs(): number {
    return this.#ms;
  }

  now(): Timespec {
    return { sec: Math.floor(this.#ms / 1000), nsec: (this.#ms % 1000) * 1e6 };
  }

  setTimer(delayMs: number, action: () => void) {
    const timer = { cancel: () => void this.#timers.delete(timer) };
    this.#timers.set(timer, { atMs: this.#ms + delayMs, action });
    return timer;
  }

  soon(action: () => void): void {
    setImmediate(action);
  }

  advance(ms: number): void {
    this.#ms += ms;
    for (const [timer, { atMs, action }] of [...this.#timers]) {
      if (atMs > this.#ms || !this.#timers.delete(timer)) continue;
      action();
    }
  }
}

/** A mount without a kernel: its operations, its client, and what it told the kernel. */
export interface TestMount {
  readonly ops: ClusterOperations;
  readonly client: LocalClient;
  readonly clock: HandClock;
  readonly told: string[];
  notifier: Pick<KernelNotifier, 'invalidateInode' | 'invalidateEntry' | 'dropPages'>;
}

export function newMount(
  cluster: LocalCluster,
  options: Partial<MountOperationsParts> & LocalClientOptions = {},
): TestMount {
  const client = cluster.connect(options);
  const clock = new HandClock();
  const told: string[] = [];
  const mount: TestMount = {
    client,
    clock,
    told,
    ops: createMountOperations({ level: 'strong', ...options, client, clock }),
    notifier: {
      invalidateInode: (ino, data) => told.push(`${data ? 'data' : 'attributes'} ${ino}`),
      invalidateEntry: async (parent, entry, asksOnly) =>
        void told.push(`${asksOnly ? 'ask for' : 'entry'} ${parent}/${text(entry)}`),
      dropPages: async (ino) => void told.push(`drop ${ino}`),
    },
  };
  mount.ops.setNotifier({
    invalidateInode: (ino, data, onUnknown) => mount.notifier.invalidateInode(ino, data, onUnknown),
    invalidateEntry: (parent, entry, asksOnly) =>
      mount.notifier.invalidateEntry(parent, entry, asksOnly),
    dropPages: (ino) => mount.notifier.dropPages(ino),
    expireInode: async (ino) => told.push(`expire ${ino}`) > 0,
    expireNames: () => told.push('expire names'),
  });
  return mount;
}

/** Two mounts of one cluster, whose commands are logged. */
export function twoMounts(options: Partial<MountOperationsParts> & LocalClientOptions = {}) {
  const cluster = new LocalCluster();
  cluster.logging = true;
  const a = newMount(cluster, { ...options, name: 'a' });
  const b = newMount(cluster, { ...options, name: 'b' });
  return { cluster, a, b };
}

export const ROOT = ROOT_INO;

export function name(of: string): Uint8Array {
  return Buffer.from(of, 'latin1');
}

export function text(of: Uint8Array): string {
  return Buffer.from(of).toString('latin1');
}

const never = new AbortController().signal;
// One signal for all calls of a test, where a kernel has one for each.
setMaxListeners(0, never);
export const caller: Caller = { uid: 0, gid: 0, pid: 1, signal: never };

const NO_FLAGS: OpenFlags = { read: false, write: false, append: false, truncate: false };
export const READ: OpenFlags = { ...NO_FLAGS, read: true };
export const WRITE: OpenFlags = { ...NO_FLAGS, read: true, write: true };
export const APPEND: OpenFlags = { ...WRITE, append: true };
export const TRUNCATE: OpenFlags = { ...WRITE, truncate: true };

/** A new inode as a program asks for it, with nothing special. */
export function node(mode: number): NewNode {
  return { mode, umask: 0, rdev: 0 };
}

/** Makes the file and opens it; returns inode number and handle. */
export async function create(mount: TestMount, file: string, flags: Partial<OpenFlags> = {}) {
  const opened = await mount.ops.create(
    ROOT,
    name(file),
    node(0o644),
    { ...WRITE, exclusive: false, ...flags },
    caller,
  );
  const append = flags.append === true;
  return { ino: opened.inode.ino, handle: opened.handle, append };
}

/** As a kernel finds a name: when it hears ESTALE it asks again, after a check and after a walk. */
export async function find(mount: TestMount, file: string, retries = 2): Promise<Attributes> {
  try {
    return await mount.ops.lookup(ROOT, name(file), caller);
  } catch (error) {
    if (!isMootError(error, 'ESTALE') || retries === 0) throw error;
    return find(mount, file, retries - 1);
  }
}

/** As a program opens a file by its name. */
export async function open(mount: TestMount, file: string, flags = READ) {
  const { inode } = await find(mount, file);
  const opened = await mount.ops.open(inode.ino, flags, caller);
  return { ino: inode.ino, append: flags.append, ...opened };
}

export interface TestFile {
  readonly ino: number;
  readonly handle: number;
  /** Opened with O_APPEND, which the kernel says again with every write. */
  readonly append?: boolean;
}

/** What write(2) says of itself. */
export const PLAIN: WriteFlags = { append: false, killPrivileges: false };

export function write(
  mount: TestMount,
  { ino, handle, append = false }: TestFile,
  offset: number,
  data: string,
) {
  return mount.ops.write(ino, handle, offset, name(data), { ...PLAIN, append }, caller);
}

export async function read(mount: TestMount, { ino, handle }: TestFile, offset = 0, size = 1e6) {
  return text(await mount.ops.read(ino, handle, offset, size, caller));
}

export async function close(mount: TestMount, { ino, handle }: TestFile): Promise<void> {
  try {
    await mount.ops.flush(ino, handle, caller);
  } finally {
    await mount.ops.release(ino, handle);
  }
}

/** What a program sees that opens the file now. */
export async function contentOf(mount: TestMount, file: string): Promise<string> {
  const opened = await open(mount, file);
  const content = await read(mount, opened);
  await close(mount, opened);
  return content;
}

export async function put(mount: TestMount, file: string, data: string): Promise<number> {
  const opened = await create(mount, file, { truncate: true });
  await write(mount, opened, 0, data);
  await close(mount, opened);
  return opened.ino;
}

/** The code of the MootError that the promise fails with, or 'ok'. */
export async function code(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'ok';
  } catch (error) {
    if (!isMootError(error)) throw error;
    return error.code;
  }
}

/** The commands since the start or the last call, as short lines. */
export function takeCommands(cluster: LocalCluster): string[] {
  return cluster.log
    .splice(0)
    .filter(({ command }) => command.type !== 'open-session')
    .map(({ client, command }) => `${client}: ${line(command)}`);
}

function line(command: Command): string {
  if (command.type === 'write') {
    const place = command.append === true ? 'append' : `at ${command.offset}`;
    return `write ${place} ${command.data.length <= 20 ? text(command.data) : command.data.length}`;
  }
  return command.type;
}

/** Lets everything happen that waits for no timer. */
export function idle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Whether the promise is settled when everything that can happen has happened. */
export async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const note = () => {
    settled = true;
  };
  promise.then(note, note);
  await idle();
  return settled;
}
