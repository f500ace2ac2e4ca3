import { isDeepStrictEqual } from 'node:util';
import t from 'tap';
import { isMootError } from '../../src/base/errors.js';
import { NESTING_MAX, pack, unpack } from '../../src/codec/msgpack.js';

function refuses(name: string, bytes: Uint8Array): void {
  try {
    unpack(bytes);
    t.fail(`${name}: was accepted`);
  } catch (error) {
    t.ok(isMootError(error, 'BAD_MESSAGE'), `${name}: ${error}`);
  }
}

function nested(depth: number): Uint8Array {
  const bytes = new Uint8Array(depth + 1).fill(0x91);
  bytes[depth] = 0xc0;
  return bytes;
}

/** Byte strings come out as Buffers when a Buffer went in; only their bytes matter. */
function normal(value: unknown): unknown {
  if (value instanceof Uint8Array) return Uint8Array.from(value);
  return Array.isArray(value) ? value.map(normal) : value;
}

t.test('plain values survive', async (t) => {
  const bytes = Uint8Array.from({ length: 300 }, (_, i) => i & 255);
  const long = 'x'.repeat(70_000);
  const value = [
    null,
    true,
    false,
    [0, 1, 127, 128, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER],
    [-1, -32, -33, -128, -129, -32_768, -32_769, -(2 ** 31), Number.MIN_SAFE_INTEGER],
    [1.5, -0.25],
    ['', 'a', 'ä€😀', long, '\u0000ÿ'],
    [new Uint8Array(0), bytes, new Uint8Array(70_000)],
    Array.from({ length: 70_000 }, (_, i) => i),
    [[], [[]], { a: 1, b: [2] }],
  ];
  t.ok(isDeepStrictEqual(normal(unpack(pack(value))), value));
});

t.test('64-bit integers of other encoders are numbers', async (t) => {
  t.equal(unpack(Uint8Array.of(0xcf, 0, 0, 0, 1, 0, 0, 0, 2)), 2 ** 32 + 2);
  t.equal(unpack(Uint8Array.of(0xd3, 255, 255, 255, 255, 255, 255, 255, 255)), -1);
});

t.test('what was packed stays as it is when more is packed', async (t) => {
  const first = pack(['first', 1]);
  for (let i = 0; i < 10_000; i++) pack(['other', i]);
  t.same(unpack(first), ['first', 1]);
});

t.test('what is not one plain value is refused', async () => {
  refuses('nothing', new Uint8Array(0));
  refuses('two values', Uint8Array.of(1, 2));
  refuses('a cut string', Uint8Array.of(0xa5, 65));
  refuses('a cut number', Uint8Array.of(0xcd, 1));
  refuses('a cut array', Uint8Array.of(0x92, 1));
  refuses('an array of 2^32 - 1', Uint8Array.of(0xdd, 255, 255, 255, 255, 1));
  refuses('a map of 2^32 - 1', Uint8Array.of(0xdf, 255, 255, 255, 255, 1));
  refuses('bytes of 2^32 - 1', Uint8Array.of(0xc6, 255, 255, 255, 255, 1));
  refuses('0xc1', Uint8Array.of(0xc1));
  refuses('undefined', pack(undefined));
  refuses('a date', pack(new Date(0)));
  refuses('an error', pack(new Error('no')));
  refuses('a set', Uint8Array.of(0xd4, 0x73, 0, 0x91, 1));
  refuses('a typed array', Uint8Array.of(0xc7, 3, 0x74, 1, 2, 3));
  refuses('a record definition', Uint8Array.of(0xd4, 0x72, 0x40, 0x91, 0xa1, 0x61, 1));
  refuses('a map with an array as key', Uint8Array.of(0x81, 0x91, 1, 1));
});

t.test('depth is bounded', async (t) => {
  t.doesNotThrow(() => unpack(nested(NESTING_MAX)));
  refuses('one level too deep', nested(NESTING_MAX + 1));
  refuses('a million levels', nested(1_000_000));
});

t.test('a cut at any byte is refused', async () => {
  const whole = pack([1, 'two', [3, null], Uint8Array.of(4, 5), 2 ** 40, { six: 6 }]);
  for (let i = 0; i < whole.length; i++) refuses(`cut at ${i}`, whole.subarray(0, i));
});
