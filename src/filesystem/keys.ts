import { number32, number56, parse32, parse56 } from '../base/binary-key.js';
import type { Ino, Table } from './records.js';

/**
 * The name of a record: a string of characters below 256, which are the bytes of the key in the
 * store. The first character says the table. Strings compare as the bytes do, so that a range of
 * keys is a range of the store; and a string is a cheap key of a Map.
 */
export type Key<T extends Table = Table> = string & { readonly __table?: T };

const LETTER: Record<Table, string> = {
  counters: 'a',
  session: 's',
  inode: 'i',
  entry: 'e',
  cookie: 'd',
  xattrs: 'x',
  orphan: 'o',
  chunk: 'c',
  locks: 'l',
  waiting: 'w',
  members: 'm',
};

const TABLE_OF_LETTER = new Map(
  (Object.keys(LETTER) as Table[]).map((table) => [LETTER[table], table] as const),
);

export function tableOf(key: Key): Table | undefined {
  return TABLE_OF_LETTER.get(key.charAt(0));
}

export function isOf<T extends Table>(key: Key, table: T): key is Key<T> {
  return key.startsWith(LETTER[table]);
}

export const COUNTERS: Key<'counters'> = LETTER.counters;
export const WAITING: Key<'waiting'> = LETTER.waiting;
export const MEMBERS: Key<'members'> = LETTER.members;

export function sessionKey(id: number): Key<'session'> {
  return LETTER.session + number56(id);
}
export function inodeKey(ino: Ino): Key<'inode'> {
  return LETTER.inode + number56(ino);
}
/** `name` as a latin1 string: one character a byte. */
export function entryKey(parent: Ino, name: string): Key<'entry'> {
  return LETTER.entry + number56(parent) + name;
}
/** The inode of the directory that an entry is in. */
export function directoryKey(key: Key<'entry'>): Key<'inode'> {
  return LETTER.inode + key.slice(1, 1 + 7);
}
export function cookieKey(parent: Ino, cookie: number): Key<'cookie'> {
  return LETTER.cookie + number56(parent) + number56(cookie);
}
export function xattrsKey(ino: Ino): Key<'xattrs'> {
  return LETTER.xattrs + number56(ino);
}
export function orphanKey(sequence: number): Key<'orphan'> {
  return LETTER.orphan + number56(sequence);
}
export function locksKey(ino: Ino): Key<'locks'> {
  return LETTER.locks + number56(ino);
}
export function chunkKey(content: number, chunk: number): Key<'chunk'> {
  return LETTER.chunk + number56(content) + number32(chunk);
}

/** A half-open range of keys: from <= key < to. */
export interface KeyRange<T extends Table = Table> {
  readonly from: Key<T>;
  readonly to: Key<T>;
}

/** The entries of a directory behind a cookie, in readdir's order. */
export function cookieRange(parent: Ino, afterCookie: number): KeyRange<'cookie'> {
  return { from: cookieKey(parent, afterCookie + 1), to: LETTER.cookie + number56(parent + 1) };
}
/** The chunks of a content in [first, end); `end` defaults to all. */
export function chunkRange(content: number, first = 0, end?: number): KeyRange<'chunk'> {
  return {
    from: chunkKey(content, first),
    to: end === undefined ? LETTER.chunk + number56(content + 1) : chunkKey(content, end),
  };
}

export function cookieOf(key: Key<'cookie'>): number {
  return parse56(key, 1 + 7);
}
export function chunkOf(key: Key<'chunk'>): number {
  return parse32(key, 1 + 7);
}
