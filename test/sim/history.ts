import { reserveOf } from '../../src/base/disk-space.js';
import type { WatchListener } from '../../src/client/filesystem-client.js';
import type { ReadLevel } from '../../src/codec/client-messages.js';
import type { Command } from '../../src/filesystem/commands.js';
import type { Effect } from '../../src/filesystem/filesystem.js';
import type { Query, QueryValues } from '../../src/filesystem/queries.js';
import { WIDE_DISK } from './disk.js';
import { canonical, type Reference, same } from './reference.js';

/** What a program asked of its client, and what came of it. */
export interface Operation {
  readonly client: string;
  readonly request:
    | { readonly type: 'command'; readonly command: Command }
    | { readonly type: 'query'; readonly query: Query; readonly level: ReadLevel };
  readonly invokedMs: number;
  endedMs: number | null;
  /** Everything that had been told to anybody before this began. */
  readonly notBefore: number;
  /** The same of this client alone, by whatever answer or event. */
  readonly ownNotBefore: number;
  /** Up to there this client had heard of all changes by events. */
  readonly heardBefore: number;
  /** Of a command, as it was sent; 0: it was not. */
  session: number;
  sequence: number;
  /** Of a query: the index of the tree that answered; null: the client answered from memory. */
  answeredAt: number | null;
  /** What the caller got; null: an error that leaves it open. */
  answer: unknown;
  /** The code of the error that the client gave. */
  error: string | null;
  /** The answer came instead of an effect: it must never have one. */
  refused: boolean;
}

/**
 * Judges what clients are told. The log is the order in which commands take effect. So a history is
 * linearizable in this order when each strong answer is that of the tree at some index, which is
 * not below the index of anything that had been answered before the question was asked. For a
 * command that is the index at which it took effect, for a query the one at which a node answered,
 * for an answer out of a client's memory the lowest that fits: if that one is not too low for what
 * comes later, none is.
 */
export class History {
  readonly operations: Operation[] = [];
  /** No disk was ever nearly full. */
  disksAreWide = true;
  /** The highest index that anybody was told of by a strong answer. */
  private told = 0;
  private readonly toldTo = new Map<string, number>();
  private readonly heardBy = new Map<string, number>();
  readonly counts = {
    commands: 0,
    strong: 0,
    fromMemory: 0,
    session: 0,
    local: 0,
    refused: 0,
    busy: 0,
    unknown: 0,
    events: 0,
  };

  constructor(private readonly reference: Reference) {}

  begin(client: string, request: Operation['request'], nowMs: number): Operation {
    const operation: Operation = {
      client,
      request,
      invokedMs: nowMs,
      endedMs: null,
      notBefore: this.told,
      ownNotBefore: this.toldTo.get(client) ?? 0,
      heardBefore: this.heardBy.get(client) ?? 0,
      session: 0,
      sequence: 0,
      answeredAt: null,
      answer: null,
      error: null,
      refused: false,
    };
    this.operations.push(operation);
    return operation;
  }

  /** The client said so. Throws when it must not have. */
  answered(operation: Operation, answer: unknown, nowMs: number): void {
    operation.endedMs = nowMs;
    const { request, client } = operation;
    const { type } = request.type === 'query' ? request.query : request.command;
    operation.answer = isKept(type) ? asKept(answer) : answer;
    if (request.type === 'command') {
      this.counts.commands++;
      if (this.isRefusal(operation)) {
        operation.refused = true;
        this.counts.refused++;
        return;
      }
      const index = this.judgeCommand(operation, request.command);
      this.told = Math.max(this.told, index);
      this.tellTo(client, index);
    } else {
      const index = this.judgeQuery(operation, request.query, request.level);
      if (request.level === 'strong') this.told = Math.max(this.told, index);
      if (operation.answeredAt !== null) this.tellTo(client, index);
    }
  }

  failed(operation: Operation, code: string, nowMs: number): void {
    operation.endedMs = nowMs;
    operation.error = code;
    this.counts.unknown++;
  }

  /** A client that knew of all changes up to `from` was told of more: none may be missing. */
  changed(client: string, from: number, event: Parameters<WatchListener['onChange']>[0]): void {
    this.counts.events++;
    const { index, reset, effects } = event;
    this.heardBy.set(client, Math.max(this.heardBy.get(client) ?? 0, index));
    this.tellTo(client, index);
    if (reset) return;
    const right: Effect[] = [];
    for (let i = from + 1; i <= index; i++) right.push(...(this.reference.at(i)?.effects ?? []));
    if (same(effects, right)) return;
    throw new Error(
      `${client} heard of ${canonical(effects)} from ${from} to ${index}, not of ${canonical(right)}`,
    );
  }

  /** At the end, when nothing is on its way any more. */
  judgeUnanswered(): void {
    const lastOf = new Map(this.operations.map((one) => [`${one.session}:${one.sequence}`, one]));
    for (const operation of this.operations) {
      const { request, error, refused, session, sequence } = operation;
      if (request.type !== 'command' || (error !== 'NO_LEADER' && !refused)) continue;
      // What was refused for certain leaves its number to the next command.
      if (lastOf.get(`${session}:${sequence}`) !== operation) continue;
      const effect = this.reference.effectOf(session, sequence);
      if (session === 0 || effect === undefined) continue;
      const command = this.reference.at(effect.index)?.command?.command;
      if (command?.type !== request.command.type) continue;
      // The client puts nothing in the place of what it gives up, be that nothing itself.
      if (command.type === 'nothing') continue;
      throw new Error(
        `${describe(operation)} was said to have no effect and took it at ${effect.index}`,
      );
    }
  }

