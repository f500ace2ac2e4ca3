import { spawn, spawnSync } from 'node:child_process';
import { openSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { describe, MootError } from '../base/errors.js';
import { startMount } from './assemble.js';
import { EXIT } from './exit.js';
import { clusterOption, nodesOption } from './members.js';
import { type MountFlags, parseMountFlags } from './mount-flags.js';
import { addMountOptions, type MountOptions } from './mount-options.js';
import { addExample, applyConfigFile, configFileOption, setting } from './settings.js';
import { stopRequested } from './signals.js';

const NO_LOG = '/dev/null';

interface MountCommandOptions extends MountOptions {
  readonly nodes: readonly string[];
  readonly daemon?: boolean;
  readonly log: string;
  readonly stopWithStdin?: boolean;
  readonly serve?: boolean;
  readonly options: string;
  readonly sloppy?: boolean;
  readonly fake?: boolean;
}

export function addMountCommand(program: Command): void {
  const command = program
    .command('mount')
    .description('Mount the shared directory, in a process of its own that outlives any node.')
    .argument('<directory>', 'where; an existing directory')
    .addOption(nodesOption())
    .addOption(clusterOption())
    .addOption(
      setting(
        '-o, --options <list>',
        'options as mount(8) has them: ro,noexec,consistency=session,…',
      ).default('', 'nosuid,nodev'),
    )
    .option('--daemon', 'return when it is mounted, and serve in the background')
    .addOption(
      setting('--log <file>', 'where a background mount writes its messages').default(NO_LOG),
    )
    .addOption(configFileOption())
    .option('--stop-with-stdin', 'unmount when standard input ends (for a supervisor)')
    .addOption(new Option('--serve').hideHelp())
    .addOption(new Option('--sloppy').hideHelp())
    .addOption(new Option('--fake').hideHelp());
  addMountOptions(command);
  command.action(async (directory: string) => {
    applyConfigFile(command);
    const given = command.opts<MountCommandOptions>();
    const { kernel, settings, remount } = readFlags(given);
    const options = { ...given, ...settings };
    // mount -f: all but the mounting itself.
    if (options.fake === true) return;
    if (remount) {
      process.exitCode = changeFlags(directory, kernel);
      return;
    }
    const inBackground = options.daemon === true && options.serve !== true;
    await (inBackground ? daemonize(options.log) : serve(directory, options, kernel));
  });
  addExample(
    command,
    'mootfs mount --daemon --nodes 10.0.0.1:7101,10.0.0.2:7101,10.0.0.3:7101 /srv/shared',
  );
}

/** The kernel does that alone, and mount(8) knows how. */
function changeFlags(directory: string, flags: readonly string[]): number {
  const args = ['-i', '-o', ['remount', ...flags].join(','), '--', directory];
  return spawnSync('mount', args, { stdio: 'inherit' }).status ?? EXIT.failed;
}

function readFlags({ options, sloppy }: MountCommandOptions): MountFlags {
  try {
    return parseMountFlags(options, sloppy === true);
  } catch (cause) {
    throw new MootError('BAD_ARGUMENT', `-o ${options}: ${describe(cause)}`);
  }
}

async function serve(
  directory: string,
  options: MountCommandOptions,
  flags: readonly string[],
): Promise<void> {
  const stop = stopRequested(options.stopWithStdin === true);
  const mount = await startMount({ ...options, directory: resolve(directory), node: null, flags });
  process.stdout.write(`mounted ${mount.mount.directory}\n`);
  if (process.send !== undefined) {
    process.send('mounted');
    process.disconnect();
  }
  await Promise.race([stop, mount.mount.ended]);
  await mount.stop();
}

/**
 * Runs this same command in a session of its own, told to serve whatever the command line and the
 * configuration file say of a daemon, and returns when that one has mounted, or has ended with its
 * reason on our standard error.
 */
async function daemonize(log: string): Promise<void> {
  const file = openSync(log, 'a');
  const [entry = '', command = '', ...args] = process.argv.slice(1);
  const child = spawn(process.execPath, [entry, command, '--serve', ...args], {
    detached: true,
    stdio: ['ignore', file, log === NO_LOG ? 'inherit' : file, 'ipc'],
  });
  await new Promise<void>((done) => {
    child.once('message', () => done());
    child.once('exit', (code) => {
      process.exitCode = code ?? EXIT.failed;
      if (log !== NO_LOG) process.stderr.write(`mootfs mount: failed; the reason is in ${log}\n`);
      done();
    });
  });
  if (child.connected) child.disconnect();
  child.unref();
}
