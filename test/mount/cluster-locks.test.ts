import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { run, sh } from '../support/mounted.js';
import { buildSyscalls, comparable, SystemCalls } from '../support/syscalls.js';
import { serveTwoMounts } from '../support/two-mounts.js';

/** Locks by real system calls, from processes on two mounts of one tree. */

const ROUNDS = 25;

t.test('locks between mounts', async (t) => {
  const program = await buildSyscalls(t);
  if (program === null) {
    t.pass('locks between mounts', { skip: 'needs a C compiler (cc)' });
    return;
  }
  const mounts = await serveTwoMounts(t);
  if (mounts.places === null) {
    t.pass('locks between mounts', { skip: mounts.whyNot });
    return;
  }
  const [one, two] = mounts.places;
  /** A process with the file open in slots 0 and 1. */
  const begin = async (t: Test, place: string) => {
    const calls = new SystemCalls(program, place);
    t.teardown(() => calls.end());
    for (const slot of [0, 1]) await calls.call(`open ${slot} f rw|creat 0644`);
    return calls;
  };
  const start = async (t: Test, place: string) => {
    const calls = await begin(t, place);
    return async (line: string) => comparable(await calls.call(line));
  };
  const says = async (t: Test, answers: readonly [() => Promise<string>, string][]) => {
    for (const [ask, wanted] of answers) t.equal(await ask(), wanted);
  };

  await t.test('flock(2)', async (t) => {
    const [a, b] = [await start(t, one), await start(t, two)];
    await says(t, [
      [() => a('flock 0 exclusive'), '= 0'],
      [() => a('flock 1 shared'), '! EAGAIN'],
      [() => b('flock 0 shared'), '! EAGAIN'],
    ]);
    const waiting = b('flockw 0 exclusive');
    await says(t, [[() => a('flock 0 unlock'), '= 0']]);
    t.equal(await waiting, '= 0');
    await says(t, [
      [() => a('flock 0 shared'), '! EAGAIN'],
      [() => b('flock 0 shared'), '= 0'],
      [() => a('flock 0 shared'), '= 0'],
      [() => a('flock 0 exclusive'), '! EAGAIN'],
      [() => b('close 0'), '= 0'],
      [() => a('flockw 0 exclusive'), '= 0'],
      [() => a('flock 0 unlock'), '= 0'],
    ]);
  });

  await t.test('byte ranges, and who holds them', async (t) => {
    const [a, b, c] = [await start(t, one), await start(t, two), await start(t, one)];
    await says(t, [
      [() => a('setlk 0 exclusive 10 10'), '= 0'],
      [() => b('setlk 0 shared 0 11'), '! EAGAIN'],
      [() => b('setlk 0 shared 0 10'), '= 0'],
      [() => b('getlk 0 exclusive 5 10'), '= exclusive 10 10'],
      [() => a('getlk 0 exclusive 0 0'), '= shared 0 10'],
      [() => a('setlk 1 shared 5 0'), '= 0'],
      [() => c('getlk 0 exclusive 12 0'), '= shared 5 0'],
      [() => b('setlk 0 exclusive 0 10'), '! EAGAIN'],
      [() => b('setlk 0 exclusive 9223372036854775000 5'), '! EINVAL'],
      [() => b('setlk 0 exclusive 0 5'), '= 0'],
      // Any close(2) of the file lets all go.
      [() => a('close 1'), '= 0'],
      [() => c('getlk 0 exclusive 5 0'), '= shared 5 5'],
      [() => b('setlk 0 unlock 0 0'), '= 0'],
      [() => c('getlk 0 exclusive 0 0'), '= free'],
    ]);
  });

  await t.test('locks of open files, and of processes that are killed', async (t) => {
    const [a, b] = [await start(t, one), await start(t, two)];
    await says(t, [
      [() => a('ofd 0 exclusive 0 5'), '= 0'],
      [() => a('ofd 1 shared 0 5'), '! EAGAIN'],
      [() => b('setlk 0 shared 0 5'), '! EAGAIN'],
      [() => a('close 1'), '= 0'],
      [() => b('setlk 0 shared 0 5'), '! EAGAIN'],
      [() => a('close 0'), '= 0'],
      [() => b('setlkw 0 shared 0 5'), '= 0'],
    ]);
    const killed = await begin(t, two);
    await killed.call('setlk 0 shared 0 0');
    await b('close 0');
    const waiting = a('open 0 f rw 0').then(() => a('setlkw 0 exclusive 0 0'));
    killed.kill();
    t.equal(await waiting, '= 0');
  });

  await t.test('a signal ends the waiting, and leaves no place in the queue', async (t) => {
    const [a, b] = [await start(t, one), await start(t, two)];
    for (const lock of ['setlkw 0 exclusive 0 0', 'flockw 0 exclusive', 'ofdw 0 exclusive 0 0']) {
      t.equal(await a(lock), '= 0');
      await b('alarm 100');
      t.equal(await b(lock), '! EINTR');
      t.equal(await a(lock.replace('exclusive', 'unlock')), '= 0');
      t.equal(await a(lock), '= 0');
      t.equal(await a(lock.replace('exclusive', 'unlock')), '= 0');
    }
  });

  await t.test('a circle of processes that wait for each other', async (t) => {
    const [a, b] = [await start(t, one), await start(t, two)];
    await says(t, [
      [() => a('setlk 0 exclusive 0 1'), '= 0'],
      [() => b('setlk 0 exclusive 1 1'), '= 0'],
    ]);
    const answers = [a('setlkw 0 exclusive 1 1'), b('setlkw 0 exclusive 0 1')];
    const first = await Promise.race(answers);
    t.equal(first, '! EDEADLK');
    const refused = (await Promise.race([answers[0], 'waits'])) === first ? a : b;
    await refused('setlk 0 unlock 0 0');
    t.same((await Promise.all(answers)).sort(), ['! EDEADLK', '= 0']);
  });

  await t.test('what is read under a lock is what was written under it', async (t) => {
    const [a, b] = [await start(t, one), await start(t, two)];
    let wrong = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const [writer, reader] = round % 2 === 0 ? [a, b] : [b, a];
      await writer('setlkw 0 exclusive 0 0');
      const waiting = reader('setlkw 0 shared 0 0');
      await writer(`pwrite 0 0 ${round} 5000`);
      const wanted = await writer('pread 0 0 5000');
      await writer('setlk 0 unlock 0 0');
      await waiting;
      if ((await reader('pread 0 0 5000')) !== wanted) wrong++;
      await reader('setlk 0 unlock 0 0');
    }
    t.equal(wrong, 0);
  });

  await t.test('flock(1) on both mounts guards a counter', async (t) => {
    await writeFile(join(one, 'counter'), '0');
    const loop = `for i in $(seq ${ROUNDS}); do
      flock lock sh -c 'echo $(($(cat counter) + 1)) >counter'; done`;
    const ended = await Promise.all([one, two, one, two].map((cwd) => sh(loop, { cwd })));
    t.same(
      ended.map(({ status }) => status),
      [0, 0, 0, 0],
    );
    t.equal((await readFile(join(two, 'counter'), 'utf8')).trim(), `${4 * ROUNDS}`);
    // The last close(2) of one program comes before the first call of the next.
    const busy = await sh('for i in $(seq 100); do flock -n lock true || echo busy; done', {
      cwd: one,
    });
    t.equal(busy.stdout, '');
    const refused = await run('flock', ['lock', 'flock', '-n', join(two, 'lock'), 'true'], {
      cwd: one,
    });
    t.equal(refused.status, 1);
  });
});
