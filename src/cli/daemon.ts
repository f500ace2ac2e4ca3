import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { MootError } from '../base/errors.js';
import { prepareDirectory } from '../mount/mount-point.js';
import { EXIT } from './exit.js';
import { interruptible } from './signals.js';

export const NO_LOG = '/dev/null';

/**
 * Runs the server in a session of its own, and returns when it has mounted, or has ended with its
 * reason on our standard error. A signal before that goes on to it, and nothing stays mounted.
 */
export function startDaemon(
  [program, ...args]: readonly [string, ...string[]],
  log: string,
  directory: string,
): Promise<void> {
  return interruptible('mount', async (signal) => {
    const file = openSync(log, 'a');
    // Not our own standard error: whoever reads that to its end would wait for the server's.
    const child = spawn(program, args, {
      detached: true,
      stdio: ['ignore', file, log === NO_LOG ? 'pipe' : file, 'ipc'],
    });
    closeSync(file);
    child.stderr?.on('data', (text: Buffer) => process.stderr.write(text));
    signal.addEventListener('abort', () => child.kill(signal.reason));
    await new Promise<void>((done, fail) => {
      child.once('message', () => {
        if (!signal.aborted) done();
      });
      child.once('error', (cause) => {
        const what = 'the process that is to serve cannot be started';
        fail(new MootError('MOUNT_UNAVAILABLE', what, { cause }));
      });
      child.once('close', (code) => {
        // It was never there: see 'error'.
        if (child.pid === undefined) return;
        process.exitCode = code ?? EXIT.failed;
        if (!signal.aborted && log !== NO_LOG) {
          process.stderr.write(`mootfs mount: failed; the reason is in ${log}\n`);
        }
        done();
      });
    });
    if (signal.aborted) {
      // Killed by a signal from before it could listen: what it leaves is a dead mount.
      if (child.signalCode !== null) await prepareDirectory(directory);
      throw new MootError('INTERRUPTED', 'interrupted before it was mounted');
    }
    if (child.connected) child.disconnect();
    child.stderr?.destroy();
    child.unref();
  });
}

/** In the server: resolves when whoever has started it has ended without waiting. */
export function starterGone(): Promise<void> {
  return new Promise((resolve) => {
    if (process.connected === false) resolve();
    else process.once('disconnect', () => resolve());
    // Listening would keep a process that has failed.
    process.channel?.unref();
  });
}

/** In the server: it has mounted, and goes on alone. */
export function tellStarter(): void {
  if (!process.connected) return;
  // Who has gone in this very moment need not hear of it.
  process.send?.('mounted', undefined, undefined, () => {});
  process.disconnect();
}
