import { isFilesystemErrorCode, isMootError } from '../../src/base/errors.js';
import { type Random, randomBetween } from '../../src/base/random.js';
import { createFilesystemClient } from '../../src/client/client.js';
import type { FilesystemClient } from '../../src/client/filesystem-client.js';
import type { ClientRequest, ClientResponse, ReadLevel } from '../../src/codec/client-messages.js';
import type { Command } from '../../src/filesystem/commands.js';
import type { Query } from '../../src/filesystem/queries.js';
import type { Member } from '../../src/raft/types.js';
import { createDialer } from '../../src/transport/dialer.js';
import type { Dialer } from '../../src/transport/transport.js';
import type { History, Operation } from './history.js';
import type { Micros } from './loop.js';
import type { Machine } from './machine.js';
import type { SimNetwork } from './network.js';

export interface SimClientOptions {
  readonly machine: Machine;
  readonly network: SimNetwork;
  readonly cluster: string;
  readonly addresses: readonly string[];
  readonly random: Random;
  readonly history: History;
  readonly deadlineMs: number;
  readonly cache: boolean;
  readonly holdsOpen: boolean;
  readonly keepAliveMs: number;
  /** Something that must not be was seen. */
  readonly onWrong: (error: unknown) => void;
}

/** A client that closes waits for so long at most for its session to end. */
const CLOSE_MS = 1_000;

/** A production client on a machine of its own, with an eye on what it sends and hears. */
export class SimClient {
  readonly client: FilesystemClient;
  /** Requests of operations, by the very objects that the client was given. */
  private readonly byRequest = new Map<object, Operation>();
  outstanding = 0;
  /** Commands that no leader took in. */
  refused = 0;
  /** The cluster has answered it: it has met that one. */
  wasAnswered = false;
  /** It takes nothing more, and its programs are over. */
  isClosed = false;
  /** Of each connection that is open: requests without an answer so far, and when they were sent. */
  private readonly unanswered = new Set<Map<number, Micros>>();

  constructor(private readonly options: SimClientOptions) {
    const { machine, network, cluster, addresses, random, deadlineMs, history, onWrong } = options;
    this.client = createFilesystemClient({
      dialer: this.watched(createDialer(network.of(machine), { cluster, name: machine.name })),
      addresses,
      name: machine.name,
      clock: machine.clock,
      random,
      deadlineMs,
      cache: options.cache,
      holdsOpen: options.holdsOpen,
      keepAliveMs: options.keepAliveMs,
    });
    let toldOf = 0;
    this.client.watch({
      onChange: (event) => {
        judged(() => history.changed(machine.name, toldOf, event), onWrong);
        toldOf = event.index;
      },
    });
  }

  get machine(): Machine {
    return this.options.machine;
  }

  /** It was given the address of one of these; others it may have learned of, or not. */
  wasGiven(members: readonly Member[]): boolean {
    return members.some(({ address }) => this.options.addresses.includes(address));
  }

  /** Something that it asked before then, over a connection that is still there, has no answer. */
  waitsSince(micros: Micros): boolean {
    return [...this.unanswered].some((sent) => [...sent.values()].some((one) => one < micros));
  }

  /** It tells what it holds open, and the cluster waits for that. */
  get holdsOpen(): boolean {
    return this.options.holdsOpen;
  }

  /** Answers out of its memory, where there are leases. */
  get keeps(): boolean {
    return this.options.cache;
  }

  get name(): string {
    return this.machine.name;
  }

  /** The answer, or null when the client does not know. */
  command(command: Command): Promise<unknown> {
    return this.perform(command, { type: 'command', command }, () => this.client.execute(command));
  }

  query(query: Query, level: ReadLevel): Promise<unknown> {
    const request = { type: 'query', query, level } as const;
    return this.perform(query, request, () => this.client.query(query, { level }));
  }

  /** What is judged as `command` is, and fails as the client does. */
  forMount(): Pick<FilesystemClient, 'execute' | 'query' | 'session' | 'setSessionEnded'> {
    const { client } = this;
    return {
      execute: (command, options) => {
        const request = { type: 'command', command } as const;
        return this.performOrFail(command, request, () => client.execute(command, options));
      },
      query: (query, options) => client.query(query, options),
      setSessionEnded: (ended) => client.setSessionEnded(ended),
      get session() {
        return client.session;
      },
    };
  }

