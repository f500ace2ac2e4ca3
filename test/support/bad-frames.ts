import { connect, type Socket } from 'node:net';
import { WebSocket } from 'ws';
import { PROTOCOL_VERSION } from '../../src/codec/greeting.js';
import { pack } from '../../src/codec/msgpack.js';

/** What neither nodes nor clients send. Thrown at a transport by itself, and at nodes that work. */

export interface Visit {
  readonly ws: WebSocket;
  /** Close code and reason, when it is over. */
  readonly end: Promise<{ readonly code: number; readonly reason: string }>;
}

/** A connection that sends these frames and waits for its end. `path`: '/client' or '/peer'. */
export function visit(
  address: string,
  path: string,
  frames: readonly (Uint8Array | string)[],
): Visit {
  const ws = new WebSocket(`ws://${address}${path}`, { perMessageDeflate: false });
  const end = new Promise<{ code: number; reason: string }>((resolve) => {
    ws.on('close', (code, reason) => resolve({ code, reason: reason.toString() }));
  });
  ws.on('error', () => undefined);
  ws.on('open', () => {
    for (const frame of frames) ws.send(frame);
  });
  return { ws, end };
}

/** A bare connection; what comes is not read. */
export function dialed(address: string): Socket {
  const [host = '', port] = address.split(':');
  const socket = connect(Number(port), host);
  socket.on('error', () => undefined);
  return socket;
}

/** A connection that has been upgraded by hand. */
export async function upgraded(address: string, path: string): Promise<Socket> {
  const socket = dialed(address);
  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  await new Promise((resolve) => socket.once('data', resolve));
  socket.resume();
  return socket;
}

/** One binary frame with a mask of zeros. */
export function masked(payload: Uint8Array): Uint8Array {
  return Uint8Array.from([0x82, 0x80 | payload.length, 0, 0, 0, 0, ...payload]);
}

/** A client's greeting as it should be. */
export function clientGreeting(cluster: string): Uint8Array {
  return pack(['mootfs', PROTOCOL_VERSION, 0, cluster, [2, 'visitor'], 0]);
}

/** A node's, whose own address leads nowhere. */
export function peerGreeting(cluster: string, from: string, to: string): Uint8Array {
  return pack(['mootfs', PROTOCOL_VERSION, 0, cluster, [1, from, to, '127.0.0.1:1'], 0]);
}

const deep = new Uint8Array(1_000_000).fill(0x91);
const bomb = new Uint8Array(2_000_000).fill(0x90);
bomb.set([0xdd, 0, 0x1e, 0x84, 0x7b]);

/** After a good greeting, from a client or a peer. */
export const BAD_FRAMES: Readonly<Record<string, Uint8Array | string>> = {
  'unknown type': pack([77, 1]),
  'no array': pack(5),
  'deep nesting': deep,
  'many small values': bomb,
  truncated: pack([1, 1, 1, 1, 0, [13, 1, 0, new Uint8Array(1000), 0]]).slice(0, 500),
  'a tail': Uint8Array.from([...pack([4, 1]), 0]),
  random: Uint8Array.from({ length: 5000 }, (_, i) => (i * 7919) % 251),
  text: 'a text frame',
  'an endless array': Uint8Array.from([0xdd, 0xff, 0xff, 0xff, 0xff]),
};

/** More than may come in one message. */
export const TOO_LARGE = {
  '/peer': new Uint8Array(9 * 1024 * 1024),
  '/client': new Uint8Array(3 * 1024 * 1024),
} as const;

/** In the place of a request to upgrade the connection. */
export const NO_WEBSOCKET: Readonly<Record<string, string | Uint8Array>> = {
  garbage: Uint8Array.from({ length: 4000 }, (_, i) => (i * 31) % 256),
  'an endless header': `GET / HTTP/1.1\r\n${'x: y\r\n'.repeat(10_000)}`,
  'another path':
    'GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  'no key': 'GET /peer HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
};

/** Frames that WebSockets do not have. */
export const WRONG_BITS: Readonly<Record<string, readonly number[]>> = {
  'no mask': [0x82, 0x01, 0x05],
  'reserved bits': [0xf2, 0x80, 0, 0, 0, 0],
  'unknown opcode': [0x83, 0x80, 0, 0, 0, 0],
  'a length beyond all bounds': [0x82, 0xff, 0x00, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
  'a fragmented ping': [0x09, 0x80, 0, 0, 0, 0],
  'a continuation of nothing': [0x80, 0x80, 0, 0, 0, 0],
};
