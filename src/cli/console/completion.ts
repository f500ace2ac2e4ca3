import { readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { SCENES } from '../../control/scenes/scenes.js';
import { COMMANDS, commandOf } from './commands.js';
import type { Console } from './context.js';
import { shown } from './files.js';

/** What may stand where the cursor is, for readline. */
export function complete(console: Console, line: string): [string[], string] {
  const words = line.split(/[\s,|]+/);
  const word = words.at(-1) ?? '';
  const [name = ''] = line.trim().split(/\s+/);
  if (words.length === 1) return match(Object.keys(COMMANDS), word);
  let kinds: readonly string[];
  try {
    kinds = commandOf(name).completes;
  } catch {
    return [[], word];
  }
  const candidates: Readonly<Record<string, () => readonly string[]>> = {
    node: () => console.ruled?.link.nodes.map(({ document }) => document.id) ?? [],
    file: () => [...console.ids.map(shown), 'last'],
    scene: () => SCENES.map((scene) => scene.name),
    speed: () => ['fast', 'normal', 'slow'],
    command: () => Object.keys(COMMANDS),
    path: () => localPaths(word),
  };
  return match(candidates[kinds[words.length - 2] ?? '']?.() ?? [], word);
}

function match(candidates: readonly string[], word: string): [string[], string] {
  const found = candidates.filter((one) => one.startsWith(word));
  // One that fits is followed by a space, as in a shell; a directory is not.
  const [only] = found;
  const ended = found.length === 1 && only !== undefined && !only.endsWith('/');
  return [ended ? [`${only} `] : found, word];
}

function localPaths(word: string): readonly string[] {
  const directory = word.endsWith('/') ? word : dirname(word);
  const start = word.endsWith('/') ? '' : basename(word);
  const prefix = word.includes('/') ? join(directory, '/') : '';
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.name.startsWith(start))
      .map((entry) => `${prefix}${entry.name}${entry.isDirectory() ? '/' : ''}`);
  } catch {
    return [];
  }
}