  /** Closes as soon as its machine runs; `closed` hears of the session that the cluster says is over, if any. */
  close(closed: (ended: number | null) => void): void {
    const { client, machine } = this;
    machine.happen(() => {
      this.isClosed = true;
      const session = client.session?.id ?? null;
      const sinceMs = machine.clock.monotonicMs();
      void client.close().then(() => {
        const gaveUp = machine.clock.monotonicMs() - sinceMs >= CLOSE_MS;
        closed(gaveUp ? null : session);
      });
    });
  }

  judge(law: () => void): void {
    judged(law, this.options.onWrong);
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.options.machine.clock.setTimer(ms, resolve));
  }

  below(count: number): number {
    return randomBetween(this.options.random, 0, count);
  }

  private async perform(
    key: object,
    request: Operation['request'],
    act: () => Promise<unknown>,
  ): Promise<unknown> {
    try {
      return await this.performOrFail(key, request, act);
    } catch (error) {
      if (!isMootError(error)) throw error;
      return null;
    }
  }

  private async performOrFail<T>(
    key: object,
    request: Operation['request'],
    act: () => Promise<T>,
  ): Promise<T> {
    const { history, machine, onWrong } = this.options;
    const nowMs = () => machine.nowMicros / 1_000;
    const operation = history.begin(this.name, request, nowMs());
    this.byRequest.set(key, operation);
    this.outstanding++;
    try {
      const value = await act();
      this.wasAnswered = true;
      judged(() => history.answered(operation, { ok: true, value }, nowMs()), onWrong);
      return value;
    } catch (error) {
      if (!isMootError(error)) throw error;
      const { code } = error;
      if (isFilesystemErrorCode(code)) {
        judged(() => history.answered(operation, { ok: false, code }, nowMs()), onWrong);
        if (operation.refused) this.refused++;
      } else {
        history.failed(operation, code, nowMs());
      }
      throw error;
    } finally {
      this.outstanding--;
      this.byRequest.delete(key);
    }
  }

  private watched(dialer: Dialer): Dialer {
    return {
      dial: async (address, handlers, signal) => {
        const queries = new Map<number, Operation>();
        const sent = new Map<number, Micros>();
        const channel = await dialer.dial(
          address,
          {
            onResponse: (response) => {
              if (response.type !== 'changes') sent.delete(response.id);
              this.heard(queries, response);
              handlers.onResponse(response);
            },
            onClose: () => {
              this.unanswered.delete(sent);
              handlers.onClose();
            },
          },
          signal,
        );
        this.unanswered.add(sent);
        return {
          send: (request) => {
            if (isAnswered(request)) sent.set(request.id, this.machine.nowMicros);
            this.says(queries, request);
            channel.send(request);
          },
          get queuedBytes() {
            return channel.queuedBytes;
          },
          close: () => channel.close(),
        };
      },
    };
  }

  private says(queries: Map<number, Operation>, request: ClientRequest): void {
    if (request.type === 'submit') {
      const operation = this.byRequest.get(request.command);
      if (operation === undefined) return;
      operation.session = request.session;
      operation.sequence = request.sequence;
    } else if (request.type === 'query') {
      const operation = this.byRequest.get(request.query);
      if (operation !== undefined) queries.set(request.id, operation);
    }
  }

  private heard(queries: Map<number, Operation>, response: ClientResponse): void {
    if (response.type === 'refusal' && response.code === 'BUSY') this.options.history.counts.busy++;
    if (response.type !== 'query-reply') return;
    const operation = queries.get(response.id);
    // The first answer is the one that counts.
    if (operation?.answeredAt === null) operation.answeredAt = response.index;
    queries.delete(response.id);
  }
}

/** Every request is, but for these. */
function isAnswered({ type }: ClientRequest): boolean {
  return type !== 'watch' && type !== 'unwatch' && type !== 'change-ack';
}

/** Judging is not the client's affair: what is wrong must not look like an error of it. */
function judged(judge: () => void, onWrong: (error: unknown) => void): void {
  try {
    judge();
  } catch (error) {
    onWrong(error);
  }
}
