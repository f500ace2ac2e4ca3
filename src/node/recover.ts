import type { Timespec } from '../base/clock.js';
import { MootError } from '../base/errors.js';
import type { Random } from '../base/random.js';
import { decodeLogCommand } from '../codec/commands.js';
import { configurationCodec } from '../codec/configuration.js';
import { drawIncarnation, isRemoved, membersOf, NO_MEMBERS } from '../raft/membership.js';
import type { Configuration, NodeId, SnapshotMark } from '../raft/types.js';
import type { LogStore, RestoredLog } from '../storage/log-store.js';
import type { StateStore } from '../storage/state-store.js';
import { storedMembers } from './members.js';
import { fitTogether } from './recovery.js';

/** What one surviving data directory holds, for a person to decide whether to go on with it alone. */
export interface Survivor {
  readonly id: NodeId;
  readonly address: string;
  /** All others; their ids are never used again. */
  readonly others: readonly NodeId[];
  readonly lastIndex: number;
  /** Of the last entry: of two logs the one with the higher term has what was acknowledged (thesis §3.6.1). */
  readonly lastTerm: number;
  readonly appliedIndex: number;
  /** The leader's clock at the last command in the log; null: the log holds none. */
  readonly lastChange: Timespec | null;
  /** It was being rebuilt from the others, and may lack anything. */
  readonly recovering: boolean;
}

/**
 * With a majority lost for ever: makes `id` the only member of the cluster that the stores are of.
 * One entry says so, behind everything in the log and in a new term, and is in force as soon as it
 * is there (thesis §4.1). Nothing is cut off: what is in the log may have been acknowledged. What
 * was not takes effect as well. `confirm` sees what there is and is false when nothing is to be
 * changed. `address`: where the node is reached from now on; null: as before. The stores are not
 * open yet, and are closed at the end. No other node may go on under the old configuration: its
 * majority would be another cluster.
 */
export async function recoverAlone(
  {
    id,
    address,
    random,
  }: { readonly id: NodeId; readonly address: string | null; readonly random: Random },
  log: LogStore,
  state: StateStore,
  confirm: (survivor: Survivor) => boolean,
): Promise<Survivor> {
  try {
    const mark = await state.open();
    const { restored, resetTo } = fitTogether(await log.open(), mark);
    const before =
      (await configurationInForce(state, restored)) ??
      (address === null ? null : { ...NO_MEMBERS, voters: [{ id, address }] });
    if (before === null) {
      throw new MootError(
        'BAD_ARGUMENT',
        'neither log nor tree says who the members are: say at which address this node is reached',
      );
    }
    const self = membersOf(before).find((member) => member.id === id);
    if (self === undefined || isRemoved(before, id)) {
      throw new MootError(
        'BAD_ARGUMENT',
        `'${id}' is no member of its cluster: take another one's`,
      );
    }
    const others = membersOf(before).flatMap((member) => (member.id === id ? [] : member.id));
    const survivor: Survivor = {
      id,
      address: address ?? self.address,
      others,
      lastIndex: restored.lastIndex,
      lastTerm: restored.termRuns.at(-1)?.term ?? restored.snapshot.term,
      appliedIndex: mark.index,
      lastChange: await lastChange(log, restored),
      recovering: restored.hardState.recovering,
    };
    if (!confirm(survivor)) return survivor;
    if (resetTo !== null) await log.reset(resetTo);
    const after: Configuration = {
      ...NO_MEMBERS,
      voters: [{ id, address: survivor.address }],
      removed: [...new Set([...before.removed, ...others])],
      // Old nodes that go on under the old one are of another cluster.
      incarnation: drawIncarnation(random),
    };
    const term = restored.hardState.term + 1;
    const data = configurationCodec.encode(after);
    await log.append([
      {
        number: 1,
        hardState: { term, vote: id, recovering: false, incarnation: after.incarnation },
        truncateFrom: null,
        entries: [{ index: restored.lastIndex + 1, term, kind: 'configuration', data }],
      },
    ]);
    return survivor;
  } finally {
    await log.close();
    await state.close();
  }
}

/**
 * The newest in the log, or else the tree's. null: the first one, which is in no log, was lost with
 * the power before the tree was first synced.
 */
async function configurationInForce(
  state: StateStore,
  { configurationEntries }: Pick<RestoredLog, 'configurationEntries'>,
): Promise<Configuration | null> {
  const newest = configurationEntries.at(-1);
  const decoded = newest === undefined ? null : configurationCodec.decode(newest.data);
  return decoded ?? (await storedMembers(state))?.configuration ?? null;
}

async function lastChange(
  log: LogStore,
  { snapshot, lastIndex }: { readonly snapshot: SnapshotMark; readonly lastIndex: number },
): Promise<Timespec | null> {
  for (let index = lastIndex; index > snapshot.index; index--) {
    const [entry] = await log.read(index, index, 1);
    if (entry?.kind === 'command') return decodeLogCommand(entry.data).time;
  }
  return null;
}
