import type { WebSocket } from 'ws';
import { isMootError, MootError } from '../base/errors.js';
import type { ClientCall, ServerMessage } from './messages.js';

/** What a watcher has not read; beyond it events are lost to it, and it gets a fresh document later. */
const UNREAD_BYTES_MAX = 1_048_576;
/** Beyond this it does not read at all, and asks for more: it is left. */
const UNREAD_BYTES_END = 8_388_608;

export interface WatcherParts<D> {
  document(): D;
  onCall(call: ClientCall): void;
  onClose(): void;
}

/** One who watches, over a WebSocket. Never slows whom it watches. */
export class Watcher<D, E> {
  /** Calls of it that are under way. */
  calls = 0;
  private lost = 0;
  private answered = true;

  constructor(
    private readonly ws: WebSocket,
    private readonly parts: WatcherParts<D>,
  ) {
    ws.on('message', (data) => {
      try {
        parts.onCall(parseCall(String(data)));
      } catch (error) {
        if (!isMootError(error)) throw error;
        ws.close(1007, error.message);
      }
    });
    ws.on('pong', () => {
      this.answered = true;
    });
    ws.on('error', () => ws.terminate());
    ws.on('close', () => parts.onClose());
  }

  /** `text` is the message for those who have lost nothing. */
  sendEvents(events: readonly E[], text: string): void {
    if (this.ws.bufferedAmount > UNREAD_BYTES_MAX) {
      this.lost += events.length;
      return;
    }
    if (this.lost === 0) {
      this.ws.send(text);
      return;
    }
    this.send({ type: 'events', lost: this.lost, events });
    this.lost = 0;
    this.sendDocument();
  }

  /** Something that the next one of its kind replaces. */
  sendText(text: string): void {
    if (this.ws.bufferedAmount <= UNREAD_BYTES_MAX) this.ws.send(text);
  }

  sendDocument(): void {
    this.send({ type: 'document', document: this.parts.document() });
  }

  reply(message: ServerMessage<D, E>): void {
    if (this.ws.bufferedAmount > UNREAD_BYTES_END) this.ws.terminate();
    else this.send(message);
  }

  /** To be called now and then: who did not answer the last time is left. */
  ping(): void {
    if (!this.answered) this.ws.terminate();
    else this.ws.ping();
    this.answered = false;
  }

  close(): void {
    this.ws.terminate();
  }

  private send(message: ServerMessage<D, E>): void {
    this.ws.send(JSON.stringify(message));
  }
}

function parseCall(text: string): ClientCall {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new MootError('BAD_MESSAGE', 'not JSON');
  }
  if (typeof value === 'object' && value !== null && 'id' in value && 'call' in value) {
    const { id, call } = value;
    if (Number.isSafeInteger(id) && typeof call === 'string') {
      const params = 'params' in value ? value.params : {};
      return { type: 'call', id: Number(id), call, params };
    }
  }
  throw new MootError('BAD_MESSAGE', 'a message is {"type":"call","id":1,"call":"…","params":{}}');
}
