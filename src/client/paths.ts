import { printable } from '../base/byte-text.js';
import { type ErrorCode, isMootError, MootError } from '../base/errors.js';
import { type Random, randomBetween, systemRandom } from '../base/random.js';
import type { ReadLevel } from '../codec/client-messages.js';
import type { Command, CommandType, CommandValues } from '../filesystem/commands.js';
import { isDirectory, isRegular, isSymlink, S_IFREG } from '../filesystem/mode.js';
import type { Query, QueryType, QueryValues } from '../filesystem/queries.js';
import { type Ino, type Inode, ROOT_INO, WRITE_BYTES_MAX } from '../filesystem/records.js';
import type { FilesystemClient } from './filesystem-client.js';

/** Symbolic links followed on one walk, as the kernel's MAXSYMLINKS (linux/namei.h); then ELOOP. */
const SYMLINKS_MAX = 40;
/** Writes on their way at once: enough to keep the log busy, little enough to hold in memory. */
const WRITES_IN_FLIGHT_MAX = 8;
/** Reads asked for ahead of the reader. */
const READS_AHEAD = 4;
const READ_BYTES = 1_048_576;
const LIST_ENTRIES = 1_000;
/** Removals on their way at once. */
const REMOVALS_IN_FLIGHT_MAX = 128;
/** For the removal of a temporary file when putting has failed, perhaps since nobody decides. */
const DISCARD_MS = 5_000;
const SLASH = 0x2f;

/** A path from the root of the filesystem: text as UTF-8, or bytes. With or without a leading '/'. */
export type Path = string | Uint8Array;

export interface PathsOptions {
  /** How fresh answers must be. Default: the client's own. */
  readonly level?: ReadLevel;
  readonly signal?: AbortSignal;
  /** For the names of temporary files. */
  readonly random?: Random;
}

/** Whose a new file is, and its permission bits. A file that is replaced keeps its own. */
export interface NewFile {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/**
 * Files by their paths, for commands that work without a mount. Nobody checks permissions here: who
 * reaches the cluster may do everything. Errors are MootErrors whose messages name the path.
 */
export class Paths {
  private readonly random: Random;

  constructor(
    private readonly client: FilesystemClient,
    private readonly options: PathsOptions = {},
  ) {
    this.random = options.random ?? systemRandom;
  }

  /** The inode at the path; of a symbolic link itself unless `follow`. */
  stat(path: Path, follow = false): Promise<Inode> {
    return named(path, async () => (await this.walk(bytesOf(path), follow)).inode);
  }

  /** The entries of a directory with their inodes, in the order of their making; a file lists itself. */
  async *list(path: Path): AsyncGenerator<{ readonly name: Uint8Array; readonly inode: Inode }> {
    const { inode, name } = await named(path, () => this.walk(bytesOf(path), true));
    if (!isDirectory(inode)) {
      yield { name, inode };
      return;
    }
    // What somebody renames again and again is met once.
    let end = Number.POSITIVE_INFINITY;
    for (let cookie = 0; ; ) {
      const page = await named(path, () => this.page(inode.ino, cookie, true));
      if (cookie === 0) end = page.nextCookie;
      for (const entry of page.entries) {
        if (entry.cookie >= end) return;
        if (entry.inode !== null) yield { name: entry.name, inode: entry.inode };
        cookie = entry.cookie;
      }
      if (page.end) return;
    }
  }

  /**
   * The content in pieces of up to 1 MiB, in order. A file that changes meanwhile is read as `cat`
   * would: piece by piece.
   */
  async *read(path: Path): AsyncGenerator<Uint8Array> {
    const { inode } = await named(path, () => this.walk(bytesOf(path), true));
    await named(path, async () => requireRegular(inode));
    const ahead: Promise<QueryValues['read']>[] = [];
    let offset = 0;
    const ask = () => {
      const asked = this.query({ type: 'read', ino: inode.ino, offset, size: READ_BYTES });
      // Whoever stops reading early leaves it unheard.
      asked.catch(() => {});
      offset += READ_BYTES;
      ahead.push(asked);
    };
    ask();
    for (let next = ahead.shift(); next !== undefined; next = ahead.shift()) {
      const asked = next;
      const { data, size } = await named(path, () => asked);
      if (data.length > 0) yield data;
      // The end, as it is now.
      if (data.length < READ_BYTES) return;
      while (ahead.length < READS_AHEAD && offset < size) ask();
      if (ahead.length === 0) ask();
    }
  }

