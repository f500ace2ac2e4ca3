import { type FilesystemErrorCode, isFilesystemErrorCode, MootError } from '../base/errors.js';

/**
 * Reads a decoded msgpack array field by field and refuses, with the field's name, whatever is not
 * of the expected type and range. Fields behind the last one read are a newer version's and ignored.
 */
export class Reader {
  private readonly fields: readonly unknown[];
  private at = 0;

  constructor(
    value: unknown,
    private readonly what: string,
  ) {
    if (!Array.isArray(value)) throw bad(what, 'is not an array');
    this.fields = value;
  }

  /** Whether there is another field; for fields that older versions do not send. */
  get more(): boolean {
    return this.at < this.fields.length;
  }

  any(field: string): unknown {
    if (this.at >= this.fields.length) throw bad(`${this.what}.${field}`, 'is missing');
    return this.fields[this.at++];
  }

  /** A whole number in [0, 2^53). As in the other numbers, adding 0 makes a minus zero a zero. */
  uint(field: string): number {
    const value = this.any(field);
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value + 0;
    throw bad(`${this.what}.${field}`, 'is not a whole number from 0 to 2^53 - 1');
  }

  uint32(field: string): number {
    const value = this.any(field);
    if (typeof value === 'number' && value >>> 0 === value) return value + 0;
    throw bad(`${this.what}.${field}`, 'is not a whole number from 0 to 2^32 - 1');
  }

  /** A whole number in (-2^53, 2^53). */
  int(field: string): number {
    const value = this.any(field);
    if (typeof value === 'number' && Number.isSafeInteger(value)) return value + 0;
    throw bad(`${this.what}.${field}`, 'is not a whole number');
  }

  bool(field: string): boolean {
    const value = this.any(field);
    if (typeof value === 'boolean') return value;
    throw bad(`${this.what}.${field}`, 'is not true or false');
  }

  /** A view into the frame that was decoded; who keeps it beyond the frame's life copies it. */
  bytes(field: string, bytesMax = Number.POSITIVE_INFINITY): Uint8Array {
    const value = this.any(field);
    if (!(value instanceof Uint8Array)) throw bad(`${this.what}.${field}`, 'is not bytes');
    if (value.length > bytesMax) {
      throw bad(`${this.what}.${field}`, `has ${value.length} bytes, more than ${bytesMax}`);
    }
    return value;
  }

  string(field: string, charsMax: number): string {
    const value = this.any(field);
    if (typeof value !== 'string') throw bad(`${this.what}.${field}`, 'is not a string');
    if (value.length > charsMax) {
      throw bad(`${this.what}.${field}`, `has ${value.length} characters, more than ${charsMax}`);
    }
    return value;
  }

  nullableString(field: string, charsMax: number): string | null {
    if (this.fields[this.at] !== null) return this.string(field, charsMax);
    this.at++;
    return null;
  }

  /** null, or what `read`, one of this reader's own methods, makes of the field. */
  nullable<T>(field: string, read: (this: Reader, field: string) => T): T | null {
    if (this.fields[this.at] !== null) return read.call(this, field);
    this.at++;
    return null;
  }

  array(field: string, lengthMax: number): readonly unknown[] {
    const value = this.any(field);
    if (!Array.isArray(value)) throw bad(`${this.what}.${field}`, 'is not an array');
    if (value.length > lengthMax) {
      throw bad(`${this.what}.${field}`, `has ${value.length} items, more than ${lengthMax}`);
    }
    return value;
  }

  filesystemErrorCode(field: string): FilesystemErrorCode {
    const value = this.string(field, 32);
    if (isFilesystemErrorCode(value)) return value;
    throw bad(`${this.what}.${field}`, `'${value}' is not a known error`);
  }
}

function bad(what: string, why: string): MootError {
  return new MootError('BAD_MESSAGE', `${what} ${why}`);
}
