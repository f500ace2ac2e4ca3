import { MootError } from '../base/errors.js';
import { EXIT, reportFailure } from './exit.js';

/** Commands that serve others: that nobody takes their messages, as on a full disk, must not end them. */
export const SERVING: ReadonlySet<string> = new Set(['up', 'node', 'mount']);

type OnLost = (error: NodeJS.ErrnoException) => void;
let onLost: OnLost = () => undefined;

/** To be called once, before anything is said. */
export function guardOutputs(command: string): void {
  if (!SERVING.has(command)) onLost = (error) => endUnheard(command, error);
  process.stdout.on('error', (error) => onLost(error));
  // What fails has its exit code, whether somebody hears why or not.
  process.stderr.on('error', () => undefined);
}

/** For a command that has something to put in order first. */
export function whenOutputIsLost(listener: OnLost): void {
  onLost = listener;
}

/** `mootfs cat big | head` ends quietly when head has seen enough; a full disk is a failure. */
export function endUnheard(command: string, error: NodeJS.ErrnoException): never {
  if (error.code === 'EPIPE') process.exit();
  reportFailure(
    command,
    new MootError('CLOSED', 'standard output takes no more', { cause: error }),
  );
  process.exit(EXIT.failed);
}
