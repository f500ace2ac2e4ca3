import { readFileSync } from 'node:fs';
import { textOfBytes } from '../base/byte-text.js';
import { MootError } from '../base/errors.js';

/** What Node makes of bytes that are not UTF-8. */
const REPLACEMENT = '\ufffd';

/**
 * The arguments with every byte that they were given (see textOfBytes). Node takes all bytes that are not
 * UTF-8 for the same character, so that two names become one; the kernel knows better (proc(5), cmdline).
 */
export function exactArguments(
  args: readonly string[],
  commandLine: () => Uint8Array = () => readFileSync('/proc/self/cmdline'),
): readonly string[] {
  if (!args.some((arg) => arg.includes(REPLACEMENT))) return args;
  const given = lastArguments(commandLine, args.length);
  return args.map((arg, i) => {
    const bytes = given[i];
    if (bytes !== undefined && bytes.toString() === arg) return textOfBytes(bytes);
    throw new MootError(
      'BAD_ARGUMENT',
      `'${arg}' may be another name than was meant, and /proc does not tell: use a mount for names that are not UTF-8`,
    );
  });
}

function lastArguments(commandLine: () => Uint8Array, count: number): readonly Buffer[] {
  try {
    const all = Buffer.from(commandLine());
    // Each ends with a zero byte.
    const texts = all.toString('latin1').split('\0').slice(0, -1);
    return texts.slice(-count).map((text) => Buffer.from(text, 'latin1'));
  } catch {
    return [];
  }
}
