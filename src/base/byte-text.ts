/**
 * Names are bytes, and most are UTF-8. As text they keep every byte: one that belongs to no UTF-8 is a lone
 * surrogate, U+DC00 and the byte, which no UTF-8 decodes to (as Python's surrogateescape, PEP 383).
 */
const ESCAPE = 0xdc00;
const STRICT = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const ENCODER = new TextEncoder();

/** bytesOfText undoes it, whatever the bytes are. */
export function textOfBytes(bytes: Uint8Array): string {
  const whole = strictText(bytes);
  if (whole !== null) return whole;
  let text = '';
  for (let at = 0; at < bytes.length; ) {
    const length = encodedLength(bytes[at] ?? 0);
    const character = strictText(bytes.subarray(at, at + length));
    text += character ?? String.fromCharCode(ESCAPE + (bytes[at] ?? 0));
    at += character === null ? 1 : length;
  }
  return text;
}

export function bytesOfText(text: string): Uint8Array {
  if (!/\p{Surrogate}/u.test(text)) return ENCODER.encode(text);
  return Uint8Array.from(Array.from(text).flatMap(bytesOfCharacter));
}

function bytesOfCharacter(character: string): number[] {
  const byte = (character.codePointAt(0) ?? 0) - ESCAPE;
  return byte >= 0x80 && byte <= 0xff ? [byte] : [...ENCODER.encode(character)];
}

export function isUtf8(bytes: Uint8Array): boolean {
  return strictText(bytes) !== null;
}

function strictText(bytes: Uint8Array): string | null {
  try {
    return STRICT.decode(bytes);
  } catch {
    return null;
  }
}

/** How many bytes a character of UTF-8 has that begins with this one. */
function encodedLength(first: number): number {
  if (first < 0xc0) return 1;
  if (first < 0xe0) return 2;
  return first < 0xf0 ? 3 : 4;
}

/** What a terminal would obey, or show as nothing or as a space. */
const UNSEEN = '\\p{C}|\\p{Default_Ignorable_Code_Point}|(?! )\\p{Z}';
/** Spaces that nobody sees, or that would make one name look like a link and its target. */
const MISLEADING_SPACE = '^ | $| (?=-> )';
const ESCAPED = new RegExp(`\\\\|${UNSEEN}|${MISLEADING_SPACE}`, 'gu');
/** The line breaks between the fields stay. */
const ESCAPED_IN_JSON = new RegExp(`(?!\n)(?:${UNSEEN})`, 'gu');

/**
 * A name for people, on one line: printable UTF-8 as it is, a backslash as two, all other bytes as \xNN. What
 * differs is written differently.
 */
export function printable(bytes: Uint8Array): string {
  return textOfBytes(bytes).replace(ESCAPED, (character) =>
    character === '\\'
      ? '\\\\'
      : Array.from(bytesOfText(character), (byte) => `\\x${hex(byte, 2)}`).join(''),
  );
}

/** JSON text that a terminal may show: the same value, with escapes for what would not be seen. */
export function printableJson(json: string): string {
  return json.replace(ESCAPED_IN_JSON, (character) =>
    character
      .split('')
      .map((unit) => `\\u${hex(unit.charCodeAt(0), 4)}`)
      .join(''),
  );
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}
