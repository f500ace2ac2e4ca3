import type { ErrorCode } from '../base/errors.js';

/** Numbers that both ends of a connection live by. */

/** From the first byte to the greeting; a slow machine needs less, a stranger gets no more. */
export const GREETING_TIMEOUT_MS = 5_000;

/** Each side pings the other this often … */
export const PING_INTERVAL_MS = 1_000;
/** … and gives up after so many intervals in which it heard nothing. Intervals, not time: an own pause does not count. */
export const SILENT_INTERVALS_MAX = 4;

/** After a close frame the other side has this long to answer it. */
const CLOSE_TIMEOUT_MS = 1_000;

export const REDIAL_MIN_MS = 50;
export const REDIAL_MAX_MS = 1_000;

/** More than Raft's in-flight window and one snapshot window; beyond it a message is dropped, as Raft allows. */
export const PEER_QUEUE_BYTES_MAX = 32 * 1024 * 1024;

/** A client, or a node seen by a client, that does not read what it asked for is left beyond this. */
export const CLIENT_QUEUE_BYTES_MAX = 64 * 1024 * 1024;

/** Answers to pings that were not read; a node of ours has one on its way. */
export const PONG_QUEUE_BYTES_MAX = CLIENT_QUEUE_BYTES_MAX;

/** Clients at one node; each may hold one unfinished frame in memory. */
export const CLIENTS_MAX = 1_024;
/** Connections of all kinds: however many clients there are, members find a place, also before their last connection is found dead. */
export const CONNECTIONS_MAX = CLIENTS_MAX + 256;

/** Parts of one WebSocket message; our own frames have one. */
const FRAGMENTS_MAX = 64;

/** Pieces of a frame that is not complete: a frame of 8 MiB in reads of 2 KiB; smaller ones are somebody's trickle. */
const PIECES_MAX = 4_096;

/** For both ends of every connection. Nothing is compressed: most of it is files' content, and local networks are fast. */
export const WEBSOCKET_OPTIONS = {
  perMessageDeflate: false,
  maxFragments: FRAGMENTS_MAX,
  maxBufferedChunks: PIECES_MAX,
  closeTimeout: CLOSE_TIMEOUT_MS,
} as const;

/** HTTP headers of the upgrade. */
export const HEADER_BYTES_MAX = 8_192;

/** Lines about bad connections within a window; what is more is counted. */
export const REPORTS_MAX = 20;
export const REPORTS_WINDOW_MS = 10_000;

/** WebSocket close codes (RFC 6455 §7.4.2 leaves 4000–4999 to the application). */
export const CLOSE_CODE = {
  goingAway: 1001,
  badMessage: 4000,
  wrongCluster: 4001,
  wrongNode: 4002,
  greetingLate: 4003,
  replaced: 4004,
  closedByNode: 4005,
} as const;

export type CloseCode = (typeof CLOSE_CODE)[keyof typeof CLOSE_CODE];

const ERROR_OF_CLOSE_CODE: ReadonlyMap<number, ErrorCode> = new Map([
  [CLOSE_CODE.badMessage, 'BAD_MESSAGE'],
  [CLOSE_CODE.wrongCluster, 'WRONG_CLUSTER'],
  [CLOSE_CODE.wrongNode, 'WRONG_NODE'],
  [CLOSE_CODE.greetingLate, 'BAD_MESSAGE'],
]);

/** What a dialler is told when its connection was closed before it was greeted. */
export function errorOfCloseCode(code: number): ErrorCode {
  return ERROR_OF_CLOSE_CODE.get(code) ?? 'UNREACHABLE';
}

export function closeCodeOf(error: ErrorCode): CloseCode {
  if (error === 'WRONG_CLUSTER') return CLOSE_CODE.wrongCluster;
  return error === 'WRONG_NODE' ? CLOSE_CODE.wrongNode : CLOSE_CODE.badMessage;
}
