import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';
import { describe, type ErrorCode, isMootError, MootError } from '../base/errors.js';
import type { Report } from '../base/report.js';
import { parseAddress } from '../transport/address.js';
import { listenFailure } from '../transport/listen-failure.js';
import type { ClientCall, ServerMessage } from './messages.js';
import { isFromBrowser, isKnownHost, isKnownOrigin } from './origin.js';
import { Params } from './params.js';
import { Watcher } from './watcher.js';

/** Parameters of a call: names and numbers. */
const BODY_BYTES_MAX = 65_536;
/** People with a page open, consoles and scrapers. */
const CONNECTIONS_MAX = 256;
const WATCHERS_MAX = 64;
/** Of one watcher at once, and of all requests: more than any page or script needs. */
const WATCHER_CALLS_MAX = 16;
const REQUEST_CALLS_MAX = 64;
/** Who has not answered the ping before the last one is gone, and its network did not say so. */
const PING_MS = 30_000;
/** A request that is not complete by then is a stranger's. */
const REQUEST_TIMEOUT_MS = 5_000;

export interface Answer {
  readonly status?: number;
  readonly type: string;
  readonly body: string | Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface ServerParts<D, E> {
  /** host:port */
  readonly address: string;
  readonly report: Report;
  document(): D;
  /** The document goes to every watcher this often. */
  readonly documentMs: number;
  /** Events are asked for, and go out, this often while somebody watches. */
  readonly eventsMs: number;
  /** Watchers must answer within this; default: half a minute. */
  readonly pingMs?: number;
  takeEvents(): readonly E[];
  /** The first watcher came, or the last one went. */
  onWatched(watched: boolean): void;
  /** What can be asked for, over the stream or by POST /api/call/NAME. */
  readonly calls: Readonly<Record<string, (params: Params) => unknown>>;
  /** What GET answers, by path; beside /api/status, which is the document. */
  readonly pages: Readonly<Record<string, (request: IncomingMessage) => Answer | Promise<Answer>>>;
  /** host:port of servers whose pages may watch this one. */
  friends(): readonly string[];
}

export interface ControlServer {
  close(): Promise<void>;
}

/** Listens; fails as listenFailure says. */
export async function startControlServer<D, E>(parts: ServerParts<D, E>): Promise<ControlServer> {
  const server = new JsonServer(parts);
  await server.listen();
  return server;
}

class JsonServer<D, E> implements ControlServer {
  private readonly http: Server;
  private readonly sockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: BODY_BYTES_MAX,
    perMessageDeflate: false,
  });
  private readonly connections = new Set<Socket>();
  private readonly watchers = new Set<Watcher<D, E>>();
  private timers: NodeJS.Timeout[] = [];
  private requestCalls = 0;

  constructor(private readonly parts: ServerParts<D, E>) {
    this.http = createServer(
      { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS },
      (request, response) => void this.onRequest(request, response),
    );
    this.http.maxConnections = CONNECTIONS_MAX;
    this.http.on('connection', (socket) => {
      this.connections.add(socket);
      socket.once('close', () => this.connections.delete(socket));
    });
    this.http.on('clientError', (_, socket) => socket.destroy());
    this.http.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
      socket.on('error', () => socket.destroy());
      const refusal = this.refusalOf(request);
      if (refusal !== null) {
        socket.end(`HTTP/1.1 ${refusal}\r\nConnection: close\r\n\r\n`, () => socket.destroy());
      } else this.sockets.handleUpgrade(request, socket, head, (ws) => this.onWatcher(ws));
    });
  }

  private refusalOf(request: IncomingMessage): string | null {
    if (pathOf(request) !== '/api/stream') return '404 Not Found';
    if (!this.mayWatch(request)) return '403 Forbidden';
    return this.watchers.size < WATCHERS_MAX ? null : '503 Service Unavailable';
  }

  async listen(): Promise<void> {
    const { host, port } = parseAddress(this.parts.address);
    await new Promise<void>((resolve, reject) => {
      this.http.once('error', (error) => {
        const cause = listenFailure({ host, port }, error);
        const message = `the control address ${this.parts.address} cannot be listened on`;
        reject(new MootError(cause.code, message, { cause }));
      });
      this.http.listen(port, host, resolve);
    });
    this.http.removeAllListeners('error');
    this.http.on('error', (error) =>
      this.parts.report('error', `the control port: ${error.message}`),
    );
  }

  async close(): Promise<void> {
    this.stopTimers();
    for (const watcher of this.watchers) watcher.close();
    const closed = new Promise<void>((resolve) => this.http.close(() => resolve()));
    for (const socket of this.connections) socket.destroy();
    await closed;
  }

  private mayWatch(request: IncomingMessage): boolean {
    const { origin, host } = request.headers;
    return isKnownOrigin(origin, host, this.parts.address, this.parts.friends());
  }

  /** Programs may use any name; in a browser it could be a stranger's, whose page would read what it gets. */
  private mayRead({ headers }: IncomingMessage): boolean {
    const { address, friends } = this.parts;
    return !isFromBrowser(headers) || isKnownHost(headers.host, address, friends());
  }

  // Watchers.

  private onWatcher(ws: WebSocket): void {
    const watcher: Watcher<D, E> = new Watcher<D, E>(ws, {
      document: () => this.parts.document(),
      onCall: (call) => void this.onCall(watcher, call),
      onClose: () => {
        this.watchers.delete(watcher);
        if (this.watchers.size > 0) return;
        this.stopTimers();
        this.parts.onWatched(false);
      },
    });
    this.watchers.add(watcher);
    if (this.watchers.size === 1) {
      this.parts.onWatched(true);
      this.timers = [
        setInterval(() => this.sendEvents(), this.parts.eventsMs),
        setInterval(() => this.sendDocument(), this.parts.documentMs),
        setInterval(() => {
          for (const one of this.watchers) one.ping();
        }, this.parts.pingMs ?? PING_MS),
      ];
    }
    watcher.sendDocument();
  }

  private stopTimers(): void {
    for (const timer of this.timers) clearInterval(timer);
    this.timers = [];
  }

  private sendEvents(): void {
    const events = this.parts.takeEvents();
    if (events.length === 0) return;
    const text = JSON.stringify({ type: 'events', lost: 0, events } satisfies ServerMessage<D, E>);
    for (const watcher of this.watchers) watcher.sendEvents(events, text);
  }

  private sendDocument(): void {
    const document = this.parts.document();
    const text = JSON.stringify({ type: 'document', document } satisfies ServerMessage<D, E>);
    for (const watcher of this.watchers) watcher.sendText(text);
  }

  private async onCall(watcher: Watcher<D, E>, { id, call, params }: ClientCall): Promise<void> {
    try {
      if (watcher.calls >= WATCHER_CALLS_MAX) throw tooMany(WATCHER_CALLS_MAX);
      watcher.calls++;
      try {
        watcher.reply({ type: 'reply', id, value: (await this.run(call, params)) ?? null });
      } finally {
        watcher.calls--;
      }
    } catch (error) {
      if (!isMootError(error)) throw error;
      watcher.reply({ type: 'refusal', id, code: error.code, message: describe(error) });
    }
  }

  private run(call: string, params: unknown): unknown {
    const handler = Object.hasOwn(this.parts.calls, call) ? this.parts.calls[call] : undefined;
    if (handler !== undefined) return handler(new Params(params));
    const known = Object.keys(this.parts.calls).join(', ');
    throw new MootError('BAD_ARGUMENT', `there is no call '${call}'; there are: ${known}`);
  }

  // Requests.

  private async onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let answer: Answer;
    try {
      answer = await this.answer(request);
    } catch (error) {
      if (!isMootError(error)) throw error;
      const { code, message } = error;
      answer = json({ code, message }, STATUS_OF_CODE[code] ?? 500);
    }
    const { status = 200, type, body, headers } = answer;
    if (response.destroyed) return;
    response.writeHead(status, { ...SECURITY_HEADERS, 'content-type': type, ...headers });
    response.end(request.method === 'HEAD' ? undefined : body);
  }

  private async answer(request: IncomingMessage): Promise<Answer> {
    const path = pathOf(request);
    if (request.method === 'POST') return this.answerCall(request, path);
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return text(405, 'only GET, HEAD and POST\n');
    }
    if (!this.mayRead(request)) {
      return text(403, 'open it by an address, by localhost, or by the name where it listens\n');
    }
    if (path === '/api/status') return json(this.parts.document());
    const page = Object.hasOwn(this.parts.pages, path) ? this.parts.pages[path] : undefined;
    return page === undefined ? text(404, `nothing is at ${path}\n`) : page(request);
  }

  private async answerCall(request: IncomingMessage, path: string): Promise<Answer> {
    const call = /^\/api\/call\/([a-z-]{1,32})$/.exec(path)?.[1];
    if (call === undefined) return text(404, 'calls are at /api/call/NAME\n');
    // A page of another site can post forms, not JSON, without asking first.
    const isJson = /^application\/json\b/.test(request.headers['content-type'] ?? '');
    if (!isJson) return text(415, 'the body is JSON: content-type: application/json\n');
    if (!this.mayWatch(request)) return text(403, 'a page of another site may not do this\n');
    if (this.requestCalls >= REQUEST_CALLS_MAX) throw tooMany(REQUEST_CALLS_MAX);
    this.requestCalls++;
    try {
      return json({ value: (await this.run(call, await bodyOf(request))) ?? null });
    } finally {
      this.requestCalls--;
    }
  }
}

