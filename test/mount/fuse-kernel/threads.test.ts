import { spawn } from 'node:child_process';
import { once } from 'node:events';
import t from 'tap';
import { isBeingKilled, renameCallOf } from '../../../src/mount/fuse-kernel/threads.js';

t.test('a thread that sleeps is in no rename, and lives', async (t) => {
  const child = spawn('sleep', ['1000']);
  await once(child, 'spawn');
  const { pid = 0 } = child;
  t.equal(await renameCallOf(pid), '');
  t.equal(await isBeingKilled(pid), false);
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
});

t.test('of a thread that is not seen nothing is ruled out', async (t) => {
  t.equal(await renameCallOf(0), null);
  t.equal(await isBeingKilled(0), true);
});
