import { existsSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { MootError } from '../base/errors.js';
import type { FilesystemClient } from '../client/filesystem-client.js';
import { connectClient } from './assemble.js';
import { clusterOption, type Member, PORT_DEFAULT } from './members.js';
import { addMountOptions, type MountOptions } from './mount-options.js';
import { addExample, setting, wholeNumber } from './settings.js';
import { stopRequested } from './signals.js';
import { hasLeader, renderStatus } from './status.js';
import { type ChildState, Supervised } from './supervised.js';
import { renderTable } from './table.js';

/** A status line for people; the commands for scripts are `status --json`. */
const REFRESH_MS = 1000;
/** All nodes and mounts must be up within this, or `up` gives up and says what is missing. */
const START_TIMEOUT_MS = 60_000;

export function addUpCommand(program: Command): void {
  const command = program
    .command('up')
    .description('Run a whole cluster on this machine, mounted once per node, until Ctrl-C.')
    .option('--nodes <n>', 'number of nodes', wholeNumber(1, 9), 3)
    .addOption(setting('--data <dir>', "directory for all nodes' data").default('data'))
    .addOption(
      setting('--mounts <dir>', 'where the mounts are made, one directory a node').default('mnt'),
    )
    .addOption(
      setting('--port <port>', 'port of the first node; the others take the ports behind it')
        .argParser(wholeNumber(1, 65_500))
        .default(PORT_DEFAULT),
    )
    .addOption(clusterOption())
    .option('--no-mount', 'only run the nodes')
    .option('--no-restart', 'leave a process that ended as it is (else it is started again)');
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
  readonly restart: boolean;
}

async function runUp(options: UpOptions): Promise<void> {
  const stop = stopRequested(false);
  const members: readonly Member[] = Array.from({ length: options.nodes }, (_, i) => ({
    id: `n${i + 1}`,
    address: `127.0.0.1:${options.port + i}`,
  }));
  const nodes = members.map((member) => superviseNode(member, members, options));
  const mounts = options.mount ? members.map((m) => superviseMount(m, members, options)) : [];
  const client = connectClient({
    nodes: members.map((m) => m.address),
    cluster: options.cluster,
    name: 'up',
  });
  try {
    await start(nodes, stop);
    await start(mounts, stop);
    await showUntil(stop, client, [...nodes, ...mounts]);
  } finally {
    await client.close();
    // Mounts first: what programs still have buffered is committed while there is a cluster.
    await Promise.all(mounts.map((mount) => mount.stop()));
    await Promise.all(nodes.map((node) => node.stop()));
  }
}

function superviseNode(member: Member, members: readonly Member[], options: UpOptions): Supervised {
  const data = join(resolve(options.data), member.id);
  mkdirSync(data, { recursive: true });
  const peers = members.map((m) => `${m.id}=${m.address}`).join(',');
  return new Supervised({
    name: member.id,
    args: [
      'node',
      '--id',
      member.id,
      '--data',
      data,
      '--peers',
      peers,
      '--cluster',
      options.cluster,
    ],
    readyLine: 'listens on',
    log: join(resolve(options.data), `${member.id}.log`),
    restart: options.restart,
  });
}

function superviseMount(
  member: Member,
  members: readonly Member[],
  options: UpOptions,
): Supervised {
  const directory = join(resolve(options.mounts), member.id);
  // A mount whose process was killed answers ENOTCONN to everything: it exists, `mootfs mount` replaces it.
  if (!existsSync(directory)) makeMountPoint(directory);
  const nodes = [member, ...members.filter((m) => m !== member)].map((m) => m.address);
  return new Supervised({
    name: `mount ${member.id}`,
    args: [
      'mount',
      directory,
      ...['--nodes', nodes.join(','), '--cluster', options.cluster, '--adapter', options.adapter],
      ...['--level', options.level, '--deadline', deadlineText(options.deadline)],
      ...(options.writeThrough === true ? ['--write-through'] : []),
    ],
    readyLine: 'mounted',
    log: join(resolve(options.data), `mount-${member.id}.log`),
    restart: options.restart,
  });
}

function makeMountPoint(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true });
  } catch (cause) {
    const dead = cause instanceof Error && 'code' in cause && cause.code === 'EEXIST';
    if (!dead) throw new MootError('MOUNT_UNAVAILABLE', `${directory} cannot be made`, { cause });
  }
}

function deadlineText(ms: number): string {
  return Number.isFinite(ms) ? String(ms / 1000) : 'hard';
}

async function start(children: readonly Supervised[], stop: Promise<string>): Promise<void> {
  const timeout = new Promise<never>((_, reject) => {
    setTimeout(() => {
      const late = children.filter((child) => child.state !== 'up').map((child) => child.name);
      reject(
        new MootError('NO_LEADER', `not up after ${START_TIMEOUT_MS / 1000} s: ${late.join(', ')}`),
      );
    }, START_TIMEOUT_MS).unref();
  });
  await Promise.race([Promise.all(children.map((child) => child.start())), timeout, stop]);
}

/** Paints the status again and again on a terminal; elsewhere prints what changed. */
async function showUntil(
  stop: Promise<string>,
  client: FilesystemClient,
  children: readonly Supervised[],
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
      const screen = `${renderStatus(reports)}\n${processes}\n\nCtrl-C unmounts and stops.`;
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
