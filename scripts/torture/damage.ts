import { closeSync, openSync, readSync, statSync, writeSync } from 'node:fs';
import { type Random, randomBetween } from '../../src/base/random.js';
import { pick } from './choice.js';
import type { Disk } from './disk.js';

/** The end of a write-ahead log may be torn by any crash: damage there proves nothing. */
const TAIL_BYTES = 131_072;

/** Turns over one bit of up to `flipsMax` bytes in these files of a stopped node; whether there were any. */
export function flip(disk: Disk, which: RegExp, flipsMax: number, random: Random): boolean {
  const places = disk.files(which).flatMap((path) => {
    const { size } = statSync(path);
    const end = path.endsWith('.log') ? size - TAIL_BYTES : size;
    return end > 0 ? [{ path, end }] : [];
  });
  if (places.length === 0) return false;
  for (let i = randomBetween(random, 0, flipsMax); i < flipsMax; i++) {
    const { path, end } = pick(random, places);
    const at = randomBetween(random, 0, end);
    const fd = openSync(path, 'r+');
    const byte = Buffer.alloc(1);
    readSync(fd, byte, 0, 1, at);
    byte[0] = (byte[0] ?? 0) ^ (1 << randomBetween(random, 0, 8));
    writeSync(fd, byte, 0, 1, at);
    closeSync(fd);
  }
  return true;
}
