import { type Command, Option } from 'commander';
import { describe, isMootError, MootError } from '../base/errors.js';
import type { FilesystemClient } from '../client/filesystem-client.js';
import type { WriteConcern } from '../codec/client-messages.js';
import { LOG_LEVELS, type LogFormat, type LogLevel } from '../control/log-level.js';
import { LEASE_MS_DEFAULT, type Node } from '../node/node.js';
import { membersOf } from '../raft/membership.js';
import type { Learner } from '../raft/types.js';
import { formatAddress, parseAddress } from '../transport/address.js';
import { connectClient } from './assemble/client.js';
import {
  CONTROL_PORT_ABOVE,
  clusterOption,
  isUnspecified,
  type Member,
  parseAddresses,
  parseAddressText,
  parseId,
  parsePeers,
  parseReachable,
  reachedAt,
  writeConcernOption,
} from './members.js';
import {
  addMountOptions,
  type MountOptions,
  noteLocks,
  refuseWaitingForEver,
} from './mount-options.js';
import {
  addExample,
  addFlag,
  applyConfigFile,
  configFileOption,
  directoryName,
  setting,
  wholeNumber,
} from './settings.js';
import { stopRequested } from './signals.js';
import { newestLeader } from './status.js';

/** After that a person is told why a node is no member yet. */
const JOIN_NOTICE_MS = 5_000;

export function addNodeCommand(program: Command): void {
  const command = program
    .command('node')
    .description('Run one node of a cluster in the foreground.')
    .addOption(
      setting('--id <id>', 'name of this node within the cluster, for ever').argParser(parseId),
    )
    .addOption(
      setting('--data <dir>', 'directory for its data; made when missing').argParser(directoryName),
    )
    .addOption(
      setting(
        '--listen <address>',
        'host:port to listen on; default: its address in --peers',
      ).argParser(parseAddressText),
    )
    .addOption(
      setting(
        '--address <address>',
        'with --join: host:port where others reach it; default: as --listen',
      ).argParser(parseReachable),
    )
    .addOption(
      setting(
        '--peers <members>',
        'all nodes, this one too, as id=host:port,id=host:port,…',
      ).argParser(parsePeers),
    )
    .addOption(
      setting(
        '--join <addresses>',
        'instead of --peers: join the cluster of these nodes (host:port,…), with an empty directory',
      ).argParser(parseAddresses),
    )
    .addOption(clusterOption())
    .addOption(
      setting('--mount <dir>', 'also mount the directory here, served by this process').argParser(
        directoryName,
      ),
    )
    .addOption(
      setting(
        '--election-timeout-ms <ms>',
        'shortest election timeout; the longest is twice as much',
      )
        .argParser(wholeNumber(50, 60_000))
        .default(150),
    )
    .addOption(
      setting(
        '--heartbeat-ms <ms>',
        'time between heartbeats; at most a third of the election timeout',
      )
        .argParser(wholeNumber(10, 20_000))
        .default(50),
    )
    .addOption(
      setting('--snapshot-log-mib <n>', 'compact the log when it is larger than this')
        .argParser(wholeNumber(1, 65_536))
        .default(64),
    )
    .addOption(
      setting('--snapshot-log-entries <n>', 'compact the log when it has more entries than this')
        .argParser(wholeNumber(100, 100_000_000))
        .default(100_000),
    )
    .addOption(
      setting('--session-timeout-ms <ms>', 'forget a client that was silent for this long')
        .argParser(wholeNumber(1000, 86_400_000))
        .default(60_000),
    )
    .addOption(
      setting(
        '--control <address>',
        "host:port of the page, the events and the metrics, or 'off'; default: 1000 above --listen",
      ).argParser(parseControl),
    )
    .addOption(new Option('--director <address>').argParser(parseAddressText).hideHelp())
    .addOption(
      setting('--log-level <level>', 'how much to tell on standard error')
        .choices(LOG_LEVELS)
        .default('info'),
    )
    .addOption(
      setting('--log-format <format>', 'text for people, or one JSON object a line')
        .choices(['text', 'json'])
        .default('text'),
    )
    .addOption(
      setting(
        '--lease-ms <ms>',
        'how long clients may keep answers; 0: not at all, and any node answers; one for all nodes',
      )
        .argParser(wholeNumber(0, 10_000))
        .default(LEASE_MS_DEFAULT),
    )
    .addOption(writeConcernOption().default('majority'))
    .addOption(configFileOption())
    .option('--stop-with-stdin', 'stop when standard input ends (for a supervisor)');
  addFlag(
    command,
    '--allow-faults',
    'let whoever reaches the control port slow, cut and crash this node (for demonstrations)',
  );
  addMountOptions(command);
  command.action(async () => {
    applyConfigFile(command);
    await runNode(command.opts<NodeOptions>());
  });
  addExample(
    command,
    'mootfs node --id n1 --data /var/lib/mootfs --peers n1=10.0.0.1:7101,n2=10.0.0.2:7101,n3=10.0.0.3:7101',
    'mootfs node --id n4 --data /var/lib/mootfs --listen 10.0.0.4:7101 --join 10.0.0.1:7101',
    'MOOTFS_ID=n1 mootfs node --config /etc/mootfs.json --mount /srv/shared',
  );
}

