import { startDirector } from '../control/director.js';
import type { ClientFactory } from '../control/scenes/stage.js';
import type { ControlServer } from '../control/server.js';
import { connectClient } from './assemble/client.js';
import type { LocalCluster } from './local-cluster.js';

/** The director of a cluster on this machine, on this port. */
export function directLocalCluster(
  cluster: LocalCluster,
  port: number,
  name: string,
): Promise<ControlServer> {
  return startDirector({
    address: `127.0.0.1:${port}`,
    controls: cluster.controls,
    processes: cluster,
    nodes: () =>
      cluster.nodes.map((node, i) => ({
        id: node.name,
        state: node.state,
        control: cluster.controls[i] ?? null,
      })),
    makeClient: sceneClients(name),
    report: (_, line) => process.stderr.write(`${line}\n`),
  });
}

/** Clients for scenes: each reaches only the nodes that it is given. */
export function sceneClients(cluster: string): ClientFactory {
  return ({ name, addresses, deadlineMs, reaches }) =>
    connectClient({ nodes: addresses, cluster, name, deadline: deadlineMs, reaches });
}