  /**
   * Makes the file hold what `source` gives, atomically: the content goes to a temporary file in the
   * same directory, which then takes the name. Before that nobody sees any of it; when it fails the
   * old file stays and the temporary one is removed, if the cluster decides that in time. A file that is
   * replaced leaves its mode and owner to the new one, not its other names and extended attributes. A
   * symbolic link is followed.
   */
  put(path: Path, source: AsyncIterable<Uint8Array>, file: NewFile): Promise<Inode> {
    return named(path, async () => {
      const target = await this.walkToName(bytesOf(path));
      if (target.inode !== null) requireRegular(target.inode);
      const { parent, name } = target;
      const { uid, gid, mode } = target.inode ?? file;
      const temporary = this.temporaryName();
      let inode: Inode;
      try {
        ({ inode } = await this.execute({
          type: 'make-node',
          parent,
          name: temporary,
          mode: S_IFREG | (mode & 0o7777),
          rdev: 0,
          uid,
          gid,
        }));
        const pieces = filledPieces(this.heard(source), WRITE_BYTES_MAX);
        await this.writeAll(inode.ino, pieces, false);
        await this.execute({
          type: 'rename',
          parent,
          name: temporary,
          newParent: parent,
          newName: name,
          mode: 'replace',
        });
      } catch (error) {
        throw await this.discard(parent, temporary, error);
      }
      return (await this.query({ type: 'get-inode', ino: inode.ino })).inode;
    });
  }

  /**
   * Adds what `source` gives at the end of the file, which is made when it is not there. Each buffer
   * of the source is written when it comes, behind what is there by then, whoever else appends.
   */
  append(path: Path, source: AsyncIterable<Uint8Array>, file: NewFile): Promise<Inode> {
    return named(path, async () => {
      const target = await this.walkToName(bytesOf(path));
      const inode =
        target.inode ??
        (
          await this.execute({
            type: 'make-node',
            parent: target.parent,
            name: target.name,
            mode: S_IFREG | (file.mode & 0o7777),
            rdev: 0,
            uid: file.uid,
            gid: file.gid,
          })
        ).inode;
      requireRegular(inode);
      await this.writeAll(inode.ino, promptPieces(this.heard(source), WRITE_BYTES_MAX), true);
      return (await this.query({ type: 'get-inode', ino: inode.ino })).inode;
    });
  }

  /** Removes a file or a symbolic link; with `recursive` also a directory and all that is in it. */
  remove(path: Path, recursive = false): Promise<void> {
    return named(path, async () => {
      const { inode, parent, name } = await this.walk(bytesOf(path), false);
      if (inode.ino === ROOT_INO) {
        throw new MootError('EBUSY', 'EBUSY: the root directory cannot be removed');
      }
      if (name.length === 0) throw new MootError('EINVAL', "a path that ends with '.' or '..'");
      if (!isDirectory(inode)) {
        await this.execute({ type: 'unlink', parent, name });
        return;
      }
      if (!recursive) throw new MootError('EISDIR', 'EISDIR');
      await this.empty(inode.ino, bytesOf(path));
      await this.execute({ type: 'remove-directory', parent, name });
    });
  }

  /** Removes all that is in the directory, depth first, and what comes while it does. */
  private async empty(directory: Ino, path: Uint8Array): Promise<void> {
    for (;;) {
      const { entries } = await this.page(directory, 0, false, LIST_ENTRIES);
      if (entries.length === 0) return;
      const removals = new InFlight(REMOVALS_IN_FLIGHT_MAX);
      for (const { name, ino, type } of entries) {
        const below = joined(path, name);
        const isBelow = isDirectory({ mode: type });
        if (isBelow) await named(below, () => this.empty(ino, below));
        const removal = isBelow ? 'remove-directory' : 'unlink';
        // Waiting for room tells of another removal's error.
        await removals.add(
          named(below, () =>
            ignoringAbsence(this.execute({ type: removal, parent: directory, name })),
          ),
        );
      }
      await removals.settled();
    }
  }

  private async writeAll(
    ino: Ino,
    pieces: AsyncIterable<Uint8Array>,
    append: boolean,
  ): Promise<void> {
    const writes = new InFlight(WRITES_IN_FLIGHT_MAX);
    let offset = 0;
    try {
      for await (const data of pieces) {
        await writes.add(this.execute({ type: 'write', ino, offset, data, append }));
        offset += data.length;
      }
    } finally {
      await writes.settled();
    }
  }

