import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { openDataDirectory } from '../../src/storage/data-directory.js';
import { temporaryDirectory } from '../support/directories.js';

const OWNER = { cluster: 'moot', id: 'n1' };

t.test('a data directory is made, used and found again', async (t) => {
  const path = join(temporaryDirectory(t), 'a', 'b');
  const first = await openDataDirectory(path, OWNER);
  t.equal(first.fresh, true);
  t.equal((await openDataDirectory(path, OWNER)).fresh, true, 'as long as nothing was promised');
  mkdirSync(first.logDirectory);
  mkdirSync(first.treeDirectory);
  await first.markUsed();
  const again = await openDataDirectory(path, OWNER);
  t.equal(again.fresh, false);
  await again.markUsed();

  await t.rejects(openDataDirectory(path, { ...OWNER, cluster: 'other' }), {
    code: 'DATA_DIR_FOREIGN',
    message: /belongs to cluster 'moot', not 'other'/,
  });
  await t.rejects(openDataDirectory(path, { ...OWNER, id: 'n2' }), {
    code: 'DATA_DIR_FOREIGN',
    message: /belongs to node 'n1', not 'n2'/,
  });
  rmSync(again.logDirectory, { recursive: true });
  await t.rejects(openDataDirectory(path, OWNER), {
    code: 'DATA_CORRUPT',
    message: /log is missing/,
  });
  mkdirSync(again.logDirectory);
  rmSync(join(path, 'mootfs.json'));
  await t.rejects(openDataDirectory(path, OWNER), {
    code: 'DATA_CORRUPT',
    message: /mootfs.json is missing/,
  });
});

t.test('what is not ours is refused and left alone', async (t) => {
  const path = temporaryDirectory(t);
  writeFileSync(join(path, 'letter.txt'), 'dear');
  await t.rejects(openDataDirectory(path, OWNER), { code: 'DATA_DIR_FOREIGN' });
  await t.rejects(openDataDirectory(join(path, 'letter.txt'), OWNER), {
    code: 'DISK_FAILED',
    message: /is not a directory/,
  });
});

t.test('an older format is taken over', async (t) => {
  const path = temporaryDirectory(t);
  const description = { format: 1, ...OWNER, created: '2026-01-01', used: true };
  writeFileSync(join(path, 'mootfs.json'), JSON.stringify(description));
  mkdirSync(join(path, 'log'));
  mkdirSync(join(path, 'tree'));
  t.equal((await openDataDirectory(path, OWNER)).fresh, false);
  const written: unknown = JSON.parse(readFileSync(join(path, 'mootfs.json'), 'utf8'));
  t.same(written, { ...description, format: 3 });
});

t.test('a description that cannot be read', async (t) => {
  const whole = { format: 1, ...OWNER, created: '2026-01-01', used: false };
  const cases: [string, string][] = [
    ['{"format": 1', 'DATA_CORRUPT'],
    ['null', 'DATA_CORRUPT'],
    ['{}', 'DATA_CORRUPT'],
    [JSON.stringify({ ...whole, cluster: 5 }), 'DATA_CORRUPT'],
    [JSON.stringify({ ...whole, used: undefined }), 'DATA_CORRUPT'],
    [JSON.stringify({ format: 4 }), 'DATA_DIR_FOREIGN'],
  ];
  for (const [text, code] of cases) {
    const path = temporaryDirectory(t);
    writeFileSync(join(path, 'mootfs.json'), text);
    await t.rejects(openDataDirectory(path, OWNER), { code }, text);
  }
});

t.test('an interrupted first start and an ext4 root are no obstacle', async (t) => {
  const path = temporaryDirectory(t);
  mkdirSync(join(path, 'lost+found'));
  writeFileSync(join(path, 'mootfs.json.new'), '{');
  t.equal((await openDataDirectory(path, OWNER)).fresh, true);
  mkdirSync(join(path, 'log'));
  t.equal((await openDataDirectory(path, OWNER)).fresh, true);
});

t.test('a new directory is its owner’s alone, however it is named', async (t) => {
  const before = process.cwd();
  const path = temporaryDirectory(t);
  process.chdir(path);
  t.teardown(() => process.chdir(before));
  for (const name of ['d', './a/b', `${path}/x/`, `${path}//w`]) {
    await openDataDirectory(name, OWNER);
    t.equal(statSync(name).mode & 0o777, 0o700, name);
  }
  t.not(statSync('a').mode & 0o777, 0o700, 'what lies above is as usual');
});
