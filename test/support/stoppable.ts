import { stopRequested } from '../../src/cli/signals.js';

/**
 * A process that is asked to stop, for the tests of it. Tells its parent 'ready', each signal that
 * came, and why it stops, and ends when the parent says that its work is done.
 */
const why = stopRequested(true);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => process.send?.(`had ${signal}`));
}
process.on('message', () => process.disconnect());
process.send?.('ready');
process.send?.(`stops by ${await why}`);
