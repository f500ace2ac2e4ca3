import { Packr } from 'msgpackr';
import { MootError } from '../base/errors.js';

/**
 * msgpack, and the only place that names the library. What is written and read is a strict part of
 * the format: null, booleans, numbers, strings, bytes and arrays. Maps and extensions are refused:
 * a decoder of extensions is a door to code that nobody here needs.
 */

/** Arrays within arrays. The deepest message (a listing with inodes) has six. */
const DEPTH_MAX = 16;

/** Values in one frame or record, so that eight megabytes of one-byte values cannot become a hundred of objects. */
const VALUES_MAX = 1_048_576;

/** Small messages are written one behind the other into pieces of memory of this size. */
const SLAB_BYTES = 16_384;

/** A message with more payload than this gets memory of its own, so that its bytes are copied once. */
const OWN_MEMORY_BYTES = 4_096;

/** More than all that surrounds the payload of one message: names and numbers. */
const ENVELOPE_BYTES = 16_384;

const packr = new Packr({ useRecords: false, int64AsType: 'number' });
freshSlab();

/**
 * The bytes of `value`. They stay as they are, but small ones share memory with their neighbours:
 * who keeps them for long uses `packOwned`. `payloadBytes`: about how many bytes of data are in it.
 */
export function pack(value: unknown, payloadBytes = 0): Uint8Array {
  if (payloadBytes > OWN_MEMORY_BYTES) {
    packr.useBuffer(Buffer.allocUnsafeSlow(payloadBytes + ENVELOPE_BYTES));
  }
  const packed = packr.pack(value);
  if (packed.buffer.byteLength > SLAB_BYTES) freshSlab();
  return plain(packed);
}

/** As `pack`, in memory that holds nothing else (and at most a little slack). */
export function packOwned(value: unknown, payloadBytes = 0): Uint8Array {
  const packed = pack(value, payloadBytes);
  return payloadBytes > OWN_MEMORY_BYTES ? packed : packed.slice();
}

/** Bytes within the result are views of `bytes`. Throws BAD_MESSAGE. */
export function unpack(bytes: Uint8Array): unknown {
  checkStructure(bytes);
  try {
    return packr.unpack(plain(bytes));
  } catch (cause) {
    throw new MootError('BAD_MESSAGE', 'not a msgpack value', { cause });
  }
}

/** The library goes on behind what it wrote last; what lies there is kept alive by whoever kept a part of it. */
function freshSlab(): void {
  packr.useBuffer(Buffer.allocUnsafeSlow(SLAB_BYTES));
}

/** Not a Buffer, whose `slice` does not copy. */
function plain(bytes: Uint8Array): Uint8Array {
  return bytes.constructor === Uint8Array
    ? bytes
    : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** How many values are still to come at each depth; the outermost is one. */
const left = new Uint32Array(DEPTH_MAX + 1);

/**
 * Walks over the values without making any: after this the decoder allocates no more than is
 * really there, and meets nothing that it could stumble over.
 * (https://github.com/msgpack/msgpack/blob/master/spec.md)
 */
function checkStructure(bytes: Uint8Array): void {
  const end = bytes.length;
  let at = 0;
  let depth = 0;
  let values = 0;
  left[0] = 1;
  for (;;) {
    while (left[depth] === 0) {
      if (depth === 0) {
        if (at !== end) throw bad('has bytes behind its end');
        return;
      }
      depth--;
    }
    left[depth] = (left[depth] as number) - 1;
    if (++values > VALUES_MAX) throw bad(`has more than ${VALUES_MAX} values`);
    if (at >= end) throw bad('ends early');
    const token = bytes[at++] as number;
    if (token < 0x80 || token >= 0xe0) continue;
    let items = -1;
    if (token >= 0xa0 && token < 0xc0) at += token & 0x1f;
    else if (token >= 0x90 && token < 0xa0) items = token & 0x0f;
    else if (token === 0xdc || token === 0xdd) {
      const width = token === 0xdc ? 2 : 4;
      if (at + width > end) throw bad('ends early');
      items = bigEndian(bytes, at, width);
      at += width;
    } else {
      const fixed = FIXED_BYTES[token - 0xc0] as number;
      const width = LENGTH_BYTES[token - 0xc0] as number;
      if (fixed < 0)
        throw bad(`holds a value of a kind that is not used here (0x${token.toString(16)})`);
      if (at + width > end) throw bad('ends early');
      at += fixed + width + bigEndian(bytes, at, width);
    }
    if (at > end) throw bad('ends early');
    if (items >= 0) {
      if (depth === DEPTH_MAX) throw bad(`is nested deeper than ${DEPTH_MAX}`);
      if (items > end - at) throw bad('ends early');
      left[++depth] = items;
    }
  }
}

/** For the tokens 0xc0 to 0xdf: bytes of the value itself; -1 for what is refused. Arrays are apart. */
// biome-ignore format: a table of eight tokens a line
const FIXED_BYTES = [
   0, -1,  0,  0,  0,  0,  0, -1, // nil, -, false, true, bin 8, 16, 32, ext
  -1, -1,  4,  8,  1,  2,  4,  8, // ext, ext, float 32, 64, uint 8, 16, 32, 64
   1,  2,  4,  8, -1, -1, -1, -1, // int 8, 16, 32, 64, fixext
  -1,  0,  0,  0, -1, -1, -1, -1, // fixext, str 8, 16, 32, array, array, map, map
];
/** … and bytes of the length that stands before it. */
// biome-ignore format: a table of eight tokens a line
const LENGTH_BYTES = [
  0, 0, 0, 0, 1, 2, 4, 0,
  0, 0, 0, 0, 0, 0, 0, 0,
  0, 0, 0, 0, 0, 0, 0, 0,
  0, 1, 2, 4, 0, 0, 0, 0,
];

function bigEndian(bytes: Uint8Array, at: number, width: number): number {
  let value = 0;
  for (let i = at; i < at + width; i++) value = value * 256 + (bytes[i] as number);
  return value;
}

function bad(why: string): MootError {
  return new MootError('BAD_MESSAGE', `the message ${why}`);
}
