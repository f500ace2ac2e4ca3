import { decodeClientResponse, encodeClientRequest } from '../codec/client-wire.js';
import type { Greeting } from '../codec/greeting.js';
import { dial } from './dial.js';
import type { Network } from './network.js';
import { CLIENT_QUEUE_BYTES_MAX, CLOSE_CODE } from './rules.js';
import type { Channel, ChannelHandlers, Dialer } from './transport.js';

export interface DialerOptions {
  readonly cluster: string;
  /** For people. */
  readonly name: string;
}

/** A client's way to any node of `cluster`. */
export function createDialer(network: Network, options: DialerOptions): Dialer {
  const greeting: Greeting = {
    cluster: options.cluster,
    role: { type: 'client', name: options.name },
  };
  return {
    async dial(address: string, handlers: ChannelHandlers, signal: AbortSignal): Promise<Channel> {
      const link = await dial(network, {
        address,
        caller: options.name,
        path: '/client',
        greeting,
        expect: null,
        queueBytesMax: CLIENT_QUEUE_BYTES_MAX,
        signal,
        onGreeted: (link) => {
          link.listen(decodeClientResponse, (response) => handlers.onResponse(response));
          link.onEnd(() => handlers.onClose());
        },
      });
      return {
        send: (request) => link.send(encodeClientRequest(request)),
        get queuedBytes() {
          return link.queuedBytes;
        },
        close: () => link.close(CLOSE_CODE.goingAway, 'the client closes'),
      };
    },
  };
}
