import { readFile } from 'node:fs/promises';
import { distance } from 'fastest-levenshtein';
import { describe, isMootError, MootError } from '../../base/errors.js';
import type { LogLine } from '../../control/document.js';
import { Player } from '../../control/player.js';
import { SCENES, sceneOf } from '../../control/scenes/scenes.js';
import { sceneClients } from '../director.js';
import { isoSecond } from '../inode-text.js';
import { sceneText } from '../scene-text.js';
import { renderTable } from '../table.js';
import { CONDITION_HELP, parseCondition, parseDuration } from './conditions.js';
import type { Console, Ruled } from './context.js';
import { ConsoleFiles, pathOf, shown } from './files.js';
import { renderNodes } from './nodes-table.js';

/** What may stand behind a command, for completion. */
export type Completion = 'node' | 'file' | 'path' | 'scene' | 'speed' | 'command';

export interface ConsoleCommand {
  readonly short: string;
  readonly usage: string;
  readonly help: string;
  readonly example: string;
  readonly completes: readonly Completion[];
  /** `rest` is all behind the command, as it was typed. */
  run(console: Console, words: readonly string[], rest: string): Promise<void>;
}

const SPEEDS: Readonly<Record<string, number>> = { fast: 0, normal: 500, slow: 1000 };
const NODES_MAX = 9;
const LOG_COUNT_DEFAULT = 20;
const WAIT_MS = 60_000;
const EXPECT_MS = 15_000;
/** A script that submits itself would never end. */
const SCRIPT_DEPTH_MAX = 8;
let scriptDepth = 0;

