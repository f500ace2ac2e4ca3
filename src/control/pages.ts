import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { extname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { installed } from '../base/installation.js';
import type { Answer } from './server.js';

/** Where the build puts the page. */
const DIRECTORY = installed('dist/src/web');

const FILES: Readonly<Record<string, string>> = {
  '/': 'index.html',
  '/page.js': 'page.js',
  '/page.css': 'page.css',
  '/icon.svg': 'icon.svg',
};

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** The page talks to the nodes of its cluster, wherever they are, and to nobody else. */
const POLICY =
  "default-src 'self'; connect-src 'self' ws: http:; style-src 'self' 'unsafe-inline'; img-src 'self' data:";

export type Page = (request: IncomingMessage) => Answer;

/** The page's files, each in memory as it is and compressed. */
export async function loadPages(): Promise<Readonly<Record<string, Page>>> {
  const pages: Record<string, Page> = {};
  for (const [path, file] of Object.entries(FILES)) {
    pages[path] = pageOf(await readFile(join(DIRECTORY, file)), TYPES[extname(file)] ?? '');
  }
  return pages;
}

function pageOf(content: Buffer, type: string): Page {
  const compressed = gzipSync(content, { level: 9 });
  const headers = { 'content-security-policy': POLICY, vary: 'accept-encoding' };
  return (request) =>
    /\bgzip\b/.test(request.headers['accept-encoding'] ?? '')
      ? { type, body: compressed, headers: { ...headers, 'content-encoding': 'gzip' } }
      : { type, body: content, headers };
}
