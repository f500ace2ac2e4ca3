import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import t from 'tap';
import {
  isBeingKilled,
  renameCallOf,
  soon,
  stringsOf,
} from '../../../src/mount/fuse-kernel/threads.js';

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

t.test('what lies in the memory of a program', async (t) => {
  const child = spawn('sleep', ['1000'], { env: {} });
  await once(child, 'spawn');
  const { pid = 0 } = child;
  const ended = once(child, 'exit');
  try {
    const auxv = await readFile(`/proc/${pid}/auxv`);
    const words = Array.from({ length: auxv.length / 8 }, (_, i) => auxv.readBigUInt64LE(i * 8));
    // getauxval(3): AT_EXECFN, a string among the arguments.
    const at = words.findIndex((word, i) => i % 2 === 0 && word === 31n);
    const [path, none, wrong] = await stringsOf(pid, [Number(words[at + 1]), 0, 8]);
    t.match(path, /sleep$/);
    t.strictSame([none, wrong], ['', '']);
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
  t.strictSame(await stringsOf(0, [1]), []);
});

t.test('memory that does not come keeps nobody waiting, and few threads', async (t) => {
  let begun = 0;
  const never = () => {
    begun++;
    return new Promise<string[]>(() => undefined);
  };
  t.strictSame(await Promise.all([1, 2, 3].map(() => soon(never))), [null, null, null]);
  t.equal(await soon(never), null);
  t.equal(begun, 2);
});