export const COMMANDS: Readonly<Record<string, ConsoleCommand>> = {
  start: {
    short: 'st',
    usage: 'start [N]',
    help: 'start a cluster of N nodes on this machine (default 3)',
    example: 'start 5',
    completes: [],
    async run(console, [count = '3']) {
      if (console.ruled !== null) {
        throw new MootError('BAD_ARGUMENT', "a cluster is there already; 'stop' ends it");
      }
      if (!/^\d$/.test(count) || Number(count) < 1) {
        throw new MootError(
          'BAD_ARGUMENT',
          `'${count}' is not a number of nodes from 1 to ${NODES_MAX}`,
        );
      }
      console.ruled = await console.start(Number(count));
      const { link, own } = console.ruled;
      const led = () =>
        link.leader !== null && link.documents.every(({ leader }) => leader === link.leader?.id);
      await link.until(led, WAIT_MS);
      console.print(renderNodes(link));
      if (own?.cluster.controls[0] !== undefined) {
        console.print(`the page: http://${own.cluster.controls[0]}/`);
      }
      for (const mount of own?.cluster.mounts ?? []) console.print(`${mount.name} is ready`);
    },
  },
  stop: {
    short: 'sp',
    usage: 'stop',
    help: 'stop the cluster that this console started',
    example: 'stop',
    completes: [],
    async run(console) {
      const ruled = need(console);
      if (ruled.own === null) {
        throw new MootError('NOT_ALLOWED', 'this console only joined the cluster: it goes on');
      }
      console.ruled = null;
      await ruled.close();
      console.print('stopped');
    },
  },
  status: {
    short: 's',
    usage: 'status',
    help: 'show every node: role, term, vote, indexes, state, faults',
    example: 'status',
    completes: [],
    async run(console) {
      console.print(renderNodes(need(console).link));
    },
  },
  log: {
    short: 'l',
    usage: 'log NODE [COUNT]',
    help: "show the last entries of a node's log",
    example: 'log n1 10',
    completes: ['node'],
    async run(console, [id, count = String(LOG_COUNT_DEFAULT)]) {
      if (id === undefined) throw usage('log');
      const lines = await need(console).link.call(id, 'log', { count: Number(count) });
      // The node is of our own version.
      console.print(renderLog(lines as readonly LogLine[]));
    },
  },
  watch: {
    short: 'w',
    usage: 'watch [on|off]',
    help: 'tell commits and changes of roles as they happen',
    example: 'watch on',
    completes: [],
    async run(console, [word]) {
      if (word !== undefined && word !== 'on' && word !== 'off') throw usage('watch');
      console.watching = word === undefined ? !console.watching : word === 'on';
      console.print(`watching is ${console.watching ? 'on' : 'off'}`);
    },
  },
  speed: {
    short: 'sd',
    usage: 'speed NODE fast|normal|slow|250ms',
    help: 'delay all that a node hears and sends: 0, 0.5 s, 1 s, or so much',
    example: 'speed n1 slow',
    completes: ['node', 'speed'],
    async run(console, [id, word = '']) {
      if (id === undefined) throw usage('speed');
      const ms = SPEEDS[word] ?? parseDuration(word);
      if (ms === null) throw usage('speed');
      await need(console).operations.slow(id, ms);
      console.print(`all that ${id} hears and sends is ${ms} ms late`);
    },
  },
  crash: nodeCommand({
    name: 'crash',
    short: 'c',
    help: "kill a node's process; what is on its disk stays",
    example: 'crash n2',
    async run(ruled, id) {
      await ruled.operations.crash(id);
      return `${id} is dead`;
    },
  }),
  recover: nodeCommand({
    name: 'recover',
    short: 'r',
    help: 'start a node again, from its disk',
    example: 'recover n2',
    async run({ link, operations }, id) {
      await operations.recover(id);
      const { term, commitIndex, appliedIndex, lastIndex } = link.get(id).document;
      return `${id} is back: term ${term}, commit ${commitIndex}, applied ${appliedIndex}, last ${lastIndex}`;
    },
  }),
  partition: {
    short: 'p',
    usage: 'partition A,B | C,D,E',
    help: 'split the network: each part hears only itself; who is not named is alone',
    example: 'partition n1,n2 | n3,n4,n5',
    completes: ['node', 'node', 'node', 'node', 'node', 'node', 'node', 'node', 'node'],
    async run(console, words, rest) {
      if (words.length === 0) throw usage('partition');
      const groups = rest.split('|').map((part) => part.split(/[,\s]+/).filter((id) => id !== ''));
      await need(console).operations.partition(groups.filter((group) => group.length > 0));
      console.print(`split: ${groups.map((group) => group.join(', ')).join(' | ')}`);
    },
  },
  isolate: nodeCommand({
    name: 'isolate',
    short: 'i',
    help: 'cut a node from all others',
    example: 'isolate n3',
    async run(ruled, id) {
      await ruled.operations.isolate(id);
      return `${id} is alone`;
    },
  }),
  cut: {
    short: 'x',
    usage: 'cut NODE NODE',
    help: 'cut the link between two nodes, both ways',
    example: 'cut n1 n2',
    completes: ['node', 'node'],
    async run(console, [a, b]) {
      if (a === undefined || b === undefined) throw usage('cut');
      await need(console).operations.cut(a, b);
      console.print(`${a} and ${b} do not hear each other`);
    },
  },
  heal: {
    short: 'h',
    usage: 'heal',
    help: 'mend all cuts',
    example: 'heal',
    completes: [],
    async run(console) {
      await need(console).operations.heal();
      console.print('all links are whole');
    },
  },
  elect: nodeCommand({
    name: 'elect',
    short: 'e',
    help: "a node's election time-out is over now; while a leader is heard the others refuse it",
    example: 'elect n2',
    async run(ruled, id) {
      await ruled.operations.elect(id);
      return `${id} asks whether it could win`;
    },
  }),
  transfer: nodeCommand({
    name: 'transfer',
    short: 't',
    help: 'let this node lead from now on',
    example: 'transfer n2',
    async run({ link, client }, id) {
      link.get(id);
      return `${await client.transferLeadership(id)} leads`;
    },
  }),
  load: {
    short: 'ld',
    usage: 'load LOCALFILE',
    help: 'store a file in the cluster and print its id and its path',
    example: 'load ./notes.txt',
    completes: ['path'],
    async run(console, words, rest) {
      if (words.length === 0) throw usage('load');
      const { id, size } = await filesOf(console).load(rest);
      console.ids = [...console.ids.filter((known) => known !== id), id];
      console.print(`${id}  ${pathOf(id)}  ${size} bytes`);
    },
  },
  list: {
    short: 'ls',
    usage: 'list',
    help: 'list the files that were loaded',
    example: 'list',
    completes: [],
    async run(console) {
      const files = await filesOf(console).list();
      console.ids = files.map(({ id }) => id);
      const rows = files.map(({ id, name, size, modifiedMs }) => [
        ...[shown(id), String(size), isoSecond({ sec: Math.floor(modifiedMs / 1_000) }), name],
      ]);
      console.print(renderTable(['ID', 'BYTES', 'MODIFIED', 'NAME'], rows));
    },
  },
  append: {
    short: 'a',
    usage: 'append ID TEXT',
    help: "add a line to a file; the start of an id is enough, 'last' is the newest",
    example: 'append last one more line',
    completes: ['file'],
    async run(console, [word = '', ...words], rest) {
      if (words.length === 0) throw usage('append');
      const id = await fileId(console, word);
      const text = rest.slice(rest.indexOf(word) + word.length).trim();
      const { size } = await filesOf(console).append(id, text);
      console.print(`${shown(id)}  ${size} bytes`);
    },
  },
  show: {
    short: 'sh',
    usage: 'show ID',
    help: "print a file's content",
    example: 'show last',
    completes: ['file'],
    async run(console, [word = '']) {
      console.print(await filesOf(console).show(await fileId(console, word)));
    },
  },
  delete: {
    short: 'd',
    usage: 'delete ID',
    help: 'remove a file',
    example: 'delete last',
    completes: ['file'],
    async run(console, [word = '']) {
      const id = await fileId(console, word);
      await filesOf(console).delete(id);
      console.ids = console.ids.filter((known) => known !== id);
      console.print(`${shown(id)} is deleted`);
    },
  },
  wait: {
    short: 'wt',
    usage: 'wait 2s | wait CONDITION',
    help: `wait so long, or until: ${CONDITION_HELP}`,
    example: 'wait leader',
    completes: [],
    async run(console, words) {
      const ms = words.length === 1 ? parseDuration(words[0] ?? '') : null;
      if (ms !== null) await new Promise((resolve) => setTimeout(resolve, ms));
      else await fulfil(console, words, WAIT_MS);
    },
  },
  expect: {
    short: 'ex',
    usage: 'expect CONDITION',
    help: `fail unless it comes true soon: ${CONDITION_HELP}`,
    example: 'expect n2 follower',
    completes: [],
    async run(console, words) {
      await fulfil(console, words, EXPECT_MS);
    },
  },
  submit: {
    short: 'sub',
    usage: 'submit SCRIPT',
    help: 'run a file of commands, one a line, # begins a comment; stops at the first that fails',
    example: 'submit ./lesson.moot',
    completes: ['path'],
    async run(console, words, rest) {
      if (words.length === 0) throw usage('submit');
      if (scriptDepth >= SCRIPT_DEPTH_MAX) {
        throw new MootError(
          'BAD_ARGUMENT',
          `scripts submit scripts more than ${SCRIPT_DEPTH_MAX} deep`,
        );
      }
      const text = await readFile(rest, 'utf8').catch((cause: unknown) => {
        throw new MootError('BAD_ARGUMENT', `${rest} cannot be read`, { cause });
      });
      scriptDepth++;
      try {
        await runScript(console, rest, text);
      } finally {
        scriptDepth--;
      }
    },
  },
  play: {
    short: 'pl',
    usage: 'play [SCENE]',
    help: 'play a scene on this cluster; without a name list them',
    example: 'play leader-dies',
    completes: ['scene'],
    async run(console, [name]) {
      if (name === undefined) {
        console.print(renderScenes());
        return;
      }
      const scene = sceneOf(name);
      await playScene(console, scene.name);
    },
  },
  history: {
    short: 'hi',
    usage: 'history',
    help: 'show what was typed',
    example: 'history',
    completes: [],
    async run(console) {
      console.print(console.history().join('\n'));
    },
  },
  help: {
    short: '?',
    usage: 'help [COMMAND]',
    help: 'show all commands, or one with an example',
    example: 'help partition',
    completes: ['command'],
    async run(console, [name]) {
      if (name === undefined) console.print(renderHelp());
      else {
        const { usage: form, short, help, example } = commandOf(name);
        console.print(`${form}\n  ${help}\n  short: ${short}\n  example: ${example}`);
      }
    },
  },
  quit: {
    short: 'q',
    usage: 'quit',
    help: 'leave; a cluster that this console started is stopped. Ctrl-C does that, whatever runs',
    example: 'quit',
    completes: [],
    async run(console) {
      console.done = true;
    },
  },
};

