import type { WriteConcern } from '../codec/client-messages.js';
import type { PlayDocument } from './player.js';

/** What whoever started the nodes says of itself. */
export interface DirectorDocument {
  readonly director: true;
  readonly nodes: readonly ProcessDocument[];
  readonly scenes: readonly {
    readonly name: string;
    readonly title: string;
    readonly nodesMin: number;
    /** Only for clusters with this one; null: for all. */
    readonly writeConcern: WriteConcern | null;
  }[];
  readonly play: PlayDocument | null;
}

export interface ProcessDocument {
  readonly id: string;
  readonly state: 'starting' | 'up' | 'down' | 'stopped';
  readonly control: string | null;
}
