import { MootError } from '../../base/errors.js';
import type { ClusterLink } from '../../control/cluster-link.js';

const DURATION = /^(\d+(?:\.\d+)?)(ms|s)$/;

/** `250ms`, `2s`; null: no duration. */
export function parseDuration(text: string): number | null {
  const match = DURATION.exec(text);
  if (match === null) return null;
  return Number(match[1]) * (match[2] === 's' ? 1000 : 1);
}

export const CONDITION_HELP =
  'leader [NODE], no-leader, equal, NODE leader|follower|candidate|up|down, committed INDEX';

const STATES: Readonly<Record<string, (cluster: ClusterLink, id: string) => boolean>> = {
  leader: (cluster, id) => cluster.get(id).up && cluster.leader?.id === id,
  follower: (cluster, id) => isRole(cluster, id, 'follower'),
  candidate: (cluster, id) =>
    isRole(cluster, id, 'candidate') || isRole(cluster, id, 'pre-candidate'),
  up: (cluster, id) => cluster.get(id).up,
  down: (cluster, id) => !cluster.get(id).up,
};

/** What `wait` waits for and `expect` demands. Fails with BAD_ARGUMENT when the words mean nothing. */
export function parseCondition(words: readonly string[], cluster: ClusterLink): () => boolean {
  const [first = '', second] = words;
  if (first === 'leader' && second === undefined) return () => everybodyFollows(cluster);
  if (first === 'leader' && words.length === 2) return stateOf(cluster, second ?? '', 'leader');
  if (first === 'no-leader' && words.length === 1) return () => cluster.leader === null;
  if (first === 'equal' && words.length === 1) return () => areEqual(cluster);
  if (first === 'committed' && /^\d+$/.test(second ?? '')) {
    return () => cluster.documents.some(({ commitIndex }) => commitIndex >= Number(second));
  }
  if (words.length === 2) return stateOf(cluster, first, second ?? '');
  throw new MootError('BAD_ARGUMENT', `'${words.join(' ')}' is none of: ${CONDITION_HELP}`);
}

function stateOf(cluster: ClusterLink, id: string, state: string): () => boolean {
  const test = Object.hasOwn(STATES, state) ? STATES[state] : undefined;
  if (test === undefined) {
    throw new MootError('BAD_ARGUMENT', `'${state}' is none of: ${Object.keys(STATES).join(', ')}`);
  }
  cluster.get(id);
  return () => test(cluster, id);
}

function isRole(cluster: ClusterLink, id: string, role: string): boolean {
  const { up, document } = cluster.get(id);
  return up && document.role === role;
}

export function everybodyFollows(cluster: ClusterLink): boolean {
  const { leader, documents, nodes } = cluster;
  const followers = documents.filter((one) => one.leader === leader?.id);
  return (
    leader !== null && followers.length === documents.length && documents.length > nodes.length / 2
  );
}

function areEqual({ documents }: ClusterLink): boolean {
  const states = new Set(documents.map((one) => `${one.appliedIndex} ${one.stateHash}`));
  return states.size === 1;
}
