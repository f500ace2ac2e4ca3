import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { MootError } from '../base/errors.js';
import { writeFileDurably } from '../storage/files.js';

/** What a directory of `up` was made for: its nodes go by what was decided then, whatever they are told. */
export interface MadeFor {
  readonly cluster: string;
  /** host:port of each, in order. */
  readonly nodes: readonly string[];
}

const FILE = 'up.json';

/** BAD_ARGUMENT when the directory was made for others: no node would find another. */
export function refuseMadeForOthers(directory: string, present: MadeFor): void {
  const before = madeFor(directory);
  if (before === null || isDeepStrictEqual(before, present)) return;
  throw new MootError(
    'BAD_ARGUMENT',
    `${directory} was made for ${named(before)}, not for ${named(present)}: say the same --nodes, --port ` +
      'and --cluster as then, or another --data',
  );
}

/** To be called when all nodes are up: who could not begin may begin elsewhere. */
export function keepMadeFor(directory: string, { cluster, nodes }: MadeFor): Promise<void> {
  return writeFileDurably(join(directory, FILE), `${JSON.stringify({ cluster, nodes })}\n`);
}

/** null: for nobody yet. */
export function madeFor(directory: string): MadeFor | null {
  const file = join(directory, FILE);
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  const found = parse(text);
  if (found !== null) return found;
  throw new MootError(
    'DATA_CORRUPT',
    `${file} cannot be read: remove it, and say the same --nodes, --port and --cluster as when the data was made`,
  );
}

function parse(text: string): MadeFor | null {
  try {
    const { cluster, nodes } = JSON.parse(text) as Partial<Record<keyof MadeFor, unknown>>;
    const isList = Array.isArray(nodes) && nodes.every((node) => typeof node === 'string');
    return typeof cluster === 'string' && isList ? { cluster, nodes } : null;
  } catch {
    return null;
  }
}

function named({ cluster, nodes }: MadeFor): string {
  const count = nodes.length === 1 ? '1 node' : `${nodes.length} nodes`;
  return `${count} of cluster ${cluster} (${nodes.join(', ')})`;
}