export interface NodeOptions extends MountOptions {
  readonly id?: string;
  readonly data?: string;
  readonly listen?: string;
  readonly address?: string;
  readonly peers?: readonly Member[];
  readonly join?: readonly string[];
  readonly mount?: string;
  readonly electionTimeoutMs: number;
  readonly heartbeatMs: number;
  readonly snapshotLogMib: number;
  readonly snapshotLogEntries: number;
  readonly sessionTimeoutMs: number;
  /** host:port or 'off' */
  readonly control?: string;
  readonly allowFaults?: boolean;
  readonly director?: string;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
  readonly leaseMs: number;
  readonly writeConcern: WriteConcern;
  readonly stopWithStdin?: boolean;
}

async function runNode(options: NodeOptions): Promise<void> {
  const { id, data } = options;
  if (id === undefined) throw missing('id');
  if (data === undefined) throw missing('data');
  if (options.mount !== undefined) refuseWaitingForEver(options);
  const { self, peers } = whoIsWho(id, options);
  if (options.heartbeatMs * 3 > options.electionTimeoutMs) {
    throw new MootError(
      'BAD_ARGUMENT',
      `--heartbeat-ms ${options.heartbeatMs} is more than a third of --election-timeout-ms ${options.electionTimeoutMs}`,
    );
  }
  const stop = stopRequested(options.stopWithStdin === true);
  const listen = options.listen ?? self.address;
  const control = options.control === 'off' ? null : (options.control ?? controlBeside(listen));
  const { startNode } = await import('./assemble/node.js');
  // Before the node takes part: loading keeps the event loop busy.
  const startMount =
    options.mount === undefined ? null : (await import('./assemble/mount.js')).startMount;
  const node = await startNode({
    ...options,
    ...{ id, data, peers, listen, address: self.address, control },
    controlReachedAt: control === null ? null : reachedAt(control, self.address),
    allowFaults: options.allowFaults === true,
    director: options.director ?? null,
  });
  let joining: Joining | null = null;
  try {
    process.stdout.write(`node ${id} listens on ${listen}\n`);
    if (options.join !== undefined) joining = join(node.node, self, options.join, options);
    const mount =
      options.mount === undefined || startMount === null
        ? null
        : await startMount({
            ...options,
            directory: options.mount,
            nodes: [
              self.address,
              ...(options.join ?? peers.filter((p) => p.id !== id).map((p) => p.address)),
            ],
            node: node.node,
            observer: node.fuse,
          });
    if (mount !== null) {
      noteLocks(options);
      process.stdout.write(`mounted ${mount.mount.directory}\n`);
    }
    const ended = await Promise.race([
      stop.then(() => null),
      node.failed,
      ...(joining === null ? [] : [joining.failed]),
      ...(mount === null ? [] : [mount.mount.ended.then(() => null)]),
    ]);
    try {
      await mount?.stop();
    } finally {
      if (ended === null) await node.node.handOver();
    }
    if (ended !== null) throw ended;
  } finally {
    await joining?.close();
    await node.stop();
  }
}

