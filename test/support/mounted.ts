import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { MountCapabilities } from '../../src/mount/mount.js';
import type { Adapter, FromServer, ToServer } from './mount-server.js';

/** Far beyond what anything here takes on a busy machine. */
const PATIENCE_MS = 240_000;
/** Readers of /dev/fuse keep four of the pool's threads; the rest is for everything else. */
const POOL_THREADS = '12';

const UNMOUNT: ToServer = { type: 'unmount' };

export interface Outcome {
  /** null: killed by a signal. */
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A process that serves a mount, and work on the mount in other processes. */
export class MountServer {
  readonly exited: Promise<void>;

  private constructor(
    readonly process: ChildProcess,
    readonly directory: string,
  ) {
    this.exited = once(process, 'exit').then(() => {});
  }

  static start(serverModule: URL, adapter: Adapter, directory: string): MountServer {
    const child = fork(serverModule, [adapter, directory], {
      env: { ...process.env, UV_THREADPOOL_SIZE: POOL_THREADS },
      execArgv: [],
      // What ends the test and its group leaves it the time to unmount.
      detached: true,
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
    });
    child.stderr?.resume();
    return new MountServer(child, directory);
  }

  /** What the server says first. */
  async ready(): Promise<FromServer> {
    const gone = once(this.process, 'disconnect').then((): never => {
      throw new Error('the process that was to serve the mount ended without a word');
    });
    const [message] = await Promise.race([once(this.process, 'message'), gone]);
    return message as FromServer;
  }

  /** Resolves when the server says this. */
  heard(type: FromServer['type']): Promise<void> {
    return new Promise((resolve) => {
      const listen = (message: FromServer) => {
        if (message.type !== type) return;
        this.process.off('message', listen);
        resolve();
      };
      this.process.on('message', listen);
    });
  }

  async ask(message: ToServer): Promise<void> {
    const done = this.heard('done');
    this.process.send(message);
    await done;
  }

  /** Unmounts; the process then ends by itself. */
  async stop(): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      // It may end at any moment: then there is nobody to tell.
      if (this.process.connected) this.process.send(UNMOUNT, () => {});
      await this.exited;
    }
  }

  async kill(): Promise<void> {
    this.process.kill('SIGKILL');
    await this.exited;
  }
}

/** A new directory to mount on; whatever is mounted there in the end is unmounted. */
export async function mountPoint(t: Test): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'mootfs-mount-'));
  t.teardown(async () => {
    while (await isMounted(directory)) await run('umount', ['-i', '-f', '-l', '--', directory]);
    await rmdir(directory);
  });
  return directory;
}

export async function isMounted(directory: string): Promise<boolean> {
  const { stdout } = await run('cat', ['/proc/self/mountinfo']);
  return stdout.includes(` ${directory} `);
}

/** What this machine lacks to mount; null: nothing, so a mount that fails is a bug. */
export async function mountsLack(adapter: Adapter): Promise<string | null> {
  if (process.geteuid?.() !== 0) return 'needs root';
  if (!existsSync('/dev/fuse')) return 'needs /dev/fuse';
  if (adapter === 'fuse-kernel') return null;
  try {
    import.meta.resolve('fuse-native');
  } catch {
    return 'needs the package fuse-native';
  }
  const { stdout } = await run('ldconfig', ['-p']);
  return stdout.includes('libfuse.so.2 ') ? null : 'needs libfuse.so.2';
}

/** A mounted directory that is unmounted when the test ends, or why it cannot be. */
export async function mounted(
  t: Test,
  serverModule: URL,
  adapter: Adapter,
  directory: string,
): Promise<{ readonly server: MountServer; readonly capabilities: MountCapabilities } | string> {
  const server = MountServer.start(serverModule, adapter, directory);
  t.teardown(() => server.stop());
  const answer = await server.ready();
  if (answer.type === 'mounted') return { server, capabilities: answer.capabilities };
  return answer.type === 'failed' ? answer.message : 'no answer';
}

export interface RunOptions {
  readonly cwd?: string;
  readonly uid?: number;
  readonly gid?: number;
}

export function start(program: string, args: readonly string[], options: RunOptions = {}) {
  const child = spawn(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('latin1').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('latin1').on('data', (text: string) => {
    stderr += text;
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS);
  const ended = new Promise<Outcome>((resolve) => {
    child.on('error', (error) => {
      clearTimeout(timer);
      resolve({ status: 127, signal: null, stdout, stderr: error.message });
    });
    child.on('close', (status, signal) => {
      clearTimeout(timer);
      resolve({ status, signal, stdout, stderr });
    });
  });
  return { child, ended, stdout: () => stdout };
}

/** Runs a program to its end, or kills it when there is no hope any more. */
export function run(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Outcome> {
  return start(program, args, options).ended;
}

export function sh(script: string, options: RunOptions = {}): Promise<Outcome> {
  return run('sh', ['-euc', script], options);
}

/** What is used of node:assert/strict, as methods that need no declaration where they are called. */
export interface Assert {
  ok(value: unknown, message?: string): void;
  equal(actual: unknown, expected: unknown, message?: string): void;
  deepEqual(actual: unknown, expected: unknown, message?: string): void;
  throws(action: () => unknown, expected: { readonly code: string | RegExp }): void;
}

export type Work = (fs: typeof import('node:fs'), assert: Assert) => void | Promise<void>;

/** The arguments with which node runs a function by its text: it sees nothing of its surroundings. */
export function scriptOf(work: Work): string[] {
  const libraries = "require('node:fs'), require('node:assert/strict')";
  return ['-e', `Promise.resolve((${work})(${libraries}))`];
}

/** Runs a function in a process of its own, in `cwd`. */
export function inProcess(work: Work, options: RunOptions = {}): Promise<Outcome> {
  return run(process.execPath, scriptOf(work), options);
}
