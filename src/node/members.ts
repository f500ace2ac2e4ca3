import { MootError } from '../base/errors.js';
import { decodeConfigurationAt, encodeConfigurationAt } from '../codec/configuration.js';
import { MEMBERS } from '../filesystem/keys.js';
import type {
  Configuration,
  ConfigurationAt,
  Member,
  RestoredState,
  SnapshotMark,
} from '../raft/types.js';
import type { StateStore } from '../storage/state-store.js';

/**
 * Who decides, as the tree at `mark` knows it. The members that a node is started with count until
 * there is something in its log; from then on only what came by the log or in a snapshot counts.
 */
export async function openMembers(
  state: StateStore,
  mark: SnapshotMark,
  { lastIndex }: Pick<RestoredState, 'lastIndex'>,
  first: readonly Member[],
): Promise<ConfigurationAt> {
  const stored = await storedMembers(state);
  if (stored !== null && (lastIndex > 0 || mark.index > 0)) return stored;
  const voters = first.map(({ id, address }) => ({ id, address }));
  const given = {
    index: 0,
    configuration: { voters, outgoing: [], learners: [], removed: [], incarnation: 0 },
  };
  await state.write([{ type: 'put', key: MEMBERS, value: encodeConfigurationAt(given) }], mark);
  return given;
}

/** For the node's log. */
export function membersText({ voters, outgoing, learners }: Configuration): string {
  const ids = (members: readonly Member[]) => members.map(({ id }) => id).join(', ');
  return [
    ids(voters),
    outgoing.length > 0 ? ` (until that is agreed also a majority of ${ids(outgoing)})` : '',
    learners.length > 0 ? `; learning: ${ids(learners)}` : '',
  ].join('');
}

/** null: the tree is from before anybody wrote them down, or empty. Fails with DATA_CORRUPT. */
export async function storedMembers(state: StateStore): Promise<ConfigurationAt | null> {
  const [stored] = await state.get([MEMBERS]);
  if (stored === undefined) return null;
  try {
    return decodeConfigurationAt(stored);
  } catch (cause) {
    throw new MootError('DATA_CORRUPT', "the tree's record of the members is damaged", { cause });
  }
}
