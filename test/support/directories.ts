import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';

/** A new empty directory, removed when the test ends. */
export function temporaryDirectory(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'mootfs-test-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}
