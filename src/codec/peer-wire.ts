import { crc32 } from 'node:zlib';
import { MootError } from '../base/errors.js';
import type { Append, Entry, EntryKind, NodeId } from '../raft/types.js';
import { decodeConfiguration } from './configuration.js';
import { APPEND_ENTRIES_MAX, ENTRY_BYTES_MAX, SNAPSHOT_CHUNK_BYTES_MAX } from './limits.js';
import { pack, unpack } from './msgpack.js';
import type { PeerMessage, SnapshotMessage } from './peer-messages.js';
import { Reader } from './reader.js';
import { type UnionCodec, unionCodec } from './union.js';
import { oneOf, type Packed } from './values.js';

/**
 * A frame to a peer. Who sends it and to whom is not in it: the connection's greeting said so, and
 * nobody can then speak for another. The bytes are for sending at once; who keeps them copies them.
 */
export function encodePeerMessage(message: PeerMessage): Uint8Array {
  if (message.type !== 'append' || message.entries.length === 0) return encode(message);
  if (lastAppend === null || !isSame(lastAppend.message, message)) {
    lastAppend = { message, frame: encode(message) };
  }
  return lastAppend.frame;
}

/** Followers that keep up are sent the same: it is encoded once for all of them. */
let lastAppend: { readonly message: Append; readonly frame: Uint8Array } | null = null;

function isSame(a: Append, b: Append): boolean {
  return (
    a.term === b.term &&
    a.prevIndex === b.prevIndex &&
    a.prevTerm === b.prevTerm &&
    a.commit === b.commit &&
    a.entries.length === b.entries.length &&
    a.entries.every((entry, i) => entry === b.entries[i])
  );
}

function encode(message: PeerMessage): Uint8Array {
  return pack(codec.pack(message), payloadBytes(message));
}

/** Bytes in the message are views of `frame`. Throws BAD_MESSAGE. */
export function decodePeerMessage(frame: Uint8Array, from: NodeId, to: NodeId): PeerMessage {
  return codec.unpack(unpack(frame), { from, to });
}

const KINDS: readonly EntryKind[] = ['command', 'empty', 'configuration'];
type AckState = Extract<SnapshotMessage, { readonly type: 'snapshot-ack' }>['state'];
const ACK_STATES: readonly AckState[] = ['receiving', 'installed', 'refused'];

interface Ends {
  readonly from: NodeId;
  readonly to: NodeId;
}

