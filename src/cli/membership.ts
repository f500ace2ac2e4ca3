import type { Command } from 'commander';
import { MootError } from '../base/errors.js';
import type { NodeReport } from '../client/filesystem-client.js';
import type { Configuration } from '../raft/types.js';
import { connectClient } from './assemble/client.js';
import { clusterOption, type Member, nodesOption, parseId, parseMember } from './members.js';
import { addExample, deadline, setting } from './settings.js';
import { newestLeader } from './status.js';
import { renderTable } from './table.js';

/** Who decides: `members list|add|remove|promote` and `transfer`. */
export function addMembershipCommands(program: Command): void {
  const members = program
    .command('members')
    .description('Show and change the members of a running cluster.')
    .showHelpAfterError('(add --help for what there is)');
  addExample(
    members,
    'mootfs members list',
    'mootfs members add n4=10.0.0.4:7101',
    'mootfs members remove n2',
  );
  addList(members);
  addAdd(members);
  addRemove(members);
  addPromote(members);
  addTransfer(program);
}

interface ClusterOptions {
  readonly nodes: readonly string[];
  readonly cluster: string;
  readonly deadline: number;
}

function addList(members: Command): void {
  const command = clusterCommand(members, 'list', 'Show the members.').option(
    '--json',
    'print one JSON object',
  );
  command.action(async (options: ClusterOptions & { readonly json?: boolean }) => {
    const client = connectClient({ ...options, name: 'members' });
    try {
      const reports = await client.status(Math.min(options.deadline, STATUS_MS_MAX));
      const configuration = newestConfiguration(reports);
      const leader = newestLeader(reports);
      process.stdout.write(
        options.json === true
          ? `${JSON.stringify({ leader, ...configuration }, null, 2)}\n`
          : renderMembers(configuration, leader),
      );
    } finally {
      await client.close();
    }
  });
  addExample(command, 'mootfs members list --nodes 10.0.0.1:7101,10.0.0.2:7101');
}

function addAdd(members: Command): void {
  const command = clusterCommand(
    members,
    'add',
    'Add a node, or give a member its new address. It learns first, and becomes a voter when it has caught up.',
  )
    .argument('<member>', 'id=host:port; an id that was removed is never taken again', parseMember)
    .option(
      '--learner',
      'it stays a learner until it is promoted: it holds everything and decides nothing',
    )
    .option(
      '--replace <id>',
      'this voter leaves in the same step in which the new one becomes one',
      parseId,
    );
  command.action(async (member: Member, options: ClusterOptions & AddOptions) => {
    const promote = options.learner !== true;
    const replaces = options.replace ?? null;
    const { voters } = await change(options, { type: 'add', ...member, promote, replaces });
    const isVoter = (id: string) => voters.some((voter) => voter.id === id);
    if (replaces === null || !isVoter(member.id) || !isVoter(replaces)) return;
    throw new MootError(
      'MEMBERS_REFUSED',
      `'${member.id}' was a voter already, so it takes nobody's place: mootfs members remove ${replaces}`,
    );
  });
  addExample(
    command,
    'mootfs members add n4=10.0.0.4:7101',
    'mootfs members add n5=10.0.0.5:7101 --replace n2',
  );
}

interface AddOptions {
  readonly learner?: boolean;
  readonly replace?: string;
}

function addRemove(members: Command): void {
  const command = clusterCommand(
    members,
    'remove',
    'Remove a member, the leader too. It stops, and its id is never used again.',
  ).argument('<id>', 'the member', parseId);
  command.action(async (id: string, options: ClusterOptions) => {
    await change(options, { type: 'remove', id });
  });
  addExample(command, 'mootfs members remove n2');
}

function addPromote(members: Command): void {
  const command = clusterCommand(
    members,
    'promote',
    'Make a learner that has caught up a voter.',
  ).argument('<id>', 'the learner', parseId);
  command.action(async (id: string, options: ClusterOptions) => {
    await change(options, { type: 'promote', id });
  });
  addExample(command, 'mootfs members promote n4');
}

function addTransfer(program: Command): void {
  const command = clusterCommand(
    program,
    'transfer',
    'Let another node lead, with no more than a moment without service.',
  ).argument('[node]', 'the voter that is to lead; default: the one that could soonest', parseId);
  command.action(async (node: string | undefined, options: ClusterOptions) => {
    const client = connectClient({ ...options, name: 'transfer' });
    try {
      const leader = await client.transferLeadership(node ?? null);
      process.stdout.write(`${leader} leads\n`);
    } finally {
      await client.close();
    }
  });
  addExample(command, 'mootfs transfer n2', 'mootfs transfer --nodes 10.0.0.1:7101');
}

/** Nodes that do not answer must not keep a person waiting for what the others say. */
const STATUS_MS_MAX = 1_500;

function clusterCommand(parent: Command, name: string, description: string): Command {
  return parent
    .command(name)
    .description(description)
    .exitOverride()
    .showHelpAfterError('(add --help for what there is)')
    .addOption(nodesOption())
    .addOption(clusterOption())
    .addOption(
      setting('--deadline <seconds>', 'how long to try').argParser(deadline).default(30_000, '30'),
    );
}

async function change(
  options: ClusterOptions,
  asked: Parameters<ReturnType<typeof connectClient>['changeMembers']>[0],
): Promise<Configuration> {
  const client = connectClient({ ...options, name: 'members' });
  try {
    const configuration = await client.changeMembers(asked);
    process.stdout.write(renderMembers(configuration, null));
    return configuration;
  } finally {
    await client.close();
  }
}

/** By the node that knows the most. */
function newestConfiguration(reports: readonly NodeReport[]): Configuration {
  const statuses = reports.flatMap(({ status }) => (status === null ? [] : [status]));
  const newest = statuses.sort((a, b) => b.term - a.term || b.lastIndex - a.lastIndex)[0];
  if (newest === undefined) {
    const why = reports.map(({ address, error }) => `${address} (${error})`).join(', ');
    throw new MootError('UNREACHABLE', `no node answers: ${why}`);
  }
  return newest.configuration;
}

function renderMembers(
  { voters, outgoing, learners, removed }: Configuration,
  leader: string | null,
): string {
  const leaving = outgoing.filter(({ id }) => !voters.some((voter) => voter.id === id));
  const rows = [
    ...voters.map(({ id, address }) => [id, address, id === leader ? 'voter, leads' : 'voter']),
    ...leaving.map(({ id, address }) => [id, address, 'leaving']),
    ...learners.map(({ id, address, promote, replaces }) => [
      id,
      address,
      promote
        ? `learning, then a voter${replaces === null ? '' : ` in the place of ${replaces}`}`
        : 'learner',
    ]),
    ...removed
      .filter((id) => !leaving.some((one) => one.id === id))
      .map((id) => [id, '', 'removed']),
  ];
  return `${renderTable(['MEMBER', 'ADDRESS', 'PART'], rows)}\n`;
}
