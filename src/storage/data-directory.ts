import { chmod, mkdir, readdir, readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { MootError } from '../base/errors.js';
import type { NodeId } from '../raft/types.js';
import { syncDirectory, writeFileDurably } from './files.js';
import { refuseInUse } from './in-use.js';

/**
 * The layout of a data directory; a newer one is refused. An older one is taken over, and from
 * then on refused by the versions that know no other: 1 has no data files in the log, 2 no register
 * of those of the tree.
 */
const FORMAT = 3;
const OLDEST_FORMAT = 1;
const DESCRIPTION_FILE = 'mootfs.json';
/** Our own names: what an interrupted first start may leave besides. */
const OUR_NAMES = new Set([DESCRIPTION_FILE, `${DESCRIPTION_FILE}.new`, 'log', 'tree']);

/** In the root of an ext4 filesystem, which may be all a node's. */
const LOST_AND_FOUND = 'lost+found';

export interface DataDirectory {
  readonly path: string;
  readonly logDirectory: string;
  readonly treeDirectory: string;
  /**
   * No node has ever promised anything with it. Only then may log and tree be missing; otherwise a
   * missing one is DATA_CORRUPT, since a node that starts from nothing under its old name could
   * break its promises (a vote given twice, an acknowledged entry forgotten).
   */
  readonly fresh: boolean;
  /** To be called once log and tree exist and before the node first speaks. Durable. */
  markUsed(): Promise<void>;
}

interface Description {
  readonly format: number;
  readonly cluster: string;
  readonly id: NodeId;
  readonly created: string;
  /** False until log and tree have been made. */
  readonly used: boolean;
}

/**
 * Opens the directory of node `id` of `cluster`, and makes it when it is missing or empty. When a
 * process is at work in it, nothing is changed (DATA_DIR_IN_USE): it has the log open for as long as it lives.
 * Two that begin at the same time are told apart when they open tree and log.
 */
export async function openDataDirectory(
  path: string,
  owner: { readonly cluster: string; readonly id: NodeId },
): Promise<DataDirectory> {
  try {
    return await openOrMake(path, owner);
  } catch (error) {
    throw error instanceof MootError ? error : translate(path, error);
  }
}

/**
 * For this user alone: in there the modes of the files that are kept protect nothing. Durable, parents and
 * all: acknowledged changes must not go with a directory's name.
 */
async function makeDirectory(asGiven: string): Promise<void> {
  const path = resolve(asGiven);
  const first = await mkdir(path, { recursive: true });
  if (first === undefined) return;
  await chmod(path, 0o700);
  for (let made = path; made !== dirname(made); made = dirname(made)) {
    await syncDirectory(dirname(made));
    if (made === first) break;
  }
}

async function openOrMake(
  path: string,
  owner: { readonly cluster: string; readonly id: NodeId },
): Promise<DataDirectory> {
  await makeDirectory(path);
  const names = (await readdir(path)).filter((name) => name !== LOST_AND_FOUND);
  let description: Description;
  if (names.includes(DESCRIPTION_FILE)) {
    description = parse(path, await readFile(join(path, DESCRIPTION_FILE), 'utf8'));
    checkOwner(path, description, owner);
    await refuseInUse(join(path, 'log'));
    if (description.format !== FORMAT) {
      description = { ...description, format: FORMAT };
      await write(path, description);
    }
  } else {
    if (names.includes('log') && names.includes('tree')) {
      throw new MootError('DATA_CORRUPT', `${join(path, DESCRIPTION_FILE)} is missing`);
    }
    if (names.some((name) => name !== `${DESCRIPTION_FILE}.new`)) {
      throw foreign(path, 'is not empty and not a data directory of mootfs');
    }
    description = { format: FORMAT, ...owner, created: new Date().toISOString(), used: false };
    await write(path, description);
  }
  if (description.used) {
    for (const name of ['log', 'tree']) {
      if (!names.includes(name)) {
        throw new MootError('DATA_CORRUPT', `${join(path, name)} is missing`);
      }
    }
  } else if (names.some((name) => !OUR_NAMES.has(name))) {
    throw foreign(path, 'holds files that are not of mootfs');
  }
  return {
    path,
    logDirectory: join(path, 'log'),
    treeDirectory: join(path, 'tree'),
    fresh: !description.used,
    async markUsed() {
      if (!description.used) await write(path, { ...description, used: true });
    },
  };
}

/** Whose a data directory is; nothing in it is changed, unless it is asked for. DATA_DIR_FOREIGN when it is none. */
export async function readDataDirectory(path: string): Promise<{
  readonly cluster: string;
  readonly id: NodeId;
  /** False: no node has ever served from it, and it may hold neither log nor tree. */
  readonly used: boolean;
  readonly logDirectory: string;
  readonly treeDirectory: string;
  /** From now on it belongs to a cluster of this name. Durable. */
  renameCluster(name: string): Promise<void>;
}> {
  const text = await readFile(join(path, DESCRIPTION_FILE), 'utf8').catch(
    (error: NodeJS.ErrnoException) => {
      throw error.code === 'ENOENT' || error.code === 'ENOTDIR'
        ? foreign(path, `holds no ${DESCRIPTION_FILE}: it is no data directory of mootfs`)
        : translate(path, error);
    },
  );
  const description = parse(path, text);
  const { cluster, id, used } = description;
  return {
    cluster,
    id,
    used,
    logDirectory: join(path, 'log'),
    treeDirectory: join(path, 'tree'),
    renameCluster: (name) => write(path, { ...description, cluster: name }),
  };
}

function write(path: string, description: Description): Promise<void> {
  return writeFileDurably(
    join(path, DESCRIPTION_FILE),
    `${JSON.stringify(description, null, 2)}\n`,
  );
}

function parse(path: string, text: string): Description {
  const file = join(path, DESCRIPTION_FILE);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new MootError('DATA_CORRUPT', `${file} cannot be read as JSON`, { cause });
  }
  if (typeof value !== 'object' || value === null) throw malformed(file, 'it is no object');
  // Newer formats may have other fields, so the format comes first.
  const { format, cluster, id, created, used } = value as Record<string, unknown>;
  if (typeof format !== 'number') throw malformed(file, 'it has no format');
  if (format > FORMAT) {
    throw foreign(
      path,
      `has format ${format}, and this version knows formats up to ${FORMAT}: use a newer mootfs`,
    );
  }
  if (!(format >= OLDEST_FORMAT)) throw malformed(file, `there is no format ${format}`);
  if (typeof cluster !== 'string') throw malformed(file, 'it names no cluster');
  if (typeof id !== 'string') throw malformed(file, 'it names no node');
  if (typeof created !== 'string') throw malformed(file, 'it has no time of creation');
  if (typeof used !== 'boolean') throw malformed(file, "it lacks 'used'");
  return { format, cluster, id, created, used };
}

function checkOwner(
  path: string,
  description: Description,
  owner: { readonly cluster: string; readonly id: NodeId },
): void {
  if (description.cluster !== owner.cluster) {
    throw foreign(path, `belongs to cluster '${description.cluster}', not '${owner.cluster}'`);
  }
  if (description.id !== owner.id) {
    throw foreign(path, `belongs to node '${description.id}', not '${owner.id}'`);
  }
}

function foreign(path: string, why: string): MootError {
  return new MootError('DATA_DIR_FOREIGN', `the data directory ${path} ${why}`);
}

function malformed(file: string, why: string): MootError {
  return new MootError('DATA_CORRUPT', `${file} is damaged: ${why}`);
}

function translate(path: string, error: unknown): MootError {
  const code = (error as NodeJS.ErrnoException).code;
  const why =
    code === 'EACCES' || code === 'EPERM' || code === 'EROFS'
      ? 'cannot be written: give this user the right to, or choose another one'
      : code === 'ENOTDIR' || code === 'EEXIST'
        ? 'is not a directory: choose another one'
        : 'cannot be used';
  return new MootError('DISK_FAILED', `the data directory ${path} ${why}`, { cause: error });
}
