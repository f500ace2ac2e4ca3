import { constants, createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import { bytesOfText, isUtf8, printable, printableJson } from '../base/byte-text.js';
import { isFilesystemErrorCode, isMootError, MootError } from '../base/errors.js';
import { Paths } from '../client/paths.js';
import type { ReadLevel } from '../codec/client-messages.js';
import type { Inode } from '../filesystem/records.js';
import { connectClient } from './assemble/client.js';
import { exitCodeOf, reportFailure } from './exit.js';
import { describeMode, fileTypeName, isoSecond, isoTime } from './inode-text.js';
import { clusterOption, nodesOption } from './members.js';
import { addExample, deadline, setting } from './settings.js';
import { interruptible } from './signals.js';
import { renderTable } from './table.js';

const { O_RDONLY, O_NONBLOCK } = constants;

interface FileOptions {
  readonly nodes: readonly string[];
  readonly cluster: string;
  readonly deadline: number;
  readonly level?: ReadLevel;
}

/** The commands that read and write files of the cluster without a mount. */
export function addFileCommands(program: Command): void {
  addList(program);
  addCat(program);
  addPut(program);
  addAppend(program);
  addRemove(program);
  addStat(program);
}

function addList(program: Command): void {
  const command = program
    .command('ls')
    .description('List a directory; what is not printable in names as \\xNN.')
    .argument('[path]', 'where, from the root of the shared directory', '/')
    .option('-l, --long', 'mode, links, owner, size and time of each entry')
    .option('--json', 'print one JSON array');
  withReads(command).action(async (path: string, options: FileOptions & ListOptions) => {
    await usePaths(options, async (paths) => {
      const entries: Entry[] = [];
      for await (const entry of paths.list(bytesOfText(path))) entries.push(entry);
      entries.sort((a, b) => Buffer.compare(a.name, b.name));
      process.stdout.write(renderList(entries, options));
    });
  });
  addExample(command, 'mootfs ls -l /etc');
}

interface Entry {
  readonly name: Uint8Array;
  readonly inode: Inode;
}

interface ListOptions {
  readonly long?: boolean;
  readonly json?: boolean;
}

function renderList(entries: readonly Entry[], options: ListOptions): string {
  if (options.json === true) {
    return renderJson(
      entries.map(({ name, inode }) => ({ ...exact('name', name), ...facts(inode) })),
    );
  }
  if (entries.length === 0) return '';
  if (options.long !== true) return `${entries.map((e) => printable(e.name)).join('\n')}\n`;
  const rows = entries.map(({ name, inode }) => [
    describeMode(inode.mode),
    String(inode.nlink),
    String(inode.uid),
    String(inode.gid),
    String(inode.size),
    isoSecond(inode.mtime),
    inode.target.length > 0 ? `${printable(name)} -> ${printable(inode.target)}` : printable(name),
  ]);
  return `${renderTable(['MODE', 'LINKS', 'UID', 'GID', 'SIZE', 'MODIFIED', 'NAME'], rows)}\n`;
}

function addCat(program: Command): void {
  const command = program
    .command('cat')
    .description('Write the content of files to standard output.')
    .argument('<path...>', 'files of the shared directory');
  withReads(command).action(async (files: readonly string[], options: FileOptions) => {
    await usePaths(options, async (paths) => {
      await forEach('cat', files, (file) =>
        pipeline(paths.read(bytesOfText(file)), process.stdout, { end: false }),
      );
    });
  });
  addExample(command, 'mootfs cat /etc/service.json', 'mootfs cat --level local /etc/service.json');
}

function addPut(program: Command): void {
  const command = program
    .command('put')
    .description('Store a local file: all of it or nothing, replacing what was there.')
    .argument('<file>', "a local file, or '-' for standard input")
    .argument('<path>', 'its path in the shared directory');
  withCluster(command).action(async (file: string, path: string, options: FileOptions) => {
    await withPaths('put', options, async (paths) => {
      await paths.put(bytesOfText(path), await sourceOf(file), await newFile(file));
    });
  });
  addExample(
    command,
    'mootfs put ./service.json /etc/service.json',
    'date | mootfs put - /last-run',
  );
}

function addAppend(program: Command): void {
  const command = program
    .command('append')
    .description('Add to the end of a file, which is made when it is missing.')
    .argument('<file>', "a local file, or '-' for standard input")
    .argument('<path>', 'its path in the shared directory');
  withCluster(command).action(async (file: string, path: string, options: FileOptions) => {
    await withPaths('append', options, async (paths) => {
      await paths.append(bytesOfText(path), await sourceOf(file), await newFile('-'));
    });
  });
  addExample(command, 'echo done | mootfs append - /logs/jobs');
}

function addRemove(program: Command): void {
  const command = program
    .command('rm')
    .description('Remove files, and with -r directories with all that is in them.')
    .argument('<path...>', 'what to remove')
    .option('-r, --recursive', 'directories too, with all that is in them')
    .option('-f, --force', 'what is not there is no error');
  withCluster(command).action(
    async (
      files: readonly string[],
      options: FileOptions & { readonly recursive?: boolean; readonly force?: boolean },
    ) => {
      await withPaths('rm', options, async (paths) => {
        await forEach('rm', files, async (file) => {
          try {
            await paths.remove(bytesOfText(file), options.recursive === true);
          } catch (error) {
            if (!isMootError(error, 'ENOENT') || options.force !== true) throw error;
          }
        });
      });
    },
  );
  addExample(command, 'mootfs rm -r /old');
}

/** What is refused for one of them is said, and the others are done: the exit code tells. */
async function forEach(
  command: string,
  files: readonly string[],
  action: (file: string) => Promise<void>,
): Promise<void> {
  for (const file of files) {
    try {
      await action(file);
    } catch (error) {
      if (!isMootError(error) || !isFilesystemErrorCode(error.code)) throw error;
      reportFailure(command, error);
      process.exitCode = exitCodeOf(error);
    }
  }
}

function addStat(program: Command): void {
  const command = program
    .command('stat')
    .description("Show a file's attributes.")
    .argument('<path>', 'a path of the shared directory')
    .option('--json', 'print one JSON object');
  withReads(command).action(
    async (path: string, options: FileOptions & { readonly json?: boolean }) => {
      await usePaths(options, async (paths) => {
        const inode = await paths.stat(bytesOfText(path));
        process.stdout.write(options.json === true ? renderJson(facts(inode)) : renderFacts(inode));
      });
    },
  );
  addExample(command, 'mootfs stat /etc/service.json');
}

function withCluster(command: Command): Command {
  return command
    .addOption(nodesOption())
    .addOption(clusterOption())
    .addOption(
      setting('--deadline <seconds>', "how long to wait for a leader, or 'hard' for ever")
        .argParser(deadline)
        .default(30_000, '30'),
    );
}

function withReads(command: Command): Command {
  return withCluster(command).addOption(
    setting(
      '--level <level>',
      'how fresh the answer is: strong (confirmed by the leader), session, local',
    )
      .choices(['strong', 'session', 'local'])
      .default('strong'),
  );
}

/** What only reads leaves nothing behind: a signal ends it at once. */
async function usePaths(
  options: FileOptions,
  work: (paths: Paths) => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  const client = connectClient({ ...options, name: 'command line' });
  const level = options.level === undefined ? {} : { level: options.level };
  const interrupt = signal === undefined ? {} : { signal };
  try {
    await work(new Paths(client, { ...interrupt, ...level }));
  } finally {
    await client.close();
  }
}

/** What writes first takes back what it has begun. */
function withPaths(
  command: string,
  options: FileOptions,
  work: (paths: Paths) => Promise<void>,
): Promise<void> {
  return interruptible(command, (signal) => usePaths(options, work, signal));
}

/** Opened before anything is changed in the cluster, so that a missing file changes nothing. */
async function sourceOf(file: string): Promise<AsyncIterable<Uint8Array>> {
  if (file === '-') return process.stdin;
  const name = bytesOfText(file);
  // Opening a FIFO would wait for somebody who writes.
  const handle = await open(Buffer.from(name), O_RDONLY | O_NONBLOCK);
  if (!(await handle.stat()).isFile()) {
    await handle.close();
    throw new MootError('BAD_ARGUMENT', `${printable(name)} is not a regular file`);
  }
  return createReadStream('', { fd: handle, highWaterMark: 2 ** 20 });
}

async function newFile(file: string): Promise<{ mode: number; uid: number; gid: number }> {
  const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  if (file === '-') return { mode: 0o666 & ~process.umask(), ...owner };
  const handle = await open(Buffer.from(bytesOfText(file)));
  try {
    return { mode: (await handle.stat()).mode & 0o777, ...owner };
  } finally {
    await handle.close();
  }
}

/** What `stat` and the JSON listings show of an inode. */
function facts(inode: Inode): Record<string, string | number> {
  return {
    type: fileTypeName(inode.mode),
    inode: inode.ino,
    mode: describeMode(inode.mode),
    links: inode.nlink,
    uid: inode.uid,
    gid: inode.gid,
    size: inode.size,
    stored: inode.bytes,
    modified: isoTime(inode.mtime),
    changed: isoTime(inode.ctime),
    born: isoTime(inode.btime),
    ...(inode.target.length > 0 ? exact('target', inode.target) : {}),
  };
}

/** For people, who are shown a link's target as they are shown names. */
function renderFacts(inode: Inode): string {
  const target = inode.target.length > 0 ? { target: printable(inode.target) } : {};
  const rows = Object.entries({ ...facts(inode), ...target }).map(([name, value]) => [
    name,
    `${value}`,
  ]);
  return `${renderTable(['ATTRIBUTE', 'VALUE'], rows)}\n`;
}

function renderJson(value: object): string {
  return `${printableJson(JSON.stringify(value, null, 2))}\n`;
}

/** Bytes as a field of JSON; those that are not UTF-8 stand beside it in hexadecimal. */
function exact(field: string, bytes: Uint8Array): Record<string, string> {
  const buffer = Buffer.from(bytes);
  const hex = isUtf8(bytes) ? {} : { [`${field}Bytes`]: buffer.toString('hex') };
  return { [field]: buffer.toString(), ...hex };
}
