import { assert } from '../base/assert.js';
import { parse56 } from '../base/binary-key.js';
import { FIRST_MAP, GROUP_CHUNKS, lengthIn } from './content.js';
import { COUNTERS, chunkOf, cookieKey, cookieOf, type Key, tableOf } from './keys.js';
import { conflictsWith, isSameOwner } from './lock-table.js';
import { fileType, S_IFDIR, S_IFLNK, S_IFREG } from './mode.js';
import { latin1 } from './name.js';
import {
  CHUNK_BYTES,
  type CookieEntry,
  type Counters,
  type DirectoryEntry,
  HOLDERS_NONE,
  type Ino,
  type Inode,
  type Locks,
  type Orphan,
  ROOT_INO,
  type Session,
  type Table,
  type Tables,
  type WaitingLock,
} from './records.js';

/** What stands in a whole tree, taken in record by record; content in short, so that large files cost little memory. */
export class TreeCheck {
  private readonly records: Records = {
    counters: null,
    inodes: new Map(),
    entries: [],
    cookies: [],
    contents: new Map(),
    xattrs: new Map(),
    sessions: new Map(),
    orphans: new Map(),
    locks: new Map(),
    waiting: [],
  };

  /** Every record, in ascending order of keys; without what was discarded and is not freed yet. */
  take(key: Key, value: Tables[Table]): void {
    const table = tableOf(key);
    assert(table !== undefined, 'a record is of a table');
    sortIn[table](this.records, key, value as never); // the key's table says the type of its value
  }

  /** What of the tree's invariants does not hold; empty for a sound tree. */
  problems(): string[] {
    const { records } = this;
    if (records.counters === null) return ['no counters'];
    return [
      ...inodeProblems(records),
      ...entryProblems(records),
      ...wayProblems(records),
      ...holdProblems(records, records.counters),
      ...lockProblems(records),
      ...contentProblems(records),
      ...counterProblems(records, records.counters),
    ];
  }

  get counters(): Counters | null {
    return this.records.counters;
  }

  get sessions(): ReadonlyMap<number, Session> {
    return this.records.sessions;
  }
}

interface Records {
  counters: Counters | null;
  readonly inodes: Map<Ino, Inode>;
  readonly entries: {
    readonly parent: Ino;
    readonly name: string;
    readonly entry: DirectoryEntry;
  }[];
  readonly cookies: {
    readonly parent: Ino;
    readonly cookie: number;
    readonly entry: CookieEntry;
  }[];
  readonly contents: Map<number, Content>;
  /** How many each inode has. */
  readonly xattrs: Map<Ino, number>;
  readonly sessions: Map<number, Session>;
  readonly orphans: Map<number, Orphan>;
  readonly locks: Map<Ino, Locks>;
  waiting: readonly WaitingLock[];
}

/** The chunks of one content. Its maps come behind its chunks, and take out what they know. */
interface Content {
  bytes: number;
  /** The first byte behind all chunks. */
  end: number;
  /** Lengths of the chunks of all groups but the first, until their map was seen. */
  readonly unmapped: Map<number, Uint16Array>;
  readonly problems: string[];
}

const sortIn: { readonly [T in Table]: (into: Records, key: Key, value: Tables[T]) => void } = {
  counters: (into, key, counters) => {
    if (key === COUNTERS) into.counters = counters;
  },
  inode: (into, key, inode) => into.inodes.set(parse56(key, 1), inode),
  entry: ({ entries }, key, entry) =>
    entries.push({ parent: parse56(key, 1), name: key.slice(8), entry }),
  cookie: ({ cookies }, key, entry) =>
    cookies.push({ parent: parse56(key, 1), cookie: cookieOf(key as Key<'cookie'>), entry }),
  chunk: ({ contents }, key, data) => {
    const number = parse56(key, 1);
    const content = contents.get(number) ?? { bytes: 0, end: 0, unmapped: new Map(), problems: [] };
    contents.set(number, content);
    const chunk = chunkOf(key as Key<'chunk'>);
    if (chunk < FIRST_MAP) addChunk(content, number, chunk, data);
    else addMap(content, number, chunk - FIRST_MAP, data);
  },
  xattrs: (into, key, xattrs) => into.xattrs.set(parse56(key, 1), xattrs.size),
  session: (into, key, session) => into.sessions.set(parse56(key, 1), session),
  orphan: (into, key, orphan) => into.orphans.set(parse56(key, 1), orphan),
  locks: (into, key, locks) => into.locks.set(parse56(key, 1), locks),
  waiting(into, _key, waiting) {
    into.waiting = waiting;
  },
  members: () => {},
};

