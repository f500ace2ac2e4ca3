import { linkSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { isMootError } from '../../src/base/errors.js';
import { refuseInUse } from '../../src/storage/in-use.js';
import { createRocksStateStore } from '../../src/storage/rocksdb-state.js';
import { testStateStore } from '../conformance/state-store.js';
import { temporaryDirectory } from '../support/directories.js';

testStateStore('rocksdb tree', async (t) => {
  const directory = temporaryDirectory(t);
  const onFailure = (error: unknown) => t.fail(String(error));
  return { make: () => createRocksStateStore({ directory, mustExist: false, onFailure }) };
});

t.test('who opens a tree at which a process is at work changes nothing', async (t) => {
  const directory = temporaryDirectory(t);
  const onFailure = (error: unknown) => t.fail(String(error));
  const options = { directory, mustExist: false, onFailure };
  const running = createRocksStateStore(options);
  await running.open();
  const snapshot = await running.importSnapshot({ index: 9, term: 2 });
  const before = readdirSync(directory, { recursive: true }).sort();
  const second = createRocksStateStore(options);
  await t.rejects(second.open(), { code: 'DATA_DIR_IN_USE' });
  t.strictSame(readdirSync(directory, { recursive: true }).sort(), before);
  await snapshot.abort();
  await running.close();
  await second.open();
  await second.close();
});

t.test('a lock is found wherever its process sees the file', async (t) => {
  const directory = temporaryDirectory(t);
  const onFailure = (error: unknown) => t.fail(String(error));
  const tree = createRocksStateStore({ directory, mustExist: false, onFailure });
  await tree.open();
  const elsewhere = join(directory, 'elsewhere');
  mkdirSync(elsewhere);
  linkSync(join(directory, '1', 'LOCK'), join(elsewhere, 'LOCK'));
  const isInUse = () =>
    refuseInUse(elsewhere).then(
      () => false,
      (error: unknown) => isMootError(error, 'DATA_DIR_IN_USE'),
    );
  t.equal(await isInUse(), true);
  await tree.close();
  t.equal(await isInUse(), false);
});
