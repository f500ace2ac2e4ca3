import type { Command } from 'commander';
import { printable } from '../base/byte-text.js';
import type { NodeReport } from '../client/filesystem-client.js';
import type { NodeStatus } from '../codec/client-messages.js';
import { voterSets } from '../raft/quorum.js';
import type { Configuration, Member } from '../raft/types.js';
import { connectClient } from './assemble/client.js';
import { EXIT } from './exit.js';
import { clusterOption, nodesOption } from './members.js';
import { addExample, setting, wholeNumber } from './settings.js';
import { renderTable } from './table.js';

export function addStatusCommand(program: Command): void {
  const command = program
    .command('status')
    .description(
      'Show every node: who leads, terms, indexes, state hashes, and who has it mounted.',
    )
    .addOption(nodesOption())
    .addOption(clusterOption())
    .option('--json', 'print one JSON object')
    .addOption(
      setting('--timeout-ms <ms>', 'how long to wait for each node')
        .argParser(wholeNumber(1, 60_000))
        .default(1500),
    )
    .action(async (options: StatusOptions) => {
      const client = connectClient({ ...options, name: 'status' });
      try {
        const reports = await client.status(options.timeoutMs);
        process.stdout.write(
          options.json === true
            ? `${JSON.stringify({ nodes: reports }, null, 2)}\n`
            : renderStatus(reports),
        );
        process.exitCode = hasLeader(reports) ? EXIT.ok : EXIT.unavailable;
      } finally {
        await client.close();
      }
    });
  addExample(command, 'mootfs status --nodes 10.0.0.1:7101,10.0.0.2:7101,10.0.0.3:7101');
}

interface StatusOptions {
  readonly nodes: readonly string[];
  readonly cluster: string;
  readonly json?: boolean;
  readonly timeoutMs: number;
}

/** A majority of the configured nodes answers and agrees on one leader of the newest term. */
export function hasLeader(reports: readonly NodeReport[]): boolean {
  const statuses = reports.flatMap((r) => (r.status === null ? [] : [r.status]));
  const leader = newestLeader(reports);
  if (leader === null) return false;
  const configuration = statuses.find((s) => s.id === leader)?.configuration;
  if (configuration === undefined) return false;
  const following = new Set(statuses.filter((s) => s.leader === leader).map(({ id }) => id));
  return voterSets(configuration).every(
    (voters) => voters.filter((id) => following.has(id)).length * 2 > voters.length,
  );
}

/** The id of the leader of the highest term that any node reports. */
export function newestLeader(reports: readonly NodeReport[]): string | null {
  const leaders = reports.flatMap((r) => (r.status?.role === 'leader' ? [r.status] : []));
  leaders.sort((a, b) => b.term - a.term);
  return leaders[0]?.id ?? null;
}

export function renderStatus(reports: readonly NodeReport[]): string {
  const header = [
    'NODE',
    'ADDRESS',
    'ROLE',
    'TERM',
    'COMMIT',
    'APPLIED',
    'LAST',
    'SNAPSHOT',
    'STATE',
    'MEMORY',
  ];
  const rows = reports.map(({ address, status, error }) =>
    status === null
      ? ['?', address, error ?? 'no answer']
      : [
          status.id,
          address,
          partOf(status),
          String(status.term),
          String(status.commitIndex),
          String(status.appliedIndex),
          String(status.lastIndex),
          String(status.snapshotIndex),
          status.stateHash,
          `${Math.round(status.memoryBytes / 2 ** 20)} MiB`,
        ],
  );
  return `${renderTable(header, rows)}\n${renderSummary(reports)}`;
}

function partOf({ id, recovering, role, configuration }: NodeStatus): string {
  if (configuration.learners.some((learner) => learner.id === id)) return 'learner';
  return recovering ? 'recovering' : role;
}

/** What goes on among the members; empty when nothing does. */
function renderChange({ voters, outgoing, learners }: Configuration): string {
  const ids = (members: readonly Member[]) => members.map(({ id }) => id).join(', ');
  return [
    outgoing.length > 0 ? `; voters change from ${ids(outgoing)} to ${ids(voters)}` : '',
    learners.length > 0 ? `; learning: ${ids(learners)}` : '',
  ].join('');
}

function renderSummary(reports: readonly NodeReport[]): string {
  const statuses = reports.flatMap((r) => (r.status === null ? [] : [r.status]));
  const newest = statuses.reduce<(typeof statuses)[number] | null>(
    (best, s) => (best === null || s.appliedIndex > best.appliedIndex ? s : best),
    null,
  );
  if (newest === null) return 'no node answers\n';
  const leader = hasLeader(reports)
    ? `leader ${newestLeader(reports)}`
    : 'no leader: a majority of the nodes is needed';
  const others = newest.sessionCount - newest.sessions.length;
  const names = newest.sessions.map((s) => printable(Buffer.from(s.name))).join(', ') || 'none';
  const clients = others > 0 ? `${names} and ${others} more` : names;
  const office = statuses.find((s) => s.id === newestLeader(reports));
  const waits =
    office?.writeConcern === 'all'
      ? `; write concern all: waits for ${office.liveVoters.join(', ') || 'no other node'}`
      : '';
  const change = renderChange(newest.configuration);
  return `${leader}${change}${waits}; ${newest.inodes} inodes, ${newest.bytes} bytes; clients: ${clients}\n`;
}
