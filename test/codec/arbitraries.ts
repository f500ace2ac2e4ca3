import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import type { Timespec } from '../../src/base/clock.js';
import type { ErrorCode, FilesystemErrorCode } from '../../src/base/errors.js';
import type { ClientRequest, ClientResponse, NodeStatus } from '../../src/codec/client-messages.js';
import { configurationCodec } from '../../src/codec/configuration.js';
import type { Greeting } from '../../src/codec/greeting.js';
import type { PeerMessage } from '../../src/codec/peer-messages.js';
import type {
  AllocateMode,
  Command,
  CommandValue,
  LogCommand,
} from '../../src/filesystem/commands.js';
import type { Trace } from '../../src/filesystem/facts.js';
import type { Effect } from '../../src/filesystem/filesystem.js';
import type { ListedEntry, Query, QueryResult, QueryValues } from '../../src/filesystem/queries.js';
import type { HeldLock, Inode, Reply } from '../../src/filesystem/records.js';
import type { Configuration, MemberChange } from '../../src/raft/types.js';

/** Everything that crosses a wire or enters the log, for round trips and as a start for damage. */

type Of<T> = fc.Arbitrary<T>;

/** Small numbers and the edges of every width that msgpack has. */
const uint: Of<number> = fc.oneof(
  fc.nat(300),
  fc.maxSafeNat(),
  fc.constantFrom(127, 128, 255, 256, 65_535, 65_536, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1),
);
const uint32: Of<number> = fc.oneof(fc.nat(300), fc.nat(2 ** 32 - 1));
const bytes: Of<Uint8Array> = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.nat(70_000).map((length) => new Uint8Array(length).fill(length)),
);
const name: Of<Uint8Array> = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.constant(new Uint8Array(4096).fill(0xff)),
);
const label: Of<string> = fc.string({ maxLength: 200, unit: 'grapheme' });
const nodeId: Of<string> = fc.stringMatching(/^[A-Za-z0-9._-]{1,64}$/);
const bool = fc.boolean();
const time: Of<Timespec> = fc.record({
  sec: fc.oneof(fc.integer(), fc.maxSafeInteger()).map((sec) => sec + 0),
  nsec: fc.nat(999_999_999),
});
const code: Of<FilesystemErrorCode> = fc.constantFrom('ENOENT', 'EEXIST', 'ENAMETOOLONG', 'E2BIG');
const errorCode: Of<ErrorCode> = fc.constantFrom('NOT_LEADER', 'BUSY', 'ENOENT', 'DIVERGED');

/** An optional field is there or not; never there with `undefined`. */
const flag: Of<true | undefined> = fc.constantFrom(true, undefined);

function compact<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as T;
}

const is = <T extends string>(type: T): Of<T> => fc.constant(type);

export const inode: Of<Inode> = fc.record({
  ino: uint,
  mode: uint32,
  uid: uint32,
  gid: uint32,
  nlink: uint32,
  size: uint,
  bytes: uint,
  rdev: uint32,
  atime: time,
  mtime: time,
  ctime: time,
  btime: time,
  dataVersion: uint,
  content: uint,
  parent: uint,
  entries: uint,
  nextCookie: uint,
  xattrs: uint32,
  target: name,
  holds: uint32,
  flags: uint32,
});

const memberChange: Of<MemberChange> = fc.oneof(
  fc.record({
    type: is('add'),
    id: nodeId,
    address: nodeId,
    promote: bool,
    replaces: fc.option(nodeId),
  }),
  fc.record({ type: is('promote'), id: nodeId }),
  fc.record({ type: is('remove'), id: nodeId }),
);

const lockOwner: Of<string> = fc.string({ maxLength: 32 });
const someOf = <T>(one: Of<T>): Of<readonly T[]> => fc.array(one, { maxLength: 5 });
const ownLock: Of<Omit<HeldLock, 'session'>> = fc.record({
  owner: lockOwner,
  pid: uint32,
  exclusive: bool,
  first: uint,
  last: uint,
});

