import { isErrorCode } from '../base/errno.js';
import { MootError } from '../base/errors.js';
import type { Trace } from '../filesystem/facts.js';
import type { Effect } from '../filesystem/filesystem.js';
import { COMMAND_NAME_BYTES_MAX } from '../filesystem/records.js';
import type {
  Changes,
  ClientRequest,
  ClientResponse,
  ReadLevel,
  Refusal,
  SubmitRequest,
  SubmitResponse,
} from './client-messages.js';
import { commandCodec, commandPayloadBytes } from './commands.js';
import {
  packConfiguration,
  packMemberChange,
  unpackConfiguration,
  unpackMemberChange,
} from './configuration.js';
import { ADDRESS_CHARS_MAX, EFFECTS_MAX, LABEL_CHARS_MAX, SENTENCE_CHARS_MAX } from './limits.js';
import { pack, unpack } from './msgpack.js';
import { packQueryResult, queryCodec, resultPayloadBytes, unpackQueryResult } from './queries.js';
import { Reader } from './reader.js';
import { packStatus, unpackStatus } from './status.js';
import { unionCodec } from './union.js';
import { oneOf, type Packed, packInode, packReply, unpackInode, unpackReply } from './values.js';

/** A frame from a client to a node. The bytes are for sending at once; who keeps them copies them. */
export function encodeClientRequest(request: ClientRequest): Uint8Array {
  const payloadBytes = request.type === 'submit' ? commandPayloadBytes(request.command) : 0;
  return pack(requests.pack(request), payloadBytes);
}

/** Bytes in the request are views of `frame`. Throws BAD_MESSAGE. */
export function decodeClientRequest(frame: Uint8Array): ClientRequest {
  return requests.unpack(unpack(frame), undefined);
}

/** A frame from a node to a client; as with requests. */
export function encodeClientResponse(response: ClientResponse): Uint8Array {
  const payloadBytes = response.type === 'query-reply' ? resultPayloadBytes(response.result) : 0;
  return pack(responses.pack(response), payloadBytes);
}

/** Bytes in the response are views of `frame`. Throws BAD_MESSAGE. */
export function decodeClientResponse(frame: Uint8Array): ClientResponse {
  return responses.unpack(unpack(frame), undefined);
}

const READ_LEVELS: readonly ReadLevel[] = ['strong', 'session', 'local'];

const requests = unionCodec<ClientRequest>('request', {
  submit: {
    tag: 1,
    pack: (m) => [m.id, m.session, m.sequence, m.acknowledged, commandCodec.pack(m.command)],
    unpack: unpackSubmit,
  },
  query: {
    tag: 2,
    pack: (m) => [m.id, READ_LEVELS.indexOf(m.level), m.minIndex, queryCodec.pack(m.query)],
    unpack: (r) => ({
      type: 'query',
      id: r.uint('id'),
      level: oneOf(r, 'request query.level', READ_LEVELS),
      minIndex: r.uint('minIndex'),
      query: queryCodec.unpack(r.any('query'), undefined),
    }),
  },
  watch: {
    tag: 3,
    pack: (m) => [m.id, m.fromIndex],
    unpack: (r) => ({ type: 'watch', id: r.uint('id'), fromIndex: r.uint('fromIndex') }),
  },
  status: {
    tag: 4,
    pack: (m) => [m.id],
    unpack: (r) => ({ type: 'status', id: r.uint('id') }),
  },
  snapshot: {
    tag: 5,
    pack: (m) => [m.id],
    unpack: (r) => ({ type: 'snapshot', id: r.uint('id') }),
  },
  lease: {
    tag: 6,
    pack: (m) => [m.id],
    unpack: (r) => ({ type: 'lease', id: r.uint('id') }),
  },
  'change-ack': {
    tag: 7,
    pack: (m) => [m.id],
    unpack: (r) => ({ type: 'change-ack', id: r.uint('id') }),
  },
  members: {
    tag: 8,
    pack: (m) => [m.id, packMemberChange(m.change)],
    unpack: (r) => ({
      type: 'members',
      id: r.uint('id'),
      change: unpackMemberChange(r.any('change')),
    }),
  },
  transfer: {
    tag: 9,
    pack: (m) => [m.id, m.to],
    unpack: (r) => ({
      type: 'transfer',
      id: r.uint('id'),
      to: r.nullableString('to', LABEL_CHARS_MAX),
    }),
  },
  unwatch: {
    tag: 10,
    pack: (m) => [m.id],
    unpack: (r) => ({ type: 'unwatch', id: r.uint('id') }),
  },
});

