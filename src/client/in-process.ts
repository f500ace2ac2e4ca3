import type { ClientRequest, ClientResponse } from '../codec/client-messages.js';
import type { Node } from '../node/node.js';
import type { MetCluster } from '../transport/met-cluster.js';
import type { Channel, ChannelHandlers, Dialer } from '../transport/transport.js';

/**
 * Dials the node of this process directly, and every other address by `remote`. `met`: what `remote`
 * has, too, so that nodes of another incarnation are refused whichever way they are reached.
 *
 * Nothing is encoded or copied: bytes in requests and responses are shared with the node, so
 * neither side may change them (as createFilesystemClient says). Messages arrive in order and never
 * within the sender's call: requests in a microtask, so that all of one turn reach the node
 * together; responses in the event loop's next turn, so that a loop of answered queries lets timers
 * and sockets have theirs.
 */
export function createInProcessDialer(
  node: Pick<Node, 'connect' | 'cluster'>,
  ownAddress: string,
  remote: Dialer,
  met: MetCluster,
): Dialer {
  return {
    async dial(address, handlers, signal) {
      if (met.incarnation === 0 || address === ownAddress) met.meet(node.cluster);
      return address === ownAddress
        ? connect(node, handlers)
        : remote.dial(address, handlers, signal);
    },
  };
}

function connect(node: Pick<Node, 'connect'>, handlers: ChannelHandlers): Channel {
  let open = true;
  const responses = batched<ClientResponse>(
    (deliver) => setImmediate(deliver),
    (response) => {
      if (open) handlers.onResponse(response);
    },
  );
  const requests = batched<ClientRequest>(queueMicrotask, (request) => {
    if (open) door.onRequest(request);
  });
  const door = node.connect({
    send: responses,
    // Delivered in the next turn, whatever the client does: nothing piles up.
    queuedBytes: 0,
    close() {
      // Behind the responses that were sent before.
      setImmediate(() => {
        if (!open) return;
        open = false;
        door.onClose();
        handlers.onClose();
      });
    },
  });
  return {
    send: requests,
    queuedBytes: 0,
    close() {
      if (!open) return;
      open = false;
      queueMicrotask(() => door.onClose());
    },
  };
}

/** Collects what is sent until `later` calls back, then hands it over in order. */
function batched<T>(
  later: (deliver: () => void) => void,
  receive: (message: T) => void,
): (message: T) => void {
  let batch: T[] = [];
  const deliver = () => {
    const messages = batch;
    batch = [];
    for (const message of messages) receive(message);
  };
  return (message) => {
    batch.push(message);
    if (batch.length === 1) later(deliver);
  };
}
