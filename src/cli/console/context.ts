import type { FilesystemClient } from '../../client/filesystem-client.js';
import type { ClusterLink } from '../../control/cluster-link.js';
import type { Operations } from '../../control/operations.js';
import type { ControlServer } from '../../control/server.js';
import type { LocalCluster } from '../local-cluster.js';

/** The cluster that a console rules. */
export interface Ruled {
  readonly link: ClusterLink;
  readonly operations: Operations;
  readonly client: FilesystemClient;
  /** What the console itself started; null: it joined a running cluster. */
  readonly own: { readonly cluster: LocalCluster; readonly director: ControlServer | null } | null;
  close(): Promise<void>;
}

/** What commands work on. */
export interface Console {
  /** null: nothing was started or joined yet. */
  ruled: Ruled | null;
  /** Commit notices and role changes are told as they happen. */
  watching: boolean;
  readonly print: (text: string) => void;
  /** Makes a cluster of so many nodes. */
  readonly start: (nodes: number) => Promise<Ruled>;
  /** Runs one line, for `submit`; fails as the line does. */
  readonly run: (line: string) => Promise<void>;
  readonly history: () => readonly string[];
  /** The file ids that were seen last, for completion. */
  ids: readonly string[];
  /** Set by `quit`. */
  done: boolean;
  /** For `play`: milliseconds between two steps. */
  readonly paceMs: number;
}