function tooMany(max: number): MootError {
  return new MootError('BUSY', `${max} calls are under way already`);
}

const SECURITY_HEADERS = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
} as const;

const STATUS_OF_CODE: Partial<Record<ErrorCode, number>> = {
  BAD_ARGUMENT: 400,
  BAD_MESSAGE: 400,
  NOT_ALLOWED: 403,
  NOT_LEADER: 409,
  NO_LEADER: 503,
  BUSY: 503,
  CLOSED: 503,
};

export function json(value: unknown, status = 200): Answer {
  return { status, type: 'application/json; charset=utf-8', body: `${JSON.stringify(value)}\n` };
}

export function text(status: number, body: string): Answer {
  return { status, type: 'text/plain; charset=utf-8', body };
}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? '/').split('?', 1)[0] ?? '/';
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  let text = '';
  try {
    for await (const part of request.setEncoding('utf8')) {
      text += String(part);
      if (text.length > BODY_BYTES_MAX) break;
    }
  } catch (cause) {
    throw new MootError('BAD_MESSAGE', 'the request ended too early', { cause });
  }
  if (text.length > BODY_BYTES_MAX) {
    throw new MootError('BAD_ARGUMENT', `a body has at most ${BODY_BYTES_MAX} characters`);
  }
  try {
    return text === '' ? {} : JSON.parse(text);
  } catch (cause) {
    throw new MootError('BAD_ARGUMENT', 'the body is not JSON', { cause });
  }
}
