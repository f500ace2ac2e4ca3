import type { Interface } from 'node:readline';

/** One line after the other; the next is asked for when the one before was dealt with. */
export async function* linesOf(
  readline: Interface,
  onWaiting: (waiting: boolean) => void,
): AsyncGenerator<string> {
  const queue: string[] = [];
  let closed = false;
  let wake: () => void = () => undefined;
  readline.on('line', (line) => {
    queue.push(line);
    wake();
  });
  readline.on('close', () => {
    closed = true;
    wake();
  });
  for (;;) {
    const line = queue.shift();
    if (line !== undefined) {
      onWaiting(false);
      yield line;
      continue;
    }
    if (closed) return;
    onWaiting(true);
    if (readline.terminal) readline.prompt();
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  }
}
