import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

/**
 * The walls of the house: who may import whom. A room may import the rooms that it names here and
 * itself, nothing else.
 */
const MAY_IMPORT: Record<string, readonly string[]> = {
  base: [],
  raft: ['base'],
  filesystem: ['base'],
  codec: ['base', 'raft', 'filesystem'],
  storage: ['base', 'raft', 'filesystem', 'codec'],
  transport: ['base', 'raft', 'filesystem', 'codec'],
  node: ['base', 'raft', 'filesystem', 'codec', 'storage', 'transport'],
  client: ['base', 'raft', 'filesystem', 'codec', 'transport', 'node'],
  mount: ['base', 'filesystem', 'codec', 'client'],
  control: ['base', 'raft', 'filesystem', 'codec', 'storage', 'transport', 'node', 'client'],
  cli: [
    ...['base', 'raft', 'filesystem', 'codec', 'storage', 'transport'],
    ...['node', 'client', 'mount', 'control'],
  ],
  // What of `control` runs in a browser: types, and pieces without Node.
  web: ['base', 'codec', 'control'],
};

/** Each third-party package has one home. */
const HOME_OF_PACKAGE: Record<string, RegExp> = {
  rocksdb: /^storage\/rocksdb\.ts$/,
  ws: /^(transport|control)\//,
  msgpackr: /^codec\/msgpack\.ts$/,
  commander: /^cli\//,
  'fuse-native': /^mount\/fuse-native\b/,
  'fastest-levenshtein': /^cli\//,
  pino: /^control\/logger\.ts$/,
  'prom-client': /^control\/metrics\.ts$/,
  preact: /^web\//,
  'preact/hooks': /^web\//,
  uplot: /^web\/charts\.tsx$/,
};

/** Rooms without time, chance, disk or network of their own. */
const PURE_ROOMS = ['raft', 'filesystem'];
const IMPURE =
  /\b(Date\.now|new Date|Math\.random|setTimeout|setInterval|setImmediate|queueMicrotask|Promise|async|await|process\.|performance\.)\b/;

/** Rooms that run on injected time. */
const CLOCKED_ROOMS = ['raft', 'filesystem', 'node', 'client'];
const OWN_TIME = /\b(Date\.now|new Date\(|Math\.random|setTimeout|setInterval|performance\.now)\b/;

const SOURCE = normalize(join(dirname(fileURLToPath(import.meta.url)), '../../../src'));

const files = readdirSync(SOURCE, { recursive: true, encoding: 'utf8' })
  .filter((file) => /\.(c?ts|tsx)$/.test(file))
  .map((file) => ({ file, text: readFileSync(join(SOURCE, file), 'utf8') }));

function importsOf(text: string): string[] {
  const code = withoutComments(text);
  const forms =
    /^(?:import|export)\b(?:[^;'=()]*\bfrom)?\s*'([^']+)'|\b(?:import|require)\('([^']+)'\)/gm;
  return [...code.matchAll(forms)].map((m) => m[1] ?? m[2] ?? '');
}

/** Those that are there when the program runs. */
function valueImportsOf(text: string): string[] {
  return importsOf(text.replace(/^import type [^;]*;$/gm, ''));
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '');
}

function roomOf(file: string): string {
  return file.split('/')[0] ?? '';
}

t.test('every file stands in a known room', async (t) => {
  t.ok(files.length > 40);
  for (const { file } of files) t.ok(roomOf(file) in MAY_IMPORT, file);
});

t.test('imports point one way', async (t) => {
  for (const { file, text } of files) {
    const room = roomOf(file);
    for (const specifier of importsOf(text).filter((s) => s.startsWith('.'))) {
      const target = roomOf(relative(SOURCE, join(SOURCE, dirname(file), specifier)));
      const allowed = target === room || MAY_IMPORT[room]?.includes(target);
      t.ok(allowed, `${file} imports ${specifier}`);
    }
  }
});

t.test('each third-party package has one home', async (t) => {
  for (const { file, text } of files) {
    for (const specifier of importsOf(text)) {
      if (specifier.startsWith('.') || specifier.startsWith('node:')) continue;
      t.match(file, HOME_OF_PACKAGE[specifier] ?? /^$/, `${file} imports ${specifier}`);
    }
  }
});

t.test('the cores are pure', async (t) => {
  for (const { file, text } of files.filter((f) => PURE_ROOMS.includes(roomOf(f.file)))) {
    t.notOk(
      importsOf(text).some((s) => s.startsWith('node:')),
      file,
    );
    t.notMatch(withoutComments(text), IMPURE, file);
  }
});

t.test('what will run in simulated time has no clock of its own', async (t) => {
  for (const { file, text } of files.filter((f) => CLOCKED_ROOMS.includes(roomOf(f.file)))) {
    t.notMatch(withoutComments(text), OWN_TIME, file);
  }
});

t.test('the page needs nothing of Node', async (t) => {
  const seen = new Set<string>();
  const look = (file: string) => {
    if (seen.has(file)) return;
    seen.add(file);
    const text = files.find((one) => one.file === file || one.file === `${file}x`)?.text ?? '';
    for (const specifier of valueImportsOf(text)) {
      t.notMatch(specifier, /^(node:|ws$|pino|prom-client)/, `${file} imports ${specifier}`);
      if (specifier.startsWith('.')) look(join(dirname(file), specifier).replace(/\.js$/, '.ts'));
    }
  };
  for (const { file } of files.filter((one) => roomOf(one.file) === 'web')) look(file);
  t.ok(seen.size > 15);
});

t.test('node sees interfaces and pure cores only', async (t) => {
  for (const { file, text } of files.filter((f) => roomOf(f.file) === 'node')) {
    for (const specifier of importsOf(text)) {
      t.notMatch(
        specifier,
        /^node:|rocksdb|transport\/ws|\/memory\.js$/,
        `${file} imports ${specifier}`,
      );
    }
  }
});
