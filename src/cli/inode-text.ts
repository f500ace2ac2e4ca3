import type { Timespec } from '../base/clock.js';
import { S_IFMT } from '../filesystem/mode.js';

/** By the S_IFMT bits of inode(7): the letter of `ls -l` and the words of stat(1). */
const TYPES = new Map([
  [0o140000, { letter: 's', name: 'socket' }],
  [0o120000, { letter: 'l', name: 'symbolic link' }],
  [0o100000, { letter: '-', name: 'regular file' }],
  [0o060000, { letter: 'b', name: 'block device' }],
  [0o040000, { letter: 'd', name: 'directory' }],
  [0o020000, { letter: 'c', name: 'character device' }],
  [0o010000, { letter: 'p', name: 'pipe' }],
]);

export function fileTypeName(mode: number): string {
  return TYPES.get(mode & S_IFMT)?.name ?? 'unknown';
}

/** As `ls -l` shows it: type, three times rwx, with s, S, t and T for the special bits. */
export function describeMode(mode: number): string {
  const bit = (mask: number, letter: string) => ((mode & mask) === 0 ? '-' : letter);
  const execute = (mask: number, special: number, letter: string) => {
    if ((mode & special) === 0) return bit(mask, 'x');
    return (mode & mask) === 0 ? letter.toUpperCase() : letter;
  };
  return [
    TYPES.get(mode & S_IFMT)?.letter ?? '?',
    bit(0o400, 'r') + bit(0o200, 'w') + execute(0o100, 0o4000, 's'),
    bit(0o040, 'r') + bit(0o020, 'w') + execute(0o010, 0o2000, 's'),
    bit(0o004, 'r') + bit(0o002, 'w') + execute(0o001, 0o1000, 't'),
  ].join('');
}

/** What a Date can hold, in seconds (ECMAScript, Time Values). */
const DATE_SEC_MAX = 8.64e12;

/** ISO 8601 with nanoseconds, in UTC; of times that this cannot say, seconds since 1970 as date(1) takes them. */
export function isoTime({ sec, nsec }: Timespec): string {
  const fraction = String(nsec).padStart(9, '0');
  if (Math.abs(sec) > DATE_SEC_MAX) return `@${sec}.${fraction}`;
  return `${new Date(sec * 1000).toISOString().replace(/\.\d+Z$/, '')}.${fraction}Z`;
}

/** The same without the part behind the second. */
export function isoSecond({ sec }: Pick<Timespec, 'sec'>): string {
  return isoTime({ sec, nsec: 0 }).replace(/\.\d+Z?$/, '');
}
