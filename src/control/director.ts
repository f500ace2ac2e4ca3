import { MootError } from '../base/errors.js';
import type { Report } from '../base/report.js';
import { ClusterLink } from './cluster-link.js';
import type { DirectorDocument, ProcessDocument } from './director-document.js';
import { Operations, type Processes } from './operations.js';
import { loadPages } from './pages.js';
import { PACE_MS_MAX, Player } from './player.js';
import { SCENES, sceneOf } from './scenes/scenes.js';
import type { ClientFactory } from './scenes/stage.js';
import { type ControlServer, startControlServer } from './server.js';
import { openSocket } from './socket.js';

const DOCUMENT_MS = 200;

export interface DirectorParts {
  readonly address: string;
  /** host:port of the nodes' control servers. */
  readonly controls: readonly string[];
  readonly processes: Processes;
  readonly nodes: () => readonly ProcessDocument[];
  readonly makeClient: ClientFactory;
  readonly report: Report;
}

/**
 * The control server of whoever started a cluster's nodes: it kills them and starts them again, and
 * plays scenes. It serves the page, too, so that there is one address that outlives every node.
 */
export async function startDirector(parts: DirectorParts): Promise<ControlServer> {
  const cluster = new ClusterLink(parts.controls, openSocket, {
    onEvents: (id, events) => player.onEvents(id, events),
  });
  const operations = new Operations(cluster, parts.processes);
  const player = new Player(cluster, operations, parts.makeClient);
  const scenes = SCENES.map(({ name, title, nodesMin, writeConcern = null }) => {
    return { name, title, nodesMin, writeConcern };
  });
  const idOf = (id: string): string => {
    const ids = parts.nodes().map((node) => node.id);
    if (ids.includes(id)) return id;
    throw new MootError('BAD_ARGUMENT', `there is no node ${id}; there are: ${ids.join(', ')}`);
  };
  const server = await startControlServer<DirectorDocument, never>({
    address: parts.address,
    report: parts.report,
    document: () => ({ director: true, nodes: parts.nodes(), scenes, play: player.now }),
    documentMs: DOCUMENT_MS,
    eventsMs: DOCUMENT_MS,
    takeEvents: () => [],
    onWatched: () => undefined,
    friends: () => parts.controls,
    calls: {
      crash: (params) => parts.processes.crash(idOf(params.text('id', 64))),
      recover: (params) => parts.processes.recover(idOf(params.text('id', 64))),
      play: (params) => {
        const paceMs = params.number('paceMs', 0, PACE_MS_MAX);
        player.start(sceneOf(params.text('scene', 64)), { paceMs, pause: false });
      },
      pause: () => player.setPaused(true),
      resume: () => player.setPaused(false),
      step: () => player.step(),
      stop: () => player.stop(),
      repair: () => operations.repair(),
    },
    pages: await loadPages(),
  }).catch((error: unknown) => {
    cluster.close();
    throw error;
  });
  return {
    async close() {
      await player.stop();
      cluster.close();
      await server.close();
    },
  };
}
