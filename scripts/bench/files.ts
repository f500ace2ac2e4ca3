import { ROOT_INO } from '../../src/filesystem/records.js';
import type { BenchCluster } from './cluster.js';

/** On their way at once. */
const FILES_AT_ONCE = 500;

/**
 * Small files m0/f0, m0/f1, … in directories of `perDirectory`, by a client that does not wait for
 * each; a mount would take its time for them.
 */
export async function makeFiles(
  cluster: BenchCluster,
  files: number,
  perDirectory: number,
): Promise<void> {
  const client = cluster.client('bench-files');
  const owner = { rdev: 0, uid: 0, gid: 0 };
  const makeNode = async (parent: number, name: string, mode: number) => {
    const made = client.execute<'make-node'>({
      type: 'make-node',
      parent,
      name: Buffer.from(name),
      mode,
      ...owner,
    });
    return (await made).inode.ino;
  };
  const makeFile = async (directory: number, i: number) => {
    const ino = await makeNode(directory, `f${i}`, 0o100644);
    const data = Buffer.from(`file ${i}`);
    await client.execute<'write'>({ type: 'write', ino, offset: 0, data });
  };
  try {
    for (let d = 0; d < files / perDirectory; d++) {
      const directory = await makeNode(ROOT_INO, `m${d}`, 0o040755);
      for (let from = 0; from < perDirectory; from += FILES_AT_ONCE) {
        const count = Math.min(FILES_AT_ONCE, perDirectory - from);
        await Promise.all(Array.from({ length: count }, (_, i) => makeFile(directory, from + i)));
      }
    }
  } finally {
    await client.close();
  }
}
