import type { WriteConcern } from '../../codec/client-messages.js';
import type { Stage } from './stage.js';

/** A story about Raft that plays on a real cluster and checks what it tells. */
export interface Scene {
  readonly name: string;
  readonly title: string;
  readonly explanation: readonly [string, string, string];
  readonly nodesMin: number;
  /** It plays on a cluster of this one only; without: on any. */
  readonly writeConcern?: WriteConcern;
  play(stage: Stage): Promise<void>;
}
