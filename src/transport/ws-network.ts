import { createServer, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocket, WebSocketServer } from 'ws';
import { type ErrorCode, MootError } from '../base/errors.js';
import { systemClock } from '../base/system-clock.js';
import { CLIENT_FRAME_BYTES_MAX, FRAME_BYTES_MAX } from '../codec/limits.js';
import { formatAddress, parseAddress } from './address.js';
import { listenFailure } from './listen-failure.js';
import type { ConnectOptions, Door, DoorOptions, Network, Path, Wire } from './network.js';
import {
  CLIENTS_MAX,
  CONNECTIONS_MAX,
  GREETING_TIMEOUT_MS,
  HEADER_BYTES_MAX,
  WEBSOCKET_OPTIONS,
} from './rules.js';
import { WebSocketWire } from './ws-wire.js';

export const webSocketNetwork: Network = { clock: systemClock, open, connect };

const FRAME_BYTES_MAX_OF: Readonly<Record<Path, number>> = {
  '/peer': FRAME_BYTES_MAX,
  '/client': CLIENT_FRAME_BYTES_MAX,
};

/** A listening port: WebSocket on the paths, and a sign for everybody else. */
async function open(options: DoorOptions): Promise<Door> {
  const { address, sign, report, onWire } = options;
  const { host, port } = parseAddress(address);
  const upgraders: Readonly<Record<string, Upgrader>> = {
    '/peer': upgrader('/peer', onWire['/peer']),
    '/client': upgrader('/client', onWire['/client']),
  };
  const server = createServer(
    {
      noDelay: true,
      maxHeaderSize: HEADER_BYTES_MAX,
      headersTimeout: GREETING_TIMEOUT_MS,
      requestTimeout: GREETING_TIMEOUT_MS,
      connectionsCheckingInterval: 1_000,
    },
    (_, response) => {
      response.writeHead(200, { 'content-type': 'text/plain', connection: 'close' });
      response.end(`${sign}\n`);
    },
  );
  server.maxConnections = CONNECTIONS_MAX;
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  let clients = 0;
  server.on('drop', () => report('warn', TOO_MANY));
  server.on('clientError', (_, socket) => dismiss(socket, '400 Bad Request'));
  server.on('upgrade', (request, socket, head) => {
    const upgrade = upgraders[request.url ?? ''];
    // The http module types the socket as a stream; its server makes sockets of net.
    if (upgrade === undefined) dismiss(socket, '404 Not Found');
    // Only browsers send it (RFC 6455 §10.2): any page that somebody on this network visits could otherwise
    // speak to a node.
    else if (request.headers.origin !== undefined) dismiss(socket, '403 Forbidden');
    else if (request.url === '/client' && clients >= CLIENTS_MAX) {
      report('warn', TOO_MANY);
      dismiss(socket, '503 Service Unavailable');
    } else {
      if (request.url === '/client') {
        clients++;
        socket.once('close', () => clients--);
      }
      upgrade(request, socket as Socket, head);
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(listenFailure({ host, port }, error)));
    server.listen(port, host, resolve);
  });
  server.removeAllListeners('error');
  server.on('error', (error) => report('error', `the listening port: ${error.message}`));
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        // A turn later, so that goodbyes said in this one still leave.
        setImmediate(() => {
          for (const socket of sockets) socket.destroy();
        });
      }),
  };
}

const TOO_MANY = 'a connection was refused: there are too many';

type Upgrader = (request: IncomingMessage, socket: Socket, head: Buffer) => void;

function upgrader(path: Path, onWire: (wire: Wire) => void): Upgrader {
  const server = new WebSocketServer({
    ...WEBSOCKET_OPTIONS,
    noServer: true,
    clientTracking: false,
    maxPayload: FRAME_BYTES_MAX_OF[path],
  });
  return (request, socket, head) => {
    server.handleUpgrade(request, socket, head, (ws) => onWire(new WebSocketWire(ws, socket)));
  };
}

function dismiss(socket: Duplex, status: string): void {
  if (socket.writable) socket.write(`HTTP/1.1 ${status}\r\nConnection: close\r\n\r\n`);
  socket.destroy();
}

/** BAD_ARGUMENT instead of the SyntaxError for what is no URL. */
function socketTo(url: string): WebSocket {
  try {
    return new WebSocket(url, {
      ...WEBSOCKET_OPTIONS,
      maxPayload: FRAME_BYTES_MAX,
      handshakeTimeout: GREETING_TIMEOUT_MS,
      generateMask: noMask,
      followRedirects: false,
    });
  } catch (cause) {
    throw new MootError('BAD_ARGUMENT', `${url} cannot be dialled`, { cause });
  }
}

async function connect({ address, path, signal }: ConnectOptions): Promise<Wire> {
  const where = formatAddress(parseAddress(address));
  if (signal.aborted) throw new MootError('INTERRUPTED', `${where}: dialling was given up`);
  const ws = socketTo(`ws://${where}${path}`);
  const abort = () => ws.terminate();
  signal.addEventListener('abort', abort);
  try {
    return await new Promise((resolve, reject) => {
      let socket: Socket;
      ws.once('upgrade', (response) => {
        socket = response.socket;
      });
      ws.on('error', (error) => {
        const code = signal.aborted ? 'INTERRUPTED' : codeOfFailure(error);
        reject(new MootError(code, `${where}: ${sentenceOf(error)}`, { cause: error }));
      });
      ws.once('open', () => resolve(new WebSocketWire(ws, socket)));
    });
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/**
 * A mask of zeros, which costs nothing to put on or take off. Masks keep a browser's scripts from
 * writing bytes that a proxy takes for HTTP (RFC 6455 §10.3); there is no browser here, and a mask
 * hides nothing from anyone.
 */
function noMask(mask: Buffer): void {
  mask.fill(0);
}

/** Something answers there, but not a node; or nothing does. */
function codeOfFailure(error: Error): ErrorCode {
  const { code } = error as NodeJS.ErrnoException;
  const foreign =
    code?.startsWith('HPE_') || /^(Unexpected server response|Invalid )/.test(error.message);
  return foreign ? 'BAD_MESSAGE' : 'UNREACHABLE';
}

/** An AggregateError (several addresses of one name) has no message of its own. */
function sentenceOf(error: Error): string {
  if (!(error instanceof AggregateError)) return error.message;
  return error.errors.map((e: unknown) => (e instanceof Error ? e.message : String(e))).join(', ');
}
