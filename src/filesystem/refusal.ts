import type { FilesystemErrorCode } from '../base/errors.js';

/**
 * Thrown where a command or a query cannot be done; becomes its reply. Not an Error: it is an
 * ordinary outcome, and a stack trace would cost more than the command.
 */
export class Refusal {
  constructor(readonly code: FilesystemErrorCode) {}
}

export function refuse(code: FilesystemErrorCode): never {
  throw new Refusal(code);
}