  /**
   * Removes the temporary file, of which perhaps nobody knows whether it was made: commands take effect in
   * their order. Resolves to the reason, and what is to be said with it.
   */
  private async discard(parent: Ino, name: Uint8Array, reason: unknown): Promise<unknown> {
    try {
      await this.client.execute({ type: 'unlink', parent, name }, { deadlineMs: DISCARD_MS });
    } catch (error) {
      if (isMootError(error, 'ENOENT') || !isMootError(reason)) return reason;
      const left = `${printable(name)} may be left beside it`;
      return new MootError(reason.code, `${reason.message}; ${left}`, { cause: reason.cause });
    }
    return reason;
  }

  /** The source, until the signal: it may be silent for ever. */
  private heard(source: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    const { signal } = this.options;
    return signal === undefined ? source : untilAborted(source, signal);
  }

  private temporaryName(): Uint8Array {
    const digits = randomBetween(this.random, 0, 2 ** 47)
      .toString(36)
      .padStart(10, '0');
    return new TextEncoder().encode(`.mootfs-put-${digits}`);
  }

  /** What the path leads to; ENOENT when there is nothing. */
  private async walk(path: Uint8Array, follow: boolean): Promise<Found & { inode: Inode }> {
    const found = await this.resolve(path, follow);
    if (found.inode === null) throw new MootError('ENOENT', 'ENOENT');
    return { ...found, inode: found.inode };
  }

  /** Where the file of this path is or would be made. */
  private async walkToName(path: Uint8Array): Promise<Found> {
    const found = await this.resolve(path, true);
    if (found.name.length === 0) throw new MootError('EISDIR', 'EISDIR');
    return found;
  }

  /**
   * Goes from directory to directory as path_resolution(7) says. Only the last name may be missing.
   * Links that begin with '/' mean the root of this filesystem: there is no other here.
   */
  private async resolve(path: Uint8Array, follow: boolean): Promise<Found> {
    const names = split(path);
    const mustBeDirectory = path.at(-1) === SLASH;
    let links = 0;
    let directory: Inode = await this.inode(ROOT_INO);
    let found: Found = { parent: ROOT_INO, name: new Uint8Array(0), inode: directory };
    for (let name = names.shift(); name !== undefined; name = names.shift()) {
      if (!isDirectory(directory)) throw new MootError('ENOTDIR', 'ENOTDIR');
      const last = names.length === 0;
      const inode = await this.lookup(directory.ino, name);
      if (inode === null) {
        if (last && !mustBeDirectory) return { parent: directory.ino, name, inode: null };
        throw new MootError('ENOENT', 'ENOENT');
      }
      if (isSymlink(inode) && (!last || follow || mustBeDirectory)) {
        links++;
        if (links > SYMLINKS_MAX) throw new MootError('ELOOP', 'ELOOP');
        if (inode.target[0] === SLASH) directory = await this.inode(ROOT_INO);
        names.unshift(...split(inode.target));
        // A link to '/' or to nothing but slashes has no name of its own.
        found = { parent: ROOT_INO, name: new Uint8Array(0), inode: directory };
        continue;
      }
      found = { parent: directory.ino, name: isDots(name) ? new Uint8Array(0) : name, inode };
      directory = inode;
    }
    if (mustBeDirectory && !isDirectory(directory)) throw new MootError('ENOTDIR', 'ENOTDIR');
    return found;
  }

  private async inode(ino: Ino): Promise<Inode> {
    return (await this.query({ type: 'get-inode', ino })).inode;
  }

  private async lookup(parent: Ino, name: Uint8Array): Promise<Inode | null> {
    try {
      return (await this.query({ type: 'lookup', parent, name })).inode;
    } catch (error) {
      if (isMootError(error, 'ENOENT')) return null;
      throw error;
    }
  }

  private page(ino: Ino, cookie: number, plus: boolean, limit = LIST_ENTRIES) {
    return this.query({ type: 'read-directory', ino, cookie, limit, plus });
  }

  private query<T extends QueryType>(query: Extract<Query, { type: T }>): Promise<QueryValues[T]> {
    const { level, signal } = this.options;
    return this.client.query<T>(query, {
      ...(level === undefined ? {} : { level }),
      ...(signal === undefined ? {} : { signal }),
    });
  }

