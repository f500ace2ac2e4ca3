import type { IncomingHttpHeaders } from 'node:http';
import { isIP } from 'node:net';

const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

/**
 * Whether a page from `origin` may talk to this server: one that the server itself gave out (`host`
 * is what the browser asked for), or one of its friends. Programs that are no browsers name no
 * origin. Browsers let every page open a WebSocket to anywhere, so the server must look.
 *
 * A stranger can let a name of his own point to this server after his page was loaded from it (DNS
 * rebinding): then origin and host are equal, and his. So `host` counts only when it cannot be
 * somebody else's name: an address, localhost, or the name in `own`, where this server listens.
 */
export function isKnownOrigin(
  origin: string | undefined,
  host: string | undefined,
  own: string,
  friends: readonly string[],
): boolean {
  if (origin === undefined) return true;
  if (!URL.canParse(origin)) return false;
  const from = new URL(origin).host;
  const same = (address: string) => {
    const [a, b] = [splitHost(from), splitHost(address)];
    if (a.port !== b.port) return false;
    return a.name === b.name || (LOOPBACK.test(a.name) && LOOPBACK.test(b.name));
  };
  return (host !== undefined && isOurs(host, own) && same(host)) || friends.some(same);
}

/**
 * Whether the request comes from a browser: a page makes it tell less, but not that it is one. Over plain HTTP
 * a GET to the page's own site names no origin, and no Sec-Fetch-* either; a language is always there.
 */
export function isFromBrowser(headers: IncomingHttpHeaders): boolean {
  return Object.keys(headers).some(
    (name) => name === 'origin' || name === 'accept-language' || name.startsWith('sec-fetch-'),
  );
}

/** Whether `host` leads here whoever says so: not a name that a stranger lets point here (see above). */
export function isKnownHost(
  host: string | undefined,
  own: string,
  friends: readonly string[],
): boolean {
  if (host === undefined) return false;
  const asked = host.toLowerCase();
  return isOurs(host, own) || friends.some((friend) => friend.toLowerCase() === asked);
}

function isOurs(host: string, own: string): boolean {
  const { name } = splitHost(host);
  const address = name.replace(/^\[(.*)\]$/, '$1');
  return isIP(address) !== 0 || LOOPBACK.test(name) || name === splitHost(own).name;
}

function splitHost(host: string): { readonly name: string; readonly port: string } {
  const [, name = '', port = '80'] = /^(.*?)(?::(\d+))?$/.exec(host.toLowerCase()) ?? [];
  return { name, port };
}
