import { WebSocket } from 'ws';
import type { Socket } from './link.js';

/** A WebSocket for ControlLink, in Node. */
export function openSocket(url: string): Socket {
  const ws = new WebSocket(url, { perMessageDeflate: false, followRedirects: false });
  const socket: Socket = {
    onopen: null,
    onmessage: null,
    onclose: null,
    onerror: null,
    send: (text) => ws.send(text),
    close: () => ws.terminate(),
  };
  ws.on('open', () => socket.onopen?.());
  ws.on('message', (data) => socket.onmessage?.({ data: String(data) }));
  ws.on('close', () => socket.onclose?.());
  ws.on('error', () => socket.onerror?.());
  return socket;
}
