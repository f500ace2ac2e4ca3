/**
 * Numbers as characters of a binary key, a character a byte, big end first: keys then sort as the
 * numbers do. All of what is read must lie within the key.
 */

/** A whole number below 2^53 as seven characters. */
export function number56(value: number): string {
  const high = Math.floor(value / 0x1_0000_0000);
  return (
    String.fromCharCode((high >>> 16) & 255, (high >>> 8) & 255, high & 255) + number32(value >>> 0)
  );
}

/** A whole number below 2^32 as four characters. */
export function number32(value: number): string {
  return String.fromCharCode(
    (value >>> 24) & 255,
    (value >>> 16) & 255,
    (value >>> 8) & 255,
    value & 255,
  );
}

export function parse56(key: string, at: number): number {
  return parse(key, at, 7);
}

export function parse32(key: string, at: number): number {
  return parse(key, at, 4);
}

function parse(key: string, at: number, length: number): number {
  let value = 0;
  for (let i = at; i < at + length; i++) value = value * 256 + key.charCodeAt(i);
  return value;
}
