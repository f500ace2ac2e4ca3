import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { isMootError } from '../../src/base/errors.js';
import {
  decodeClientRequest,
  decodeClientResponse,
  encodeClientRequest,
  encodeClientResponse,
} from '../../src/codec/client-wire.js';
import { decodeLogCommand, encodeLogCommand } from '../../src/codec/commands.js';
import { decodeGreeting, encodeGreeting, PROTOCOL_VERSION } from '../../src/codec/greeting.js';
import { pack, unpack } from '../../src/codec/msgpack.js';
import type { PeerMessage } from '../../src/codec/peer-messages.js';
import { decodePeerMessage, encodePeerMessage } from '../../src/codec/peer-wire.js';
import * as arbitrary from './arbitraries.js';

/** One of the wire's languages: what it says, how it is written and how it is read. */
interface Language<T> {
  readonly what: string;
  readonly values: fc.Arbitrary<T>;
  readonly encode: (value: T) => Uint8Array;
  readonly decode: (frame: Uint8Array, value?: T) => T;
}

function language<T>(l: Language<T>): Language<unknown> {
  // Values only ever go from a language's own arbitrary to its own functions.
  return l as unknown as Language<unknown>;
}

const LANGUAGES = [
  language({
    what: 'log command',
    values: arbitrary.logCommand,
    encode: encodeLogCommand,
    decode: decodeLogCommand,
  }),
  language({
    what: 'client request',
    values: arbitrary.clientRequest,
    encode: encodeClientRequest,
    decode: decodeClientRequest,
  }),
  language({
    what: 'client response',
    values: arbitrary.clientResponse,
    encode: encodeClientResponse,
    decode: decodeClientResponse,
  }),
  language<PeerMessage>({
    what: 'peer message',
    values: arbitrary.peerMessage,
    encode: encodePeerMessage,
    decode: (frame, m) => decodePeerMessage(frame, m?.from ?? 'a', m?.to ?? 'b'),
  }),
  language({
    what: 'greeting',
    values: arbitrary.greeting,
    encode: encodeGreeting,
    decode: decodeGreeting,
  }),
];

/** Decodes, or is refused with BAD_MESSAGE and a sentence; nothing else may happen. */
function decodesOrRefuses(decode: (frame: Uint8Array) => unknown, frame: Uint8Array): void {
  try {
    decode(frame);
  } catch (error) {
    if (!isMootError(error, 'BAD_MESSAGE') || error.message.length === 0) throw error;
  }
}

/** Generated objects may have no prototype; a clone has one. */
function same(got: unknown, value: unknown): void {
  if (!isDeepStrictEqual(got, structuredClone(value))) throw new Error('came back changed');
}

for (const { what, values, encode, decode } of LANGUAGES) {
  t.test(`${what}: comes back as it was`, async () => {
    fc.assert(
      fc.property(values, (value) => {
        same(decode(encode(value), value), value);
      }),
      { numRuns: 200 },
    );
  });

  t.test(`${what}: frames stay as they are while others are written`, async () => {
    fc.assert(
      fc.property(fc.array(values, { maxLength: 10 }), (list) => {
        const frames = list.map((value) => encode(value));
        frames.forEach((frame, i) => {
          same(decode(frame, list[i]), list[i]);
        });
      }),
      { numRuns: 30 },
    );
  });

  t.test(`${what}: a truncated frame is refused`, async (t) => {
    fc.assert(
      fc.property(values, fc.nat(), (value, cut) => {
        const frame = encode(value);
        t.throws(() => decode(frame.subarray(0, cut % frame.length)), { code: 'BAD_MESSAGE' });
      }),
    );
  });

  t.test(`${what}: damage is refused or decodes to something else`, async () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(values, damage, (value, places) => {
        const frame = encode(value).slice();
        for (const [at, byte] of places) frame[at % Math.min(frame.length, 200)] = byte;
        decodesOrRefuses(decode, frame);
      }),
      { numRuns: 500 },
    );
  });

  t.test(`${what}: fields of any other type and number are refused by name`, async () => {
    fc.assert(
      fc.property(values, fc.nat(), fc.anything({ maxDepth: 2 }), (value, at, wrong) => {
        const fields = decodeAnything(encode(value));
        fields[at % fields.length] = wrong;
        let frame: Uint8Array;
        try {
          frame = pack(fields);
        } catch {
          return; // not a value that msgpack can write
        }
        decodesOrRefuses(decode, frame);
      }),
      { numRuns: 500 },
    );
  });

  t.test(`${what}: random bytes are refused`, async () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (frame) => decodesOrRefuses(decode, frame)),
      { numRuns: 3_000 },
    );
  });
}

/** The fields of a frame, one level deep, so that a test can put something else in their place. */
function decodeAnything(frame: Uint8Array): unknown[] {
  return [...(unpack(frame) as unknown[])];
}