function inodeProblems({ inodes, xattrs }: Records): string[] {
  const problems: string[] = [];
  for (const [key, inode] of inodes) {
    const { ino } = inode;
    const type = fileType(inode.mode);
    if (inode.ino !== key) problems.push(`inode ${ino} lies under ${key}`);
    if (inode.nlink === 0 && inode.holds === 0) problems.push(`orphan ${ino} is held by nothing`);
    if (type !== S_IFDIR && (inode.parent !== 0 || inode.entries !== 0 || inode.nextCookie !== 0)) {
      problems.push(`inode ${ino} has what only a directory has`);
    }
    if ((type === S_IFREG) !== inode.content > 0) problems.push(`inode ${ino}: content`);
    if (type === S_IFLNK && inode.size !== inode.target.length) {
      problems.push(`symbolic link ${ino}: size`);
    }
    if (type !== S_IFREG && inode.bytes !== 0) problems.push(`inode ${ino} stores bytes`);
  }
  for (const inode of inodes.values()) {
    const stored = xattrs.get(inode.ino) ?? 0;
    if (inode.xattrs !== stored)
      problems.push(`inode ${inode.ino}: ${inode.xattrs} xattrs, ${stored} stored`);
  }
  for (const [ino, count] of xattrs) {
    if (!inodes.has(ino)) problems.push(`xattrs of missing inode ${ino}`);
    if (count === 0) problems.push(`inode ${ino}: an empty record of xattrs`);
  }
  return problems;
}

/** Entries and cookies agree with each other, with the inodes, and with what directories count. */
function entryProblems({ inodes, entries, cookies }: Records): string[] {
  const problems: string[] = [];
  const names = new Map<Ino, number>();
  const inDirectory = new Map<Ino, number>();
  const subdirectories = new Map<Ino, number>();
  const byCookie = new Map(
    cookies.map((c) => [cookieKey(c.parent, c.cookie) as string, c.entry] as const),
  );
  for (const { parent, name, entry } of entries) {
    const where = `entry ${parent}/${JSON.stringify(name)}`;
    const same = byCookie.get(cookieKey(parent, entry.cookie));
    byCookie.delete(cookieKey(parent, entry.cookie));
    if (same === undefined) problems.push(`${where} has no cookie ${entry.cookie}`);
    else if (same.ino !== entry.ino || same.type !== entry.type || latin1(same.name) !== name) {
      problems.push(`${where} differs from its cookie ${entry.cookie}`);
    }
    const inode = inodes.get(entry.ino);
    const directory = inodes.get(parent);
    if (inode === undefined) problems.push(`${where} names missing inode ${entry.ino}`);
    else if (fileType(inode.mode) !== entry.type) problems.push(`${where} has another type`);
    else if (entry.type === S_IFDIR && inode.parent !== parent) {
      problems.push(`${where}: the directory thinks that its parent is ${inode.parent}`);
    }
    if (directory === undefined || fileType(directory.mode) !== S_IFDIR) {
      problems.push(`${where} lies in no directory`);
    } else if (entry.cookie < 1 || entry.cookie >= directory.nextCookie) {
      problems.push(`${where}: cookie ${entry.cookie} was not given yet`);
    }
    names.set(entry.ino, (names.get(entry.ino) ?? 0) + 1);
    inDirectory.set(parent, (inDirectory.get(parent) ?? 0) + 1);
    if (entry.type === S_IFDIR) subdirectories.set(parent, (subdirectories.get(parent) ?? 0) + 1);
  }
  for (const key of byCookie.keys()) problems.push(`cookie ${JSON.stringify(key)} has no entry`);
  for (const inode of inodes.values()) {
    const named = names.get(inode.ino) ?? 0;
    if (fileType(inode.mode) === S_IFDIR) {
      const links = inode.nlink === 0 ? 0 : 2 + (subdirectories.get(inode.ino) ?? 0);
      if (inode.nlink !== links) problems.push(`directory ${inode.ino}: nlink ${inode.nlink}`);
      const expected = inode.ino === ROOT_INO || inode.nlink === 0 ? 0 : 1;
      if (named !== expected) problems.push(`directory ${inode.ino} has ${named} names`);
      if (inode.entries !== (inDirectory.get(inode.ino) ?? 0)) {
        problems.push(`directory ${inode.ino} counts ${inode.entries} entries`);
      }
    } else if (inode.nlink !== named) {
      problems.push(`inode ${inode.ino}: nlink ${inode.nlink}, but ${named} names`);
    }
  }
  return problems;
}

