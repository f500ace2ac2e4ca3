import { fork } from 'node:child_process';
import { once } from 'node:events';
import { link, mkdir, rename, rmdir, stat, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { mountPoint } from '../support/mounted.js';

/** Two real kernels' worth of caches over one tree: what programs on both see of each other. */

const serverModule = new URL('../support/two-mounts-server.js', import.meta.url);
const ROUNDS = 300;

type Places = readonly [string, string];

async function serve(t: Test): Promise<Places | string> {
  if (process.geteuid?.() !== 0) return 'needs root';
  const places: Places = [await mountPoint(t), await mountPoint(t)];
  const server = fork(serverModule, places, { env: { ...process.env, UV_THREADPOOL_SIZE: '12' } });
  const exited = once(server, 'exit');
  t.teardown(async () => {
    if (server.connected) server.disconnect();
    await exited;
  });
  return Promise.race([
    once(server, 'message').then(() => places),
    exited.then(() => '/dev/fuse cannot be mounted'),
  ]);
}

/** How each of them ended, 'ok' or the error's code, in alphabetical order. */
async function outcomes(calls: readonly Promise<unknown>[]): Promise<string[]> {
  const ended = await Promise.allSettled(calls);
  const codeOf = (one: PromiseSettledResult<unknown>) =>
    one.status === 'fulfilled' ? 'ok' : (one.reason as NodeJS.ErrnoException).code;
  return ended.map((one) => codeOf(one) ?? 'no code').sort();
}

t.test('a file that both mounts rename to the same name is claimed by one of them', async (t) => {
  const places = await serve(t);
  if (typeof places === 'string') {
    t.pass('skipped', { skip: places });
    return;
  }
  const [a, b] = places;
  const make = {
    file: (at: string) => writeFile(at, 'x'),
    directory: (at: string) => mkdir(at),
  };
  const remove = { file: unlink, directory: rmdir };
  for (const what of ['file', 'directory'] as const) {
    for (let round = 0; round < ROUNDS; round++) {
      const [job, taken] = [`${what}-job`, `${what}-taken`];
      await make[what](join(a, job));
      // Known there in every other round only: both ways are to be right.
      if (round % 2 === 0) await stat(join(b, job));
      const order = round % 4 < 2 ? [a, b] : [b, a];
      const ended = await outcomes(order.map((at) => rename(join(at, job), join(at, taken))));
      if (ended.join() !== 'ENOENT,ok') t.fail(`${what}, round ${round}: ${ended.join()}`);
      await stat(join(b, taken));
      await remove[what](join(b, taken));
    }
  }
});

t.test('calls other than rename(2) find what another mount has moved at once', async (t) => {
  const places = await serve(t);
  if (typeof places === 'string') {
    t.pass('skipped', { skip: places });
    return;
  }
  const [a, b] = places;
  await writeFile(join(a, 'other'), 'y');
  for (let round = 0; round < 20; round++) {
    await writeFile(join(a, 'one'), 'x');
    await stat(join(b, 'one'));
    await rename(join(a, 'one'), join(a, 'two'));
    const code = await link(join(b, 'other'), join(b, 'two')).catch((error) => error.code);
    if (code !== 'EEXIST') t.fail(`round ${round}: ${code}`);
    await unlink(join(b, 'two'));
  }
});
