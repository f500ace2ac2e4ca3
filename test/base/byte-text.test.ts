import t from 'tap';
import {
  bytesOfText,
  isUtf8,
  printable,
  printableJson,
  textOfBytes,
} from '../../src/base/byte-text.js';
import { randomBetween, seededRandom } from '../../src/base/random.js';

const latin1 = (text: string) => Buffer.from(text, 'latin1');

t.test('text of any bytes gives the same bytes again', async (t) => {
  for (const bytes of [
    latin1(''),
    latin1('\xff'),
    latin1('caf\xe9'),
    latin1('\xc3'),
    latin1('\xed\xb2\x80'),
    latin1('\xc0\x80'),
    latin1('\xf0\x9f\x92'),
    Buffer.from('\ufeffcafé 💾 \ufffd'),
    Buffer.concat([Buffer.from('💾'), latin1('\xff'), Buffer.from('é')]),
  ]) {
    t.equal(Buffer.from(bytesOfText(textOfBytes(bytes))).toString('hex'), bytes.toString('hex'));
  }
  t.equal(textOfBytes(Buffer.from('café 💾')), 'café 💾');
  t.ok(isUtf8(Buffer.from('café')));
  t.notOk(isUtf8(latin1('caf\xe9')));
});

t.test('random bytes, too, and no two are printed alike', async (t) => {
  const random = seededRandom(1);
  // Few different ones, so that parts of UTF-8 meet each other.
  const alphabet = [0x20, 0x2d, 0x3e, 0x5c, 0x78, 0x66, 0x80, 0xa0, 0xbf, 0xc2, 0xe2, 0xed, 0xf0];
  const seen = new Map<string, string>();
  for (let i = 0; i < 5_000; i++) {
    const length = randomBetween(random, 0, 7);
    const bytes = Buffer.from(
      Array.from({ length }, () => alphabet[randomBetween(random, 0, alphabet.length)] ?? 0),
    );
    const hex = bytes.toString('hex');
    if (Buffer.from(bytesOfText(textOfBytes(bytes))).toString('hex') !== hex) t.fail(hex);
    const text = printable(bytes);
    if ((seen.get(text) ?? hex) !== hex) t.fail(`${hex} and ${seen.get(text)}`);
    seen.set(text, hex);
  }
});

t.test('names for people', async (t) => {
  const cases: readonly (readonly [Uint8Array, string])[] = [
    [Buffer.from('plain name, café 💾'), 'plain name, café 💾'],
    [latin1('caf\xe9'), 'caf\\xe9'],
    [Buffer.from('\ufffd'), '\ufffd'],
    [Buffer.from('back\\slash'), 'back\\\\slash'],
    [Buffer.from('a\nb\x1b[31m\x7f'), 'a\\x0ab\\x1b[31m\\x7f'],
    [Buffer.from('\u009b1m'), '\\xc2\\x9b1m'],
    [Buffer.from('a\u202eb\u200bc\u00a0d'), 'a\\xe2\\x80\\xaeb\\xe2\\x80\\x8bc\\xc2\\xa0d'],
    [Buffer.from(' a '), '\\x20a\\x20'],
    [Buffer.from('a -> b'), 'a\\x20-> b'],
  ];
  for (const [bytes, text] of cases) t.equal(printable(bytes), text);
});

t.test('JSON keeps its value and shows nothing unseen', async (t) => {
  const value = { name: 'é\u009b\u202e\u{e0001}\x7f\\' };
  const json = printableJson(JSON.stringify(value, null, 2));
  t.strictSame(JSON.parse(json), value);
  t.match(json, /^[\n -~é]*$/);
});
