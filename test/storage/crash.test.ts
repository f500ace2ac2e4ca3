import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { isMootError } from '../../src/base/errors.js';
import { chunkKey, chunkRange, orphanKey } from '../../src/filesystem/keys.js';
import { createRocksLogStore } from '../../src/storage/rocksdb-log.js';
import { createRocksStateStore } from '../../src/storage/rocksdb-state.js';
import { temporaryDirectory } from '../support/directories.js';
import { noise } from '../support/records.js';

const WRITER = fileURLToPath(new URL('../support/storage-writer.js', import.meta.url));

/** Runs the writer until it has acknowledged entry `until`, then `act`, then kills it; the last acknowledged. */
async function writeAndKill(
  directory: string,
  until: number,
  act: () => Promise<void> = async () => {},
): Promise<number> {
  const child = spawn(process.execPath, [WRITER, directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  let last = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    last = Number(line);
    if (last < until || child.killed) continue;
    await act();
    child.kill('SIGKILL');
  }
  await ended;
  return last;
}

t.test('after kill -9 all that was acknowledged is there', async (t) => {
  const directory = temporaryDirectory(t);
  for (let round = 1; round <= 4; round++) {
    const acknowledged = await writeAndKill(directory, round * 700 + round * 13);
    const log = createRocksLogStore({ directory: join(directory, 'log'), mustExist: true });
    const restored = await log.open();
    t.ok(restored.lastIndex >= acknowledged, 'no acknowledged entry is lost');
    const entries = await log.read(restored.snapshot.index + 1, restored.lastIndex, 2 ** 40);
    t.equal(entries.length, restored.lastIndex - restored.snapshot.index);
    t.ok(
      entries.every(({ index, data }) => noise(index, 5_000).every((byte, i) => byte === data[i])),
    );
    await log.close();

    const tree = createRocksStateStore({
      directory: join(directory, 'tree'),
      mustExist: true,
      onFailure: (error) => t.fail(String(error)),
    });
    const { index } = await tree.open();
    t.ok(index >= restored.snapshot.index, 'the tree reaches the log');
    t.ok(index <= restored.lastIndex, 'the tree is not ahead of the log');
    const orphans = await tree.get([index, index + 1].map(orphanKey));
    t.same(orphans, [{ ino: index, index }, undefined], 'the mark and the changes are together');
    const kept = Math.floor(index / 20) * 2 - 2;
    t.equal((await tree.scan(chunkRange(kept), 100)).length, 10);
    t.not((await tree.get([chunkKey(kept, 9)]))[0], undefined);
    await tree.close();
  }
});

t.test('a second process is refused', async (t) => {
  const directory = temporaryDirectory(t);
  const refusals: unknown[] = [];
  const acknowledged = await writeAndKill(directory, 100, async () => {
    const log = createRocksLogStore({ directory: join(directory, 'log'), mustExist: true });
    await log.open().catch((error: unknown) => refusals.push(error));
  });
  const [refusal] = refusals;
  t.ok(isMootError(refusal, 'DATA_DIR_IN_USE'), String(refusal));
  t.match(String(refusal), directory);
  const log = createRocksLogStore({ directory: join(directory, 'log'), mustExist: true });
  t.ok((await log.open()).lastIndex >= acknowledged, 'nothing was harmed');
  const second = createRocksLogStore({ directory: join(directory, 'log'), mustExist: true });
  await t.rejects(second.open(), { code: 'DATA_DIR_IN_USE' }, 'in one process as well');
  await log.close();
});
