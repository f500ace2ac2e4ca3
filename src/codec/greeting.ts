import { MootError } from '../base/errors.js';
import type { NodeId } from '../raft/types.js';
import { checkId } from './configuration.js';
import { ADDRESS_CHARS_MAX, LABEL_CHARS_MAX } from './limits.js';
import { pack, unpack } from './msgpack.js';
import { Reader } from './reader.js';
import { type UnionCodec, unionCodec } from './union.js';

/** Grows with every change that an older version would misunderstand. */
export const PROTOCOL_VERSION = 8;

/** One volume per cluster today; every connection says which it is about. */
export const GROUP = 0;

/** The first frame of a connection, each way: who I am, and whom I take you for. */
export interface Greeting {
  readonly cluster: string;
  /** The incarnation of the cluster that this side knows (raft's Configuration); 0: of none. */
  readonly incarnation: number;
  readonly role: GreetingRole;
}

export type GreetingRole =
  /** A node that sends its Raft messages to node `to`, and is reached at `address` itself. */
  | {
      readonly type: 'peer';
      readonly id: NodeId;
      readonly to: NodeId;
      readonly address: string;
    }
  /** `name` is for people. */
  | { readonly type: 'client'; readonly name: string }
  /** The node that was dialled answers. */
  | { readonly type: 'node'; readonly id: NodeId };

/** Stands first, so that a frame of anything else is known at once. */
const MAGIC = 'mootfs';

const roles: UnionCodec<GreetingRole> = unionCodec<GreetingRole>('greeting.role', {
  peer: {
    tag: 1,
    pack: (role) => [role.id, role.to, role.address],
    unpack: (r) => ({
      type: 'peer',
      id: checkId(r.string('id', LABEL_CHARS_MAX)),
      to: checkId(r.string('to', LABEL_CHARS_MAX)),
      address: r.string('address', ADDRESS_CHARS_MAX),
    }),
  },
  client: {
    tag: 2,
    pack: (role) => [role.name],
    unpack: (r) => ({ type: 'client', name: r.string('name', LABEL_CHARS_MAX) }),
  },
  node: {
    tag: 3,
    pack: (role) => [role.id],
    unpack: (r) => ({ type: 'node', id: checkId(r.string('id', LABEL_CHARS_MAX)) }),
  },
});

export function encodeGreeting(greeting: Greeting): Uint8Array {
  const { cluster, incarnation, role } = greeting;
  return pack([MAGIC, PROTOCOL_VERSION, GROUP, cluster, roles.pack(role), incarnation]);
}

/** Throws BAD_MESSAGE, also for another version or group. */
export function decodeGreeting(frame: Uint8Array): Greeting {
  const r = new Reader(unpack(frame), 'greeting');
  if (r.any('magic') !== MAGIC) {
    throw new MootError('BAD_MESSAGE', 'greeting.magic is not that of mootfs');
  }
  const version = r.uint('version');
  if (version !== PROTOCOL_VERSION) {
    throw new MootError(
      'BAD_MESSAGE',
      `greeting.version ${version} is unknown; this side speaks version ${PROTOCOL_VERSION}`,
    );
  }
  const group = r.uint('group');
  if (group !== GROUP) throw new MootError('BAD_MESSAGE', `greeting.group ${group} is unknown`);
  return {
    cluster: r.string('cluster', LABEL_CHARS_MAX),
    role: roles.unpack(r.any('role'), undefined),
    incarnation: r.uint('incarnation'),
  };
}
