import { MootError } from '../base/errors.js';
import { ADDRESS_CHARS_MAX } from '../codec/limits.js';

/** Where a node listens: `host:port`, with an IPv6 address in brackets. */
export interface Address {
  /** A name or an address, without brackets. */
  readonly host: string;
  readonly port: number;
}

/** Throws BAD_ARGUMENT with a sentence that shows what was given. */
export function parseAddress(text: string): Address {
  if (text.length > ADDRESS_CHARS_MAX) throw bad(`${text.slice(0, 40)}…`, 'is too long');
  const colon = text.lastIndexOf(':');
  if (colon < 0) throw bad(text, 'has no port');
  const port = parsePort(text.slice(colon + 1));
  if (port === null) throw bad(text, 'has no port from 1 to 65535');
  const host = text.slice(0, colon);
  if (host === '') throw bad(text, 'has no host');
  if (host.startsWith('[') || host.endsWith(']')) {
    const inner = host.slice(1, -1);
    if (!/^\[[0-9A-Fa-f:.]+\]$/.test(host) || !inner.includes(':') || !isDialled(text)) {
      throw bad(text, 'has no IPv6 address between its brackets, or one with a zone');
    }
    return { host: inner, port };
  }
  if (host.includes(':')) throw bad(text, 'has an IPv6 address without brackets around it');
  if (!/^[A-Za-z0-9._-]+$/.test(host)) throw bad(text, 'has a character that no host name has');
  // What ends in a number is an IPv4 address (WHATWG URL, host parser).
  if (!isDialled(text)) throw bad(text, 'has neither a host name nor an IPv4 address');
  return { host, port };
}

/** The rules by which the address is dialled are stricter than ours. */
function isDialled(text: string): boolean {
  return URL.canParse(`ws://${text}`);
}

export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function parsePort(text: string): number | null {
  if (!/^[0-9]{1,5}$/.test(text)) return null;
  const port = Number(text);
  return port >= 1 && port <= 65_535 ? port : null;
}

function bad(text: string, why: string): MootError {
  return new MootError(
    'BAD_ARGUMENT',
    `the address '${text}' ${why}; write it like 127.0.0.1:7101, [::1]:7101 or node1.example:7101`,
  );
}
