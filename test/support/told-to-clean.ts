import { guardOutputs } from '../../src/cli/outputs.js';
import { stoppable } from '../../src/cli/stoppable.js';

/**
 * A process that cleans up before it ends, for the tests of it. Tells its parent 'ready', 'stops' and 'had SIGTERM', and has
 * cleaned up when the parent says so.
 */
guardOutputs('tested');
await stoppable('tested', async (stop) => {
  const cleaned = new Promise((resolve) => process.once('message', resolve));
  const saying = setInterval(() => process.stdout.write('on and on\n'), 10);
  process.once('SIGTERM', () => process.send?.('had SIGTERM'));
  process.send?.('ready');
  await stop.requested;
  process.send?.('stops');
  await cleaned;
  clearInterval(saying);
});
