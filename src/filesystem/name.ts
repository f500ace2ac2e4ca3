import { NAME_BYTES_MAX } from './records.js';
import { refuse } from './refusal.js';

const DOT = 0x2e;
const SLASH = 0x2f;

/**
 * The name of a directory entry as a latin1 string, one character a byte. ENAMETOOLONG above 255
 * bytes; EINVAL for what no entry can be called: nothing, '.', '..', or with '/' or NUL in it.
 */
export function entryName(name: Uint8Array): string {
  if (name.length > NAME_BYTES_MAX) refuse('ENAMETOOLONG');
  if (!mayBeEntry(name)) refuse('EINVAL');
  return latin1(name);
}

/** A directory may have an entry of this name. */
export function mayBeEntry(name: Uint8Array): boolean {
  if (name.length === 0 || name.length > NAME_BYTES_MAX || isDot(name) || isDotDot(name)) {
    return false;
  }
  return !name.includes(SLASH) && !name.includes(0);
}

export function isDot(name: Uint8Array): boolean {
  return name.length === 1 && name[0] === DOT;
}

export function isDotDot(name: Uint8Array): boolean {
  return name.length === 2 && name[0] === DOT && name[1] === DOT;
}

/** Names are short, so that they fit in the arguments of one call. */
export function latin1(bytes: Uint8Array): string {
  return String.fromCharCode.apply(null, bytes as unknown as number[]); // array-like is what apply takes
}

export function bytesOfLatin1(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}
