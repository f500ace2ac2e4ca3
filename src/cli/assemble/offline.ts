import { MootError } from '../../base/errors.js';
import { systemRandom } from '../../base/random.js';
import { recoverAlone, type Survivor } from '../../node/recover.js';
import { type Verification, verifyStores } from '../../node/verify.js';
import { readDataDirectory } from '../../storage/data-directory.js';
import { refuseInUse } from '../../storage/in-use.js';
import { createRocksLogStore } from '../../storage/rocksdb-log.js';
import { createRocksStateStore } from '../../storage/rocksdb-state.js';

/** Reads all of a stopped node's data, and changes nothing. */
export async function verifyDirectory(path: string): Promise<Verification> {
  const { used, logDirectory, treeDirectory } = await readDataDirectory(path);
  if (!used) return { problems: [], log: null, tree: null };
  await refuseInUse(logDirectory);
  const common = { mustExist: true, readOnly: true };
  return verifyStores(
    createRocksLogStore({ ...common, directory: logDirectory }),
    createRocksStateStore({ ...common, directory: treeDirectory, onFailure: () => {} }),
  );
}

/** `cluster`: its name, from now on. */
export type Recovered = Survivor & { readonly cluster: string };

/** See recoverAlone. A directory with anything wrong in it is refused. */
export async function recoverDirectory(
  path: string,
  options: {
    readonly accepted: boolean;
    readonly newCluster: string | null;
    readonly address: string | null;
  },
): Promise<Recovered> {
  const { problems } = await verifyDirectory(path);
  refuseProblems(path, problems);
  const { cluster, id, used, logDirectory, treeDirectory, renameCluster } =
    await readDataDirectory(path);
  if (!used) throw new MootError('BAD_ARGUMENT', `${path} was never used by a node`);
  const stores = { mustExist: true, readOnly: !options.accepted };
  const survivor = await recoverAlone(
    { id, address: options.address, random: systemRandom },
    createRocksLogStore({ ...stores, directory: logDirectory }),
    createRocksStateStore({ ...stores, directory: treeDirectory, onFailure: () => {} }),
    () => options.accepted,
  );
  if (options.accepted && options.newCluster !== null) await renameCluster(options.newCluster);
  return { ...survivor, cluster: options.newCluster ?? cluster };
}

/** What is wrong with the directory must be known before anybody relies on it alone. */
function refuseProblems(directory: string, problems: readonly string[]): void {
  if (problems.length === 0) return;
  throw new MootError(
    'DATA_CORRUPT',
    `${directory} is damaged (${problems[0]}${problems.length > 1 ? `, and ${problems.length - 1} more` : ''}): see mootfs check`,
  );
}
