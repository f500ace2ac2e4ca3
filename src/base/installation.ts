import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * A file that the build made, or that came with the package, by its path from the package's root.
 * A module can't name it by a path from itself: in the bundle that is installed it stands elsewhere.
 */
export function installed(path: string): string {
  return join(root(), path);
}

function root(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, 'package.json'))) {
    const parent = dirname(directory);
    if (parent === directory) throw new Error('mootfs stands outside of its package');
    directory = parent;
  }
  return directory;
}