/** A command on one node; `run` says what has come of it. */
function nodeCommand(command: {
  readonly name: string;
  readonly short: string;
  readonly help: string;
  readonly example: string;
  run(ruled: Ruled, id: string): Promise<string>;
}): ConsoleCommand {
  const { name, short, help, example } = command;
  return {
    ...{ short, usage: `${name} NODE`, help, example },
    completes: ['node'],
    async run(console, words) {
      const [id] = words;
      if (id === undefined || words.length > 1) throw usage(name);
      console.print(await command.run(need(console), id));
    },
  };
}

/** Runs one line. Empty lines and comments do nothing. Fails with a MootError. */
export async function runLine(console: Console, line: string): Promise<void> {
  const text = line.trim();
  if (text === '' || text.startsWith('#')) return;
  const [name = '', ...words] = text.split(/\s+/);
  await commandOf(name).run(console, words, text.slice(name.length).trim());
}

/** By its name or its short form. */
export function commandOf(name: string): ConsoleCommand {
  const names = Object.keys(COMMANDS);
  const known = Object.hasOwn(COMMANDS, name)
    ? COMMANDS[name]
    : Object.values(COMMANDS).find((command) => command.short === name);
  if (known !== undefined) return known;
  const [nearest] = names.sort((a, b) => distance(name, a) - distance(name, b));
  throw new MootError('BAD_ARGUMENT', `there is no command '${name}'; did you mean '${nearest}'?`);
}

