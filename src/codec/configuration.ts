import { isMootError, MootError } from '../base/errors.js';
import { MEMBERS_MAX, REMOVED_MAX } from '../raft/membership.js';
import type {
  Configuration,
  ConfigurationAt,
  ConfigurationCodec,
  Learner,
  Member,
  MemberChange,
  NodeId,
} from '../raft/types.js';
import { ADDRESS_CHARS_MAX } from './limits.js';
import { packOwned, unpack } from './msgpack.js';
import { Reader } from './reader.js';
import { oneOf, type Packed } from './values.js';

/** A newer form is refused: a node that misread who decides could break every promise. */
const VERSION = 1;
const ID = /^[A-Za-z0-9._-]{1,64}$/;

/** The data of an entry of kind 'configuration'. */
export const configurationCodec: ConfigurationCodec = {
  encode: (configuration) => packOwned([VERSION, ...packConfiguration(configuration)]),
  decode(data) {
    try {
      return decodeConfiguration(data);
    } catch (error) {
      if (isMootError(error)) return null;
      throw error;
    }
  },
};

/** Throws BAD_MESSAGE with the field that is wrong. */
export function decodeConfiguration(data: Uint8Array): Configuration {
  const r = new Reader(unpack(view(data)), 'configuration');
  const version = r.uint('version');
  if (version !== VERSION) throw bad(`version ${version} is unknown`);
  return readConfiguration(r);
}

/** The stored form of what is in force at some applied index. */
export function encodeConfigurationAt({ index, configuration }: ConfigurationAt): Uint8Array {
  return packOwned([VERSION, index, packConfiguration(configuration)]);
}

/** Throws BAD_MESSAGE. */
export function decodeConfigurationAt(data: Uint8Array): ConfigurationAt {
  const r = new Reader(unpack(view(data)), 'configuration');
  const version = r.uint('version');
  if (version !== VERSION) throw bad(`version ${version} is unknown`);
  return { index: r.uint('index'), configuration: unpackConfiguration(r.any('configuration')) };
}

export function packConfiguration(configuration: Configuration): Packed {
  const { voters, outgoing, learners, removed, incarnation } = configuration;
  return [
    voters.map(packMember),
    outgoing.map(packMember),
    learners.map((learner) => [...packMember(learner), learner.promote, learner.replaces]),
    removed,
    incarnation,
  ];
}

export function unpackConfiguration(packed: unknown): Configuration {
  return readConfiguration(new Reader(packed, 'configuration'));
}

const CHANGES: readonly MemberChange['type'][] = ['add', 'promote', 'remove'];

export function packMemberChange(change: MemberChange): Packed {
  const tag = CHANGES.indexOf(change.type);
  if (change.type !== 'add') return [tag, change.id];
  return [tag, change.id, change.address, change.promote, change.replaces];
}

export function unpackMemberChange(packed: unknown): MemberChange {
  const r = new Reader(packed, 'change');
  const type = oneOf(r, 'change.type', CHANGES);
  if (type !== 'add') return { type, id: checkId(r.any('id')) };
  return { type, ...readLearner(r) };
}

function readConfiguration(r: Reader): Configuration {
  const configuration = {
    voters: r.array('voters', MEMBERS_MAX).map((one) => readMember(new Reader(one, 'voter'))),
    outgoing: r.array('outgoing', MEMBERS_MAX).map((one) => readMember(new Reader(one, 'voter'))),
    learners: r
      .array('learners', MEMBERS_MAX)
      .map((one) => readLearner(new Reader(one, 'learner'))),
    removed: r.array('removed', REMOVED_MAX).map((id) => checkId(id)),
    // Clusters of old have none until their next leader draws it.
    incarnation: r.more ? r.uint('incarnation') : 0,
  };
  const { voters, outgoing, learners, removed } = configuration;
  for (const group of [[...voters, ...learners], outgoing, removed.map((id) => ({ id }))]) {
    if (new Set(group.map(({ id }) => id)).size !== group.length) throw bad('a member comes twice');
  }
  return configuration;
}

function packMember({ id, address }: Member): readonly [NodeId, string] {
  return [id, address];
}

function readMember(r: Reader): Member {
  return { id: checkId(r.any('id')), address: r.string('address', ADDRESS_CHARS_MAX) };
}

function readLearner(r: Reader): Learner {
  return {
    ...readMember(r),
    promote: r.bool('promote'),
    replaces: r.nullable('replaces', function (field) {
      return checkId(this.any(field));
    }),
  };
}

/** BAD_MESSAGE for what no node can be called: it would be remembered, as a vote or a member. */
export function checkId(id: unknown): NodeId {
  if (typeof id === 'string' && ID.test(id)) return id;
  throw bad('an id is none');
}

/** The library leaves a property behind on what it reads. */
function view(data: Uint8Array): Uint8Array {
  return data.subarray();
}

function bad(why: string): MootError {
  return new MootError('BAD_MESSAGE', `configuration: ${why}`);
}