const commandByType: { readonly [T in Command['type']]: Of<Extract<Command, { type: T }>> } = {
  'open-session': fc.record({ type: is('open-session'), name: label, holdsOpen: bool }),
  'keep-alive': fc.record({ type: is('keep-alive'), seenIndex: uint, holds: fc.array(uint) }),
  'close-session': fc.record({ type: is('close-session') }),
  'expire-session': fc.record({ type: is('expire-session'), session: uint, lastIndex: uint }),
  nothing: fc.record({ type: is('nothing') }),
  'make-node': fc
    .record({
      type: is('make-node'),
      parent: uint,
      name,
      mode: uint32,
      umask: fc.option(uint32, { nil: undefined }),
      rdev: uint32,
      uid: uint32,
      gid: uint32,
    })
    .map(({ umask, ...rest }) => ({ ...rest, ...(umask === undefined ? {} : { umask }) })),
  'make-unnamed': fc
    .record({
      type: is('make-unnamed'),
      parent: uint,
      mode: uint32,
      umask: fc.option(uint32, { nil: undefined }),
      uid: uint32,
      gid: uint32,
    })
    .map(({ umask, ...rest }) => ({ ...rest, ...(umask === undefined ? {} : { umask }) })),
  'make-symlink': fc.record({
    type: is('make-symlink'),
    parent: uint,
    name,
    target: bytes,
    uid: uint32,
    gid: uint32,
  }),
  link: fc.record({ type: is('link'), ino: uint, parent: uint, name }),
  unlink: fc.record({ type: is('unlink'), parent: uint, name }),
  'remove-directory': fc.record({ type: is('remove-directory'), parent: uint, name }),
  rename: fc.record({
    type: is('rename'),
    parent: uint,
    name,
    newParent: uint,
    newName: name,
    mode: fc.constantFrom('replace' as const, 'no-replace' as const, 'exchange' as const),
  }),
  'set-attributes': fc
    .record(
      {
        type: is('set-attributes'),
        ino: uint,
        mode: uint32,
        uid: uint32,
        gid: uint32,
        size: uint,
        atime: fc.oneof(time, fc.constant('now' as const)),
        mtime: fc.oneof(time, fc.constant('now' as const)),
        ctime: time,
        killPrivileges: fc.constant(true as const),
        flags: uint32,
        named: fc.constant(true as const),
      },
      { requiredKeys: ['type', 'ino'] },
    )
    .map(compact),
  write: fc
    .record({ type: is('write'), ino: uint, offset: uint, data: bytes, append: flag, kill: flag })
    .map(({ append, kill, ...rest }) => ({
      ...rest,
      ...(append ? { append } : {}),
      ...(kill ? { killPrivileges: kill } : {}),
    })),
  allocate: fc
    .record({
      type: is('allocate'),
      ino: uint,
      offset: uint,
      length: uint,
      mode: fc.constantFrom<AllocateMode[]>('reserve', 'reserve-keep-size', 'punch', 'zero'),
      kill: flag,
    })
    .map(({ kill, ...rest }) => ({ ...rest, ...(kill ? { killPrivileges: kill } : {}) })),
  'copy-range': fc
    .record({
      type: is('copy-range'),
      ino: uint,
      offset: uint,
      toIno: uint,
      toOffset: uint,
      length: uint,
      kill: flag,
    })
    .map(({ kill, ...rest }) => ({ ...rest, ...(kill ? { killPrivileges: kill } : {}) })),
  'set-xattr': fc
    .record({
      type: is('set-xattr'),
      ino: uint,
      name,
      value: bytes,
      mode: fc.constantFrom('set' as const, 'create' as const, 'replace' as const),
      kill: flag,
    })
    .map(({ kill, ...rest }) => ({ ...rest, ...(kill ? { killSetGid: kill } : {}) })),
  'remove-xattr': fc.record({ type: is('remove-xattr'), ino: uint, name }),
  lock: fc
    .record({
      type: is('lock'),
      ino: uint,
      kind: fc.constantFrom('posix' as const, 'flock' as const),
      mode: fc.constantFrom('shared' as const, 'exclusive' as const, 'unlock' as const),
      owner: lockOwner,
      pid: uint32,
      first: uint,
      last: uint,
      wait: fc.option(uint),
      takes: flag,
    })
    .map(({ takes, ...rest }) => ({ ...rest, ...(takes ? { takesOver: takes } : {}) })),
  'set-quota': fc.record({
    type: is('set-quota'),
    bytes: fc.option(uint),
    inodes: fc.option(uint),
  }),
  'cancel-lock': fc.record({ type: is('cancel-lock'), ino: uint, request: uint }),
  'recall-locks': fc.record({ type: is('recall-locks'), ino: uint }),
  'return-locks': fc.record({
    type: is('return-locks'),
    ino: uint,
    held: fc.option(fc.record({ posix: someOf(ownLock), flock: someOf(ownLock) })),
  }),
};

export const command: Of<Command> = fc.oneof(...Object.values(commandByType));

const { 'expire-session': _leadersAlone, ...clientCommands } = commandByType;
const clientCommand: Of<Command> = fc.oneof(...Object.values(clientCommands));

