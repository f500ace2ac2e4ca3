import type { PeerMessage } from '../codec/peer-messages.js';
import type { Transport } from './transport.js';

/** Sees what passes through a node's transport. Called for every message: must be cheap. */
export interface TransportObserver {
  onSent(message: PeerMessage): void;
  onReceived(message: PeerMessage): void;
  /** A client came, or went. */
  onClients(count: number): void;
}

/** A transport that does what `inner` does while somebody looks on. */
export function observeTransport(inner: Transport, observer: TransportObserver): Transport {
  let clients = 0;
  const count = (change: number) => {
    clients += change;
    observer.onClients(clients);
  };
  return {
    start: (handlers) =>
      inner.start({
        onPeerMessage(message) {
          observer.onReceived(message);
          handlers.onPeerMessage(message);
        },
        onPeerDown: (peer) => handlers.onPeerDown(peer),
        onClient(client) {
          count(1);
          const served = handlers.onClient(client);
          return {
            onRequest: (request) => served.onRequest(request),
            onClose() {
              count(-1);
              served.onClose();
            },
          };
        },
      }),
    setPeers: (peers) => inner.setPeers(peers),
    setIncarnation: (incarnation) => inner.setIncarnation(incarnation),
    send(message) {
      observer.onSent(message);
      inner.send(message);
    },
    connected: (peer) => inner.connected(peer),
    queuedBytes: (peer) => inner.queuedBytes(peer),
    close: () => inner.close(),
  };
}
