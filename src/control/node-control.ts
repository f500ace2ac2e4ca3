import { describe, MootError } from '../base/errors.js';
import type { Report } from '../base/report.js';
import { decodeLogCommand } from '../codec/commands.js';
import type { Node } from '../node/node.js';
import type { Entry } from '../raft/types.js';
import { type Faults, SLOW_MS_MAX } from '../transport/faulty.js';
import type { Transport } from '../transport/transport.js';
import { commandText } from './command-text.js';
import type { LogLine, MemberDocument, NodeDocument } from './document.js';
import type { NodeEvent } from './events.js';
import type { Monitor } from './monitor.js';
import type { Page } from './pages.js';
import { Rates } from './rates.js';
import { type Answer, type ControlServer, json, startControlServer, text } from './server.js';

/** Events of this many milliseconds go out together. */
const EVENTS_MS = 50;
const DOCUMENT_MS = 200;
const LOG_LINES_MAX = 1_000;

export interface NodeControlParts {
  /** host:port to listen on. */
  readonly address: string;
  readonly node: Node;
  readonly transport: Transport;
  readonly monitor: Monitor;
  readonly timing: {
    readonly electionTimeoutMinMs: number;
    readonly electionTimeoutMaxMs: number;
    readonly heartbeatMs: number;
  };
  readonly snapshotTailEntries: number;
  /** null: faults are refused. */
  readonly faults: Faults | null;
  /** Ends this process at once, as a crash would. */
  readonly crash: () => void;
  readonly director: string | null;
  /** The other members and where their control servers are, as far as is known. */
  readonly members: () => readonly MemberDocument[];
  readonly metrics: () => Promise<Answer>;
  /** Why the node cannot serve any more; null: all is well. */
  readonly failure: () => Error | null;
  readonly pages: Readonly<Record<string, Page>>;
  readonly report: Report;
}

/** The one HTTP and WebSocket server of a node: its document, its events, its metrics, faults, and the page. */
export function startNodeControl(parts: NodeControlParts): Promise<ControlServer> {
  const { node, monitor } = parts;
  const rates = new Rates(monitor, () => node.inspect().raft.commitIndex);
  const document = () => documentOf(parts, rates);
  return startControlServer<NodeDocument, NodeEvent>({
    address: parts.address,
    report: parts.report,
    document,
    documentMs: DOCUMENT_MS,
    eventsMs: EVENTS_MS,
    takeEvents: () => monitor.take(),
    onWatched: (watched) => monitor.setWatching(watched),
    friends: () => [
      ...parts.members().flatMap(({ control }) => (control === null ? [] : [control])),
      ...(parts.director === null ? [] : [parts.director]),
    ],
    calls: callsOf(parts),
    pages: {
      ...parts.pages,
      '/metrics': () => parts.metrics(),
      '/healthz': () => health(parts),
      '/readyz': () => readiness(parts),
      '/api/events': () => json(monitor.remembered),
    },
  });
}

function callsOf(parts: NodeControlParts) {
  const { node, monitor } = parts;
  const others = () => node.status().peers.map((peer) => peer.id);
  const allowed = (): Faults => {
    if (parts.faults !== null) return parts.faults;
    throw new MootError(
      'NOT_ALLOWED',
      `node ${node.status().id} was not started with --allow-faults`,
    );
  };
  const changed = ({ slowMs, cutFrom }: Faults) => {
    monitor.onFault(slowMs, cutFrom);
    return { slowMs, cutFrom };
  };
  return {
    /** The last entries of the log, the newest last. */
    log: async (params) => {
      const count = params.number('count', 1, LOG_LINES_MAX);
      const entries = await node.lastEntries(Math.floor(count));
      const { commitIndex } = node.inspect().raft;
      return entries.map((entry) => logLine(entry, commitIndex));
    },
    /** What was worth telling before somebody watched. */
    events: () => monitor.remembered,
    snapshot: () => node.snapshot().then((index) => ({ index })),
    slow: (params) => {
      const faults = allowed();
      faults.setSlow(params.number('ms', 0, SLOW_MS_MAX));
      return changed(faults);
    },
    /** Replaces the peers that this node is cut from. */
    cut: (params) => {
      const faults = allowed();
      faults.setCut(params.choices('from', others()));
      return changed(faults);
    },
    elect: () => {
      allowed();
      node.campaign();
    },
    crash: () => {
      allowed();
      parts.crash();
    },
  } satisfies Parameters<typeof startControlServer>[0]['calls'];
}

function documentOf(parts: NodeControlParts, rates: Rates): NodeDocument {
  const { node, transport, monitor, timing, faults } = parts;
  const status = node.status();
  const { raft, tickMs, proposals, terms } = node.inspect();
  const { traffic } = monitor;
  return {
    ...status,
    at: Date.now(),
    vote: raft.vote,
    election: {
      elapsedMs: raft.electionElapsedTicks * tickMs,
      timeoutMs: raft.electionTimeoutTicks * tickMs,
      timeoutMinMs: timing.electionTimeoutMinMs,
      timeoutMaxMs: timing.electionTimeoutMaxMs,
      heartbeatMs: timing.heartbeatMs,
    },
    log: terms,
    snapshotTailEntries: parts.snapshotTailEntries,
    queues: {
      proposals,
      unapplied: status.commitIndex - status.appliedIndex,
      peers: status.peers
        .filter(({ id }) => id !== status.id)
        .map(({ id }) => ({ id, bytes: transport.queuedBytes(id) })),
    },
    rates: rates.now(),
    totals: {
      entriesReceived: traffic.entriesReceived,
      entriesSent: traffic.entriesSent,
      snapshotsSent: monitor.snapshotsSent,
      snapshotsInstalled: monitor.snapshotsInstalled,
    },
    clients: monitor.clients,
    faults: {
      allowed: faults !== null,
      slowMs: faults?.slowMs ?? 0,
      cutFrom: faults?.cutFrom ?? [],
    },
    members: parts.members(),
    director: parts.director,
  };
}

/** Entries that no client asked for. */
const COMMANDLESS: Readonly<Record<Entry['kind'], string | null>> = {
  command: null,
  empty: 'a new leader begins',
  configuration: 'the members change',
};

function logLine({ index, term, kind, data }: Entry, commitIndex: number): LogLine {
  const committed = index <= commitIndex;
  const own = COMMANDLESS[kind];
  if (own !== null) {
    const command = own;
    return { index, term, timeMs: null, session: null, command, committed };
  }
  const { session, time, command } = decodeLogCommand(data);
  const timeMs = time.sec * 1000 + Math.floor(time.nsec / 1e6);
  return { index, term, timeMs, session, command: commandText(command), committed };
}

/** Alive: a supervisor need not start it again. */
function health({ failure }: NodeControlParts): Answer {
  const error = failure();
  return error === null ? text(200, 'ok\n') : text(503, `${describe(error)}\n`);
}

/** Ready: clients that come here are served. */
function readiness({ failure, node }: NodeControlParts): Answer {
  const error = failure();
  if (error !== null) return text(503, `${describe(error)}\n`);
  const { recovering, leader } = node.status();
  if (recovering) return text(503, 'recovering: its data was lost, and it has not caught up\n');
  return leader === null ? text(503, 'no leader is known\n') : text(200, 'ok\n');
}