export const logCommand: Of<LogCommand> = fc.record({
  session: uint,
  sequence: uint,
  acknowledged: uint,
  time,
  command,
});

const queryByType: { readonly [T in Query['type']]: Of<Extract<Query, { type: T }>> } = {
  lookup: fc.record({ type: is('lookup'), parent: uint, name }),
  'get-inode': fc.record({ type: is('get-inode'), ino: uint }),
  'read-directory': fc.record({
    type: is('read-directory'),
    ino: uint,
    cookie: uint,
    limit: fc.nat(4_096),
    plus: bool,
  }),
  read: fc.record({ type: is('read'), ino: uint, offset: uint, size: fc.nat(1_048_576) }),
  seek: fc.record({
    type: is('seek'),
    ino: uint,
    offset: uint,
    what: fc.constantFrom('data' as const, 'hole' as const),
  }),
  'get-xattr': fc.record({ type: is('get-xattr'), ino: uint, name }),
  'list-xattrs': fc.record({ type: is('list-xattrs'), ino: uint }),
  'get-lock': fc.record({
    type: is('get-lock'),
    ino: uint,
    session: uint,
    owner: lockOwner,
    exclusive: bool,
    first: uint,
    last: uint,
  }),
  statfs: fc.record({ type: is('statfs') }),
};

const heldLock: Of<HeldLock> = fc.record({
  session: uint,
  owner: lockOwner,
  pid: uint32,
  exclusive: bool,
  first: uint,
  last: uint,
});

const listed: Of<ListedEntry> = fc.record({
  name: fc.uint8Array({ minLength: 1, maxLength: 255 }),
  ino: uint,
  type: uint32,
  cookie: uint,
  inode: fc.option(inode),
});

const statfsAnswer: Of<QueryValues['statfs']> = fc.record({
  inodes: uint,
  bytes: uint,
  inodesMax: fc.option(uint),
  bytesMax: fc.option(uint),
  diskBytesTotal: uint,
  diskBytesFree: uint,
});

const lockAnswer: Of<QueryValues['get-lock']> = fc.record({
  lock: fc.option(heldLock),
  delegate: fc.option(uint),
});

const queryResult: Of<QueryResult> = fc.oneof(
  fc.record({ ok: fc.constant(false as const), code }),
  fc.record({
    ok: fc.constant(true as const),
    value: fc.oneof<Of<Extract<QueryResult, { ok: true }>['value']>[]>(
      fc.record({ inode }),
      fc.record({ inode, cookie: uint }),
      fc.record({
        entries: fc.array(listed, { maxLength: 20 }),
        parent: uint,
        end: bool,
        nextCookie: uint,
      }),
      fc.record({ data: bytes, size: uint }),
      fc.record({ offset: uint }),
      lockAnswer,
      fc.record({ value: bytes }),
      fc.record({ names: fc.array(name, { maxLength: 20 }) }),
      statfsAnswer,
    ),
  }),
);

const commandValue: Of<CommandValue> = fc.oneof(
  fc.constant(null),
  fc.record({ session: uint }),
  fc.record({ inode }),
  fc.record({ inode, dataVersionBefore: uint }),
  fc.record({ inode, dataVersionBefore: uint, copied: uint }),
  fc.record({ removed: fc.option(inode) }),
  fc.record({
    granted: bool,
    session: uint,
    file: fc.option(inode),
    recalled: bool,
    takenOver: fc.option(fc.record({ posix: someOf(heldLock), flock: someOf(heldLock) })),
  }),
);

const reply: Of<Reply> = fc.oneof(
  fc.record({ ok: fc.constant(true as const), value: commandValue }),
  fc.record({ ok: fc.constant(false as const), code }),
);

const effect: Of<Effect> = fc.oneof(
  fc.record({ type: is('inode'), ino: uint, data: bool, gone: bool }),
  fc.record({ type: is('entry'), parent: uint, name }),
  fc.record({ type: is('lock'), ino: uint, session: uint, request: uint }),
  fc.record({ type: is('delegation'), ino: uint, session: uint, ended: bool }),
);

export const memberId = fc.stringMatching(/^[A-Za-z0-9._-]{1,12}$/);
const memberIds = fc.uniqueArray(memberId, { maxLength: 12 });

/** Every id in one place only, but for those that leave. */
export const configuration: Of<Configuration> = fc
  .tuple(memberIds, memberIds, nodeId, bool, uint)
  .map(([ids, others, address, promote, incarnation]) => {
    const third = Math.ceil(ids.length / 3);
    return {
      voters: ids.slice(0, third).map((id) => ({ id, address })),
      learners: ids.slice(third, 2 * third).map((id) => ({
        id,
        address,
        promote,
        replaces: promote ? null : (ids[0] ?? null),
      })),
      outgoing: others.map((id) => ({ id, address })),
      removed: others,
      incarnation,
    };
  });

