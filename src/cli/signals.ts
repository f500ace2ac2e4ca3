/**
 * Resolves at the first SIGINT or SIGTERM, or when standard input ends and `withStdin` is set (a
 * parent that starts its children with a pipe there need not live to stop them). A second signal
 * ends the process at once.
 */
export function stopRequested(withStdin: boolean): Promise<string> {
  return new Promise((resolve) => {
    let asked = false;
    const ask = (why: string) => {
      if (asked && why !== 'stdin') process.exit(130);
      asked = true;
      // An open standard input would keep the process from ending.
      if (withStdin) process.stdin.destroy();
      resolve(why);
    };
    process.on('SIGINT', ask);
    process.on('SIGTERM', ask);
    if (withStdin) {
      process.stdin.on('end', () => ask('stdin'));
      process.stdin.on('error', () => ask('stdin'));
      process.stdin.resume();
    }
  });
}