/** Every directory with a name has a way to the root. */
function wayProblems({ inodes }: Records): string[] {
  const problems: string[] = [];
  for (const start of inodes.values()) {
    if (fileType(start.mode) !== S_IFDIR || start.nlink === 0) continue;
    const passed = new Set<Ino>();
    let ino = start.ino;
    while (ino !== ROOT_INO && !passed.has(ino)) {
      passed.add(ino);
      ino = inodes.get(ino)?.parent ?? 0;
    }
    if (ino !== ROOT_INO) problems.push(`directory ${start.ino} has no way to the root`);
  }
  return problems;
}

function holdProblems({ inodes, sessions, orphans }: Records, counters: Counters): string[] {
  const problems: string[] = [];
  const holds = new Map<Ino, number>();
  const hold = (ino: Ino) => holds.set(ino, (holds.get(ino) ?? 0) + 1);
  let least = HOLDERS_NONE;
  for (const session of sessions.values()) {
    session.holds.forEach(hold);
    if (session.seenIndex !== null) least = Math.min(least, session.seenIndex);
    if (session.seenIndex === null && session.holds.length > 0) {
      problems.push(`session ${session.id} holds inodes, but never holds any`);
    }
    const numbers = [...session.replies.keys()];
    if (numbers.length > 0 && numbers.at(-1) !== session.lastSequence) {
      problems.push(`session ${session.id}: the last reply is not of the last command`);
    }
  }
  if (counters.holdersSeenIndex !== least) problems.push('counters: holdersSeenIndex');
  let lastIndex = 0;
  for (let at = counters.orphanHead; at < counters.orphanTail; at++) {
    const orphan = orphans.get(at);
    if (orphan === undefined) {
      problems.push(`the orphan queue has a gap at ${at}`);
      continue;
    }
    if (orphan.index < lastIndex) problems.push(`orphan ${at} was unlinked before its predecessor`);
    lastIndex = orphan.index;
    hold(orphan.ino);
  }
  if (orphans.size !== counters.orphanTail - counters.orphanHead) {
    problems.push('there are orphans outside the queue');
  }
  for (const ino of holds.keys()) {
    const inode = inodes.get(ino);
    if (inode === undefined) problems.push(`missing inode ${ino} is held`);
  }
  for (const inode of inodes.values()) {
    if (inode.holds !== (holds.get(inode.ino) ?? 0)) problems.push(`inode ${inode.ino}: holds`);
  }
  return problems;
}

/** No lock is granted twice, each is its living session's, and nobody waits for what is free. */
function lockProblems({ locks, waiting, sessions }: Records): string[] {
  const problems: string[] = [];
  const locked = new Map<number, Set<Ino>>();
  for (const [ino, kinds] of locks) {
    const { posix, flock, delegate } = kinds;
    const isEmpty = posix.length + flock.length === 0;
    if (isEmpty && delegate === null) problems.push(`inode ${ino}: empty locks`);
    if (delegate !== null) {
      locked.set(delegate, (locked.get(delegate) ?? new Set()).add(ino));
      const isAlone = [...posix, ...flock].every((one) => one.session === delegate);
      if (!isAlone) problems.push(`inode ${ino}: a session decides that is not alone`);
      if (waiting.some((one) => one.ino === ino)) {
        problems.push(`inode ${ino}: somebody waits where one session decides`);
      }
    }
    for (const held of [kinds.posix, kinds.flock]) {
      for (const [i, one] of held.entries()) {
        locked.set(one.session, (locked.get(one.session) ?? new Set()).add(ino));
        if (one.first > one.last) problems.push(`inode ${ino}: a lock that ends before it begins`);
        const rest = held.slice(i + 1);
        if (rest.some((other) => conflictsWith(one, other))) {
          problems.push(`inode ${ino}: a lock of session ${one.session} was granted twice`);
        }
        const next = rest[0];
        if (next === undefined || !isSameOwner(one, next)) continue;
        const touches = one.exclusive === next.exclusive && one.last + 1 >= next.first;
        if (one.last >= next.first || touches) problems.push(`inode ${ino}: locks in pieces`);
      }
    }
  }
  for (const session of sessions.values()) {
    const held = locked.get(session.id) ?? new Set();
    locked.delete(session.id);
    const isSame =
      held.size === session.locks.length && session.locks.every((ino) => held.has(ino));
    if (!isSame) problems.push(`session ${session.id}: locks`);
  }
  for (const id of locked.keys()) problems.push(`missing session ${id} holds locks`);
  for (const one of waiting) {
    if (!sessions.has(one.session))
      problems.push(`missing session ${one.session} waits for a lock`);
    const held = locks.get(one.ino)?.[one.kind] ?? [];
    if (!held.some((other) => conflictsWith(other, one))) {
      problems.push(`session ${one.session} waits for a free lock on inode ${one.ino}`);
    }
  }
  return problems;
}

