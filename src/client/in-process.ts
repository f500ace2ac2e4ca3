import type { ClientRequest, ClientResponse } from '../codec/client-messages.js';
import type { Node } from '../node/node.js';
import type { Channel, ChannelHandlers, Dialer } from '../transport/transport.js';

/**
 * Dials the node of this process directly, and every other address by `remote`.
 *
 * Nothing is encoded or copied: bytes in requests and responses are shared with the node, so
 * neither side may change them (as createFilesystemClient says). Messages arrive in order and never
 * within the sender's call: requests in a microtask, so that all of one turn reach the node
 * together; responses in the event loop's next turn, so that a loop of answered queries lets timers
 * and sockets have theirs.
 */
export function createInProcessDialer(
  node: Pick<Node, 'connect'>,
  ownAddress: string,
  remote: Dialer,
): Dialer {
  return {
    async dial(address, handlers, signal) {
      if (address !== ownAddress) return remote.dial(address, handlers, signal);
      return connect(node, handlers);
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