t.test('a damaged entry is noticed by its checksum', async (t) => {
  const frame = encodePeerMessage({
    type: 'append',
    from: 'a',
    to: 'b',
    term: 3,
    prevIndex: 7,
    prevTerm: 3,
    commit: 7,
    entries: [{ index: 8, term: 3, kind: 'command', data: new Uint8Array(1000).fill(5) }],
  }).slice();
  frame[frame.length - 500] = 6;
  t.throws(() => decodePeerMessage(frame, 'a', 'b'), {
    code: 'BAD_MESSAGE',
    message: 'message append.checksum does not fit its entries',
  });
});

t.test('entries out of order are refused', async (t) => {
  const frame = pack([5, 1, 7, 1, 7, 0, [[9, 1, 0, new Uint8Array(0)]]]);
  t.throws(() => decodePeerMessage(frame, 'a', 'b'), { code: 'BAD_MESSAGE', message: /order/ });
});

t.test('refusals name the field', async (t) => {
  const cases: readonly (readonly [unknown, (frame: Uint8Array) => unknown, RegExp])[] = [
    [[99, 1], decodeClientRequest, /^request\.type 99 is unknown$/],
    [['x', 1], decodeClientRequest, /^request\.type \(string\) is unknown$/],
    [7, decodeClientRequest, /^request is not an array$/],
    [[4], decodeClientRequest, /^request status\.id is missing$/],
    [[4, -1], decodeClientRequest, /^request status\.id is not a whole number/],
    [[4, 1.5], decodeClientRequest, /^request status\.id is not a whole number/],
    [[2, 1, 9, 0, [7]], decodeClientRequest, /level 9 is unknown/],
    [[2, 1, 0, 0, [4, 1, 0, 2 ** 21]], decodeClientRequest, /^query read\.size 2097152 is more/],
    [[1, 1, 1, 1, 0, [4, 1, 1]], decodeClientRequest, /expire-session/],
    [
      [1, 1, 1, 1, 0, [13, 1, 0, new Uint8Array(1_048_577), 0]],
      decodeClientRequest,
      /^command write\.data has 1048577 bytes, more than 1048576$/,
    ],
    [
      [1, 1, 1, 1, 0, [9, 1, new Uint8Array(4097)]],
      decodeClientRequest,
      /^command unlink\.name has 4097 bytes, more than 4096$/,
    ],
    [[2, 0, 0, 0, 0, 0, [5]], decodeLogCommand, /^log entry\.version 2 is unknown$/],
    [[1, 0, 0, 0, 0, 1e9, [5]], decodeLogCommand, /nsec/],
    [['mootfs', 1e6, 0, 'c', [2, 'x']], decodeGreeting, /^greeting\.version 1000000 is unknown/],
    [
      ['mootfs', PROTOCOL_VERSION, 1, 'c', [2, 'x']],
      decodeGreeting,
      /^greeting\.group 1 is unknown/,
    ],
    [['mongod', 1, 0, 'c', [2, 'x']], decodeGreeting, /^greeting\.magic/],
    [
      ['mootfs', PROTOCOL_VERSION, 0, 'c', [1, 'n'.repeat(65), 'n2', '127.0.0.1:1'], 0],
      decodeGreeting,
      /an id is none/,
    ],
    [
      ['mootfs', PROTOCOL_VERSION, 0, 'c', [9, 'x']],
      decodeGreeting,
      /^greeting\.role\.type 9 is unknown/,
    ],
    [[12, 1, 1, -2, 0], (f) => decodePeerMessage(f, 'a', 'b'), /sequence -2 is below -1/],
  ];
  for (const [value, decode, message] of cases) {
    t.throws(() => decode(pack(value)), { code: 'BAD_MESSAGE', message });
  }
});

t.test('fields of a newer version behind the known ones are ignored', async (t) => {
  t.strictSame(decodeClientRequest(pack([4, 1, 'new', [1]])), { type: 'status', id: 1 });
});

t.test('what enters the log holds on to no memory but its own', async (t) => {
  for (const length of [0, 100, 4_096, 5_000, 1_048_576]) {
    const data = encodeLogCommand({
      session: 1,
      sequence: 1,
      acknowledged: 0,
      time: { sec: 0, nsec: 0 },
      command: { type: 'write', ino: 2, offset: 0, data: new Uint8Array(length) },
    });
    t.ok(data.buffer.byteLength - length < 20_000, `${length}: ${data.buffer.byteLength}`);
    t.equal(data.constructor, Uint8Array);
  }
});

t.test('data is a view of its frame', async (t) => {
  const data = new Uint8Array(100_000).fill(3);
  const frame = encodeClientRequest({
    type: 'submit',
    id: 1,
    session: 1,
    sequence: 1,
    acknowledged: 0,
    command: { type: 'write', ino: 2, offset: 0, data },
  });
  const request = decodeClientRequest(frame);
  t.ok(request.type === 'submit' && request.command.type === 'write');
  if (request.type === 'submit' && request.command.type === 'write') {
    t.equal(request.command.data.buffer, frame.buffer);
    t.equal(request.command.data.constructor, Uint8Array);
  }
});
