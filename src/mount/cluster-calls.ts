import type { CallOptions, FilesystemClient } from '../client/filesystem-client.js';
import type { ReadLevel } from '../codec/client-messages.js';
import type { Command, CommandType, CommandValues } from '../filesystem/commands.js';
import type { Query, QueryType, QueryValues } from '../filesystem/queries.js';
import type { Caller } from './mount.js';

export interface ClusterCallsParts {
  readonly client: FilesystemClient;
  readonly callOptions: CallOptions;
  readonly level: ReadLevel;
  /** The session without which nothing may take effect; null: any will do. */
  readonly boundTo: () => number | null;
  /** Resolves when the kernel believes nothing older than this command; null: that is so. */
  readonly expired: (own: Command) => Promise<void> | null;
}

/** What the calls of programs ask of the cluster: at the mount's level, until the caller gives up. */
export class ClusterCalls {
  constructor(private readonly parts: ClusterCallsParts) {}

  async execute<T extends CommandType>(
    command: Extract<Command, { type: T }>,
    caller: Caller,
  ): Promise<CommandValues[T]> {
    const { client, callOptions, boundTo, expired } = this.parts;
    const session = boundTo();
    const bound = session === null ? {} : { inSession: session };
    const { signal } = caller;
    // EINTR would say that nothing was done; who tries again would find that it was.
    const onSent = () => caller.begun?.();
    const value = await client.execute(command, { ...callOptions, ...bound, signal, onSent });
    const expiring = expired(command);
    if (expiring !== null) await expiring;
    return value;
  }

  query<T extends QueryType>(
    query: Extract<Query, { type: T }>,
    caller: Caller,
  ): Promise<QueryValues[T]> {
    return this.queryAt(this.parts.level, query, caller);
  }

  /** The answer has all that this mount has done, also at level `local`. */
  queryAfterOwn<T extends QueryType>(
    query: Extract<Query, { type: T }>,
    caller: Caller,
  ): Promise<QueryValues[T]> {
    const { level } = this.parts;
    return this.queryAt(level === 'local' ? 'session' : level, query, caller);
  }

  private queryAt<T extends QueryType>(
    level: ReadLevel,
    query: Extract<Query, { type: T }>,
    caller: Caller,
  ): Promise<QueryValues[T]> {
    const { client, callOptions } = this.parts;
    return client.query(query, new QueryOptions(callOptions.deadlineMs, level, caller));
  }
}

/** The signal is made when it is asked for: what is answered from memory needs none. */
class QueryOptions implements CallOptions {
  constructor(
    readonly deadlineMs: number | undefined,
    readonly level: ReadLevel,
    private readonly caller: Caller,
  ) {}

  get signal(): AbortSignal {
    return this.caller.signal;
  }
}
