import { open, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** Replaces a small file: after a crash it has its old content or the new, and on success the new for good. */
export async function writeFileDurably(path: string, content: string): Promise<void> {
  const temporary = `${path}.new`;
  const file = await open(temporary, 'w', 0o644);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  await syncDirectory(dirname(path));
}

/** Names that were made, renamed or removed in the directory are on disk when the promise resolves. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(join(path, '.'), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
