import { assert } from '../base/assert.js';
import type { Clock, Timer } from '../base/clock.js';
import { describe, isMootError, MootError } from '../base/errors.js';
import { type Random, randomBetween } from '../base/random.js';
import type { Changes, ClientRequest, ClientResponse } from '../codec/client-messages.js';
import type { Command } from '../filesystem/commands.js';
import type { NodeId } from '../raft/types.js';
import type { Channel, Dialer } from '../transport/transport.js';

/** A connection that is not made by then will not be made: addresses that swallow packets. */
const DIAL_TIMEOUT_MS = 2_000;
const REDIAL_MIN_MS = 20;
/** A node that comes back is noticed within this. */
const REDIAL_MAX_MS = 1_000;
/** A node that does not answer for this long may be stopped or cut off: others are asked as well. */
export const SILENT_MS = 300;
/** After this long the connection itself is given up: its machine may be gone. */
const DEAD_MS = 10_000;

/** What becomes of a request. `onLost`: the connection ended first; nobody knows. */
export interface Exchange {
  onResponse(response: ClientResponse): void;
  onLost(): void;
  /** The command that is submitted, while its caller waits. */
  awaited?(): Command | null;
}

export interface LinkEvents {
  onOpen(link: Link): void;
  onClosed(link: Link): void;
  /** What the node tells because this connection has a lease; `own`: with the reply to this command. */
  onChanges(link: Link, changes: Changes, own: Command | null): void;
}

interface PendingExchange extends Exchange {
  readonly sentAtMs: number;
  /** A stream: many responses, or none for a long time. */
  readonly lasting: boolean;
}

interface Attempt {
  readonly abort: AbortController;
  readonly timer: Timer;
}

/** The standing connection to one node: dialled again whenever it is lost, until `close`. */
export class Link {
  /** Known from the node's status. */
  nodeId: NodeId | null = null;
  /** Requests are waiting and nothing has come for SILENT_MS. Any answer clears it. */
  suspect = false;
  /** Its node did not go on while others did, and has not said since that it has caught up. */
  lagging = false;
  /** What the node has applied, as its last status says. */
  appliedIndex = 0;
  /** A status request is on its way. */
  probing = false;
  /** Why there is no connection, or what the node refused last; for messages to people. */
  trouble: MootError | null = null;
  closed = false;
  /** Counts the connections: what was pushed over one is acknowledged over no other. */
  connection = 0;
  private readonly exchanges = new Map<number, PendingExchange>();
  private channel: Channel | null = null;
  private attempt: Attempt | null = null;
  private redial: Timer | null = null;
  private failures = 0;
  private receivedAtMs = 0;
  private openedAtMs = 0;
  /** The network took something of what waits to be sent: slow, but alive. */
  private drainedAtMs = 0;
  private queuedBytes = 0;

  constructor(
    readonly address: string,
    private readonly dialer: Dialer,
    private readonly clock: Clock,
    private readonly random: Random,
    private readonly events: LinkEvents,
  ) {}

  get open(): boolean {
    return this.channel !== null;
  }

  start(): void {
    const attempt: Attempt = {
      abort: new AbortController(),
      timer: this.clock.setTimer(DIAL_TIMEOUT_MS, () => {
        this.lose(attempt, new MootError('UNREACHABLE', `no answer within ${DIAL_TIMEOUT_MS} ms`));
      }),
    };
    this.attempt = attempt;
    const handlers = {
      onResponse: (response: ClientResponse) => {
        if (this.attempt === attempt) this.receive(response);
      },
      onClose: () => this.lose(attempt, new MootError('UNREACHABLE', 'the connection was lost')),
    };
    this.dialer.dial(this.address, handlers, attempt.abort.signal).then(
      (channel) => this.opened(attempt, channel),
      (error: unknown) =>
        this.lose(
          attempt,
          isMootError(error) ? error : new MootError('UNREACHABLE', describe(error)),
        ),
    );
  }

  /** Sends; the exchange hears of it unless `forget` is called. The link must be open. */
  request(request: ClientRequest, exchange: Exchange, lasting = false): void {
    assert(this.channel !== null, 'requests go over an open connection');
    this.exchanges.set(request.id, {
      onResponse: (response) => exchange.onResponse(response),
      onLost: () => exchange.onLost(),
      awaited: () => exchange.awaited?.() ?? null,
      sentAtMs: this.clock.monotonicMs(),
      lasting,
    });
    this.channel.send(request);
  }

