import type { Socket } from '../control/link.js';

/** A WebSocket for ControlLink, in a browser. */
export function openSocket(url: string): Socket {
  const ws = new WebSocket(url);
  const socket: Socket = {
    onopen: null,
    onmessage: null,
    onclose: null,
    onerror: null,
    send: (text) => ws.send(text),
    close: () => ws.close(),
  };
  ws.onopen = () => socket.onopen?.();
  ws.onmessage = ({ data }) => socket.onmessage?.({ data });
  ws.onclose = () => socket.onclose?.();
  ws.onerror = () => socket.onerror?.();
  return socket;
}
