import type { Clock } from '../base/clock.js';
import type { MootError } from '../base/errors.js';
import type { Report } from '../base/report.js';

/** What carries frames. Everything above it, from the greeting on, is the same for all of them. */
export interface Network {
  readonly clock: Clock;
  /** Rejects with BAD_ARGUMENT and a sentence when the address cannot be listened on. */
  open(options: DoorOptions): Promise<Door>;
  /** Rejects with UNREACHABLE, BAD_MESSAGE (something else listens there), BAD_ARGUMENT or INTERRUPTED. */
  connect(options: ConnectOptions): Promise<Wire>;
}

/** Who comes in at which path. */
export type Path = '/peer' | '/client';

export interface DoorOptions {
  readonly address: string;
  /** Whose door it is. */
  readonly id: string;
  /** One line for those who come with a browser. */
  readonly sign: string;
  readonly report: Report;
  readonly onWire: Readonly<Record<Path, (wire: Wire) => void>>;
}

export interface Door {
  /** Nobody comes in any more, and whoever is still there is cut off. */
  close(): Promise<void>;
}

export interface ConnectOptions {
  readonly address: string;
  readonly path: Path;
  /** Who dials. */
  readonly caller: string;
  readonly signal: AbortSignal;
}

/** One connection: frames in order, until it ends. */
export interface Wire {
  /** Where the other side is, for people. */
  readonly remote: string;
  /** Bytes not yet given to the network. */
  readonly queuedBytes: number;
  listen(events: WireEvents): void;
  send(frame: Uint8Array): void;
  /** Tells the other side why; ends soon also when it does not answer. */
  close(code: number, reason: string): void;
  /** Ends now. */
  destroy(reason: string): void;
}

export interface WireEvents {
  onFrame(frame: Uint8Array): void;
  /** Called once, and never from within a call of the wire's. */
  onEnd(end: WireEnd): void;
}

export interface WireEnd {
  /** Close code of the other side, or 1005 and 1006 of RFC 6455 when there was none. */
  readonly code: number;
  readonly reason: string;
  /** This side ended it because of what came over it. */
  readonly refused: MootError | null;
}