/** This node, and whom the cluster begins with: nobody that it would know of when it joins one. */
function whoIsWho(
  id: string,
  { peers, join: others, listen, address = listen }: NodeOptions,
): { readonly self: Member; readonly peers: readonly Member[] } {
  if (peers !== undefined && others !== undefined) {
    throw new MootError('BAD_ARGUMENT', '--join and --peers exclude each other');
  }
  if (peers !== undefined && address !== listen) {
    throw new MootError('BAD_ARGUMENT', '--peers names the address already: --address is too much');
  }
  if (others !== undefined && listen === undefined) throw missing('listen');
  if (peers === undefined && address === undefined) throw missing('peers');
  if (peers === undefined && address !== undefined && isUnspecified(address)) {
    throw new MootError(
      'BAD_ARGUMENT',
      `others are told where this node is, and nobody reaches ${address}: add --address`,
    );
  }
  if (others !== undefined) return { self: { id, address: address ?? '' }, peers: [] };
  const first = peers ?? [{ id, address: address ?? '' }];
  const self = first.find((peer) => peer.id === id);
  if (self !== undefined) return { self, peers: first };
  const ids = first.map((peer) => peer.id).join(', ');
  throw new MootError('BAD_ARGUMENT', `--peers (${ids}) does not name this node, --id ${id}`);
}

interface Joining {
  /** Resolves only with a failure. */
  readonly failed: Promise<Error>;
  /** Asks no longer. */
  close(): Promise<void>;
}

/** Asks the cluster to make this node a member, unless it is one. */
function join(
  node: Node,
  self: Member,
  nodes: readonly string[],
  { cluster }: Pick<NodeOptions, 'cluster'>,
): Joining | null {
  const present = membersOf(node.status().configuration).find(({ id }) => id === self.id);
  if (present?.address === self.address) return null;
  const client = connectClient({
    ...{ nodes, cluster, name: `node ${self.id}` },
    deadline: Number.POSITIVE_INFINITY,
  });
  const ask = async () => {
    await metLeader(client, nodes);
    const known = await memberOf(client, self.id);
    if (known !== null && present === undefined) refuseTaken(known, self);
    // As it was to be by whoever added it; nothing changes then, and this waits until that is certain.
    const { promote, replaces } = known ?? { promote: true, replaces: null };
    await client.changeMembers({ type: 'add', ...self, promote, replaces });
    process.stdout.write(`${self.id} is a member of cluster ${cluster}\n`);
  };
  const failed = new Promise<Error>((resolve) => {
    ask()
      .catch(resolve)
      .finally(() => client.close());
  });
  return { failed, close: () => client.close() };
}

/** Says once why that takes so long. */
async function metLeader(client: FilesystemClient, nodes: readonly string[]): Promise<void> {
  try {
    await client.query({ type: 'statfs' }, { level: 'strong', deadlineMs: JOIN_NOTICE_MS });
  } catch (error) {
    if (!isMootError(error, 'NO_LEADER')) throw error;
    const asked = nodes.join(', ');
    process.stderr.write(`cannot join yet, asking ${asked} on: ${describe(error)}\n`);
    await client.query({ type: 'statfs' }, { level: 'strong' });
  }
}

/** What the cluster counts this node as; null: it is no member. */
async function memberOf(client: FilesystemClient, id: string): Promise<Learner | null> {
  for (;;) {
    const reports = await client.status(JOIN_NOTICE_MS);
    const leader = newestLeader(reports);
    const status = reports.find((report) => report.status?.id === leader)?.status;
    if (leader === null || !status) {
      await client.query({ type: 'statfs' }, { level: 'strong' });
      continue;
    }
    const { voters, outgoing, learners } = status.configuration;
    const voter = [...voters, ...outgoing].find((member) => member.id === id);
    const asVoter = voter === undefined ? null : { ...voter, promote: true, replaces: null };
    return learners.find((learner) => learner.id === id) ?? asVoter;
  }
}

/**
 * An empty node under the id of a member that is somewhere else: either a copied command line, which
 * would take that member's seat, or a move whose data was left behind, and then somebody must say so.
 */
function refuseTaken(taken: Member, self: Member): void {
  if (taken.address === self.address) return;
  throw new MootError(
    'MEMBERS_REFUSED',
    `'${self.id}' is a member at ${taken.address}, and this node's data directory is new: take another ` +
      `--id, or, if that one has moved here, say first: mootfs members add ${self.id}=${self.address}`,
  );
}

/** The control address of a node that listens there, unless somebody says otherwise. */
function controlBeside(address: string): string | null {
  const { host, port } = parseAddress(address);
  const control = port + CONTROL_PORT_ABOVE;
  return control > 65_535 ? null : formatAddress({ host, port: control });
}

function parseControl(text: string): string {
  return text === 'off' ? text : parseAddressText(text);
}

function missing(name: string): MootError {
  const variable = `MOOTFS_${name.toUpperCase()}`;
  return new MootError(
    'BAD_ARGUMENT',
    `--${name} is missing (or ${variable}, or "${name}" in the configuration file)`,
  );
}
