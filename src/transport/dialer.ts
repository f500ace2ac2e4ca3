import { decodeClientResponse, encodeClientRequest } from '../codec/client-wire.js';
import { dial } from './dial.js';
import { MetCluster } from './met-cluster.js';
import type { Network } from './network.js';
import { CLIENT_QUEUE_BYTES_MAX, CLOSE_CODE } from './rules.js';
import type { Channel, ChannelHandlers, Dialer } from './transport.js';

export interface DialerOptions {
  readonly cluster: string;
  /** For people. */
  readonly name: string;
  /** Shared with another way of the same client into the cluster. Default: its own. */
  readonly met?: MetCluster;
}

/** A client's way to any node of `cluster`. */
export function createDialer(network: Network, options: DialerOptions): Dialer {
  const met = options.met ?? new MetCluster(options.cluster);
  return {
    async dial(address: string, handlers: ChannelHandlers, signal: AbortSignal): Promise<Channel> {
      const link = await dial(network, {
        address,
        caller: options.name,
        path: '/client',
        greeting: {
          cluster: options.cluster,
          incarnation: met.incarnation,
          role: { type: 'client', name: options.name },
        },
        expect: null,
        queueBytesMax: CLIENT_QUEUE_BYTES_MAX,
        signal,
        onGreeted: (link, answer) => {
          // Several are dialled at once, and another one may have answered first.
          met.meet(answer);
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