  /** Sends what gets no answer, over this connection; nothing happens when it is gone. */
  tell(connection: number, request: ClientRequest): void {
    if (connection === this.connection) this.channel?.send(request);
  }

  forget(id: number): void {
    this.exchanges.delete(id);
  }

  /** For how long requests have been waiting with nothing received at all; 0 when none waits. */
  silentMs(nowMs: number): number {
    for (const exchange of this.exchanges.values()) {
      if (!exchange.lasting) return nowMs - Math.max(exchange.sentAtMs, this.receivedAtMs);
    }
    return 0;
  }

  /** The first attempt to connect is under way. */
  get fresh(): boolean {
    return !this.open && this.trouble === null;
  }

  /** For how long the connection has stood. */
  openMs(nowMs: number): number {
    return this.open ? nowMs - this.openedAtMs : 0;
  }

  /** Milliseconds since the node last said anything. */
  quietMs(nowMs: number): number {
    return nowMs - this.receivedAtMs;
  }

  /** Notices silence; gives the connection up when it lasts. */
  checkSilence(nowMs: number): void {
    if (!this.open) return;
    const silentMs = this.silentMs(nowMs);
    if (silentMs >= SILENT_MS) this.suspect = true;
    const queuedBytes = this.channel?.queuedBytes ?? 0;
    if (queuedBytes < this.queuedBytes) this.drainedAtMs = nowMs;
    this.queuedBytes = queuedBytes;
    if (Math.min(silentMs, nowMs - this.drainedAtMs) >= DEAD_MS)
      this.reset(`no answer for ${DEAD_MS} ms`);
  }

  /**
   * There is news of the node: dials at once when it would have waited before it tries again. False: it is being
   * dialled since before the news.
   */
  dialNow(): boolean {
    if (this.closed || this.open) return true;
    if (this.attempt !== null) return false;
    this.redial?.cancel();
    this.start();
    return true;
  }

  /** Ends the connection and dials anew. */
  reset(why: string): void {
    if (this.attempt !== null) this.lose(this.attempt, new MootError('UNREACHABLE', why));
  }

  close(): void {
    this.closed = true;
    this.redial?.cancel();
    this.reset('closed');
  }

  /** For an error message: the address and what is the matter with it. */
  describe(nowMs: number): string {
    if (!this.open) return `${this.address} (${this.trouble?.message ?? 'connecting'})`;
    if (this.suspect) return `${this.address} (silent for ${Math.round(this.quietMs(nowMs))} ms)`;
    return `${this.address} (${this.trouble?.message ?? 'connected'})`;
  }

  private opened(attempt: Attempt, channel: Channel): void {
    attempt.timer.cancel();
    if (this.attempt !== attempt) {
      channel.close();
      return;
    }
    this.channel = channel;
    this.connection++;
    this.openedAtMs = this.clock.monotonicMs();
    this.receivedAtMs = this.openedAtMs;
    this.drainedAtMs = this.openedAtMs;
    this.queuedBytes = 0;
    this.trouble = null;
    this.events.onOpen(this);
  }

  private receive(response: ClientResponse): void {
    this.receivedAtMs = this.clock.monotonicMs();
    this.suspect = false;
    this.failures = 0;
    if (response.type === 'changes') {
      this.events.onChanges(this, response, null);
      return;
    }
    const exchange = this.exchanges.get(response.id);
    if (response.type === 'submit-reply' && response.changes !== null) {
      this.events.onChanges(this, response.changes, exchange?.awaited?.() ?? null);
    }
    if (exchange === undefined) return;
    if (!exchange.lasting || response.type === 'refusal') this.exchanges.delete(response.id);
    exchange.onResponse(response);
  }

  private lose(attempt: Attempt, trouble: MootError): void {
    if (this.attempt !== attempt) return;
    this.attempt = null;
    attempt.timer.cancel();
    attempt.abort.abort();
    this.channel?.close();
    this.channel = null;
    this.trouble = trouble;
    this.suspect = false;
    this.probing = false;
    if (!this.closed) this.redialLater();
    const lost = [...this.exchanges.values()];
    this.exchanges.clear();
    this.events.onClosed(this);
    for (const exchange of lost) exchange.onLost();
  }

  /** Backs off while the node answers nothing, so that a node that accepts and hangs up is not hammered. */
  private redialLater(): void {
    const limitMs = Math.min(REDIAL_MAX_MS, REDIAL_MIN_MS * 2 ** Math.min(this.failures, 10));
    this.failures++;
    this.redial = this.clock.setTimer(randomBetween(this.random, limitMs / 2, limitMs + 1), () =>
      this.start(),
    );
  }
}
