import { type ErrorCode, MootError } from '../base/errors.js';
import { type Address, formatAddress } from './address.js';

const CODES: Readonly<Record<string, ErrorCode>> = {
  EADDRINUSE: 'PORT_TAKEN',
  // An interface or a name server that comes up later: whoever starts us may try again.
  EADDRNOTAVAIL: 'ADDRESS_UNAVAILABLE',
  ENOTFOUND: 'ADDRESS_UNAVAILABLE',
  EAI_AGAIN: 'ADDRESS_UNAVAILABLE',
};

/** Why nobody listens there, in one sentence: PORT_TAKEN, ADDRESS_UNAVAILABLE, or BAD_ARGUMENT for all else. */
export function listenFailure(address: Address, cause: NodeJS.ErrnoException): MootError {
  const code = CODES[cause.code ?? ''] ?? 'BAD_ARGUMENT';
  return new MootError(code, whyNot(address, cause), { cause });
}

function whyNot({ host, port }: Address, error: NodeJS.ErrnoException): string {
  const where = formatAddress({ host, port });
  switch (error.code) {
    case 'EADDRINUSE':
      return `port ${port} on ${host} is taken: stop what listens there, or choose another address`;
    case 'EACCES':
      return `listening on ${where} is not allowed: choose a port above 1023`;
    case 'EADDRNOTAVAIL':
      return `${host} is not an address of this machine: listen on one that is`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `the host name ${host} is unknown: write an address, or a name that resolves`;
    default:
      return `listening on ${where} failed: ${error.message}`;
  }
}
