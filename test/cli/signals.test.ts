import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import t, { type Test } from 'tap';
import { until } from '../support/until.js';

/** A process that works on after it was asked to stop, until `finish`. */
async function start(t: Test) {
  const child: ChildProcess = fork(new URL('../support/stoppable.js', import.meta.url), {
    stdio: ['pipe', 'inherit', 'inherit', 'ipc'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  const said: unknown[] = [];
  child.on('message', (message) => void said.push(message));
  const exited = once(child, 'exit');
  const heard = (text: string) => until(text, () => said.includes(text));
  await heard('ready');
  return { child, heard, exited, finish: () => child.send('finish') };
}

t.test('the end of standard input and a signal are one request', async (t) => {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    const { child, heard, exited, finish } = await start(t);
    child.stdin?.end();
    await heard('stops by stdin');
    child.kill(signal);
    await heard(`had ${signal}`);
    finish();
    t.strictSame(await exited, [0, null], `${signal} behind it lets it finish`);
  }
});

t.test('each of three signals asks politely; a second one ends at once', async (t) => {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    const { child, heard, exited } = await start(t);
    child.kill(signal);
    await heard(`stops by ${signal}`);
    child.stdin?.end();
    child.kill('SIGTERM');
    t.strictSame(await exited, [130, null]);
  }
});
