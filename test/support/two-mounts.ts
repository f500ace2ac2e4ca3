import { fork } from 'node:child_process';
import { once } from 'node:events';
import type { Test } from 'tap';
import { mountPoint } from './mounted.js';

const SERVER = new URL('two-mounts-server.js', import.meta.url);

/** Two mounts of one tree, or why they cannot be made here. */
export type TwoMounts =
  | { readonly places: readonly [string, string] }
  | { readonly places: null; readonly whyNot: string };

/** Mounted until the test is over, by a process of their own. */
export async function serveTwoMounts(t: Test): Promise<TwoMounts> {
  if (process.geteuid?.() !== 0) return { places: null, whyNot: 'needs root' };
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
  return message === 'mounted'
    ? { places }
    : { places: null, whyNot: '/dev/fuse cannot be mounted' };
}