const status: Of<NodeStatus> = fc.record({
  version: label,
  cluster: label,
  id: nodeId,
  address: label,
  role: fc.constantFrom('follower', 'pre-candidate', 'candidate', 'leader'),
  term: uint,
  leader: fc.option(nodeId),
  recovering: bool,
  commitIndex: uint,
  appliedIndex: uint,
  lastIndex: uint,
  snapshotIndex: uint,
  stateHash: fc.constant('0123abcd'),
  inodes: uint,
  bytes: uint,
  sessions: fc.array(fc.record({ id: uint, name: label })),
  sessionCount: uint,
  peers: fc.array(fc.record({ id: nodeId, address: label, connected: bool })),
  configuration,
  followers: fc.array(
    fc.record({
      id: nodeId,
      match: uint,
      next: uint,
      state: fc.constantFrom('probe', 'replicate', 'snapshot'),
      inFlightMessages: uint,
      inFlightBytes: uint,
      recentlyActive: bool,
      counts: bool,
    }),
  ),
  control: fc.option(label),
  uptimeMs: uint,
  memoryBytes: uint,
  leaseMs: uint,
  sessionTimeoutMs: uint,
  writeConcern: fc.constantFrom('majority', 'all'),
  liveVoters: fc.array(nodeId, { maxLength: 5 }),
});

type Requests = { readonly [T in ClientRequest['type']]: Of<Extract<ClientRequest, { type: T }>> };
const requestByType: Requests = {
  submit: fc.record({
    type: is('submit'),
    id: uint,
    session: uint,
    sequence: uint,
    acknowledged: uint,
    command: clientCommand,
  }),
  query: fc.record({
    type: is('query'),
    id: uint,
    level: fc.constantFrom('strong', 'session', 'local'),
    minIndex: uint,
    query: fc.oneof(...Object.values(queryByType)),
  }),
  watch: fc.record({ type: is('watch'), id: uint, fromIndex: uint }),
  status: fc.record({ type: is('status'), id: uint }),
  snapshot: fc.record({ type: is('snapshot'), id: uint }),
  lease: fc.record({ type: is('lease'), id: uint }),
  'change-ack': fc.record({ type: is('change-ack'), id: uint }),
  members: fc.record({ type: is('members'), id: uint, change: memberChange }),
  transfer: fc.record({ type: is('transfer'), id: uint, to: fc.option(nodeId) }),
  unwatch: fc.record({ type: is('unwatch'), id: uint }),
};

export const clientRequest: Of<ClientRequest> = fc.oneof(...Object.values(requestByType));

type Responses = {
  readonly [T in ClientResponse['type']]: Of<Extract<ClientResponse, { type: T }>>;
};
const changes = fc.record({
  type: is('changes'),
  id: uint,
  index: uint,
  reset: bool,
  effects: fc.array(effect, { maxLength: 30 }),
});
const trace: fc.Arbitrary<Trace> = fc.oneof(
  fc.record({ type: is('inode'), inode }),
  fc.record({ type: is('entry'), parent: uint, name, ino: fc.option(uint) }),
);
const responseByType: Responses = {
  'submit-reply': fc.record({
    type: is('submit-reply'),
    id: uint,
    index: uint,
    outcome: fc.oneof(
      fc.record({ type: is('reply'), reply }),
      fc.record({ type: is('gap'), lastSequence: uint }),
      fc.record({ type: is('no-session') }),
    ),
    repeated: bool,
    traces: fc.array(trace, { maxLength: 5 }),
    changes: fc.option(changes),
  }),
  'query-reply': fc.record({
    type: is('query-reply'),
    id: uint,
    index: uint,
    result: queryResult,
  }),
  'watch-event': fc.record({
    type: is('watch-event'),
    id: uint,
    index: uint,
    reset: bool,
    effects: fc.array(effect, { maxLength: 30 }),
  }),
  'lease-reply': fc.record({
    type: is('lease-reply'),
    id: uint,
    index: uint,
    durationMs: uint,
  }),
  changes,
  'status-reply': fc.record({ type: is('status-reply'), id: uint, status }),
  'snapshot-reply': fc.record({ type: is('snapshot-reply'), id: uint, index: uint }),
  'members-reply': fc.record({ type: is('members-reply'), id: uint, configuration }),
  'transfer-reply': fc.record({ type: is('transfer-reply'), id: uint, leader: nodeId }),
  refusal: fc.record({
    type: is('refusal'),
    id: uint,
    code: errorCode,
    message: label,
    leader: fc.option(fc.record({ id: nodeId, address: label })),
  }),
};

