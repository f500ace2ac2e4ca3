import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { NO_LOG, startDaemon } from '../../src/cli/daemon.js';

t.test('a server that cannot be started is one sentence', async (t) => {
  await t.rejects(startDaemon(['/no/such/program'], NO_LOG, t.testdir()), {
    code: 'MOUNT_UNAVAILABLE',
    message: 'the process that is to serve cannot be started',
  });
  await sleep(50);
  t.equal(process.exitCode, undefined, 'whoever reports the error says how it ends');
});
