import { closeSync, openSync } from 'node:fs';
import { BLOCK_BYTES } from './history.js';

/** A block says in every line what it is, so that a torn, exchanged or foreign part of it shows. */
export function fill(value: string, bytes: number): Buffer {
  return Buffer.alloc(bytes, `${value}\n`, 'latin1');
}

export function blockValue(block: Buffer): string {
  if (block.length === BLOCK_BYTES && block.every((byte) => byte === 0)) return '';
  const value = block.toString('latin1', 0, block.indexOf('\n'));
  return fill(value, BLOCK_BYTES).equals(block) ? value : `torn: ${block.length} ${value}`;
}

export function withFile(
  path: string,
  flags: string | number,
  use: (fd: number) => string,
): string {
  const fd = openSync(path, flags, 0o644);
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}
