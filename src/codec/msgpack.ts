import { Packr } from 'msgpackr';
import { MootError } from '../base/errors.js';

/**
 * The plain part of MessagePack: null, booleans, numbers, strings, byte strings, arrays and maps.
 * No extension types: msgpackr would make dates, errors, regular expressions, typed arrays and
 * records of its own from them, and none of these has business in a frame or a stored record.
 */

/** Deeper than any message of ours, and far from exhausting the stack. */
export const NESTING_MAX = 64;

const packr = new Packr({ useRecords: false, int64AsType: 'number', structuredClone: false });

/** `value` may hold what this module's first comment lists; whole numbers below 2^53 stay exact. */
export function pack(value: unknown): Uint8Array {
  return packr.pack(value);
}

/**
 * Decodes exactly one value that fills `bytes`. Byte strings in it are views into `bytes`.
 * Anything malformed, cut off, too deep or of an extension type is BAD_MESSAGE.
 */
export function unpack(bytes: Uint8Array): unknown {
  const end = skipValues(bytes);
  if (end !== bytes.length) throw bad(`has ${bytes.length - end} bytes too many`);
  try {
    return packr.unpack(bytes);
  } catch (cause) {
    throw new MootError('BAD_MESSAGE', 'msgpack: cannot be decoded', { cause });
  }
}

/** Walks over one value without decoding it and returns where it ends. Formats: msgpack's spec.md. */
function skipValues(bytes: Uint8Array): number {
  const length = bytes.length;
  const view = new DataView(bytes.buffer, bytes.byteOffset, length);
  /** How many values are still to come at each depth. */
  const pending = [1];
  let at = 0;
  for (;;) {
    while (pending.at(-1) === 0) pending.pop();
    const depth = pending.length - 1;
    if (depth < 0) return at;
    pending[depth] = (pending[depth] ?? 0) - 1;
    if (at >= length) throw bad('is cut off');

    const token = view.getUint8(at++);
    let children = 0;
    if (token < 0x80 || token >= 0xe0) continue;
    else if (token < 0x90) children = 2 * (token & 0x0f);
    else if (token < 0xa0) children = token & 0x0f;
    else if (token < 0xc0) at += token & 0x1f;
    else {
      const format = FORMATS[token - 0xc0];
      if (format === undefined) throw bad(`has type 0x${token.toString(16)}, which is not allowed`);
      if (at + format.bytes > length) throw bad('is cut off');
      const size = format.counts === 'nothing' ? 0 : readUint(view, at, format.bytes);
      at += format.bytes;
      if (format.counts === 'bytes') at += size;
      else children = format.counts === 'pairs' ? 2 * size : size;
    }
    // Every child takes at least a byte, so that a small frame cannot announce a large array.
    if (at + children > length) throw bad('is cut off');
    if (children > 0) {
      if (pending.length > NESTING_MAX) throw bad(`is nested deeper than ${NESTING_MAX}`);
      pending.push(children);
    }
  }
}

interface Format {
  /** Bytes behind the token. */
  readonly bytes: number;
  /** What the number in these bytes counts. */
  readonly counts: 'nothing' | 'bytes' | 'values' | 'pairs';
}

/** Tokens 0xc0 to 0xdf; undefined: reserved, or an extension. */
const FORMATS: readonly (Format | undefined)[] = [
  { bytes: 0, counts: 'nothing' }, // nil
  undefined,
  { bytes: 0, counts: 'nothing' }, // false
  { bytes: 0, counts: 'nothing' }, // true
  { bytes: 1, counts: 'bytes' }, // bin 8, 16, 32
  { bytes: 2, counts: 'bytes' },
  { bytes: 4, counts: 'bytes' },
  undefined,
  undefined,
  undefined,
  { bytes: 4, counts: 'nothing' }, // float 32, 64
  { bytes: 8, counts: 'nothing' },
  { bytes: 1, counts: 'nothing' }, // uint 8, 16, 32, 64
  { bytes: 2, counts: 'nothing' },
  { bytes: 4, counts: 'nothing' },
  { bytes: 8, counts: 'nothing' },
  { bytes: 1, counts: 'nothing' }, // int 8, 16, 32, 64
  { bytes: 2, counts: 'nothing' },
  { bytes: 4, counts: 'nothing' },
  { bytes: 8, counts: 'nothing' },
  undefined,
  undefined,
  undefined,
  undefined,
  undefined,
  { bytes: 1, counts: 'bytes' }, // str 8, 16, 32
  { bytes: 2, counts: 'bytes' },
  { bytes: 4, counts: 'bytes' },
  { bytes: 2, counts: 'values' }, // array 16, 32
  { bytes: 4, counts: 'values' },
  { bytes: 2, counts: 'pairs' }, // map 16, 32
  { bytes: 4, counts: 'pairs' },
];

function readUint(view: DataView, at: number, bytes: number): number {
  if (bytes === 1) return view.getUint8(at);
  return bytes === 2 ? view.getUint16(at) : view.getUint32(at);
}

function bad(why: string): MootError {
  return new MootError('BAD_MESSAGE', `msgpack: ${why}`);
}
