import { type Random, randomBetween } from '../base/random.js';
import type { Configuration, Member, MemberChange, NodeId } from './types.js';

/**
 * More members than anybody needs: a commit waits for a majority of them, and the leader sends
 * everything to each.
 */
export const MEMBERS_MAX = 64;
/** Ids that were used; a configuration is in every snapshot and stays far below an entry's size. */
export const REMOVED_MAX = 4096;

/** Incarnations are drawn from so many: two that meet are not the same by chance. */
export const INCARNATIONS = 2 ** 48;

/** Of a cluster that nobody has begun. */
export const NO_MEMBERS: Configuration = {
  voters: [],
  outgoing: [],
  learners: [],
  removed: [],
  incarnation: 0,
};

/** Another incarnation of a cluster; never 0. */
export function drawIncarnation(random: Random): number {
  return randomBetween(random, 1, INCARNATIONS);
}

export function isJoint(configuration: Configuration): boolean {
  return configuration.outgoing.length > 0;
}

/** Counts for some majority. */
export function isVoter(configuration: Configuration, id: NodeId): boolean {
  return has(configuration.voters, id) || has(configuration.outgoing, id);
}

export function isRemoved(configuration: Configuration, id: NodeId): boolean {
  const { voters, outgoing, learners, removed } = configuration;
  if (has(voters, id) || has(outgoing, id) || has(learners, id)) return false;
  return removed.includes(id);
}

/** All who are sent the log, each once: voters, then learners, then who is about to leave. */
export function membersOf({ voters, learners, outgoing }: Configuration): readonly Member[] {
  const members: Member[] = [...voters, ...learners];
  for (const member of outgoing) if (!has(members, member.id)) members.push(member);
  return members;
}

/** The end of a change by joint consensus: the old majority is not asked any more. */
export function leaveJoint(configuration: Configuration): Configuration {
  return { ...configuration, outgoing: [] };
}

/**
 * The configuration after these changes, joint when the voters differ: even of a single voter, so
 * that there is one way for all changes. A sentence when it cannot be done.
 */
export function changed(
  before: Configuration,
  changes: readonly MemberChange[],
): Configuration | string {
  let after = before;
  for (const change of changes) {
    const next = changedOnce(after, change);
    if (typeof next === 'string') return next;
    after = next;
  }
  if (after.voters.length === 0) return 'the last voter cannot be removed: somebody must decide';
  if (membersOf(after).length > MEMBERS_MAX) return `there can be ${MEMBERS_MAX} members at most`;
  if (after.removed.length > REMOVED_MAX) {
    return `${REMOVED_MAX} nodes were removed from this cluster, and it cannot remember more`;
  }
  return sameVoters(before.voters, after.voters) ? after : { ...after, outgoing: before.voters };
}

function changedOnce(before: Configuration, change: MemberChange): Configuration | string {
  const { voters, learners, removed } = before;
  const { id } = change;
  if (change.type === 'remove') {
    if (removed.includes(id)) return before;
    if (!has(voters, id) && !has(learners, id)) return `there is no member '${id}'`;
    return {
      ...before,
      voters: without(voters, id),
      learners: without(learners, id),
      removed: [...removed, id],
    };
  }
  if (removed.includes(id)) {
    return `'${id}' was removed from this cluster, and no id is used twice: choose another one`;
  }
  if (change.type === 'add') return added(before, change);
  if (has(voters, id)) return before;
  const learner = learners.find((one) => one.id === id);
  if (learner === undefined) return `there is no learner '${id}'`;
  const { address, replaces } = learner;
  const leaves = replaces !== null && has(voters, replaces) ? replaces : null;
  return {
    ...before,
    voters: [...(leaves === null ? voters : without(voters, leaves)), { id, address }],
    learners: without(learners, id),
    removed: leaves === null ? removed : [...removed, leaves],
  };
}

function added(
  before: Configuration,
  change: Extract<MemberChange, { type: 'add' }>,
): Configuration | string {
  const { voters, learners } = before;
  const { id, address, promote, replaces } = change;
  const other = [...voters, ...learners].find((one) => one.address === address && one.id !== id);
  if (other !== undefined) return `'${other.id}' has the address ${address}`;
  const voter = voters.find((one) => one.id === id);
  if (voter !== undefined) {
    if (voter.address === address) return before;
    return { ...before, voters: voters.map((one) => (one === voter ? { id, address } : one)) };
  }
  const present = learners.find((one) => one.id === id);
  // Whom it was to replace may have been removed since; then it replaces nobody.
  if (replaces !== null && replaces !== present?.replaces) {
    if (!has(voters, replaces)) return `there is no voter '${replaces}' to be replaced`;
    const rival = learners.find((one) => one.replaces === replaces && one.id !== id);
    if (rival !== undefined) return `'${rival.id}' replaces '${replaces}' already`;
  }
  if (
    present?.address === address &&
    present.promote === promote &&
    present.replaces === replaces
  ) {
    return before;
  }
  return { ...before, learners: [...without(learners, id), { id, address, promote, replaces }] };
}

/** The voters are the same, so that what one majority decides the other knows. */
function sameVoters(a: readonly Member[], b: readonly Member[]): boolean {
  return a.length === b.length && a.every(({ id }) => has(b, id));
}

function has(members: readonly Member[], id: NodeId): boolean {
  return members.some((member) => member.id === id);
}

function without<M extends Member>(members: readonly M[], id: NodeId): readonly M[] {
  return members.filter((member) => member.id !== id);
}
