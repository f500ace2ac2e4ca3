import { FIRST_MAP, GROUP_CHUNKS, lengthIn } from '../../src/filesystem/content.js';
import {
  COUNTERS,
  chunkOf,
  cookieKey,
  cookieOf,
  type Key,
  tableOf,
} from '../../src/filesystem/keys.js';
import { fileType, S_IFDIR, S_IFLNK, S_IFREG } from '../../src/filesystem/mode.js';
import { latin1 } from '../../src/filesystem/name.js';
import {
  CHUNK_BYTES,
  type CookieEntry,
  type Counters,
  type DirectoryEntry,
  HOLDERS_NONE,
  type Ino,
  type Inode,
  type Orphan,
  ROOT_INO,
  type Session,
  type Table,
  type Tables,
  type Xattrs,
} from '../../src/filesystem/records.js';

/** Every record of a tree: `MemoryView.all`, or a whole store read out that has freed what was discarded. */
export interface WholeTree {
  all(): Iterable<readonly [Key, Tables[Table]]>;
}

/** Throws an Error that lists everything that is wrong with the tree. */
export function checkTree(tree: WholeTree): void {
  const problems = treeProblems(tree);
  if (problems.length > 0) throw new Error(`broken tree:\n  ${problems.join('\n  ')}`);
}

/** What of the tree's invariants does not hold; empty for a sound tree. */
export function treeProblems(tree: WholeTree): string[] {
  const records = sorted(tree);
  if (records.counters === null) return ['no counters'];
  return [
    ...inodeProblems(records),
    ...entryProblems(records),
    ...wayProblems(records),
    ...holdProblems(records, records.counters),
    ...contentProblems(records),
    ...counterProblems(records, records.counters),
  ];
}

interface Sorted {
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
  readonly chunks: {
    readonly content: number;
    readonly chunk: number;
    readonly data: Uint8Array;
  }[];
  readonly xattrs: Map<Ino, Xattrs>;
  readonly sessions: Map<number, Session>;
  readonly orphans: Map<number, Orphan>;
}

function sorted(tree: WholeTree): Sorted {
  const into: Sorted = {
    counters: null,
    inodes: new Map(),
    entries: [],
    cookies: [],
    chunks: [],
    xattrs: new Map(),
    sessions: new Map(),
    orphans: new Map(),
  };
  for (const [key, value] of tree.all()) {
    const table = tableOf(key);
    if (table === undefined) throw new Error(`key of no table: ${JSON.stringify(key)}`);
    sortIn[table](into, key, value as never); // the key's table says the type of its value
  }
  return into;
}

const sortIn: { readonly [T in Table]: (into: Sorted, key: Key, value: Tables[T]) => void } = {
  counters: (into, key, counters) => {
    if (key === COUNTERS) into.counters = counters;
  },
  inode: (into, key, inode) => into.inodes.set(number56(key, 1), inode),
  entry: ({ entries }, key, entry) =>
    entries.push({ parent: number56(key, 1), name: key.slice(8), entry }),
  cookie: ({ cookies }, key, entry) =>
    cookies.push({ parent: number56(key, 1), cookie: cookieOf(key as Key<'cookie'>), entry }),
  chunk: ({ chunks }, key, data) =>
    chunks.push({ content: number56(key, 1), chunk: chunkOf(key as Key<'chunk'>), data }),
  xattrs: (into, key, xattrs) => into.xattrs.set(number56(key, 1), xattrs),
  session: (into, key, session) => into.sessions.set(number56(key, 1), session),
  orphan: (into, key, orphan) => into.orphans.set(number56(key, 1), orphan),
};

function number56(key: Key, at: number): number {
  let value = 0;
  for (let i = at; i < at + 7; i++) value = value * 256 + key.charCodeAt(i);
  return value;
}

function inodeProblems({ inodes, xattrs }: Sorted): string[] {
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
    const stored = xattrs.get(inode.ino)?.size ?? 0;
    if (inode.xattrs !== stored)
      problems.push(`inode ${inode.ino}: ${inode.xattrs} xattrs, ${stored} stored`);
  }
  for (const [ino, all] of xattrs) {
    if (!inodes.has(ino)) problems.push(`xattrs of missing inode ${ino}`);
    if (all.size === 0) problems.push(`inode ${ino}: an empty record of xattrs`);
  }
  return problems;
}

/** Entries and cookies agree with each other, with the inodes, and with what directories count. */
function entryProblems({ inodes, entries, cookies }: Sorted): string[] {
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
function wayProblems({ inodes }: Sorted): string[] {
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

function holdProblems({ inodes, sessions, orphans }: Sorted, counters: Counters): string[] {
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

/** Each chunk belongs to one file, lies within it, is counted, and stands in its group's map. */
function contentProblems({ inodes, chunks }: Sorted): string[] {
  const problems: string[] = [];
  const owners = new Map<number, Inode>();
  const stored = new Map<number, number>();
  const maps = new Map<string, Uint8Array>();
  for (const { content, chunk, data } of chunks) {
    if (chunk >= FIRST_MAP) maps.set(`${content}:${chunk - FIRST_MAP}`, data);
  }
  const mapped = new Map([...maps].map(([name, map]) => [name, sumOfLengths(map)] as const));
  for (const inode of inodes.values()) {
    if (inode.content === 0) continue;
    if (owners.has(inode.content)) problems.push(`content ${inode.content} has two owners`);
    owners.set(inode.content, inode);
  }
  for (const { content, chunk, data } of chunks) {
    const where = `chunk ${content}:${chunk}`;
    const owner = owners.get(content);
    if (owner === undefined) problems.push(`${where} belongs to nobody`);
    if (chunk >= FIRST_MAP) continue;
    if (owner !== undefined && chunk * CHUNK_BYTES + data.length > owner.size) {
      problems.push(`${where} reaches beyond the end of inode ${owner.ino}`);
    }
    if (data.length === 0 || data.length > CHUNK_BYTES) {
      problems.push(`${where} has ${data.length} bytes`);
    }
    stored.set(content, (stored.get(content) ?? 0) + data.length);
    const group = Math.floor(chunk / GROUP_CHUNKS);
    if (group === 0) continue;
    const name = `${content}:${group}`;
    const map = maps.get(name);
    if (map === undefined || lengthIn(map, chunk) !== data.length) {
      problems.push(`${where} stands otherwise in its map`);
    }
    mapped.set(name, (mapped.get(name) ?? 0) - data.length);
  }
  for (const [name, rest] of mapped) {
    if (rest !== 0) problems.push(`the map ${name} has what is not there`);
    if (maps.get(name)?.length === 0) problems.push(`the map ${name} is empty`);
  }
  for (const inode of owners.values()) {
    const bytes = stored.get(inode.content) ?? 0;
    if (inode.bytes !== bytes) {
      problems.push(`inode ${inode.ino} counts ${inode.bytes} bytes, but stores ${bytes}`);
    }
  }
  return problems;
}

function sumOfLengths(map: Uint8Array): number {
  let sum = 0;
  for (let chunk = 0; chunk < GROUP_CHUNKS; chunk++) sum += lengthIn(map, chunk);
  return sum;
}

function counterProblems({ inodes, chunks, sessions }: Sorted, counters: Counters): string[] {
  const problems: string[] = [];
  const data = chunks.filter(({ chunk }) => chunk < FIRST_MAP);
  const bytes = data.reduce((sum, chunk) => sum + chunk.data.length, 0);
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
