import t from 'tap';
import { chunkKey, chunkOf, chunkRange, cookieKey, cookieOf } from '../../src/filesystem/keys.js';

const NUMBERS = [
  0,
  1,
  2 ** 21 + 1,
  2 ** 23 + 1,
  2 ** 24 - 1,
  2 ** 32 - 1,
  2 ** 45 + 7,
  2 ** 53 - 2,
];

t.test('a chunk is told from its key, whatever its content is', async (t) => {
  for (const content of NUMBERS) {
    for (const chunk of [0, 1, 255, 256, 2 ** 29 - 1, 2 ** 31, 2 ** 31 + 1, 2 ** 32 - 1]) {
      const key = chunkKey(content, chunk);
      t.equal(key.length, 12);
      t.equal(chunkOf(key), chunk, `chunk ${chunk} of content ${content}`);
      t.ok(chunkRange(content).from <= key && key < chunkRange(content).to);
    }
  }
});

t.test('a cookie is told from its key, whatever its directory is', async (t) => {
  for (const parent of NUMBERS) {
    for (const cookie of NUMBERS) t.equal(cookieOf(cookieKey(parent, cookie)), cookie);
  }
});
