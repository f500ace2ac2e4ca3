import fc from 'fast-check';
import t from 'tap';
import { isMootError } from '../../src/base/errors.js';
import { pack, packOwned, unpack } from '../../src/codec/msgpack.js';

const value = fc.letrec((tie) => ({
  any: fc.oneof(
    { maxDepth: 6 },
    fc.constant(null),
    fc.boolean(),
    fc.integer(),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true }).map((d) => d + 0),
    fc.string({ unit: 'grapheme', maxLength: 300 }),
    fc.uint8Array({ maxLength: 300 }),
    fc.array(tie('any'), { maxLength: 40 }),
  ),
})).any;

t.test('values come back', async (t) => {
  fc.assert(
    fc.property(value, (v) => {
      t.strictSame(unpack(pack(v)), v);
      t.strictSame(unpack(packOwned(v)), v);
    }),
    { numRuns: 500 },
  );
});

t.test('any bytes decode or are refused', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      try {
        unpack(bytes);
      } catch (error) {
        if (!isMootError(error, 'BAD_MESSAGE')) throw error;
      }
    }),
    { numRuns: 20_000 },
  );
});

t.test('every value that starts with one token decodes or is refused', async (t) => {
  let decoded = 0;
  for (let token = 0; token < 256; token++) {
    for (const fill of [0, 1, 0x91, 0xff]) {
      try {
        unpack(
          Uint8Array.from([token, ...new Array<number>(300).fill(fill)]).subarray(0, 1 + fill),
        );
        decoded++;
      } catch (error) {
        t.ok(isMootError(error, 'BAD_MESSAGE'));
      }
    }
  }
  t.ok(decoded > 100);
});

t.test('maps, extensions and the rest of the format are refused', async (t) => {
  const frames: Record<string, number[]> = {
    map: [0x81, 0xa1, 0x61, 0x01],
    'map 16': [0xde, 0, 1, 0xa1, 0x61, 1],
    record: [0xd4, 0x72, 0x40, 0x91, 0xa1, 0x61, 1],
    regexp: [0xd4, 0x78, 0, 0x92, 0xa1, 0x61, 0xa0],
    error: [0xd4, 0x65, 0, 0x93, 0xa1, 0x61, 0xa0, 0xa0],
    timestamp: [0xd6, 0xff, 0, 0, 0, 0],
    undefined: [0xd4, 0, 0],
    'never used': [0xc1],
    'array that is not there': [0xdd, 0xff, 0xff, 0xff, 0xff],
    'bytes that are not there': [0xc6, 0xff, 0xff, 0xff, 0xff],
    'string that is not there': [0xdb, 0xff, 0xff, 0xff, 0xff, 0x61],
    'two values': [1, 2],
    nothing: [],
  };
  for (const [name, frame] of Object.entries(frames)) {
    t.throws(() => unpack(Uint8Array.from(frame)), { code: 'BAD_MESSAGE' }, name);
  }
});

t.test('deep nesting is refused at once', async (t) => {
  const deep = new Uint8Array(8_000_000).fill(0x91);
  t.throws(() => unpack(deep), { code: 'BAD_MESSAGE', message: /deeper/ });
});

t.test('a bomb of small values is refused before it is unpacked', async (t) => {
  const bomb = new Uint8Array(5 + 4_000_000).fill(0x90);
  bomb.set([0xdd, 0, 0x3d, 0x09, 0x00]);
  t.throws(() => unpack(bomb), { code: 'BAD_MESSAGE', message: /values/ });
});
