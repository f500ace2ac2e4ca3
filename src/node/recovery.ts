import { MootError } from '../base/errors.js';
import { membersOf } from '../raft/membership.js';
import type { RestoredState, SnapshotMark } from '../raft/types.js';
import type { RestoredLog } from '../storage/log-store.js';
import { openMembers } from './members.js';
import type { NodeParts } from './node.js';
import type { Tree } from './tree.js';

/** Opens log and tree, mends what a crash left between them, and finds out who decides. */
export async function openStores(
  { log, state, config }: Pick<NodeParts, 'log' | 'state' | 'config'>,
  tree: Pick<Tree, 'open'>,
): Promise<{ readonly restored: RestoredState; readonly treeMark: SnapshotMark }> {
  const treeMark = await tree.open();
  const opened = await log.open();
  const { restored, resetTo } = fitTogether(opened, treeMark);
  const configuration = await openMembers(state, treeMark, restored, config.peers);
  const others = membersOf(configuration.configuration).filter(({ id }) => id !== config.id);
  const alone = others.length === 0 && config.peers.length > 0;
  if (restored.hardState.recovering && alone && restored.lastIndex > 0) {
    throw new MootError('DATA_CORRUPT', 'the log is lost, and there is no other node to ask');
  }
  if (resetTo !== null) await log.reset(resetTo);
  else if (opened.preparedReset !== null) await log.prepareReset(null);
  return { restored: { ...restored, configuration }, treeMark };
}

/**
 * How the log and the tree of one node fit together when it starts.
 *
 * The tree never gets ahead of the log: entries are applied when they are durable in the own log.
 * There is one exception. Installing a snapshot takes three durable steps: the log says which tree is
 * to come; the tree is replaced; the log is emptied and starts behind the tree. So a tree that the log
 * was told of is in order, and the last step is then done again. Term and vote stay as they are: what
 * goes was not committed, or is in the tree (Raft.wantsSnapshot). A log that was lost as a whole is
 * mended the same way, but its node is recovering: it neither votes nor stands until it has caught up, so
 * nothing that it promised can be broken. On any other node a log that lacks what the tree has was
 * damaged.
 */
export function fitTogether(
  log: RestoredLog,
  tree: SnapshotMark,
): {
  readonly restored: Omit<RestoredState, 'configuration'>;
  readonly resetTo: SnapshotMark | null;
} {
  if (tree.index < log.snapshot.index) {
    throw new MootError(
      'DATA_CORRUPT',
      `the tree stands at index ${tree.index}, and the log begins behind ${log.snapshot.index}: ` +
        'what is between them is lost. Start this node with an empty data directory; the others rebuild it',
    );
  }
  const { preparedReset, ...rest } = log;
  const hardState = { ...log.hardState, recovering: log.hardState.recovering || isFresh(log) };
  if (tree.index <= log.lastIndex && termAt(log, tree.index) === tree.term) {
    return { restored: { ...rest, hardState, appliedIndex: tree.index }, resetTo: null };
  }
  const isPrepared = preparedReset?.index === tree.index && preparedReset.term === tree.term;
  if (!hardState.recovering && !isPrepared) {
    throw new MootError(
      'DATA_CORRUPT',
      `the tree stands at index ${tree.index} of term ${tree.term}, and the log, which ends at ` +
        `index ${log.lastIndex}, does not have it. Start this node with an empty data directory; the others rebuild it`,
    );
  }
  return {
    restored: {
      hardState,
      snapshot: tree,
      lastIndex: tree.index,
      termRuns: [],
      appliedIndex: tree.index,
      configurationEntries: [],
    },
    resetTo: tree,
  };
}

/** Nothing was ever written to this log. */
function isFresh(log: RestoredLog): boolean {
  return log.lastIndex === 0 && log.snapshot.index === 0 && log.hardState.term === 0;
}

/** The term of an index that is in the log or that the log starts behind. */
function termAt(log: RestoredLog, index: number): number {
  if (index === log.snapshot.index) return log.snapshot.term;
  return log.termRuns.findLast((run) => run.first <= index)?.term ?? log.snapshot.term;
}
