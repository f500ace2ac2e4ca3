import { fork } from 'node:child_process';
import { once } from 'node:events';
import type { Test } from 'tap';
import { mountPoint, mountsLack } from './mounted.js';

const SERVER = new URL('two-mounts-server.js', import.meta.url);

/** Two mounts of one tree, or what this machine lacks for them. */
export type TwoMounts =
  | { readonly places: readonly [string, string] }
  | { readonly places: null; readonly whyNot: string };

/** Mounted until the test is over, by a process of their own. */
export async function serveTwoMounts(t: Test): Promise<TwoMounts> {
  const whyNot = await mountsLack('fuse-kernel');
  if (whyNot !== null) return { places: null, whyNot };
  const places = [await mountPoint(t), await mountPoint(t)] as const;
  const server = fork(SERVER, places, {
    env: { ...process.env, UV_THREADPOOL_SIZE: '16' },
    execArgv: [],
    // What ends this test and its group leaves it the time to unmount.
    detached: true,
  });
  const exited = once(server, 'exit');
  t.teardown(async () => {
    if (server.connected) server.disconnect();
    await exited;
  });
  const [message] = await Promise.race([once(server, 'message'), exited]);
  if (message === 'mounted') return { places };
  throw new Error('two mounts cannot be made; their process has said why');
}
