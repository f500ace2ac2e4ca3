import { WebSocket } from 'ws';

/**
 * Watches control ports and does nothing with what it is told, so that only the nodes' own cost shows:
 * each line on standard input is a list of addresses, one for each watcher, that replaces the list
 * before, and is answered by a line when all of them watch.
 */
let sockets: WebSocket[] = [];
for await (const line of lines()) {
  for (const socket of sockets) socket.terminate();
  const addresses = line.split(' ').filter((address) => address !== '');
  sockets = addresses.map((address) => new WebSocket(`ws://${address}/api/stream`));
  await Promise.all(
    sockets.map((socket) => new Promise((resolve) => socket.once('message', resolve))),
  );
  process.stdout.write(`${sockets.length}\n`);
}
for (const socket of sockets) socket.terminate();

async function* lines(): AsyncGenerator<string> {
  let rest = '';
  for await (const part of process.stdin.setEncoding('utf8')) {
    const parts = (rest + String(part)).split('\n');
    rest = parts.pop() ?? '';
    yield* parts;
  }
}
