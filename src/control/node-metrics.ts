import type { Node } from '../node/node.js';
import type { StoreFigures } from '../storage/figures.js';
import type { Transport } from '../transport/transport.js';
import type { FuseCounts } from './fuse-counts.js';
import type { DurationHistogram } from './histogram.js';
import { Metrics, ROLES } from './metrics.js';
import type { Monitor } from './monitor.js';
import type { MessageKind } from './traffic.js';

export interface NodeMetricsParts {
  readonly node: Node;
  readonly transport: Transport;
  readonly monitor: Monitor;
  readonly syncs: DurationHistogram;
  readonly stores: Readonly<Record<string, StoreFigures>>;
}

/** Everything at /metrics of a node. */
export function createNodeMetrics(parts: NodeMetricsParts): Metrics {
  const { node, monitor } = parts;
  const metrics = new Metrics();
  const status = () => node.status();

  metrics.gauge('mootfs_build_info', 'Version of the program; always 1.', () => {
    const { version, id } = status();
    return [[{ version, node: id }, 1]];
  });
  metrics.gauge('mootfs_raft_role', '1 for the role that the node has, 0 for the others.', () => {
    const { role } = status();
    return ROLES.map((one) => [{ role: one }, one === role ? 1 : 0]);
  });
  metrics.gauge('mootfs_raft_term', 'Current term.', () => status().term);
  metrics.gauge('mootfs_raft_has_leader', '1 when a leader is known.', () =>
    status().leader === null ? 0 : 1,
  );
  metrics.gauge('mootfs_raft_commit_index', 'Last entry known to be committed.', () => {
    return status().commitIndex;
  });
  metrics.gauge('mootfs_raft_applied_index', 'Last entry applied to the tree.', () => {
    return status().appliedIndex;
  });
  metrics.gauge('mootfs_raft_last_index', 'Last entry of the log.', () => status().lastIndex);
  metrics.gauge('mootfs_raft_snapshot_index', 'Last entry that was compacted away.', () => {
    return status().snapshotIndex;
  });
  metrics.counter(
    'mootfs_raft_leader_changes_total',
    'Times that this node followed or became a leader other than before.',
    () => monitor.leaderChanges,
  );
  metrics.counter(
    'mootfs_raft_truncations_total',
    "Times that uncommitted entries gave way to another leader's.",
    () => monitor.truncations,
  );
  metrics.gauge(
    'mootfs_raft_follower_lag_entries',
    'At the leader: entries that a follower has not acknowledged.',
    () => {
      const { followers, lastIndex } = status();
      return followers.map(({ id, match }) => [{ peer: id }, lastIndex - match]);
    },
  );
  addMessages(metrics, monitor);
  addQueues(metrics, parts);
  metrics.durations(
    'mootfs_commit_duration_seconds',
    'At the leader: from the proposal of a command to its apply.',
    () => [[{}, monitor.latencies.histogram]],
  );
  metrics.durations('mootfs_log_sync_duration_seconds', 'Durable writes to the log.', () => [
    [{}, parts.syncs],
  ]);
  metrics.counter('mootfs_commands_applied_total', 'Commands applied, by type.', () =>
    [...monitor.commands].map(([type, count]) => [{ type }, count]),
  );
  metrics.counter(
    'mootfs_snapshots_total',
    'Log compactions, snapshots sent and installed.',
    () => [
      [{ operation: 'taken' }, monitor.snapshotsTaken],
      [{ operation: 'sent' }, monitor.snapshotsSent],
      [{ operation: 'installed' }, monitor.snapshotsInstalled],
    ],
  );
  metrics.gauge('mootfs_sessions', 'Sessions of clients that are alive.', () => {
    return status().sessionCount;
  });
  metrics.gauge('mootfs_client_connections', 'Clients connected to this node.', () => {
    return monitor.clients;
  });
  metrics.gauge('mootfs_filesystem_inodes', 'Files, directories and the like.', () => {
    return status().inodes;
  });
  metrics.gauge('mootfs_filesystem_bytes', 'Bytes of stored content.', () => status().bytes);
  metrics.gauge('mootfs_rocksdb_property', 'Properties of RocksDB, as in rocksdb/db.h.', () =>
    Object.entries(parts.stores).flatMap(([store, source]) =>
      Object.entries(source.figures()).map(
        ([property, value]) => [{ store, property }, value] as const,
      ),
    ),
  );
  return metrics;
}

function addMessages(metrics: Metrics, { traffic }: Monitor): void {
  const byType = (counts: ReadonlyMap<MessageKind, number>) =>
    [...counts].map(([type, count]) => [{ type }, count] as const);
  metrics.counter('mootfs_messages_sent_total', 'Messages to other nodes, by type.', () =>
    byType(traffic.sent),
  );
  metrics.counter('mootfs_messages_received_total', 'Messages from other nodes, by type.', () =>
    byType(traffic.received),
  );
  metrics.counter('mootfs_entries_sent_total', 'Log entries sent to other nodes.', () => {
    return traffic.entriesSent;
  });
  metrics.counter('mootfs_entries_received_total', 'Log entries received from leaders.', () => {
    return traffic.entriesReceived;
  });
  metrics.counter(
    'mootfs_replication_sent_bytes_total',
    "Bytes of entries' and snapshots' content sent to other nodes.",
    () => traffic.bytesSent,
  );
}

function addQueues(metrics: Metrics, { node, transport }: NodeMetricsParts): void {
  metrics.gauge('mootfs_proposals_waiting', 'Commands of clients that are not decided.', () => {
    return node.inspect().proposals;
  });
  metrics.gauge('mootfs_unapplied_entries', 'Committed entries that are not applied.', () => {
    const { commitIndex, appliedIndex } = node.status();
    return commitIndex - appliedIndex;
  });
  metrics.gauge(
    'mootfs_peer_queue_bytes',
    'Bytes for another node that wait for the network.',
    () => {
      const { id, peers } = node.status();
      return peers
        .filter((peer) => peer.id !== id)
        .map((peer) => [{ peer: peer.id }, transport.queuedBytes(peer.id)]);
    },
  );
  metrics.gauge('mootfs_peer_connected', '1 when there is a connection to another node.', () => {
    const { id, peers } = node.status();
    return peers
      .filter((peer) => peer.id !== id)
      .map((peer) => [{ peer: peer.id }, peer.connected ? 1 : 0]);
  });
}

/** Operations of a mount in this process. */
export function addFuseMetrics(metrics: Metrics, counts: FuseCounts): void {
  metrics.durations('mootfs_fuse_request_duration_seconds', "The kernel's requests, by type.", () =>
    [...counts.operations].map(([operation, { durations }]) => [{ operation }, durations]),
  );
  metrics.counter(
    'mootfs_fuse_queries_total',
    'Questions of the mount: answered from memory, or asked of a node.',
    () => [
      [{ type: 'kept' }, counts.queries.kept],
      [{ type: 'asked' }, counts.queries.asked],
    ],
  );
  metrics.counter('mootfs_fuse_errors_total', 'Requests answered with an errno, by type.', () =>
    [...counts.operations].map(([operation, { errors }]) => [{ operation }, errors]),
  );
}
