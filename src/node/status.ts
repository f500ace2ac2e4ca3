import type { NodeStatus } from '../codec/client-messages.js';
import { membersOf } from '../raft/membership.js';
import type { RaftStatus } from '../raft/types.js';
import type { NodeParts } from './node.js';
import { hashText } from './state-hash.js';
import type { Tree } from './tree.js';

/**
 * Sessions that a status names: what a person can look at. Clients ask for it often while they seek a
 * leader, and thousands of the longest names would not fit a frame.
 */
const SESSIONS_MAX = 256;

/** What a node says of itself, from what its pieces know. */
export function nodeStatus(
  parts: NodeParts,
  raft: RaftStatus,
  tree: Tree,
  startedMs: number,
  concerns: Pick<NodeStatus, 'leaseMs' | 'sessionTimeoutMs' | 'writeConcern' | 'liveVoters'>,
): NodeStatus {
  const { config, transport } = parts;
  const { counters } = tree;
  return {
    version: parts.version,
    cluster: config.cluster,
    id: config.id,
    address: config.address,
    role: raft.role,
    term: raft.term,
    leader: raft.leader,
    recovering: raft.recovering,
    commitIndex: raft.commitIndex,
    appliedIndex: tree.applied.index,
    lastIndex: raft.lastIndex,
    snapshotIndex: raft.snapshotIndex,
    stateHash: hashText(counters.hash),
    inodes: counters.inodes,
    bytes: counters.bytes,
    sessions: firstSessions(tree),
    sessionCount: tree.sessions.size,
    configuration: raft.configuration.configuration,
    peers: membersOf(raft.configuration.configuration).map(({ id, address }) => ({
      id,
      address,
      connected: id === config.id || transport.connected(id),
    })),
    followers: raft.followers,
    control: config.control ?? null,
    uptimeMs: Math.round(parts.clock.monotonicMs() - startedMs),
    memoryBytes: parts.memoryBytes(),
    ...concerns,
  };
}

function firstSessions({ sessions }: Tree): NodeStatus['sessions'] {
  const first: NodeStatus['sessions'][number][] = [];
  for (const { id, name } of sessions.values()) {
    if (first.length === SESSIONS_MAX) break;
    first.push({ id, name });
  }
  return first;
}
