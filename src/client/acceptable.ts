import { type ErrorCode, MootError } from '../base/errors.js';

import { checkCommand } from '../filesystem/check.js';
import type { Command } from '../filesystem/commands.js';
import type { Query } from '../filesystem/queries.js';
import {
  COMMAND_NAME_BYTES_MAX,
  COMMAND_VALUE_BYTES_MAX,
  LISTED_ENTRIES_MAX,
  READ_BYTES_MAX,
} from '../filesystem/records.js';

/**
 * What is wrong with a command that no node would take; null when nothing is. A node ends the
 * connection over a frame that breaks its bounds, so such a request must not be sent at all: it
 * would be sent again over every new connection, and nothing behind it would get through.
 */
export function problemOfCommand(command: Command): MootError | null {
  return problemOfBytes(command) ?? badArgument(checkCommand(command));
}

/** The same of a query. */
export function problemOfQuery(query: Query): MootError | null {
  return problemOfBytes(query) ?? badArgument(queryProblem(query));
}

function problemOfBytes(request: Command | Query): MootError | null {
  for (const field of NAMES) {
    const length = lengthOf(request, field);
    if (length > COMMAND_NAME_BYTES_MAX) return tooLong('ENAMETOOLONG', request, field, length);
  }
  for (const [field, code] of VALUES) {
    const length = lengthOf(request, field);
    if (length > COMMAND_VALUE_BYTES_MAX) return tooLong(code, request, field, length);
  }
  return null;
}

function badArgument(problem: string | null): MootError | null {
  return problem === null ? null : new MootError('BAD_ARGUMENT', problem);
}

const NAMES = ['name', 'newName'] as const;
const VALUES = [
  ['target', 'ENAMETOOLONG'],
  ['value', 'E2BIG'],
] as const;

function lengthOf(request: Command | Query, field: string): number {
  const value = field in request ? request[field as keyof typeof request] : undefined;
  const bytes: unknown = value;
  return bytes instanceof Uint8Array ? bytes.length : 0;
}

function tooLong(
  code: ErrorCode,
  request: Command | Query,
  field: string,
  length: number,
): MootError {
  return new MootError(code, `${request.type}: ${field} has ${length} bytes`);
}

function queryProblem(query: Query): string | null {
  const ino = 'parent' in query ? query.parent : 'ino' in query ? query.ino : 0;
  if (!whole(ino)) return `${query.type}: ${ino} is no inode number`;
  switch (query.type) {
    case 'read':
      if (!whole(query.offset)) return `read: offset ${query.offset} is no whole number`;
      return whole(query.size) && query.size <= READ_BYTES_MAX
        ? null
        : `read: size ${query.size} is not from 0 to ${READ_BYTES_MAX}`;
    case 'seek':
      return whole(query.offset) ? null : `seek: offset ${query.offset} is no whole number`;
    case 'read-directory':
      if (!whole(query.cookie)) return `read-directory: cookie ${query.cookie} is no whole number`;
      return whole(query.limit) && query.limit <= LISTED_ENTRIES_MAX
        ? null
        : `read-directory: limit ${query.limit} is not from 0 to ${LISTED_ENTRIES_MAX}`;
    default:
      return null;
  }
}

function whole(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}
