import { describe, type ErrorCode, isMootError } from '../base/errors.js';
import type {
  ClientRequest,
  ClientResponse,
  NodeStatus,
  QueryRequest,
  Refusal,
  SubmitRequest,
  SubmitResponse,
} from '../codec/client-messages.js';
import {
  factOfTrace,
  factsOfAnswer,
  factsOfReply,
  type Look,
  type Trace,
  tracesOf,
} from '../filesystem/facts.js';
import type { Applied } from '../filesystem/filesystem.js';
import type { QueryResult } from '../filesystem/queries.js';
import type { Configuration, MemberChange, NodeId } from '../raft/types.js';
import type { ClientConnection, ClientHandlers } from '../transport/transport.js';
import type { LeaseHolder, Leases } from './leases.js';
import type { Decide } from './proposals.js';
import type { Watcher, Watches } from './watches.js';

/** Requests of one client that are not answered: twice what our client sends, then it waits. */
const REQUESTS_MAX = 1_024;
/** Answers that a client has not read; beyond it queries are refused until it has. */
const QUEUED_BYTES_MAX = 16_777_216;

/** Requests that are over when they are here. */
const UNANSWERED: ReadonlySet<ClientRequest['type']> = new Set(['unwatch', 'change-ack']);

/** An answer without its bytes, or an entry of a directory: an inode, and what JavaScript adds. */
const ANSWER_BYTES = 512;
/** Watches of one client; ours has one. */
const WATCHES_MAX = 16;

/** What the door hands requests to. */
export interface Service {
  /** Why nothing is served now; null: all is well. */
  readonly closed: () => { readonly code: ErrorCode; readonly message: string } | null;
  readonly leader: () => Refusal['leader'];
  readonly submit: (request: SubmitRequest, decide: Decide) => void;
  readonly query: (
    request: QueryRequest,
    answer: (result: QueryResult, index: number) => void,
    refuse: (code: ErrorCode, message: string) => void,
  ) => void;
  /** Tells when a majority has confirmed, from now on, that this node leads. */
  readonly confirm: (confirmed: (index: number) => void, refused: () => void) => void;
  readonly leases: Leases;
  /** Records as the command in hand left them. */
  readonly look: Look;
  readonly watches: Watches;
  readonly status: () => NodeStatus;
  readonly snapshot: () => Promise<number>;
  readonly changeMembers: (change: MemberChange) => Promise<Configuration>;
  readonly transferLeadership: (to: NodeId | null) => Promise<NodeId>;
}

