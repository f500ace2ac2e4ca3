import { link, mkdir, rename, rmdir, stat, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { serveTwoMounts } from '../support/two-mounts.js';

/** Two real kernels' worth of caches over one tree: what programs on both see of each other. */

const ROUNDS = 300;

/** How each of them ended, 'ok' or the error's code, in alphabetical order. */
async function outcomes(calls: readonly Promise<unknown>[]): Promise<string[]> {
  const ended = await Promise.allSettled(calls);
  const codeOf = (one: PromiseSettledResult<unknown>) =>
    one.status === 'fulfilled' ? 'ok' : (one.reason as NodeJS.ErrnoException).code;
  return ended.map((one) => codeOf(one) ?? 'no code').sort();
}

t.test('a file that both mounts rename to the same name is claimed by one of them', async (t) => {
  const mounts = await serveTwoMounts(t);
  if (mounts.places === null) {
    t.pass('two mounts', { skip: mounts.whyNot });
    return;
  }
  const [a, b] = mounts.places;
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

t.test('a directory that another mount has moved is replaced and moved on', async (t) => {
  const mounts = await serveTwoMounts(t);
  if (mounts.places === null) {
    t.pass('two mounts', { skip: mounts.whyNot });
    return;
  }
  const [a, b] = mounts.places;
  const codeOf = (call: Promise<unknown>) => call.then(() => 'ok').catch((error) => error.code);
  await mkdir(join(a, 'e'));
  let overtaken = 0;
  for (let round = 0; round < 50; round++) {
    for (const name of ['d', 'f']) await mkdir(join(a, name));
    await stat(join(b, 'd'));
    await rename(join(a, 'd'), join(a, 'e/d'));
    const replaced = await codeOf(rename(join(b, 'f'), join(b, 'e/d')));
    if (replaced !== 'ok') {
      // Its thread that forgets was put aside for too long.
      t.equal(replaced, 'Unknown system error -116');
      await rename(join(b, 'f'), join(b, 'e/d'));
      overtaken++;
    }
    await rename(join(a, 'e/d'), join(a, 'g'));
    await mkdir(join(a, 'e/h'));
    const moved = await codeOf(rename(join(b, 'g'), join(b, 'e/h')));
    if (moved !== 'ok') {
      t.equal(moved, 'Unknown system error -116');
      await rename(join(b, 'g'), join(b, 'e/h'));
      overtaken++;
    }
    await rmdir(join(b, 'e/h'));
  }
  t.ok(overtaken < 20, `${overtaken} of 100 times`);
});

t.test('calls other than rename(2) find what another mount has moved at once', async (t) => {
  const mounts = await serveTwoMounts(t);
  if (mounts.places === null) {
    t.pass('two mounts', { skip: mounts.whyNot });
    return;
  }
  const [a, b] = mounts.places;
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