const codec: UnionCodec<PeerMessage, Ends> = unionCodec<PeerMessage, Ends>('message', {
  'pre-vote': {
    tag: 1,
    pack: (m) => [m.term, m.lastIndex, m.lastTerm],
    unpack: (r, { from, to }) => ({
      type: 'pre-vote',
      from,
      to,
      term: r.uint('term'),
      lastIndex: r.uint('lastIndex'),
      lastTerm: r.uint('lastTerm'),
    }),
  },
  'pre-vote-reply': {
    tag: 2,
    pack: (m) => [m.term, m.granted],
    unpack: (r, { from, to }) => ({
      type: 'pre-vote-reply',
      from,
      to,
      term: r.uint('term'),
      granted: r.bool('granted'),
    }),
  },
  vote: {
    tag: 3,
    pack: (m) => [m.term, m.lastIndex, m.lastTerm, m.transfer],
    unpack: (r, { from, to }) => ({
      type: 'vote',
      from,
      to,
      term: r.uint('term'),
      lastIndex: r.uint('lastIndex'),
      lastTerm: r.uint('lastTerm'),
      transfer: r.bool('transfer'),
    }),
  },
  'vote-reply': {
    tag: 4,
    pack: (m) => [m.term, m.granted],
    unpack: (r, { from, to }) => ({
      type: 'vote-reply',
      from,
      to,
      term: r.uint('term'),
      granted: r.bool('granted'),
    }),
  },
  append: {
    tag: 5,
    pack: (m) => [
      m.term,
      m.prevIndex,
      m.prevTerm,
      m.commit,
      entriesChecksum(m.entries),
      m.entries.map(packEntry),
    ],
    unpack: unpackAppend,
  },
  'append-reply': {
    tag: 6,
    pack: (m) => [m.term, m.prevIndex, m.success, m.match, m.hintIndex, m.hintTerm, m.recovering],
    unpack: (r, { from, to }) => ({
      type: 'append-reply',
      from,
      to,
      term: r.uint('term'),
      prevIndex: r.uint('prevIndex'),
      success: r.bool('success'),
      match: r.uint('match'),
      hintIndex: r.uint('hintIndex'),
      hintTerm: r.uint('hintTerm'),
      recovering: r.bool('recovering'),
    }),
  },
  heartbeat: {
    tag: 7,
    pack: (m) => [m.term, m.commit, m.context],
    unpack: (r, { from, to }) => ({
      type: 'heartbeat',
      from,
      to,
      term: r.uint('term'),
      commit: r.uint('commit'),
      context: r.uint('context'),
    }),
  },
  'heartbeat-reply': {
    tag: 8,
    pack: (m) => [m.term, m.context],
    unpack: (r, { from, to }) => ({
      type: 'heartbeat-reply',
      from,
      to,
      term: r.uint('term'),
      context: r.uint('context'),
    }),
  },
  'read-index': {
    tag: 9,
    pack: (m) => [m.term, m.context],
    unpack: (r, { from, to }) => ({
      type: 'read-index',
      from,
      to,
      term: r.uint('term'),
      context: r.uint('context'),
    }),
  },
  'read-index-reply': {
    tag: 10,
    pack: (m) => [m.term, m.context, m.index],
    unpack: (r, { from, to }) => ({
      type: 'read-index-reply',
      from,
      to,
      term: r.uint('term'),
      context: r.uint('context'),
      index: r.uint('index'),
    }),
  },
  'snapshot-chunk': {
    tag: 11,
    pack: (m) => [
      m.term,
      m.stream,
      m.mark.index,
      m.mark.term,
      m.sequence,
      m.last,
      m.checksum,
      m.data,
    ],
    unpack: (r, { from, to }) => ({
      type: 'snapshot-chunk',
      from,
      to,
      term: r.uint('term'),
      stream: r.uint('stream'),
      mark: { index: r.uint('mark.index'), term: r.uint('mark.term') },
      sequence: r.uint('sequence'),
      last: r.bool('last'),
      checksum: r.uint32('checksum'),
      data: r.bytes('data', SNAPSHOT_CHUNK_BYTES_MAX),
    }),
  },
  'snapshot-ack': {
    tag: 12,
    pack: (m) => [m.term, m.stream, m.sequence, ACK_STATES.indexOf(m.state)],
    unpack: (r, { from, to }) => ({
      type: 'snapshot-ack',
      from,
      to,
      term: r.uint('term'),
      stream: r.uint('stream'),
      sequence: ackSequence(r.int('sequence')),
      state: oneOf(r, 'message snapshot-ack.state', ACK_STATES),
    }),
  },
  bootstrap: {
    tag: 13,
    pack: (m) => [m.question],
    unpack: (r, { from, to }) => ({ type: 'bootstrap', from, to, question: r.uint('question') }),
  },
  'bootstrap-reply': {
    tag: 14,
    pack: (m) => [m.question, m.term, m.empty],
    unpack: (r, { from, to }) => ({
      type: 'bootstrap-reply',
      from,
      to,
      question: r.uint('question'),
      term: r.uint('term'),
      empty: r.bool('empty'),
    }),
  },
  'state-hash': {
    tag: 15,
    pack: (m) => [m.term, m.index, m.hash, m.agreed],
    unpack: (r, { from, to }) => ({
      type: 'state-hash',
      from,
      to,
      term: r.uint('term'),
      index: r.uint('index'),
      hash: r.uint32('hash'),
      agreed: r.bool('agreed'),
    }),
  },
  'state-hash-reply': {
    tag: 22,
    pack: (m) => [m.term, m.index, m.hash],
    unpack: (r, { from, to }) => ({
      type: 'state-hash-reply',
      from,
      to,
      term: r.uint('term'),
      index: r.uint('index'),
      hash: r.uint32('hash'),
    }),
  },
  'timeout-now': {
    tag: 16,
    pack: (m) => [m.term, m.grantsOver],
    unpack: (r, { from, to }) => ({
      type: 'timeout-now',
      from,
      to,
      term: r.uint('term'),
      grantsOver: r.bool('grantsOver'),
    }),
  },
  removed: {
    tag: 17,
    pack: (m) => [m.term],
    unpack: (r, { from, to }) => ({ type: 'removed', from, to, term: r.uint('term') }),
  },
  'read-lease': {
    tag: 20,
    pack: (m) => [m.term, m.id],
    unpack: (r, { from, to }) => ({
      type: 'read-lease',
      from,
      to,
      term: r.uint('term'),
      id: r.uint('id'),
    }),
  },
  'disk-space': {
    tag: 25,
    pack: (m) => [m.term, m.totalBytes, m.freeBytes, m.written],
    unpack: (r, { from, to }) => ({
      type: 'disk-space',
      from,
      to,
      term: r.uint('term'),
      totalBytes: r.uint('totalBytes'),
      freeBytes: r.uint('freeBytes'),
      written: r.uint('written'),
    }),
  },
  'read-lease-reply': {
    tag: 21,
    pack: (m) => [m.term, m.id, m.durationMs],
    unpack: (r, { from, to }) => ({
      type: 'read-lease-reply',
      from,
      to,
      term: r.uint('term'),
      id: r.uint('id'),
      durationMs: r.uint('durationMs'),
    }),
  },
});

