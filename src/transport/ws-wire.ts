import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import { MootError } from '../base/errors.js';
import type { Wire, WireEvents } from './network.js';
import { PING_INTERVAL_MS, PONG_QUEUE_BYTES_MAX, SILENT_INTERVALS_MAX } from './rules.js';

/** What a frame of text is taken for: nothing that can be decoded. */
const TEXT = new Uint8Array(0);

/** A WebSocket connection as a wire. Pings tell a dead one from a quiet one. */
export class WebSocketWire implements Wire {
  readonly remote: string;
  private corked = false;
  private why = '';
  private refused: MootError | null = null;
  private silentIntervals = 0;
  private lastRead = 0;
  private lastFlushed = 0;

  constructor(
    private readonly ws: WebSocket,
    private readonly socket: Socket,
  ) {
    this.remote = `${socket.remoteAddress}:${socket.remotePort}`;
  }

  get queuedBytes(): number {
    return this.ws.bufferedAmount;
  }

  listen(events: WireEvents): void {
    const { ws } = this;
    const pinger = setInterval(() => this.ping(), PING_INTERVAL_MS);
    ws.on('message', (data, isBinary) => {
      if (isBinary && Buffer.isBuffer(data)) events.onFrame(data);
      else events.onFrame(TEXT);
    });
    // Every ping is answered: one who pings and does not read must not fill the memory.
    ws.on('ping', () => {
      if (this.queuedBytes > PONG_QUEUE_BYTES_MAX) this.destroy('pings, and does not read');
    });
    ws.on('error', (error: NodeJS.ErrnoException) => {
      this.why ||= error.message;
      if (error.code?.startsWith('WS_ERR_')) {
        this.refused = new MootError('BAD_MESSAGE', error.message, { cause: error });
      }
    });
    ws.on('close', (code, reason) => {
      clearInterval(pinger);
      events.onEnd({ code, reason: this.why || reason.toString(), refused: this.refused });
    });
  }

  /** The first frame of a turn of the event loop leaves at once, all others of that turn in one write. */
  send(frame: Uint8Array): void {
    this.ws.send(frame);
    if (this.corked) return;
    this.corked = true;
    this.socket.cork();
    setImmediate(() => this.uncork());
  }

  close(code: number, reason: string): void {
    this.uncork();
    this.ws.close(code, reason);
  }

  destroy(reason: string): void {
    this.why ||= reason;
    this.ws.terminate();
  }

  private uncork(): void {
    if (!this.corked) return;
    this.corked = false;
    this.socket.uncork();
  }

  private ping(): void {
    const { bytesRead, writableLength } = this.socket;
    const flushed = this.socket.bytesWritten - writableLength;
    const heard = bytesRead !== this.lastRead;
    // A ping behind a long queue is not answered soon; that the queue moves is a sign of life as well.
    const moves = writableLength > 0 && flushed !== this.lastFlushed;
    this.lastRead = bytesRead;
    this.lastFlushed = flushed;
    this.silentIntervals = heard || moves ? 0 : this.silentIntervals + 1;
    if (this.silentIntervals >= SILENT_INTERVALS_MAX) this.destroy('nothing was heard any more');
    else if (this.ws.readyState === this.ws.OPEN) this.ws.ping();
  }
}
