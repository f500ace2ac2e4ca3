import t from 'tap';
import { DataFiles } from '../../src/storage/data-files.js';
import { temporaryDirectory } from '../support/directories.js';

/** More than are kept open. */
const FILES = 100;

t.test('a file is not closed before it is read, however many are opened meanwhile', async (t) => {
  const files = new DataFiles(temporaryDirectory(t), 1);
  await files.open({ readOnly: false });
  const places = [];
  for (let i = 0; i < FILES; i++) {
    places.push(...(await files.append([Buffer.from(`the data of file ${i}`)])));
  }
  t.equal(new Set(places.map(({ file }) => file)).size, FILES);
  const read = await Promise.all(places.map((place) => files.read([place])));
  t.strictSame(
    read.map(([data]) => data?.toString()),
    places.map((_, i) => `the data of file ${i}`),
  );
  await files.close();
});