async function runScript(console: Console, file: string, text: string): Promise<void> {
  for (const [i, line] of text.split('\n').entries()) {
    if (console.done) return;
    try {
      await console.run(line);
    } catch (error) {
      if (!isMootError(error)) throw error;
      throw new MootError(error.code, `${file}, line ${i + 1}: ${describe(error)}`);
    }
  }
}

async function playScene(console: Console, name: string): Promise<void> {
  const { link, operations } = need(console);
  const cluster = link.documents[0]?.cluster ?? '';
  const player = new Player(link, operations, sceneClients(cluster), (line) => {
    const said = sceneText(line);
    if (said !== null) console.print(said);
  });
  const scene = sceneOf(name);
  console.print(`${scene.title}\n${scene.explanation.map((line) => `  ${line}`).join('\n')}`);
  const watched = watchers.get(console) ?? new Set();
  watchers.set(console, watched.add(player));
  try {
    player.start(scene, { paceMs: console.paceMs, pause: false });
    const end = await player.ended();
    if (end?.state !== 'done') throw new MootError('CLOSED', end?.error ?? 'the scene was stopped');
  } finally {
    watched.delete(player);
  }
}

/** Scenes that want to hear what the nodes tell. */
export const watchers = new WeakMap<Console, Set<Player>>();

async function fulfil(console: Console, words: readonly string[], ms: number): Promise<void> {
  const { link } = need(console);
  const condition = parseCondition(words, link);
  if ((await link.until(condition, ms)) !== null) return;
  throw new MootError('CLOSED', `within ${ms / 1000} s it was not true: ${words.join(' ')}`);
}

async function fileId(console: Console, word: string): Promise<string> {
  if (word === '')
    throw new MootError('BAD_ARGUMENT', "the file's id is missing; 'list' shows all");
  const last = console.ids.at(-1);
  if (word !== 'last') return filesOf(console).find(word);
  if (last !== undefined) return last;
  throw new MootError('BAD_ARGUMENT', 'nothing was loaded yet');
}

function filesOf(console: Console): ConsoleFiles {
  return new ConsoleFiles(need(console).client);
}

function need(console: Console): Ruled {
  if (console.ruled !== null) return console.ruled;
  throw new MootError('BAD_ARGUMENT', "there is no cluster yet; 'start 3' makes one");
}

function usage(name: string): MootError {
  const command = commandOf(name);
  return new MootError('BAD_ARGUMENT', `usage: ${command.usage}, for example: ${command.example}`);
}

function renderLog(lines: readonly LogLine[]): string {
  const rows = lines.map(({ index, term, timeMs, session, command, committed }) => [
    String(index),
    String(term),
    timeMs === null ? '' : new Date(timeMs).toISOString().slice(11, 23),
    session === null || session === 0 ? '' : String(session),
    committed ? 'yes' : 'no',
    command,
  ]);
  return renderTable(['INDEX', 'TERM', 'TIME', 'SESSION', 'COMMITTED', 'COMMAND'], rows);
}

function renderHelp(): string {
  const rows = Object.values(COMMANDS).map(({ usage: form, short, help }) => [form, short, help]);
  return renderTable(['COMMAND', 'SHORT', ''], rows);
}

export function renderScenes(): string {
  const rows = SCENES.map(({ name, title, nodesMin }) => [name, String(nodesMin), title]);
  return renderTable(['SCENE', 'NODES', 'WHAT IT SHOWS'], rows);
}
