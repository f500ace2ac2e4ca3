import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename } from 'node:path';
import { bytesOfText, printable, textOfBytes } from '../../base/byte-text.js';
import { isMootError, MootError } from '../../base/errors.js';
import type { FilesystemClient } from '../../client/filesystem-client.js';
import { Paths } from '../../client/paths.js';
import { S_IFDIR } from '../../filesystem/mode.js';
import { ROOT_INO } from '../../filesystem/records.js';

/** What the console loads lies here, one file per id: in a mount it is MOUNT/console/ID. */
export const CONSOLE_DIRECTORY = '/console';
/** The extended attribute with the name that the file had. */
const NAME_XATTR = new TextEncoder().encode('user.mootfs.name');
/** What a person loads by hand; `mootfs put` takes more. */
export const LOAD_BYTES_MAX = 64 * 2 ** 20;
/** What `show` prints. */
const SHOW_BYTES_MAX = 65_536;
const OWN_FILE = { mode: 0o644, uid: 0, gid: 0 };

export interface ConsoleFile {
  /** Its name there, of any bytes (see textOfBytes): anybody may put files there through a mount. */
  readonly id: string;
  /** For people. */
  readonly name: string;
  readonly size: number;
  readonly modifiedMs: number;
}

/** The files that a console stores in the cluster under ids. */
export class ConsoleFiles {
  private readonly paths: Paths;

  constructor(private readonly client: FilesystemClient) {
    this.paths = new Paths(client, { level: 'strong' });
  }

  /** Stores a local file under a new id. */
  async load(local: string): Promise<ConsoleFile> {
    const handle = await open(local).catch((cause: unknown) => {
      throw new MootError('BAD_ARGUMENT', `${local} cannot be read`, { cause });
    });
    const stat = await handle.stat();
    if (!stat.isFile() || stat.size > LOAD_BYTES_MAX) {
      await handle.close();
      const why = stat.isFile()
        ? `has ${stat.size} bytes, and the console loads at most ${LOAD_BYTES_MAX}: use 'mootfs put'`
        : 'is not a regular file';
      throw new MootError('BAD_ARGUMENT', `${local} ${why}`);
    }
    await this.makeDirectory();
    const id = randomUUID();
    const source = createReadStream('', { fd: handle, highWaterMark: 2 ** 20 });
    const { ino } = await this.paths.put(pathOf(id), source, OWN_FILE);
    const value = new TextEncoder().encode(basename(local));
    await this.client.execute({ type: 'set-xattr', ino, name: NAME_XATTR, value, mode: 'set' });
    return this.describe(id);
  }

  async list(): Promise<readonly ConsoleFile[]> {
    const ids: string[] = [];
    try {
      for await (const { name } of this.paths.list(CONSOLE_DIRECTORY)) {
        ids.push(textOfBytes(name));
      }
    } catch (error) {
      if (!isMootError(error, 'ENOENT')) throw error;
    }
    return Promise.all(ids.map((id) => this.describe(id)));
  }

  /** The one id that begins so, as it is shown. */
  async find(start: string): Promise<string> {
    const found = (await this.list())
      .map(({ id }) => id)
      .filter((id) => shown(id).startsWith(start));
    const [id] = found;
    if (id === undefined) {
      throw new MootError('ENOENT', `no file has the id ${start}; 'list' shows all`);
    }
    const exact = found.find((one) => shown(one) === start);
    if (found.length > 1 && exact === undefined) {
      throw new MootError('BAD_ARGUMENT', `${found.length} ids begin with ${start}`);
    }
    return exact ?? id;
  }

  async append(id: string, text: string): Promise<ConsoleFile> {
    const data = Buffer.from(`${text}\n`);
    await this.paths.append(
      bytesOfText(pathOf(id)),
      (async function* () {
        yield data;
      })(),
      OWN_FILE,
    );
    return this.describe(id);
  }

  /** The content, its first part when it is long. */
  async show(id: string): Promise<string> {
    const parts: Uint8Array[] = [];
    let bytes = 0;
    for await (const part of this.paths.read(bytesOfText(pathOf(id)))) {
      parts.push(part);
      bytes += part.length;
      if (bytes > SHOW_BYTES_MAX) break;
    }
    const all = Buffer.concat(parts);
    if (all.length <= SHOW_BYTES_MAX) return all.toString();
    return `${all.subarray(0, SHOW_BYTES_MAX).toString()}\n… (the rest: mootfs cat ${shown(pathOf(id))})`;
  }

  delete(id: string): Promise<void> {
    return this.paths.remove(bytesOfText(pathOf(id)));
  }

  private async makeDirectory(): Promise<void> {
    try {
      await this.client.execute({
        type: 'make-node',
        parent: ROOT_INO,
        name: new TextEncoder().encode(CONSOLE_DIRECTORY.slice(1)),
        mode: S_IFDIR | 0o755,
        ...{ rdev: 0, uid: 0, gid: 0 },
      });
    } catch (error) {
      if (!isMootError(error, 'EEXIST')) throw error;
    }
  }

  private async describe(id: string): Promise<ConsoleFile> {
    const { ino, size, mtime } = await this.paths.stat(bytesOfText(pathOf(id)));
    return { id, name: await this.nameOf(ino), size, modifiedMs: mtime.sec * 1000 };
  }

  private async nameOf(ino: number): Promise<string> {
    try {
      const { value } = await this.client.query({ type: 'get-xattr', ino, name: NAME_XATTR });
      return printable(value);
    } catch (error) {
      if (isMootError(error, 'ENODATA')) return '';
      throw error;
    }
  }
}

export function pathOf(id: string): string {
  return `${CONSOLE_DIRECTORY}/${id}`;
}

/** An id or a path for people. */
export function shown(text: string): string {
  return printable(bytesOfText(text));
}
