import { WebSocketServer } from 'ws';

/** A process of its own that sends back what it gets: what any answer over a WebSocket costs at least. */
const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
server.on('connection', (socket) => {
  socket.on('message', (data: Buffer) => socket.send(data));
});
server.once('listening', () => {
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  process.stdout.write(`${port}\n`);
});
// Its owner is gone, or has seen enough.
process.stdin.once('end', () => process.exit(0)).resume();
