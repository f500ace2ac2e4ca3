import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { describe, MootError } from '../base/errors.js';
import { type HandedMount, mountAsUser, takeHandedMount } from '../mount/fuse-kernel/as-user.js';
import { isRoot, prepareDirectory } from '../mount/mount-point.js';
import type { MountSettings, startMountControl } from './assemble/mount.js';
import { NO_LOG, startDaemon, starterGone, tellStarter } from './daemon.js';
import { EXIT } from './exit.js';
import { clusterOption, nodesOption, parseAddressText } from './members.js';
import { type MountFlags, parseMountFlags, SOURCE } from './mount-flags.js';
import {
  addMountOptions,
  type MountOptions,
  noteLocks,
  refuseWaitingForEver,
} from './mount-options.js';
import { changeMount, ourMountAt } from './our-mount.js';
import {
  addExample,
  applyConfigFile,
  configFileOption,
  directoryName,
  setting,
} from './settings.js';
import { onStopSignal, stopRequested } from './signals.js';
import { tellSystemd } from './systemd.js';

interface MountCommandOptions extends MountOptions {
  readonly nodes: readonly string[];
  readonly daemon?: boolean;
  readonly log: string;
  readonly metrics?: string;
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
    .argument('<directory>', 'where; an existing directory', directoryName)
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
    .addOption(
      setting(
        '--metrics <address>',
        'host:port to serve /metrics for Prometheus and /healthz; default: none',
      ).argParser(parseAddressText),
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
    refuseWaitingForEver(options);
    // mount -f: all but the mounting itself.
    if (options.fake === true) return;
    if (remount) {
      await changeFlags(directory, kernel);
      return;
    }
    const handed = takeHandedMount();
    if (options.serve === true) await serve(directory, options, kernel, handed);
    else if (options.daemon === true) {
      await startDaemon(await serverCommand(directory, options, kernel), options.log, directory);
    } else if (needsFusermount(options)) {
      await relay(await serverCommand(directory, options, kernel), resolve(directory));
    } else await serve(directory, options, kernel, null);
  });
  addExample(
    command,
    'mootfs mount --daemon --nodes 10.0.0.1:7101,10.0.0.2:7101,10.0.0.3:7101 /srv/shared',
  );
}

/** The kernel does that alone, and mount(8) knows how. */
async function changeFlags(directory: string, flags: readonly string[]): Promise<void> {
  const path = await ourMountAt(directory);
  // -c: as for umount.
  await changeMount(['mount', '-i', '-c', '-o', ['remount', ...flags].join(','), '--', path], {
    whenBusy: ' (a program writes there)',
  });
}

function readFlags({ options, sloppy }: MountCommandOptions): MountFlags {
  try {
    return parseMountFlags(options, sloppy === true);
  } catch (cause) {
    throw new MootError('BAD_ARGUMENT', `-o ${options}: ${describe(cause)}`);
  }
}

/** Only root may mount by itself; libfuse, in the other adapter, goes its own way. */
function needsFusermount({ adapter }: MountCommandOptions): boolean {
  return adapter === 'kernel' && !isRoot();
}

/**
 * This same command, told to serve whatever the command line and the configuration file say of a
 * daemon; where it takes fusermount3 to mount, behind what does that first.
 */
async function serverCommand(
  directory: string,
  options: MountCommandOptions,
  flags: readonly string[],
): Promise<readonly [string, ...string[]]> {
  const [entry = '', command = '', ...args] = process.argv.slice(1);
  const server = [...process.execArgv, entry, command, '--serve', ...args];
  if (!needsFusermount(options)) return [process.execPath, ...server];
  const withParent = options.daemon !== true;
  const before = await mountAsUser(resolve(directory), SOURCE, flags, withParent);
  return [...before, process.execPath, ...server];
}

/**
 * Runs the server in a process of its own, which gets the signals that this one gets, and ends as it
 * ends. In a session of its own: what the terminal sends to all of us would reach it twice.
 */
async function relay(
  [program, ...args]: readonly [string, ...string[]],
  directory: string,
): Promise<void> {
  const child = spawn(program, args, { detached: true, stdio: 'inherit' });
  onStopSignal((signal) => child.kill(signal));
  process.exitCode = await new Promise<number>((done) => {
    child.once('error', (error) => {
      process.stderr.write(`mootfs mount: ${error.message}\n`);
      done(EXIT.prerequisite);
    });
    child.once('exit', (code) => done(code ?? EXIT.failed));
  });
  // Killed, perhaps by a signal from before it could listen: what it leaves is a dead mount.
  if (child.signalCode !== null) await prepareDirectory(directory);
}

async function serve(
  directory: string,
  options: MountCommandOptions,
  flags: readonly string[],
  handed: HandedMount | null,
): Promise<void> {
  const stop = stopRequested(options.stopWithStdin === true);
  const at = resolve(directory);
  const assemble = await import('./assemble/mount.js');
  const control =
    options.metrics === undefined ? null : await assemble.startMountControl(options.metrics, at);
  try {
    const given = handed === null ? {} : { handed };
    const settings = { ...options, ...given, directory: at, node: null, flags };
    await serveUntil(stop, assemble.startMount, settings, control);
  } finally {
    await control?.close();
  }
}

async function serveUntil(
  stop: Promise<unknown>,
  startMount: typeof import('./assemble/mount.js').startMount,
  settings: MountSettings,
  control: Awaited<ReturnType<typeof startMountControl>> | null,
): Promise<void> {
  const observer = control === null ? {} : { observer: control.observer };
  let unwanted = false;
  void Promise.race([stop, starterGone()]).then(() => {
    unwanted = true;
  });
  const mount = await startMount({ ...settings, ...observer });
  noteLocks(settings);
  if (!unwanted) {
    control?.mounted();
    process.stdout.write(`mounted ${mount.mount.directory}\n`);
    tellStarter();
    tellSystemd();
    await Promise.race([stop, mount.mount.ended]);
  }
  await mount.stop();
}
