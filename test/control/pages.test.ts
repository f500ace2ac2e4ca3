import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import t from 'tap';
import { loadPages } from '../../src/control/pages.js';

/** What a phone on a slow network loads without a second thought. */
const COMPRESSED_BYTES_MAX = 200_000;

t.test('the page is small when it travels, and is whole', async (t) => {
  const pages = await loadPages();
  const get = (path: string, encoding: string) => {
    const request = new IncomingMessage(new Socket());
    request.headers['accept-encoding'] = encoding;
    return pages[path]?.(request);
  };
  t.strictSame(Object.keys(pages), ['/', '/page.js', '/page.css', '/icon.svg']);
  let bytes = 0;
  for (const path of Object.keys(pages)) {
    const [plain, packed] = [get(path, ''), get(path, 'br, gzip')];
    t.notOk(plain?.headers?.['content-encoding']);
    t.equal(packed?.headers?.['content-encoding'], 'gzip');
    t.ok((plain?.body.length ?? 0) > 0, `${path} is there`);
    bytes += packed?.body.length ?? 0;
  }
  t.ok(bytes < COMPRESSED_BYTES_MAX, `${bytes} bytes`);
});
