import { MootError } from '../../base/errors.js';
import { candidatesAtOnce, firstElection, leaderDies, slowLeader } from './elections.js';
import {
  allSlavesCanRead,
  catchUp,
  replication,
  reunion,
  split,
  waitForAll,
} from './replication.js';
import type { Scene } from './scene.js';

/** In the order in which they are best told. */
export const SCENES: readonly Scene[] = [
  firstElection,
  leaderDies,
  replication,
  split,
  reunion,
  candidatesAtOnce,
  slowLeader,
  catchUp,
  allSlavesCanRead,
  waitForAll,
];

export function sceneOf(name: string): Scene {
  const scene = SCENES.find((one) => one.name === name);
  if (scene !== undefined) return scene;
  const names = SCENES.map((one) => one.name).join(', ');
  throw new MootError('BAD_ARGUMENT', `there is no scene '${name}'; there are: ${names}`);
}
