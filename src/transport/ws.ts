import { createDialer, type DialerOptions } from './dialer.js';
import { createTransport, type TransportOptions } from './member.js';
import type { Dialer, Transport } from './transport.js';
import { webSocketNetwork } from './ws-network.js';

export type { DialerOptions, TransportOptions };

/** Over WebSocket, on `options.address`. Throws BAD_ARGUMENT when an address is none. */
export function createWebSocketTransport(options: TransportOptions): Transport {
  return createTransport(webSocketNetwork, options);
}

export function createWebSocketDialer(options: DialerOptions): Dialer {
  return createDialer(webSocketNetwork, options);
}
