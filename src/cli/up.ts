import type { Command } from 'commander';
import type { FilesystemClient } from '../client/filesystem-client.js';
import type { WriteConcern } from '../codec/client-messages.js';
import type { ControlServer } from '../control/server.js';
import { ROOT_INO } from '../filesystem/records.js';
import { connectClient } from './assemble/client.js';
import { directLocalCluster } from './director.js';
import { LocalCluster, portsFrom } from './local-cluster.js';
import { CONTROL_PORT_ABOVE, clusterOption, PORT_DEFAULT, writeConcernOption } from './members.js';
import { addMountOptions, type MountOptions } from './mount-options.js';
import { addExample, directoryName, setting, wholeNumber } from './settings.js';
import { stopRequested } from './signals.js';
import { hasLeader, renderStatus } from './status.js';
import type { ChildState } from './supervised.js';
import { renderTable } from './table.js';

const NODES_MAX = 9;
/** The last node's control port is so much above the first node's port. */
const PORT_MAX = 65_535 - CONTROL_PORT_ABOVE - (NODES_MAX - 1);
/** A status line for people; the commands for scripts are `status --json`. */
const REFRESH_MS = 1000;

export function addUpCommand(program: Command): void {
  const command = program
    .command('up')
    .description('Run a whole cluster on this machine, mounted once per node, until Ctrl-C.')
    .option('--nodes <n>', 'number of nodes', wholeNumber(1, NODES_MAX), 3)
    .addOption(
      setting('--data <dir>', "directory for all nodes' data")
        .argParser(directoryName)
        .default('data'),
    )
    .addOption(
      setting('--mounts <dir>', 'where the mounts are made, one directory a node')
        .argParser(directoryName)
        .default('mnt'),
    )
    .addOption(
      setting('--port <port>', 'port of the first node; the others take the ports behind it')
        .argParser(wholeNumber(1, PORT_MAX))
        .default(PORT_DEFAULT),
    )
    .addOption(clusterOption())
    .addOption(writeConcernOption().default('majority'))
    .addOption(
      setting('--stretch <factor>', 'election time-outs and heartbeats so many times longer')
        .argParser(wholeNumber(1, 100))
        .default(1),
    )
    .addOption(
      setting('--snapshot-log-entries <n>', 'as for a node').argParser(
        wholeNumber(100, 100_000_000),
      ),
    )
    .addOption(
      setting(
        '--control <switch>',
        "'on': pages and control ports 1000 above the nodes' own; 'off': none",
      )
        .choices(['on', 'off'])
        .default('on'),
    )
    .option('--no-mount', 'only run the nodes')
    .option('--no-restart', 'leave a process that ended as it is (else it is started again)')
    .option('--stop-with-stdin', 'stop when standard input ends (for a supervisor)');
  addMountOptions(command);
  command.action(async () => runUp(command.opts<UpOptions>()));
  addExample(
    command,
    'mootfs up',
    'mootfs up --nodes 5 --data /tmp/moot/data --mounts /tmp/moot/mnt',
  );
}

interface UpOptions extends MountOptions {
  readonly nodes: number;
  readonly data: string;
  readonly mounts: string;
  readonly port: number;
  readonly mount: boolean;
  readonly stretch: number;
  readonly control: 'on' | 'off';
  readonly snapshotLogEntries?: number;
  readonly writeConcern: WriteConcern;
  readonly restart: boolean;
  readonly stopWithStdin?: boolean;
}

async function runUp(options: UpOptions): Promise<void> {
  const stop = stopRequested(options.stopWithStdin === true);
  const ports = portsFrom(options.port, options.nodes, options.control !== 'off');
  const cluster = new LocalCluster({
    ...options,
    ports,
    mounts: options.mount ? options.mounts : null,
    snapshotLogEntries: options.snapshotLogEntries ?? null,
  });
  const client = connectClient({
    nodes: cluster.members.map((m) => m.address),
    cluster: options.cluster,
    name: 'up',
  });
  let director: ControlServer | null = null;
  try {
    if (ports.control !== null) {
      director = await directLocalCluster(cluster, ports.control.director, options.cluster);
    }
    if (!(await cluster.start(stop))) return;
    await Promise.race([stop, giveRootToUser(client)]);
    await showUntil(stop, client, cluster);
  } finally {
    await director?.close();
    await client.close();
    await cluster.stop();
  }
}

/**
 * An empty tree is root's, who alone could write into it. Whoever begins one without being root has
 * it for himself.
 */
async function giveRootToUser(client: FilesystemClient): Promise<void> {
  const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0];
  if (uid === 0) return;
  const { inode } = await client.query<'get-inode'>({ type: 'get-inode', ino: ROOT_INO });
  const untouched = inode.uid === 0 && inode.ctime.sec === 0;
  if (!untouched) return;
  await client.execute<'set-attributes'>({ type: 'set-attributes', ino: ROOT_INO, uid, gid });
}

/** Paints the status again and again on a terminal; elsewhere prints what changed. */
async function showUntil(
  stop: Promise<string>,
  client: FilesystemClient,
  { children, controls }: LocalCluster,
): Promise<void> {
  let stopped = false;
  void stop.then(() => {
    stopped = true;
  });
  let shown = '';
  while (!stopped) {
    const reports = await client.status(REFRESH_MS);
    const processes = renderTable(
      ['PROCESS', 'PID', 'STATE', 'LOG'],
      children.map((child) => [
        child.name,
        String(child.pid ?? ''),
        STATE_WORDS[child.state],
        child.log,
      ]),
    );
    if (process.stdout.isTTY) {
      const page = controls[0] === undefined ? '' : `Watch it at http://${controls[0]}/. `;
      const screen = `${renderStatus(reports)}\n${processes}\n\n${page}Ctrl-C unmounts and stops.`;
      process.stdout.write(`\x1b[H\x1b[2J${screen}\n`);
    } else {
      const line = hasLeader(reports) ? `ready\n${renderStatus(reports)}` : 'no leader\n';
      const digest = `${line.split('\n')[0]}${children.map((c) => c.state).join()}${reports.map((r) => r.status?.leader).join()}`;
      if (digest !== shown) process.stdout.write(`${line}${processes}\n`);
      shown = digest;
    }
    await Promise.race([stop, new Promise((done) => setTimeout(done, REFRESH_MS))]);
  }
}

const STATE_WORDS: Record<ChildState, string> = {
  starting: 'starting',
  up: 'up',
  down: 'down',
  stopped: 'stopped',
};