export const clientResponse: Of<ClientResponse> = fc.oneof(...Object.values(responseByType));

const ends = { from: nodeId, to: nodeId, term: uint };

type Peers = { readonly [T in PeerMessage['type']]: Of<Extract<PeerMessage, { type: T }>> };
const peerByType: Peers = {
  'pre-vote': fc.record({ type: is('pre-vote'), ...ends, lastIndex: uint, lastTerm: uint }),
  'pre-vote-reply': fc.record({ type: is('pre-vote-reply'), ...ends, granted: bool }),
  vote: fc.record({ type: is('vote'), ...ends, lastIndex: uint, lastTerm: uint, transfer: bool }),
  'vote-reply': fc.record({ type: is('vote-reply'), ...ends, granted: bool }),
  append: fc
    .record({
      type: is('append'),
      ...ends,
      prevIndex: fc.nat(),
      prevTerm: uint,
      commit: uint,
      entries: fc.array(
        fc.oneof(
          fc.record({
            term: uint,
            kind: fc.constantFrom('command' as const, 'empty' as const),
            data: bytes,
          }),
          fc.record({
            term: uint,
            kind: is('configuration'),
            data: configuration.map((c) => Uint8Array.from(configurationCodec.encode(c))),
          }),
        ),
        { maxLength: 20 },
      ),
    })
    .map((m) => ({
      ...m,
      entries: m.entries.map((entry, i) => ({ index: m.prevIndex + 1 + i, ...entry })),
    })),
  'append-reply': fc.record({
    type: is('append-reply'),
    ...ends,
    prevIndex: uint,
    success: bool,
    match: uint,
    hintIndex: uint,
    hintTerm: uint,
    recovering: bool,
  }),
  heartbeat: fc.record({ type: is('heartbeat'), ...ends, commit: uint, context: uint }),
  'heartbeat-reply': fc.record({ type: is('heartbeat-reply'), ...ends, context: uint }),
  'read-index': fc.record({ type: is('read-index'), ...ends, context: uint }),
  'read-index-reply': fc.record({
    type: is('read-index-reply'),
    ...ends,
    context: uint,
    index: uint,
  }),
  'snapshot-chunk': fc
    .record({
      type: is('snapshot-chunk'),
      ...ends,
      stream: uint,
      mark: fc.record({ index: uint, term: uint }),
      sequence: uint,
      last: bool,
      data: bytes,
    })
    .map((m) => ({ ...m, checksum: crc32(m.data) })),
  'snapshot-ack': fc.record({
    type: is('snapshot-ack'),
    ...ends,
    stream: uint,
    sequence: fc.integer({ min: -1, max: 1_000 }),
    state: fc.constantFrom('receiving', 'installed', 'refused'),
  }),
  bootstrap: fc.record({ type: is('bootstrap'), from: nodeId, to: nodeId, question: uint }),
  'bootstrap-reply': fc.record({
    type: is('bootstrap-reply'),
    ...ends,
    question: uint,
    empty: bool,
  }),
  'state-hash': fc.record({
    type: is('state-hash'),
    ...ends,
    index: uint,
    hash: uint32,
    agreed: fc.boolean(),
  }),
  'state-hash-reply': fc.record({
    type: is('state-hash-reply'),
    ...ends,
    index: uint,
    hash: uint32,
  }),
  'disk-space': fc.record({
    type: is('disk-space'),
    ...ends,
    totalBytes: uint,
    freeBytes: uint,
    written: uint,
  }),
  'read-lease': fc.record({ type: is('read-lease'), ...ends, id: uint }),
  'read-lease-reply': fc.record({
    type: is('read-lease-reply'),
    ...ends,
    id: uint,
    durationMs: uint,
  }),
  'timeout-now': fc.record({ type: is('timeout-now'), ...ends, grantsOver: bool }),
  removed: fc.record({ type: is('removed'), ...ends }),
};

export const peerMessage: Of<PeerMessage> = fc.oneof(...Object.values(peerByType));

export const greeting: Of<Greeting> = fc.record({
  cluster: label,
  incarnation: uint,
  role: fc.oneof(
    fc.record({ type: is('peer'), id: nodeId, to: nodeId, address: nodeId }),
    fc.record({ type: is('client'), name: label }),
    fc.record({ type: is('node'), id: nodeId }),
  ),
});
