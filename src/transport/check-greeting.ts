import { MootError } from '../base/errors.js';
import type { Greeting, GreetingRole } from '../codec/greeting.js';
import type { NodeId } from '../raft/types.js';
import { parseAddress } from './address.js';

/** Who a node is to those who come to it. */
export interface Self {
  readonly cluster: string;
  /** 0: not known yet. */
  readonly incarnation: number;
  readonly id: NodeId;
}

/** Throws WRONG_CLUSTER. Who does not know the incarnation yet is to learn it. */
export function checkCluster(
  greeting: Pick<Greeting, 'cluster' | 'incarnation'>,
  { cluster, incarnation }: Pick<Self, 'cluster' | 'incarnation'>,
): void {
  if (greeting.cluster !== cluster) {
    const [theirs, ours] = [short(greeting.cluster), short(cluster)];
    throw new MootError('WRONG_CLUSTER', `cluster '${theirs}' on one side, '${ours}' on the other`);
  }
  if (!areAtOdds(greeting.incarnation, incarnation)) return;
  throw new MootError(
    'WRONG_CLUSTER',
    `another cluster of the name '${short(cluster)}': one of the two was recovered or begun anew`,
  );
}

/** Two sides that both know their incarnation, and not the same one. */
export function areAtOdds(one: number, other: number): boolean {
  return one !== 0 && other !== 0 && one !== other;
}

/**
 * A node's check of a peer that came in. Throws WRONG_CLUSTER, WRONG_NODE or BAD_MESSAGE. Any other
 * node of the cluster may come: one that this node has not heard of yet may lead already (thesis
 * §4.1), and one that was removed is to hear of that.
 */
export function checkPeer(greeting: Greeting, self: Self): Extract<GreetingRole, { type: 'peer' }> {
  checkCluster(greeting, self);
  const { role } = greeting;
  if (role.type !== 'peer') throw new MootError('BAD_MESSAGE', `a ${role.type} on the peers' path`);
  if (role.to !== self.id) {
    throw new MootError('WRONG_NODE', `this is node '${short(self.id)}', not '${short(role.to)}'`);
  }
  if (role.id === self.id) {
    throw new MootError(
      'WRONG_NODE',
      `there is another node that calls itself '${short(self.id)}'`,
    );
  }
  parseAddress(role.address);
  return role;
}

/** A node's check of a client that came in. */
export function checkClient(greeting: Greeting, self: Self): void {
  checkCluster(greeting, self);
  const { role } = greeting;
  if (role.type !== 'client') {
    throw new MootError('BAD_MESSAGE', `a ${role.type} on the clients' path`);
  }
}

/** A dialler's check of who answered; `id` is null when any node will do. */
export function checkAnswer(
  greeting: Greeting,
  own: Pick<Self, 'cluster' | 'incarnation'>,
  id: NodeId | null,
): void {
  checkCluster(greeting, own);
  const { role } = greeting;
  if (role.type !== 'node') throw new MootError('BAD_MESSAGE', `a ${role.type} answered as a node`);
  if (id !== null && role.id !== id) {
    throw new MootError('WRONG_NODE', `node '${short(role.id)}' answered, not '${short(id)}'`);
  }
}

/** A close frame has room for 123 bytes. */
function short(name: string): string {
  return name.length > 32 ? `${name.slice(0, 31)}…` : name;
}