  private tellTo(client: string, index: number): void {
    this.toldTo.set(client, Math.max(this.toldTo.get(client) ?? 0, index));
  }

  /** A leader takes nothing in while a disk is nearly full, or what goes beyond the quota for certain. */
  private isRefusal(operation: Operation): boolean {
    const { answer, session, sequence, request, notBefore } = operation;
    if (request.type !== 'command') return false;
    const { command } = request;
    const effect = this.reference.effectOf(session, sequence);
    const took = effect && this.reference.at(effect.index)?.command?.command;
    // `nothing` went in its place.
    if (took?.type === command.type) return false;
    if (same(answer, { ok: false, code: 'ENOSPC' })) return !this.disksAreWide;
    if (!same(answer, { ok: false, code: 'EDQUOT' })) return false;
    for (let index = notBefore; index <= this.reference.index; index++) {
      if (this.reference.isBeyondQuota(index, command)) return true;
    }
    throw new Error(`${describe(operation)}: the quota was not reached from ${notBefore} on`);
  }

  private judgeCommand(operation: Operation, command: Command): number {
    const { session, sequence, answer, notBefore } = operation;
    const effect = this.reference.effectOf(session, sequence);
    if (effect === undefined) {
      throw new Error(`${describe(operation)} was answered and has no effect`);
    }
    const { index, reply } = effect;
    const logged = this.reference.at(index)?.command?.command;
    if (!same(logged, command)) {
      throw new Error(`${describe(operation)}: the log has ${canonical(logged)} at ${index}`);
    }
    if (!same(reply, answer)) {
      throw new Error(`${describe(operation)}: at ${index} the reply is ${canonical(reply)}`);
    }
    if (index <= notBefore) {
      throw new Error(`${describe(operation)} took effect at ${index}, before it began`);
    }
    return index;
  }

  private judgeQuery(operation: Operation, query: Query, level: ReadLevel): number {
    const { answeredAt, notBefore, ownNotBefore } = operation;
    this.counts[level]++;
    if (answeredAt === null) return this.judgeMemory(operation, query);
    if (answeredAt > this.reference.index) {
      throw new Error(
        `${describe(operation)}: answered at ${answeredAt}, which nobody has applied`,
      );
    }
    if (!this.fits(operation, query, answeredAt)) {
      const right = canonical(this.reference.query(answeredAt, query));
      throw new Error(`${describe(operation)}: at ${answeredAt} the tree says ${right}`);
    }
    const least =
      level === 'local' ? 0 : Math.max(level === 'strong' ? notBefore : 0, ownNotBefore);
    if (answeredAt < least) {
      throw new Error(
        `${describe(operation)}: stale, answered at ${answeredAt}, ${least} was told`,
      );
    }
    return answeredAt;
  }

  private judgeMemory(operation: Operation, query: Query): number {
    this.counts.fromMemory++;
    const { notBefore, heardBefore } = operation;
    const last = this.reference.index;
    let lowest: number | null = null;
    for (let index = notBefore; index <= last; index++) {
      if (!this.fits(operation, query, index)) continue;
      lowest ??= index;
      // An answer of a lower level may be ahead of what is kept under a lease, an event must not. But what
      // this client alone heard of, nobody else was told.
      if (index >= heardBefore) return lowest;
    }
    const least = Math.max(notBefore, heardBefore);
    throw new Error(`${describe(operation)}: stale, out of memory, ${least} was told`);
  }

  private fits({ answer }: Operation, query: Query, index: number): boolean {
    const right = this.reference.query(index, query);
    if (isKept(query.type)) return same(answer, asKept(right));
    if (query.type !== 'statfs') return same(answer, right);
    return this.disksAreWide
      ? same(answer, withDisk(right))
      : same(withoutDisk(answer), withoutDisk(right));
  }
}

/** Clients answer it from memory. */
function isKept(type: string): boolean {
  return type === 'lookup' || type === 'get-inode';
}

/**
 * Without what answers from memory do not say, or not as it is now: where an entry stands, and how many
 * hold an inode, which is the cluster's own affair.
 */
function asKept(answer: unknown): unknown {
  if (typeof answer !== 'object' || answer === null || !('value' in answer)) return answer;
  const { inode } = answer.value as QueryValues['lookup'];
  return { ...answer, value: { inode: { ...inode, holds: 0 } } };
}

/** What the nodes of the world add to statfs. */
function withDisk(result: ReturnType<Reference['query']>): unknown {
  if (!result.ok) return result;
  const { totalBytes, freeBytes } = WIDE_DISK;
  return {
    ok: true,
    value: {
      ...result.value,
      diskBytesTotal: totalBytes,
      diskBytesFree: freeBytes - reserveOf(totalBytes),
    },
  };
}

/** How full a disk was by then is nobody's secret, and of no index. */
function withoutDisk(answer: unknown): unknown {
  if (typeof answer !== 'object' || answer === null || !('value' in answer)) return answer;
  const value = { ...(answer.value as object), diskBytesTotal: 0, diskBytesFree: 0 };
  return { ...answer, value };
}

function describe(operation: Operation): string {
  const { client, request, invokedMs, endedMs, answer, error, session, sequence } = operation;
  const what = canonical(request.type === 'command' ? request.command : request);
  const when = `${invokedMs.toFixed(1)}–${endedMs?.toFixed(1) ?? '…'} ms`;
  return `${client} ${session}:${sequence} ${what} (${when}) -> ${error ?? canonical(answer)}`;
}