function addChunk(content: Content, number: number, chunk: number, data: Uint8Array): void {
  if (data.length === 0 || data.length > CHUNK_BYTES) {
    content.problems.push(`chunk ${number}:${chunk} has ${data.length} bytes`);
  }
  content.bytes += data.length;
  content.end = chunk * CHUNK_BYTES + data.length;
  const group = Math.floor(chunk / GROUP_CHUNKS);
  if (group === 0) return;
  const lengths = content.unmapped.get(group) ?? new Uint16Array(GROUP_CHUNKS);
  content.unmapped.set(group, lengths);
  lengths[chunk % GROUP_CHUNKS] = data.length;
}

function addMap(content: Content, number: number, group: number, map: Uint8Array): void {
  if (map.length === 0) content.problems.push(`the map ${number}:${group} is empty`);
  const lengths = content.unmapped.get(group);
  content.unmapped.delete(group);
  for (let i = 0; i < GROUP_CHUNKS; i++) {
    const stored = lengths?.[i] ?? 0;
    const mapped = lengthIn(map, i);
    if (stored !== mapped) {
      const where = `chunk ${number}:${group * GROUP_CHUNKS + i}`;
      content.problems.push(`${where} has ${stored} bytes, and ${mapped} in its map`);
    }
  }
}

/** Each chunk belongs to one file, lies within it, is counted, and stands in its group's map. */
function contentProblems({ inodes, contents }: Records): string[] {
  const problems: string[] = [];
  const owners = new Map<number, Inode>();
  for (const inode of inodes.values()) {
    if (inode.content === 0) continue;
    if (owners.has(inode.content)) problems.push(`content ${inode.content} has two owners`);
    owners.set(inode.content, inode);
    const bytes = contents.get(inode.content)?.bytes ?? 0;
    if (inode.bytes !== bytes) {
      problems.push(`inode ${inode.ino} counts ${inode.bytes} bytes, but stores ${bytes}`);
    }
  }
  for (const [number, content] of contents) {
    problems.push(...content.problems);
    for (const group of content.unmapped.keys()) {
      problems.push(`group ${group} of content ${number} has no map`);
    }
    const owner = owners.get(number);
    if (owner === undefined) problems.push(`content ${number} belongs to nobody`);
    else if (content.end > owner.size) {
      problems.push(`content ${number} reaches beyond the end of inode ${owner.ino}`);
    }
  }
  return problems;
}

function counterProblems({ inodes, contents, sessions }: Records, counters: Counters): string[] {
  const problems: string[] = [];
  let bytes = 0;
  for (const content of contents.values()) bytes += content.bytes;
  const ids = [...sessions.keys()].sort((a, b) => a - b);
  if (counters.inodes !== inodes.size) problems.push(`counters: ${counters.inodes} inodes`);
  if (counters.bytes !== bytes) problems.push(`counters: ${counters.bytes} bytes, not ${bytes}`);
  if (ids.join() !== counters.sessions.join()) problems.push('counters: sessions');
  if (ids.some((id) => id >= counters.nextSession)) problems.push('counters: nextSession');
  for (const inode of inodes.values()) {
    if (inode.ino >= counters.nextIno || inode.content >= counters.nextIno) {
      problems.push(`counters: nextIno is not beyond inode ${inode.ino}`);
    }
  }
  return problems;
}
