import type { Interface } from 'node:readline';

/** One line after the other; the next is asked for when the one before was dealt with. */
export async function* linesOf(
  readline: Interface,
  { isOver, onWaiting }: LinesOptions,
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
  while (!isOver()) {
    const line = queue.shift();
    if (line !== undefined) {
      yield line;
      continue;
    }
    if (closed) return;
    onWaiting(true);
    if (readline.terminal) readline.prompt();
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
    onWaiting(false);
  }
}

interface LinesOptions {
  /** Then lines that were typed or pasted ahead count no more. */
  isOver(): boolean;
  onWaiting(waiting: boolean): void;
}