function unpackSubmit(r: Reader): SubmitRequest {
  const request: SubmitRequest = {
    type: 'submit',
    id: r.uint('id'),
    session: r.uint('session'),
    sequence: r.uint('sequence'),
    acknowledged: r.uint('acknowledged'),
    command: commandCodec.unpack(r.any('command'), undefined),
  };
  if (request.command.type === 'expire-session') {
    throw new MootError('BAD_MESSAGE', 'request submit.command expire-session is a leader’s alone');
  }
  return request;
}

const responses = unionCodec<ClientResponse>('response', {
  'submit-reply': {
    tag: 1,
    pack: (m) => [
      m.id,
      m.index,
      packOutcome(m.outcome),
      m.repeated,
      m.traces.map(packTrace),
      m.changes === null ? null : packChanges(m.changes),
    ],
    unpack: (r) => ({
      type: 'submit-reply',
      id: r.uint('id'),
      index: r.uint('index'),
      outcome: unpackOutcome(r.any('outcome')),
      repeated: r.bool('repeated'),
      traces: r.array('traces', EFFECTS_MAX).map(unpackTrace),
      changes: unpackOptionalChanges(r.any('changes')),
    }),
  },
  'query-reply': {
    tag: 2,
    pack: (m) => [m.id, m.index, packQueryResult(m.result)],
    unpack: (r) => ({
      type: 'query-reply',
      id: r.uint('id'),
      index: r.uint('index'),
      result: unpackQueryResult(r.any('result')),
    }),
  },
  'watch-event': {
    tag: 3,
    pack: (m) => [m.id, m.index, m.reset, m.effects.map(packEffect)],
    unpack: (r) => ({
      type: 'watch-event',
      id: r.uint('id'),
      index: r.uint('index'),
      reset: r.bool('reset'),
      effects: r.array('effects', EFFECTS_MAX).map(unpackEffect),
    }),
  },
  'status-reply': {
    tag: 4,
    pack: (m) => [m.id, packStatus(m.status)],
    unpack: (r) => ({
      type: 'status-reply',
      id: r.uint('id'),
      status: unpackStatus(r.any('status')),
    }),
  },
  'snapshot-reply': {
    tag: 5,
    pack: (m) => [m.id, m.index],
    unpack: (r) => ({ type: 'snapshot-reply', id: r.uint('id'), index: r.uint('index') }),
  },
  refusal: {
    tag: 6,
    pack: (m) => [
      m.id,
      m.code,
      m.message.slice(0, SENTENCE_CHARS_MAX),
      m.leader?.id ?? null,
      m.leader?.address ?? null,
    ],
    unpack: unpackRefusal,
  },
  'lease-reply': {
    tag: 7,
    pack: (m) => [m.id, m.index, m.durationMs],
    unpack: (r) => ({
      type: 'lease-reply',
      id: r.uint('id'),
      index: r.uint('index'),
      durationMs: r.uint('durationMs'),
    }),
  },
  changes: {
    tag: 8,
    pack: packChanges,
    unpack: unpackChanges,
  },
  'members-reply': {
    tag: 9,
    pack: (m) => [m.id, packConfiguration(m.configuration)],
    unpack: (r) => ({
      type: 'members-reply',
      id: r.uint('id'),
      configuration: unpackConfiguration(r.any('configuration')),
    }),
  },
  'transfer-reply': {
    tag: 10,
    pack: (m) => [m.id, m.leader],
    unpack: (r) => ({
      type: 'transfer-reply',
      id: r.uint('id'),
      leader: r.string('leader', LABEL_CHARS_MAX),
    }),
  },
});

function unpackRefusal(r: Reader): Refusal {
  const id = r.uint('id');
  const code = r.string('code', LABEL_CHARS_MAX);
  if (!isErrorCode(code)) throw new MootError('BAD_MESSAGE', 'response refusal.code is unknown');
  const message = r.string('message', SENTENCE_CHARS_MAX);
  const leader = r.nullableString('leader', LABEL_CHARS_MAX);
  const address = r.nullableString('address', ADDRESS_CHARS_MAX);
  return {
    type: 'refusal',
    id,
    code,
    message,
    leader: leader === null || address === null ? null : { id: leader, address },
  };
}

