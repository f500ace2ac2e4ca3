import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { mock } from 'node:test';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { exitCodeOf } from '../../src/cli/exit.js';
import { Supervised } from '../../src/cli/supervised.js';

// What is supervised is started by the program's own name.
process.argv[1] = fileURLToPath(new URL('../support/supervised-child.js', import.meta.url));
/** Beyond any delay before a restart. */
const LONG_MS = 60_000;

function supervise(t: Test, log?: string, ...args: readonly string[]) {
  const directory = t.testdir();
  const starts = join(directory, 'starts');
  const child = new Supervised({
    name: 'child',
    args: [starts, ...args],
    readyLine: 'I am up',
    log: log ?? join(directory, 'log'),
    restart: true,
  });
  t.teardown(() => child.stop());
  const pids = () => readFileSync(starts, 'utf8').trim().split('\n').map(Number);
  return { child, pids };
}

async function is(child: Supervised, state: Supervised['state']): Promise<void> {
  while (child.state !== state) await new Promise((resolve) => setImmediate(resolve));
}

t.test('who starts it again while it starts gets the start under way', async (t) => {
  const { child, pids } = supervise(t);
  await Promise.all([child.start(), child.start()]);
  await child.start();
  t.equal(pids().length, 1);
  t.equal(pids()[0], child.pid);
});

t.test('it is started again when it died, once', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  t.teardown(() => mock.timers.reset());
  const { child, pids } = supervise(t);
  await child.start();
  process.kill(child.pid ?? 0, 'SIGKILL');
  await is(child, 'down');
  mock.timers.tick(LONG_MS);
  await is(child, 'up');
  t.equal(pids().length, 2);
  process.kill(child.pid ?? 0, 'SIGKILL');
  await is(child, 'down');
  await child.start();
  const { pid } = child;
  mock.timers.tick(LONG_MS);
  t.equal(child.state, 'up', 'somebody was faster than the restart that was planned');
  t.equal(child.pid, pid);
  await child.crash();
  mock.timers.tick(LONG_MS);
  t.equal(child.state, 'down', 'what was crashed on purpose stays down');
  await child.stop();
  t.equal(pids().length, 3);
  await t.rejects(child.start(), { code: 'CLOSED' }, 'it was stopped for good');
});

t.test('a log that cannot be written ends nobody', async (t) => {
  const { child } = supervise(t, '/proc/no/such/directory');
  await child.start();
  t.equal(child.state, 'up');
});

t.test('how it fails to start is how its parent fails', async (t) => {
  for (const [code, meaning] of [
    [4, 4],
    [5, 5],
    // None of ours, or no failure.
    [0, 1],
    [99, 1],
  ] as const) {
    const { child } = supervise(t, undefined, String(code));
    const failure = await child.start().catch((error: unknown) => error);
    t.match(failure, { message: /^child: (it cannot be)$/ });
    t.equal(exitCodeOf(failure), meaning, `exit code ${code}`);
    t.equal(child.state, 'down');
  }
});

t.test('what the environment sets for its parent is not set for it', async (t) => {
  process.env.MOOTFS_LISTEN = '127.0.0.1:1';
  t.teardown(() => delete process.env.MOOTFS_LISTEN);
  const { child } = supervise(t);
  await child.start();
  await child.stop();
  t.match(readFileSync(child.log, 'utf8'), /^settings: $/m);
});