/** The door for clients: turns requests into calls and what comes of them into responses. */
export function serveClient(client: ClientConnection, service: Service): ClientHandlers {
  const watchers: Watcher[] = [];
  let unanswered = 0;
  let open = true;

  const { leases } = service;
  const holder: LeaseHolder = {
    push: (changes) => {
      if (open) client.send(changes);
    },
  };

  const send = (response: ClientResponse) => {
    unanswered--;
    if (open) client.send(response);
  };
  const refuse = (id: number, code: ErrorCode, message: string) =>
    send({ type: 'refusal', id, code, message, leader: service.leader() });

  const refuseWith = (id: number, error: unknown) =>
    refuse(id, isMootError(error) ? error.code : 'CLOSED', describe(error));

  const handlers: {
    readonly [T in ClientRequest['type']]: (request: Extract<ClientRequest, { type: T }>) => void;
  } = {
    submit(request) {
      service.submit(request, (decision) => {
        if (decision.type === 'refused') refuse(request.id, decision.code, decision.message);
        else {
          const { index, outcome, effects } = decision;
          const reply = told(outcome);
          const repeated = outcome.type === 'repeated';
          let traces: readonly Trace[] = [];
          leases.answer(holder, {
            index,
            bytes: 0,
            ownCommand: true,
            reveals: () => {
              if (outcome.type !== 'reply') return [];
              const { command } = request;
              const isLast = unanswered === 1;
              traces = tracesOf(command, outcome.reply, effects, service.look, isLast);
              const facts = [...factsOfReply(command, outcome.reply), ...traces.map(factOfTrace)];
              return facts.map(({ key }) => key);
            },
            send: (changes) =>
              send({
                type: 'submit-reply',
                id: request.id,
                index,
                outcome: reply,
                repeated,
                traces,
                changes,
              }),
            refuse: () =>
              refuse(request.id, 'OUTCOME_UNKNOWN', 'decided, but this node leads no longer'),
          });
        }
      });
    },
    query(request) {
      if (client.queuedBytes > QUEUED_BYTES_MAX) {
        refuse(request.id, 'BUSY', 'too many answers wait to be read');
        return;
      }
      service.query(
        request,
        (result, index) => {
          const answer = () => {
            // Many large ones may have been asked for before the first was here.
            if (client.queuedBytes > QUEUED_BYTES_MAX)
              refuse(request.id, 'BUSY', 'too many answers wait to be read');
            else send({ type: 'query-reply', id: request.id, index, result });
          };
          if (request.level === 'session') for (const one of watchers) service.watches.bringUp(one);
          if (request.level !== 'strong') answer();
          else {
            leases.answer(holder, {
              index,
              bytes: bytesOf(result),
              ownCommand: false,
              reveals: () => factsOfAnswer(request.query, result).map(({ key }) => key),
              send: answer,
              refuse: (why) => {
                if (why === 'office') refuse(request.id, 'NOT_LEADER', 'this node leads no longer');
                else refuse(request.id, 'BUSY', 'too many answers wait for other clients');
              },
            });
          }
        },
        (code, message) => refuse(request.id, code, message),
      );
    },
    watch(request) {
      if (watchers.length >= WATCHES_MAX) {
        refuse(request.id, 'BUSY', `a client has at most ${WATCHES_MAX} watches`);
        return;
      }
      unanswered--;
      const watcher: Watcher = {
        id: request.id,
        get queuedBytes() {
          return client.queuedBytes;
        },
        send: (event) => client.send(event),
      };
      watchers.push(watcher);
      service.watches.add(watcher, request.fromIndex);
    },
    unwatch({ id }) {
      unanswered--;
      const at = watchers.findIndex((watcher) => watcher.id === id);
      for (const watcher of watchers.splice(at, at < 0 ? 0 : 1)) service.watches.remove(watcher);
    },
    status(request) {
      send({ type: 'status-reply', id: request.id, status: service.status() });
    },
    snapshot(request) {
      service.snapshot().then(
        (index) => send({ type: 'snapshot-reply', id: request.id, index }),
        () => refuse(request.id, 'CLOSED', 'the node stops'),
      );
    },
    members({ id, change }) {
      service.changeMembers(change).then(
        (configuration) => send({ type: 'members-reply', id, configuration }),
        (error: unknown) => refuseWith(id, error),
      );
    },
    transfer({ id, to }) {
      service.transferLeadership(to).then(
        (leader) => send({ type: 'transfer-reply', id, leader }),
        (error: unknown) => refuseWith(id, error),
      );
    },
    lease({ id }) {
      const { term } = leases;
      if (!leases.on) send({ type: 'lease-reply', id, index: 0, durationMs: 0 });
      else if (term === null) refuse(id, 'NOT_LEADER', 'only a leader grants leases');
      else {
        service.confirm(
          (index) => {
            const durationMs = leases.term === term && open ? leases.grant(holder) : null;
            if (durationMs === null) refuse(id, 'BUSY', 'no lease can be granted now');
            else send({ type: 'lease-reply', id, index, durationMs });
          },
          () => refuse(id, 'NOT_LEADER', 'a majority did not confirm that this node leads'),
        );
      }
    },
    'change-ack'({ id }) {
      unanswered--;
      leases.acknowledge(holder, id);
    },
  };

  return {
    onRequest(request) {
      if (!open) return;
      unanswered++;
      const closed = service.closed();
      if (closed !== null) refuse(request.id, closed.code, closed.message);
      else if (unanswered > REQUESTS_MAX && !UNANSWERED.has(request.type)) {
        refuse(request.id, 'BUSY', `more than ${REQUESTS_MAX} requests of one client wait`);
      } else {
        // The record has a handler for exactly this type of request.
        (handlers[request.type] as (request: ClientRequest) => void)(request);
      }
    },
    onClose() {
      open = false;
      for (const watcher of watchers) service.watches.remove(watcher);
    },
  };
}

/** About what an answer takes in memory. */
function bytesOf(result: QueryResult): number {
  if (!result.ok) return ANSWER_BYTES;
  const { value } = result;
  if ('data' in value) return ANSWER_BYTES + value.data.length;
  if ('value' in value) return ANSWER_BYTES + value.value.length;
  if ('names' in value) return ANSWER_BYTES * (1 + value.names.length);
  return 'entries' in value ? ANSWER_BYTES * (1 + value.entries.length) : ANSWER_BYTES;
}

/** The outcome is the same whether it is the first or is told again. */
function told(outcome: Applied['outcome']): SubmitResponse['outcome'] {
  switch (outcome.type) {
    case 'reply':
    case 'repeated':
      return { type: 'reply', reply: outcome.reply };
    default:
      return outcome;
  }
}
