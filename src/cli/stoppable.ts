import { reportFailure } from './exit.js';
import { endUnheard, whenOutputIsLost } from './outputs.js';
import { onStopSignal } from './signals.js';

/** A signal, or why nobody can read what comes of it. */
export type StopReason = NodeJS.Signals | NodeJS.ErrnoException;

/** Asks work to end, once. */
export class Stop {
  /** null: nobody has asked. */
  reason: StopReason | null = null;
  readonly requested: Promise<void>;
  private resolve: () => void = () => undefined;

  constructor() {
    this.requested = new Promise((resolve) => {
      this.resolve = resolve;
    });
  }

  request(reason: StopReason): void {
    // Of more than one the first signal counts.
    if (typeof this.reason !== 'string') this.reason = reason;
    this.resolve();
  }
}

/**
 * Does work that a person watches, and that has cleaned up when it is over, whether it was asked to stop or
 * not. Then the process ends by the signal that has asked, as shells and scripts expect. A second one ends it
 * at once; not SIGHUP, which a terminal that is closed may bring twice. An output that nobody reads any more
 * asks, too.
 */
export async function stoppable(
  command: string,
  work: (stop: Stop) => Promise<void>,
): Promise<void> {
  const stop = new Stop();
  const release = onStopSignal((signal) => {
    if (typeof stop.reason === 'string' && signal !== 'SIGHUP') endBy(signal);
    stop.request(signal);
  });
  const endBy = (signal: NodeJS.Signals) => {
    release();
    process.kill(process.pid, signal);
  };
  // A terminal that was closed says EIO, and its signal may come later.
  whenOutputIsLost((error) => stop.request(error.code === 'EIO' ? 'SIGHUP' : error));
  try {
    await work(stop);
  } catch (error) {
    if (stop.reason === null) throw error;
    if (typeof stop.reason === 'string') reportFailure(command, error);
  } finally {
    // Whatever the work still waits for.
    if (typeof stop.reason === 'string') endBy(stop.reason);
    else if (stop.reason !== null) endUnheard(command, stop.reason);
    release();
  }
}