function unpackAppend(r: Reader, { from, to }: Ends): Append {
  const term = r.uint('term');
  const prevIndex = r.uint('prevIndex');
  const prevTerm = r.uint('prevTerm');
  const commit = r.uint('commit');
  const checksum = r.uint32('checksum');
  const entries = r.array('entries', APPEND_ENTRIES_MAX).map(unpackEntry);
  entries.forEach((entry, i) => {
    if (entry.index !== prevIndex + 1 + i) {
      throw new MootError('BAD_MESSAGE', `message append.entries has ${entry.index} out of order`);
    }
  });
  if (entriesChecksum(entries) !== checksum) {
    throw new MootError('BAD_MESSAGE', 'message append.checksum does not fit its entries');
  }
  return { type: 'append', from, to, term, prevIndex, prevTerm, commit, entries };
}

/**
 * CRC-32 over the data of all entries: what goes into another node's log has been checked from end
 * to end, since TCP's own 16 bits let one damaged packet in 65,536 pass.
 */
function entriesChecksum(entries: readonly Entry[]): number {
  return entries.reduce((checksum, entry) => crc32(entry.data, checksum), 0);
}

function packEntry(entry: Entry): Packed {
  return [entry.index, entry.term, KINDS.indexOf(entry.kind), entry.data];
}

function unpackEntry(packed: unknown): Entry {
  const r = new Reader(packed, 'entry');
  const entry = {
    index: r.uint('index'),
    term: r.uint('term'),
    kind: oneOf(r, 'entry.kind', KINDS),
    data: r.bytes('data', ENTRY_BYTES_MAX),
  };
  if (entry.kind === 'configuration') decodeConfiguration(entry.data);
  return entry;
}

function ackSequence(sequence: number): number {
  if (sequence >= -1) return sequence;
  throw new MootError('BAD_MESSAGE', `message snapshot-ack.sequence ${sequence} is below -1`);
}

function payloadBytes(message: PeerMessage): number {
  if (message.type === 'snapshot-chunk') return message.data.length;
  if (message.type !== 'append') return 0;
  return message.entries.reduce((sum, entry) => sum + entry.data.length + ENTRY_ENVELOPE_BYTES, 0);
}

/** Index, term, kind and the heads of the bytes and of the entry itself, at their longest. */
const ENTRY_ENVELOPE_BYTES = 25;