const OUTCOME_REPLY = 0;
const OUTCOME_GAP = 1;
const OUTCOME_NO_SESSION = 2;

function packOutcome(outcome: SubmitResponse['outcome']): Packed {
  switch (outcome.type) {
    case 'reply':
      return [OUTCOME_REPLY, packReply(outcome.reply)];
    case 'gap':
      return [OUTCOME_GAP, outcome.lastSequence];
    case 'no-session':
      return [OUTCOME_NO_SESSION];
  }
}

function unpackOutcome(packed: unknown): SubmitResponse['outcome'] {
  const r = new Reader(packed, 'outcome');
  const kind = r.uint('kind');
  switch (kind) {
    case OUTCOME_REPLY:
      return { type: 'reply', reply: unpackReply(r.any('reply')) };
    case OUTCOME_GAP:
      return { type: 'gap', lastSequence: r.uint('lastSequence') };
    case OUTCOME_NO_SESSION:
      return { type: 'no-session' };
    default:
      throw new MootError('BAD_MESSAGE', `outcome.kind ${kind} is unknown`);
  }
}

function packChanges({ id, index, reset, effects }: Changes): Packed {
  return [id, index, reset, effects.map(packEffect)];
}

function unpackChanges(r: Reader): Changes {
  return {
    type: 'changes',
    id: r.uint('id'),
    index: r.uint('index'),
    reset: r.bool('reset'),
    effects: r.array('effects', EFFECTS_MAX).map(unpackEffect),
  };
}

function unpackOptionalChanges(packed: unknown): Changes | null {
  return packed === null ? null : unpackChanges(new Reader(packed, 'changes'));
}

const EFFECT_INODE = 0;
const EFFECT_ENTRY = 1;
const EFFECT_LOCK = 2;
const EFFECT_DELEGATION = 3;

function packEffect(effect: Effect): Packed {
  switch (effect.type) {
    case 'inode':
      return [EFFECT_INODE, effect.ino, effect.data, effect.gone];
    case 'entry':
      return [EFFECT_ENTRY, effect.parent, effect.name];
    case 'lock':
      return [EFFECT_LOCK, effect.ino, effect.session, effect.request];
    case 'delegation':
      return [EFFECT_DELEGATION, effect.ino, effect.session, effect.ended];
  }
}

function unpackEffect(packed: unknown): Effect {
  const r = new Reader(packed, 'effect');
  const kind = r.uint('kind');
  switch (kind) {
    case EFFECT_INODE:
      return { type: 'inode', ino: r.uint('ino'), data: r.bool('data'), gone: r.bool('gone') };
    case EFFECT_ENTRY:
      return {
        type: 'entry',
        parent: r.uint('parent'),
        name: r.bytes('name', COMMAND_NAME_BYTES_MAX),
      };
    case EFFECT_LOCK:
      return {
        type: 'lock',
        ino: r.uint('ino'),
        session: r.uint('session'),
        request: r.uint('request'),
      };
    case EFFECT_DELEGATION:
      return {
        type: 'delegation',
        ino: r.uint('ino'),
        session: r.uint('session'),
        ended: r.bool('ended'),
      };
    default:
      throw new MootError('BAD_MESSAGE', `effect.kind ${kind} is unknown`);
  }
}

const TRACE_INODE = 0;
const TRACE_ENTRY = 1;

function packTrace(trace: Trace): Packed {
  return trace.type === 'inode'
    ? [TRACE_INODE, packInode(trace.inode)]
    : [TRACE_ENTRY, trace.parent, trace.name, trace.ino];
}

function unpackTrace(packed: unknown): Trace {
  const r = new Reader(packed, 'trace');
  const kind = r.uint('kind');
  switch (kind) {
    case TRACE_INODE:
      return { type: 'inode', inode: unpackInode(r.any('inode')) };
    case TRACE_ENTRY:
      return {
        type: 'entry',
        parent: r.uint('parent'),
        name: r.bytes('name', COMMAND_NAME_BYTES_MAX),
        ino: r.nullable('ino', r.uint),
      };
    default:
      throw new MootError('BAD_MESSAGE', `trace.kind ${kind} is unknown`);
  }
}
