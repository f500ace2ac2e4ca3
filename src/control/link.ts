import { isErrorCode } from '../base/errno.js';
import { MootError } from '../base/errors.js';
import type { ClientCall, ServerMessage } from './messages.js';

const REDIAL_MIN_MS = 200;
const REDIAL_MAX_MS = 2_000;
/** Of a call, unless the caller says otherwise. */
const ANSWER_MS = 10_000;

/**
 * A server sends several documents a second. One that has sent nothing at so many looks in a row is gone, and
 * its network did not say so. Counted, not timed: who was stopped himself has not looked.
 */
const SILENT_LOOKS = 5;
const LOOK_MS = 1_000;

/** The part of a WebSocket that browsers and the package `ws` have in common. */
export interface Socket {
  onopen: (() => void) | null;
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  onclose: (() => void) | null;
  onerror: (() => void) | null;
  send(text: string): void;
  close(): void;
}

export interface LinkEvents<D, E> {
  onDocument(document: D): void;
  /** `lost` events before these were left out. */
  onEvents(events: readonly E[], lost: number): void;
  onUp?(): void;
  /** Called once each time the connection ends, or could not be made after it was there. */
  onDown?(): void;
}

interface Waiting {
  resolve(value: unknown): void;
  reject(error: MootError): void;
}

/** The stream of one control server, made again whenever it is lost, until `close`. */
export class ControlLink<D, E> {
  up = false;
  private socket: Socket | null = null;
  private redial: ReturnType<typeof setTimeout> | undefined;
  private looking: ReturnType<typeof setInterval> | undefined;
  private silentLooks = 0;
  private failures = 0;
  private closed = false;
  private lastId = 0;
  private readonly waiting = new Map<number, Waiting>();

  constructor(
    readonly address: string,
    private readonly open: (url: string) => Socket,
    private readonly events: LinkEvents<D, E>,
    private readonly lookMs = LOOK_MS,
  ) {
    this.dial();
  }

  /** Fails with the server's refusal; with UNREACHABLE when there is no connection or no answer. */
  call(call: string, params: object = {}, timeoutMs = ANSWER_MS): Promise<unknown> {
    const { socket } = this;
    if (socket === null || !this.up) return Promise.reject(this.unreachable('no connection'));
    this.lastId++;
    const id = this.lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiting.delete(id);
        reject(this.unreachable('no answer'));
      }, timeoutMs);
      const settled = () => clearTimeout(timer);
      this.waiting.set(id, {
        resolve: (value) => {
          settled();
          resolve(value);
        },
        reject: (error) => {
          settled();
          reject(error);
        },
      });
      socket.send(JSON.stringify({ type: 'call', id, call, params } satisfies ClientCall));
    });
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.redial);
    this.leave();
  }

  private dial(): void {
    const socket = this.open(`ws://${this.address}/api/stream`);
    this.socket = socket;
    this.silentLooks = 0;
    this.looking = setInterval(() => this.look(), this.lookMs);
    socket.onopen = () => {
      if (this.socket !== socket) return;
      this.up = true;
      this.failures = 0;
      this.events.onUp?.();
    };
    socket.onmessage = ({ data }) => {
      if (this.socket === socket) this.receive(String(data));
    };
    // What went wrong, `onclose` follows and tells.
    socket.onerror = () => undefined;
    socket.onclose = () => {
      if (this.socket === socket) this.lose();
    };
  }

  private look(): void {
    this.silentLooks++;
    if (this.silentLooks >= SILENT_LOOKS) this.leave();
  }

  /** What still comes from there is nobody's. */
  private leave(): void {
    const { socket } = this;
    this.lose();
    socket?.close();
  }

  private receive(text: string): void {
    this.silentLooks = 0;
    // The server is one of ours, of the same version as the cluster.
    const message = JSON.parse(text) as ServerMessage<D, E>;
    switch (message.type) {
      case 'document':
        this.events.onDocument(message.document);
        break;
      case 'events':
        this.events.onEvents(message.events, message.lost);
        break;
      case 'reply':
        this.take(message.id)?.resolve(message.value);
        break;
      case 'refusal': {
        const { code } = message;
        const known = isErrorCode(code) ? code : 'BAD_MESSAGE';
        this.take(message.id)?.reject(new MootError(known, message.message));
      }
    }
  }

  private take(id: number): Waiting | undefined {
    const waiting = this.waiting.get(id);
    this.waiting.delete(id);
    return waiting;
  }

  private lose(): void {
    const wasUp = this.up;
    this.up = false;
    this.socket = null;
    clearInterval(this.looking);
    for (const id of [...this.waiting.keys()]) {
      this.take(id)?.reject(this.unreachable('the connection was lost'));
    }
    if (wasUp) this.events.onDown?.();
    if (this.closed) return;
    const delayMs = Math.min(REDIAL_MAX_MS, REDIAL_MIN_MS * 2 ** Math.min(this.failures++, 10));
    this.redial = setTimeout(() => this.dial(), delayMs);
  }

  private unreachable(why: string): MootError {
    return new MootError('UNREACHABLE', `${this.address}: ${why}`);
  }
}
