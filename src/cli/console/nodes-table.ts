import type { ClusterLink } from '../../control/cluster-link.js';
import { renderTable } from '../table.js';

const HEADER = [
  ...['NODE', 'ROLE', 'TERM', 'VOTE', 'LEADER', 'COMMIT', 'APPLIED', 'LAST', 'SNAPSHOT'],
  ...['STATE', 'SPEED', 'CUT FROM'],
];

/** Every node as the console sees it; of a dead one nothing is claimed. */
export function renderNodes(cluster: ClusterLink): string {
  const rows = cluster.nodes.map(({ document: d, up }) => {
    if (!up) return [d.id, 'dead'];
    return [
      ...[d.id, d.recovering ? 'recovering' : d.role, String(d.term), d.vote ?? '', d.leader ?? ''],
      ...[d.commitIndex, d.appliedIndex, d.lastIndex, d.snapshotIndex].map(String),
      ...[d.stateHash, d.faults.slowMs > 0 ? `+${d.faults.slowMs} ms` : ''],
      d.faults.cutFrom.join(','),
    ];
  });
  return renderTable(HEADER, rows);
}
