import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { keepMadeFor, refuseMadeForOthers } from '../../src/cli/made-for.js';
import { temporaryDirectory } from '../support/directories.js';

const THREE = { cluster: 'c', nodes: ['127.0.0.1:1', '127.0.0.1:2', '127.0.0.1:3'] };
const ONE = { cluster: 'c', nodes: ['127.0.0.1:1'] };

t.test('a directory goes on with what it was made for, and nothing else', async (t) => {
  const directory = temporaryDirectory(t);
  refuseMadeForOthers(directory, ONE);
  refuseMadeForOthers(directory, THREE);
  await keepMadeFor(directory, THREE);
  t.strictSame(readdirSync(directory), ['up.json']);
  refuseMadeForOthers(directory, THREE);
  for (const other of [ONE, { ...THREE, cluster: 'd' }]) {
    t.throws(() => refuseMadeForOthers(directory, other), {
      code: 'BAD_ARGUMENT',
      message: /was made for 3 nodes of cluster c \(.*\), not for /,
    });
  }
});

t.test('a damaged record is named', async (t) => {
  const directory = temporaryDirectory(t);
  for (const text of ['', '{"cluster":', 'null', '{"cluster":"c","nodes":[1]}']) {
    writeFileSync(join(directory, 'up.json'), text);
    t.throws(() => refuseMadeForOthers(directory, THREE), {
      code: 'DATA_CORRUPT',
      message: /up\.json cannot be read/,
    });
  }
});
