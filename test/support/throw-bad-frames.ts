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
 * Throws all bad frames at a node that works, in rounds, until its standard input ends. After each it says how
 * many connections there were by then; the node has ended them all. Arguments: the cluster's name, the node's
 * id and address.
 */
const [cluster = '', id = '', address = ''] = process.argv.slice(2);
let connections = 0;

async function throwAll(): Promise<void> {
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
  await throwAll();
  process.stdout.write(`${connections}\n`);
} while (goOn);
