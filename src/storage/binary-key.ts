/** A whole number below 2^53 as seven characters of a binary key, big end first: sorts as the number does. */
export function number56(value: number): string {
  const bytes = Buffer.allocUnsafe(7);
  bytes.writeUIntBE(Math.floor(value / 2 ** 32), 0, 3);
  bytes.writeUInt32BE(value % 2 ** 32, 3);
  return bytes.toString('latin1');
}

export function parse56(key: string, at: number): number {
  const bytes = Buffer.from(key.slice(at, at + 7), 'latin1');
  return bytes.readUIntBE(0, 3) * 2 ** 32 + bytes.readUInt32BE(3);
}
