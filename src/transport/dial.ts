import { MootError } from '../base/errors.js';
import { decodeGreeting, encodeGreeting, type Greeting } from '../codec/greeting.js';
import type { NodeId } from '../raft/types.js';
import { checkAnswer } from './check-greeting.js';
import { Link } from './link.js';
import type { ConnectOptions, Network } from './network.js';
import { errorOfCloseCode } from './rules.js';

export interface DialOptions extends ConnectOptions {
  readonly greeting: Greeting;
  /** Who must answer; null: any node of the cluster. */
  readonly expect: NodeId | null;
  readonly queueBytesMax: number;
  /** Called at once when the other side has greeted: more frames may have come with its greeting. */
  readonly onGreeted: (link: Link, answer: Greeting) => void;
}

/**
 * A greeted connection to a node. Rejects with UNREACHABLE, WRONG_CLUSTER, WRONG_NODE, BAD_MESSAGE,
 * BAD_ARGUMENT (the address) or INTERRUPTED (the signal).
 */
export async function dial(network: Network, options: DialOptions): Promise<Link> {
  const { address, greeting, expect, signal, queueBytesMax, onGreeted } = options;
  const wire = await network.connect(options);
  const link = new Link(wire, network.clock, queueBytesMax);
  const abort = () => wire.destroy('dialling was given up');
  signal.addEventListener('abort', abort);
  try {
    return await new Promise((resolve, reject) => {
      link.onEnd(({ code, reason, refused }) => {
        const why = refused?.message ?? (reason || 'the connection was closed');
        reject(
          signal.aborted
            ? new MootError('INTERRUPTED', `${address}: dialling was given up`)
            : new MootError(refused?.code ?? errorOfCloseCode(code), `${address}: ${why}`),
        );
      });
      link.expectGreeting(decodeGreeting, (answer) => {
        checkAnswer(answer, greeting, expect);
        onGreeted(link, answer);
        resolve(link);
      });
      link.send(encodeGreeting(greeting));
      if (signal.aborted) abort();
    });
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
