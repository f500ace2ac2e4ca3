import type { FollowerStatus, Role } from '../raft/types.js';
import type { NodeStatus, WriteConcern } from './client-messages.js';
import { packConfiguration, unpackConfiguration } from './configuration.js';
import { ADDRESS_CHARS_MAX, LABEL_CHARS_MAX, STATUS_ITEMS_MAX } from './limits.js';
import { Reader } from './reader.js';
import { oneOf, type Packed } from './values.js';

const ROLES: readonly Role[] = ['follower', 'pre-candidate', 'candidate', 'leader'];
const WRITE_CONCERNS: readonly WriteConcern[] = ['majority', 'all'];
const STATES: readonly FollowerStatus['state'][] = ['probe', 'replicate', 'snapshot'];

export function packStatus(s: NodeStatus): Packed {
  return [
    s.version,
    s.cluster,
    s.id,
    s.address,
    ROLES.indexOf(s.role),
    s.term,
    s.leader,
    s.recovering,
    s.commitIndex,
    s.appliedIndex,
    s.lastIndex,
    s.snapshotIndex,
    s.stateHash,
    s.inodes,
    s.bytes,
    s.sessions.map((session) => [session.id, session.name]),
    s.sessionCount,
    s.peers.map((peer) => [peer.id, peer.address, peer.connected]),
    s.followers.map(packFollower),
    s.control,
    Math.floor(s.uptimeMs),
    s.memoryBytes,
    s.leaseMs,
    WRITE_CONCERNS.indexOf(s.writeConcern),
    s.liveVoters,
    packConfiguration(s.configuration),
    s.sessionTimeoutMs,
  ];
}

export function unpackStatus(packed: unknown): NodeStatus {
  const r = new Reader(packed, 'status');
  return {
    version: r.string('version', LABEL_CHARS_MAX),
    cluster: r.string('cluster', LABEL_CHARS_MAX),
    id: r.string('id', LABEL_CHARS_MAX),
    address: r.string('address', ADDRESS_CHARS_MAX),
    role: oneOf(r, 'status.role', ROLES),
    term: r.uint('term'),
    leader: r.nullableString('leader', LABEL_CHARS_MAX),
    recovering: r.bool('recovering'),
    commitIndex: r.uint('commitIndex'),
    appliedIndex: r.uint('appliedIndex'),
    lastIndex: r.uint('lastIndex'),
    snapshotIndex: r.uint('snapshotIndex'),
    stateHash: r.string('stateHash', LABEL_CHARS_MAX),
    inodes: r.uint('inodes'),
    bytes: r.uint('bytes'),
    sessions: r.array('sessions', STATUS_ITEMS_MAX).map((item) => {
      const s = new Reader(item, 'status.session');
      return { id: s.uint('id'), name: s.string('name', LABEL_CHARS_MAX) };
    }),
    sessionCount: r.uint('sessionCount'),
    peers: r.array('peers', STATUS_ITEMS_MAX).map((item) => {
      const p = new Reader(item, 'status.peer');
      return {
        id: p.string('id', LABEL_CHARS_MAX),
        address: p.string('address', ADDRESS_CHARS_MAX),
        connected: p.bool('connected'),
      };
    }),
    followers: r.array('followers', STATUS_ITEMS_MAX).map(unpackFollower),
    control: r.nullableString('control', ADDRESS_CHARS_MAX),
    uptimeMs: r.uint('uptimeMs'),
    memoryBytes: r.uint('memoryBytes'),
    leaseMs: r.uint('leaseMs'),
    writeConcern: oneOf(r, 'status.writeConcern', WRITE_CONCERNS),
    liveVoters: r.array('liveVoters', STATUS_ITEMS_MAX).map((item) => {
      return new Reader([item], 'status.liveVoter').string('id', LABEL_CHARS_MAX);
    }),
    configuration: unpackConfiguration(r.any('configuration')),
    sessionTimeoutMs: r.uint('sessionTimeoutMs'),
  };
}

function packFollower(f: FollowerStatus): Packed {
  return [
    f.id,
    f.match,
    f.next,
    STATES.indexOf(f.state),
    f.inFlightMessages,
    f.inFlightBytes,
    f.recentlyActive,
    f.counts,
  ];
}

function unpackFollower(packed: unknown): FollowerStatus {
  const r = new Reader(packed, 'status.follower');
  return {
    id: r.string('id', LABEL_CHARS_MAX),
    match: r.uint('match'),
    next: r.uint('next'),
    state: oneOf(r, 'status.follower.state', STATES),
    inFlightMessages: r.uint('inFlightMessages'),
    inFlightBytes: r.uint('inFlightBytes'),
    recentlyActive: r.bool('recentlyActive'),
    counts: r.bool('counts'),
  };
}
