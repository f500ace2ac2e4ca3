import { FRAME_BYTES_MAX } from '../../src/codec/limits.js';
import type { NodeInspection } from '../../src/node/node.js';
import { CLIENT_QUEUE_BYTES_MAX } from '../../src/transport/rules.js';
import { ensure } from './laws.js';
import type { SimNetwork } from './network.js';
import type { Server } from './server.js';

/** node/core.ts has these; one message may go beyond the bytes. */
const IN_FLIGHT_MESSAGES_MAX = 128;
const IN_FLIGHT_BYTES_MAX = 8_388_608 + 1_048_576;
/** Few programs, each with one command at a time, and what sessions and locks need beside. */
const PROPOSALS_MAX = 200;

/** Law: what waits anywhere has a bound. Throws when it is broken. */
export function checkBounds(servers: readonly Server[], network: SimNetwork): void {
  for (const { id, inspection } of servers) {
    if (inspection === null) continue;
    const { proposals, raft } = inspection;
    ensure(proposals <= PROPOSALS_MAX, `${id} keeps ${proposals} commands that are not decided`);
    for (const { id: to, inFlightMessages, inFlightBytes } of raft.followers) {
      ensure(
        inFlightMessages <= IN_FLIGHT_MESSAGES_MAX && inFlightBytes <= IN_FLIGHT_BYTES_MAX,
        `${id} has ${inFlightMessages} messages of ${inFlightBytes} bytes on their way to ${to}`,
      );
    }
  }
  for (const { queuedBytes, remote } of network.wires) {
    ensure(
      queuedBytes <= CLIENT_QUEUE_BYTES_MAX + FRAME_BYTES_MAX,
      `${queuedBytes} bytes wait for ${remote}`,
    );
  }
}

/** Nothing waits at any node: in a calm world that comes again and again. */
export function isIdle(servers: readonly Server[]): boolean {
  return servers.every(({ inspection }) => inspection === null || waitsForNothing(inspection));
}

function waitsForNothing({ proposals, raft }: NodeInspection): boolean {
  return (
    proposals === 0 &&
    raft.followers.every(
      // A follower that is away may keep its window full.
      ({ inFlightMessages, recentlyActive }) => inFlightMessages === 0 || !recentlyActive,
    )
  );
}
