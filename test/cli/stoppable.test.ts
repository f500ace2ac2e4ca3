import { fork } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import t, { type Test } from 'tap';
import { until } from '../support/until.js';

/** A process that cleans up when it is asked to stop, and takes until `cleaned` for that. */
async function start(t: Test, output: 'pipe' | number = 'pipe') {
  const child = fork(new URL('../support/told-to-clean.js', import.meta.url), {
    // Without what tap would load there, which listens to signals, too.
    execPath: 'env',
    execArgv: ['-u', 'NODE_OPTIONS', process.execPath],
    stdio: ['pipe', output, 'pipe', 'ipc'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  const said: unknown[] = [];
  child.on('message', (message) => void said.push(message));
  const exited = once(child, 'close');
  const heard = (text: string) => until(text, () => said.includes(text));
  await heard('ready');
  return { child, heard, exited, cleaned: () => child.send('cleaned') };
}

t.test('who was asked to stop cleans up, and ends by the signal', async (t) => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    const { child, heard, exited, cleaned } = await start(t);
    child.kill(signal);
    await heard('stops');
    child.kill('SIGHUP');
    cleaned();
    t.strictSame(await exited, [null, signal]);
  }
});

t.test('a second signal ends it at once', async (t) => {
  const { child, heard, exited } = await start(t);
  child.kill('SIGTERM');
  await heard('stops');
  child.kill('SIGINT');
  t.strictSame(await exited, [null, 'SIGINT']);
});

t.test('an output that nobody reads any more asks, too', async (t) => {
  const { child, heard, exited, cleaned } = await start(t);
  child.stdout?.destroy();
  await heard('stops');
  cleaned();
  t.strictSame(await exited, [0, null]);
  const other = await start(t);
  other.child.stdout?.destroy();
  await other.heard('stops');
  // The first signal: it is not in a hurry yet.
  other.child.kill('SIGTERM');
  await other.heard('had SIGTERM');
  other.cleaned();
  t.strictSame(await other.exited, [null, 'SIGTERM']);
});

t.test('so does a full disk, which is told', async (t) => {
  const full = openSync('/dev/full', 'w');
  t.teardown(() => closeSync(full));
  const { child, heard, exited, cleaned } = await start(t, full);
  let told = '';
  child.stderr?.on('data', (data: Buffer) => {
    told += data.toString();
  });
  await heard('stops');
  cleaned();
  t.strictSame(await exited, [1, null]);
  t.match(told, /^mootfs tested: standard output takes no more: ENOSPC[^\n]*\n$/);
});
