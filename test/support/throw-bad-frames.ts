import { once } from 'node:events';
import {
  BAD_FRAMES,
  clientGreeting,
  dialed,
  NO_WEBSOCKET,
  peerGreeting,
  TOO_LARGE,
  upgraded,
  visit,
  WRONG_BITS,
} from './bad-frames.js';

/**
 * Throws all bad frames at nodes that work, until its standard input ends, and counts in its last line the
 * connections, each of which its node has ended. Arguments: the cluster's name, and id=host:port of each node.
 */
const [cluster = '', ...nodes] = process.argv.slice(2);
let connections = 0;

async function throwAllAt(id: string, address: string): Promise<void> {
  const greetings = {
    '/client': clientGreeting(cluster),
    // Nobody's name, or it would end the connection of the one who has it.
    '/peer': peerGreeting(cluster, 'stranger', id),
  };
  for (const [path, greeting] of Object.entries(greetings)) {
    const large = TOO_LARGE[path === '/peer' ? '/peer' : '/client'];
    for (const frame of [...Object.values(BAD_FRAMES), large]) {
      await visit(address, path, [greeting, frame]).end;
      // As its first word, too.
      await visit(address, path, [frame]).end;
      connections += 2;
    }
    for (const bits of Object.values(WRONG_BITS)) {
      const socket = await upgraded(address, path);
      socket.write(Uint8Array.from(bits));
      await once(socket, 'close');
      connections++;
    }
  }
  for (const bytes of Object.values(NO_WEBSOCKET)) {
    const socket = dialed(address).resume();
    socket.write(bytes);
    await once(socket, 'close');
    connections++;
  }
}

let goOn = true;
process.stdin.resume().once('end', () => {
  goOn = false;
});
do {
  await Promise.all(
    nodes.map((node) => {
      const [id = '', address = ''] = node.split('=');
      return throwAllAt(id, address);
    }),
  );
  process.stdout.write(`${connections}\n`);
} while (goOn);
