/**
 * For processes that tests fork: resolves when the test has disconnected, or is gone, and at signals
 * that ask to end. Whoever mounts calls it first, so that no moment of its life leaves a mount behind.
 */
export function toldToEnd(): Promise<void> {
  return new Promise((resolve) => {
    process.once('disconnect', resolve);
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
      process.on(signal, () => resolve());
  });
}
