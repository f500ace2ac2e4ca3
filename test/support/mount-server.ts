import { isMootError } from '../../src/base/errors.js';
import { ROOT_INO } from '../../src/filesystem/records.js';
import { mountFuseKernel } from '../../src/mount/fuse-kernel/mount-fuse-kernel.js';
import { mountFuseNative } from '../../src/mount/fuse-native.js';
import type {
  Caller,
  KernelNotifier,
  Mount,
  MountCapabilities,
  MountOperations,
} from '../../src/mount/mount.js';
import { toldToEnd } from './told-to-end.js';

export type Adapter = 'fuse-kernel' | 'fuse-native';

/** What the test says to the process that serves the mount. */
export type ToServer =
  | { readonly type: 'unmount' }
  /** From now on operations wait, as they do without a leader. */
  | { readonly type: 'pause' }
  | { readonly type: 'resume' }
  /** Throws an error that nobody catches. */
  | { readonly type: 'crash' }
  /** Changes a file's first bytes from another mount. */
  | { readonly type: 'overwrite'; readonly name: string; readonly text: string };

export type FromServer =
  | {
      readonly type: 'mounted';
      readonly directory: string;
      readonly capabilities: MountCapabilities;
    }
  | { readonly type: 'failed'; readonly code: string; readonly message: string }
  | { readonly type: 'done' }
  /** An operation has come that waits, after `pause`. */
  | { readonly type: 'waiting' };

export interface ServedMount {
  readonly operations: MountOperations;
  setNotifier(notifier: KernelNotifier): void;
  /** Another mount of the same filesystem. */
  readonly elsewhere: MountOperations;
  /** After the mount: lets the process end. */
  close(): Promise<void>;
}

/**
 * The main program of a process that serves a mount for the mounted suite. A test must not serve
 * the mount that it uses: its synchronous calls would wait for itself.
 * Arguments: the adapter, the directory.
 */
export async function serveMount(served: ServedMount): Promise<void> {
  const [adapter, directory] = process.argv.slice(2);
  if (directory === undefined) throw new Error('usage: ADAPTER DIRECTORY');
  const told = toldToEnd();
  const gate = new Gate(() => send({ type: 'waiting' }));
  const gated = gate.before(served.operations);
  const end = async () => {
    await served.close();
    if (process.connected) process.disconnect();
  };
  let mount: Mount;
  try {
    if (adapter === 'fuse-kernel') {
      const made = await mountFuseKernel({ directory, operations: gated, source: 'mootfs' });
      served.setNotifier(made.notifier);
      mount = made;
    } else {
      mount = await mountFuseNative({ directory, operations: gated, source: 'mootfs' });
    }
  } catch (error) {
    if (!isMootError(error)) throw error;
    send({ type: 'failed', code: error.code, message: error.message });
    await end();
    return;
  }
  const handlers: { [T in ToServer['type']]: (message: Extract<ToServer, { type: T }>) => void } = {
    unmount: () => void mount.unmount(),
    pause: () => gate.pause(),
    resume: () => gate.resume(),
    crash: () => {
      throw new Error('crashed on purpose');
    },
    overwrite: ({ name, text }) =>
      void overwrite(served.elsewhere, name, text).then(() => send({ type: 'done' })),
  };
  process.on('message', (message: ToServer) => {
    // The record's key is the message's own type.
    (handlers[message.type] as (message: ToServer) => void)(message);
    if (message.type === 'pause' || message.type === 'resume') send({ type: 'done' });
  });
  void told.then(() => mount.unmount());
  send({ type: 'mounted', directory: mount.directory, capabilities: mount.capabilities });
  await mount.ended;
  gate.resume();
  await end();
}

function send(message: FromServer): void {
  process.send?.(message);
}

const NOBODY_ELSE: Caller = { uid: 0, gid: 0, pid: 0, signal: new AbortController().signal };

const PLAIN = { append: false, killPrivileges: false };

async function overwrite(operations: MountOperations, name: string, text: string): Promise<void> {
  const caller = NOBODY_ELSE;
  const { inode } = await operations.lookup(ROOT_INO, Buffer.from(name), caller);
  const flags = { read: true, write: true, append: false, truncate: false };
  const { handle } = await operations.open(inode.ino, flags, caller);
  await operations.write(inode.ino, handle, 0, Buffer.from(text), PLAIN, caller);
  await operations.flush(inode.ino, handle, caller);
  await operations.release(inode.ino, handle);
  operations.forget(inode.ino, 1);
}

/** Makes operations wait, interruptibly. */
class Gate {
  #open: Promise<void> | null = null;
  #resume: () => void = () => {};

  constructor(private readonly onWait: () => void) {}

  pause(): void {
    if (this.#open !== null) return;
    this.#open = new Promise((resolve) => {
      this.#resume = resolve;
    });
  }

  resume(): void {
    this.#open = null;
    this.#resume();
  }

  before(operations: MountOperations): MountOperations {
    return new Proxy(operations, {
      get: (target, key) => {
        const member: unknown = Reflect.get(target, key, target);
        if (typeof member !== 'function') return member;
        return (...args: unknown[]) => {
          const caller = args.at(-1);
          const call = () => Reflect.apply(member, target, args);
          return this.#open !== null && isCaller(caller) ? this.#wait(caller).then(call) : call();
        };
      },
    });
  }

  #wait({ signal }: Caller): Promise<void> {
    const open = this.#open ?? Promise.resolve();
    this.onWait();
    return new Promise((resolve, reject) => {
      const give = () => reject(signal.reason);
      if (signal.aborted) give();
      signal.addEventListener('abort', give, { once: true });
      void open.then(resolve);
    });
  }
}

function isCaller(value: unknown): value is Caller {
  return typeof value === 'object' && value !== null && 'signal' in value;
}
