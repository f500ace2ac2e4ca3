import { reportFailure } from './exit.js';

/** They ask a process to end. */
const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Listens to them all, until what is returned is called. */
export function onStopSignal(heard: (signal: NodeJS.Signals) => void): () => void {
  for (const signal of STOP_SIGNALS) process.on(signal, heard);
  return () => {
    for (const signal of STOP_SIGNALS) process.off(signal, heard);
  };
}

/**
 * Resolves at the first signal that asks a process to end, or when standard input ends and
 * `withStdin` is set (a parent that starts its children with a pipe there need not live to stop
 * them). A parent may do both: they are one request. A second signal ends the process at once; not SIGHUP,
 * which a terminal that is closed may bring twice (from the shell, and from the kernel).
 */
export function stopRequested(withStdin: boolean): Promise<string> {
  return new Promise((resolve) => {
    let signalled = false;
    const ask = (why: string) => {
      // An open standard input would keep the process from ending.
      if (withStdin) process.stdin.destroy();
      resolve(why);
    };
    onStopSignal((signal) => {
      if (signalled && signal !== 'SIGHUP') process.exit(130);
      signalled = true;
      ask(signal);
    });
    if (withStdin) {
      process.stdin.on('end', () => ask('stdin'));
      process.stdin.on('error', () => ask('stdin'));
      process.stdin.resume();
    }
  });
}

/**
 * Does work that gives up and leaves nothing half done when the first signal asks the process to end. Then
 * the process ends by that signal, as shells and scripts expect. A second signal ends it at once.
 */
export async function interruptible(
  command: string,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const interrupted = new AbortController();
  const release = onStopSignal((signal) => {
    // The next one finds nobody who listens.
    release();
    interrupted.abort(signal);
  });
  try {
    await work(interrupted.signal);
  } catch (error) {
    if (!interrupted.signal.aborted) throw error;
    reportFailure(command, error);
    process.kill(process.pid, interrupted.signal.reason);
  } finally {
    release();
  }
}