  private execute<T extends CommandType>(
    command: Extract<Command, { type: T }>,
  ): Promise<CommandValues[T]> {
    const { signal } = this.options;
    return this.client.execute<T>(command, signal === undefined ? {} : { signal });
  }
}

/** Where a walk ended. An empty name: the path ends with '.', '..' or nothing, so only a directory can be there. */
interface Found {
  readonly parent: Ino;
  readonly name: Uint8Array;
  readonly inode: Inode | null;
}

/** Calls that are under way, a bounded number at a time. The first error ends it. */
class InFlight {
  private readonly calls: Promise<unknown>[] = [];

  constructor(private readonly max: number) {}

  /** Waits for room. */
  async add(call: Promise<unknown>): Promise<void> {
    call.catch(() => {});
    this.calls.push(call);
    if (this.calls.length >= this.max) await this.calls.shift();
  }

  async settled(): Promise<void> {
    const results = await Promise.allSettled(this.calls.splice(0));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }
}

function requireRegular(inode: Inode): void {
  if (isDirectory(inode)) throw new MootError('EISDIR', 'EISDIR');
  if (!isRegular(inode)) throw new MootError('EINVAL', 'EINVAL: not a regular file');
}

async function ignoringAbsence(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!isMootError(error, 'ENOENT')) throw error;
  }
}

/** Puts the path before the message of what goes wrong. */
async function named<T>(path: Path, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (!isMootError(error) || error instanceof PathError) throw error;
    throw new PathError(error, path);
  }
}

class PathError extends MootError {
  constructor(error: MootError, path: Path) {
    const why = SENTENCES[error.code] ?? error.message;
    super(error.code, `${printable(bytesOf(path))}: ${why}`, { cause: error.cause });
  }
}

/** The errors that people meet, in the words that they know from strerror(3). */
const SENTENCES: Partial<Record<ErrorCode, string>> = {
  ENOENT: 'no such file or directory',
  EEXIST: 'file exists',
  ENOTDIR: 'not a directory',
  EISDIR: 'is a directory',
  ENOTEMPTY: 'directory not empty',
  ELOOP: 'too many levels of symbolic links',
  ENAMETOOLONG: 'file name too long',
  EFBIG: 'file too large',
  ENOSPC: 'no space left',
};

function bytesOf(path: Path): Uint8Array {
  return typeof path === 'string' ? new TextEncoder().encode(path) : path;
}

/** The names of a path; empty ones (from '//' or at the ends) are none. */
function split(path: Uint8Array): Uint8Array[] {
  const names: Uint8Array[] = [];
  for (let start = 0; start < path.length; ) {
    const slash = path.indexOf(SLASH, start);
    const end = slash < 0 ? path.length : slash;
    if (end > start) names.push(path.slice(start, end));
    start = end + 1;
  }
  return names;
}

function joined(path: Uint8Array, name: Uint8Array): Uint8Array {
  const bare = path.at(-1) === SLASH ? path.subarray(0, -1) : path;
  return Uint8Array.of(...bare, SLASH, ...name);
}

function isDots(name: Uint8Array): boolean {
  return name.length <= 2 && name.every((byte) => byte === 0x2e);
}

async function* untilAborted<T>(source: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const iterator = source[Symbol.asyncIterator]();
  try {
    for (;;) {
      const { done, value } = await orAborted(iterator.next(), signal);
      if (done === true) return;
      yield value;
    }
  } finally {
    const returned = iterator.return?.();
    // Of a source that is silent it settles when that says something again.
    if (!signal.aborted) await returned;
    else returned?.catch(() => {});
  }
}

function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(new MootError('INTERRUPTED', 'interrupted'));
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

/**
 * The same bytes in pieces of exactly `size`, the last one shorter. The pieces are copies: the source
 * may use its buffers again.
 */
async function* filledPieces(
  source: AsyncIterable<Uint8Array>,
  size: number,
): AsyncGenerator<Uint8Array> {
  let piece = new Uint8Array(size);
  let filled = 0;
  for await (const data of source) {
    for (let at = 0; at < data.length; ) {
      const part = data.subarray(at, at + size - filled);
      piece.set(part, filled);
      filled += part.length;
      at += part.length;
      if (filled === size) {
        yield piece;
        piece = new Uint8Array(size);
        filled = 0;
      }
    }
  }
  if (filled > 0) yield piece.slice(0, filled);
}

/** The same bytes as they come, in pieces of at most `size`. The pieces are copies. */
async function* promptPieces(
  source: AsyncIterable<Uint8Array>,
  size: number,
): AsyncGenerator<Uint8Array> {
  for await (const data of source) {
    for (let at = 0; at < data.length; at += size)
      yield new Uint8Array(data.subarray(at, at + size));
  }
}
