import { createFilesystemClient } from '../../client/client.js';
import type { FilesystemClient } from '../../client/filesystem-client.js';
import type { ReadLevel } from '../../codec/client-messages.js';
import { createLimitedDialer } from '../../transport/faulty.js';
import { createWebSocketDialer } from '../../transport/ws.js';

export interface ClientSettings {
  readonly nodes: readonly string[];
  readonly cluster: string;
  /** For people, in a node's list of clients. */
  readonly name: string;
  readonly level?: ReadLevel;
  readonly deadline?: number;
  /** Nodes that it refuses are out of reach, also when others name them. */
  readonly reaches?: (address: string) => boolean;
}

/** A client of the cluster over the network; nothing is sent before its first call. */
export function connectClient(settings: ClientSettings): FilesystemClient {
  const { cluster, name } = settings;
  const dialer = createWebSocketDialer({ cluster, name });
  return createFilesystemClient({
    dialer: settings.reaches === undefined ? dialer : createLimitedDialer(dialer, settings.reaches),
    addresses: settings.nodes,
    name,
    ...(settings.level === undefined ? {} : { readLevel: settings.level }),
    ...(settings.deadline === undefined ? {} : { deadlineMs: settings.deadline }),
  });
}
