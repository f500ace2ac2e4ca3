import type { Clock } from '../base/clock.js';
import { checkCommand } from '../filesystem/check.js';
import type { Command, LogCommand } from '../filesystem/commands.js';
import { spaceOf } from '../filesystem/quota.js';
import type { Service } from './clients.js';
import type { NodeParts } from './node.js';
import type { Office } from './office.js';
import { checkSession, type Decide, type Decision, type Proposals } from './proposals.js';
import { Queries } from './queries.js';
import type { Reads } from './reads.js';
import type { Tree } from './tree.js';
import type { Watches } from './watches.js';
import type { WriteAll } from './write-all.js';

/** What needs no more than passing on. */
type Passed = Pick<
  Service,
  'closed' | 'leader' | 'leases' | 'status' | 'snapshot' | 'changeMembers' | 'transferLeadership'
>;

export interface ServiceParts extends Passed {
  readonly clock: Clock;
  readonly diskSpace: NodeParts['diskSpace'];
  /** Why a command must not enter the log. */
  readonly refusal: (command: Command) => 'ENOSPC' | 'EDQUOT' | null;
  readonly tree: Tree;
  readonly reads: Reads;
  readonly proposals: Proposals;
  readonly office: Office;
  readonly watches: Watches;
  readonly writeAll: WriteAll | null;
  readonly leads: () => boolean;
  readonly leaderKnown: () => boolean;
  readonly propose: (command: LogCommand, decide: Decide) => void;
  /** Something was asked that the next turn begins. */
  readonly onTurn: () => void;
  readonly onFailed: (error: unknown) => void;
}

const REFUSED = {
  ENOSPC: ({ type }: Command) => `${type}: a node's disk is nearly full`,
  EDQUOT: ({ type }: Command) => `${type}: the quota is reached`,
} as const;

/** Commands that wait until it is confirmed that they are refused. */
const UNCONFIRMED_SPACE_MAX = 33_554_432;

/** How a leader's command ends that is no leader, or not any more. */
const DEPOSED: Decision = {
  type: 'refused',
  code: 'NOT_LEADER',
  message: 'this node does not lead',
};

/** What a node does for its clients. */
export function createService(parts: ServiceParts): Service {
  const { tree, reads, leases, watches, proposals, office, writeAll, leads, onTurn } = parts;
  const { clock, diskSpace, leaderKnown, onFailed } = parts;
  const queries = new Queries({ tree, reads, clock, diskSpace, leaderKnown, onFailed });
  const { closed, leader, status, snapshot, changeMembers, transferLeadership } = parts;
  let unconfirmedSpace = 0;
  const confirm: Service['confirm'] = (confirmed, refused) => {
    reads.strong(() => confirmed(tree.applied.index), refused);
    onTurn();
  };
  return {
    ...{ closed, leader, status, snapshot, changeMembers, transferLeadership, leases, watches },
    submit: (request, decide) => {
      const { session, sequence, acknowledged, command } = request;
      const problem = checkSession(request) ?? checkCommand(command);
      if (problem !== null) {
        decide({ type: 'refused', code: 'BAD_ARGUMENT', message: problem });
      } else if (!leads()) {
        decide(DEPOSED);
      } else {
        office.heard(session);
        const propose = () =>
          parts.propose(proposals.stamp(session, sequence, acknowledged, command), decide);
        const space = spaceOf(command);
        if (parts.refusal(command) === null) propose();
        else if (unconfirmedSpace + space > UNCONFIRMED_SPACE_MAX) {
          decide({
            type: 'refused',
            code: 'BUSY',
            message: 'too many commands wait to be refused',
          });
        } else {
          unconfirmedSpace += space;
          // Where another one leads by now, room may have been made.
          const confirmed = () => {
            unconfirmedSpace -= space;
            // By a leader after this one, perhaps: how full disks are only that one is told.
            if (!leads()) return decide(DEPOSED);
            const refusal = parts.refusal(command);
            if (refusal === null) propose();
            else decide({ type: 'refused', code: refusal, message: REFUSED[refusal](command) });
          };
          confirm(confirmed, () => {
            unconfirmedSpace -= space;
            decide(DEPOSED);
          });
        }
      }
    },
    query: (request, answer, refuse) => {
      if (request.level === 'strong' && leases.on && !leads()) {
        // What clients keep under leases, and must forget first, only the leader knows.
        if (!leaderKnown()) refuse('NO_LEADER', 'no leader is known');
        else refuse('NOT_LEADER', 'this node does not lead');
        return;
      }
      queries.ask(writeAll?.atOwnTree(request) ?? request, answer, refuse);
      onTurn();
    },
    confirm,
    look: (key) => tree.look(key),
  };
}
