import { freePorts } from '../../src/cli/free-ports.js';

/** Addresses on the loopback interface that were free a moment ago. */
export async function freeAddresses(count: number): Promise<string[]> {
  return (await freePorts(count)).map((port) => `127.0.0.1:${port}`);
}
