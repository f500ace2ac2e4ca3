import type { Stage } from './stage.js';

/** A story about Raft that plays on a real cluster and checks what it tells. */
export interface Scene {
  readonly name: string;
  readonly title: string;
  readonly explanation: readonly [string, string, string];
  readonly nodesMin: number;
  play(stage: Stage): Promise<void>;
}
