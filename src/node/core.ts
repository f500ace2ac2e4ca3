import type { Random } from '../base/random.js';
import { configurationCodec } from '../codec/configuration.js';
import { createRaft } from '../raft/raft.js';
import type { NodeId, Raft, RestoredState } from '../raft/types.js';
import type { TickPlan } from './ticker.js';

/** A follower's appends on the way: more messages than a round trip needs, bytes that memory can spare. */
const IN_FLIGHT_MESSAGES_MAX = 128;
const IN_FLIGHT_BYTES_MAX = 8_388_608;
const APPEND_BYTES_MAX = 1_048_576;
/** Proposed and not committed: beyond it clients are told to wait. */
const UNCOMMITTED_BYTES_MAX = 33_554_432;
/** Applied entries kept in memory for followers that lag a little. */
const TAIL_BYTES_MAX = 8_388_608;

/** The consensus core of node `id`, with this runtime's bounds. */
export function createCore(
  id: NodeId,
  plan: TickPlan,
  restored: RestoredState,
  random: Random,
): Raft {
  const { electionTicksMin, electionTicksMax, heartbeatTicks } = plan;
  return createRaft(
    {
      id,
      configurations: configurationCodec,
      ...{ electionTicksMin, electionTicksMax, heartbeatTicks },
      inFlightMessagesMax: IN_FLIGHT_MESSAGES_MAX,
      inFlightBytesMax: IN_FLIGHT_BYTES_MAX,
      appendBytesMax: APPEND_BYTES_MAX,
      uncommittedBytesMax: UNCOMMITTED_BYTES_MAX,
      tailBytesMax: TAIL_BYTES_MAX,
    },
    restored,
    random,
  );
}
