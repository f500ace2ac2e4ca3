import { createInterface, type Interface } from 'node:readline';
import { type Command, InvalidArgumentError } from 'commander';
import { describe, isMootError } from '../base/errors.js';
import type { NodeEvent } from '../control/events.js';
import { eventText } from '../control/wording.js';
import { runLine, watchers } from './console/commands.js';
import { complete } from './console/completion.js';
import type { Console, Ruled } from './console/context.js';
import { linesOf } from './console/lines.js';
import { EXIT, isSystemError } from './exit.js';
import { addLocalOptions, type LocalOptions } from './local-options.js';
import { parseAddresses } from './members.js';
import { addMountOptions } from './mount-options.js';
import { joinCluster, startLocal } from './rule.js';
import { addExample } from './settings.js';
import { type Stop, stoppable } from './stoppable.js';

const HISTORY_MAX = 1_000;
const PACE_MS = 1_500;
/** The name of a cluster that `start` makes. */
const CLUSTER = 'mootfs';

interface ReplOptions extends Omit<LocalOptions, 'cluster'> {
  /** Control addresses of a running one. */
  readonly cluster?: readonly string[];
}

export function addReplCommand(program: Command): void {
  const command = program
    .command('repl')
    .description(
      'Rule a cluster from a console: start it, break it, mend it, and watch what happens.',
    )
    .option(
      '--cluster <addresses>',
      'join a running cluster, by control addresses of its nodes, as host:port,host:port,…',
      parseControls,
    );

  addLocalOptions(command);
  addMountOptions(command);
  command.action(() =>
    stoppable('repl', async (stop) => {
      process.exitCode = await runRepl(command.opts<ReplOptions>(), stop);
    }),
  );
  addExample(
    command,
    'mootfs repl',
    'mootfs repl --cluster 127.0.0.1:8101',
    "printf 'start 3\\nstatus\\n' | mootfs repl --no-mount",
  );
}

/** Everywhere else --cluster is a name. */
function parseControls(text: string): readonly string[] {
  try {
    return parseAddresses(text);
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error;
    const what = 'Here these are control addresses of nodes, and not the name of a cluster.';
    throw new InvalidArgumentError(`${error.message} ${what}`);
  }
}

async function runRepl(options: ReplOptions, stop: Stop): Promise<number> {
  const terminal = process.stdin.isTTY === true && process.stdout.isTTY === true;
  const lines: string[] = [];
  let failed = false;
  let readline: Interface | null = null;
  /** For the next line of a person. */
  let waiting = false;
  const starting: { ruled: Promise<Ruled> | null } = { ruled: null };
  const print = (text: string) => {
    process.stdout.write(`${terminal ? '\r\x1b[K' : ''}${text}\n`);
    if (waiting) readline?.prompt(true);
  };
  const console: Console = {
    ruled: null,
    watching: false,
    print,
    start: (nodes) => {
      starting.ruled = startLocal(
        nodes,
        { ...options, cluster: CLUSTER },
        stop.requested,
        (id, events) => tell(console, id, events),
      );
      return starting.ruled;
    },
    run: (line) => runLine(console, line),
    history: () => lines,
    ids: [],
    done: false,
    paceMs: terminal ? PACE_MS : 0,
  };
  if (options.cluster !== undefined) {
    const joined = joinCluster(options.cluster, (id, events) => tell(console, id, events));
    console.ruled = (await Promise.race([joined, stop.requested])) ?? null;
  }
  // From here on lines are read: whoever listens must be there.
  readline = createInterface({
    input: process.stdin,
    output: process.stdout,
    terminal,
    prompt: 'moot> ',
    historySize: HISTORY_MAX,
    removeHistoryDuplicates: true,
    completer: (line: string) => complete(console, line),
  });
  const lineReader = readline;
  // It takes the key before it becomes a signal, and would finish the lines that it has.
  readline.on('SIGINT', () => stop.request('SIGINT'));
  // The terminal was closed.
  readline.on('error', () => stop.request('SIGHUP'));
  process.stdin.on('error', () => stop.request('SIGHUP'));
  void stop.requested.then(() => {
    console.done = true;
    lineReader.close();
  });
  if (terminal)
    print(
      "A console for clusters. 'help' shows the commands, Tab completes them, Ctrl-C ends all.",
    );
  try {
    for await (const line of linesOf(readline, {
      isOver: () => console.done,
      onWaiting: (now) => {
        waiting = now && terminal;
      },
    })) {
      if (line.trim() !== '') lines.push(line.trim());
      try {
        await Promise.race([console.run(line), stop.requested]);
      } catch (error) {
        if (!isMootError(error) && !isSystemError(error)) throw error;
        failed = true;
        process.stderr.write(`${describe(error)}\n`);
      }
    }
  } finally {
    readline.close();
    // Asked to stop in the middle of a start, which then fails and leaves nothing.
    await starting.ruled?.catch(() => undefined);
    await console.ruled?.close();
    process.stdin.destroy();
  }
  return failed && !terminal ? EXIT.failed : EXIT.ok;
}

/** What the nodes tell: scenes hear all, people what they can read. */
function tell(console: Console, id: string, events: readonly NodeEvent[]): void {
  for (const player of watchers.get(console) ?? []) player.onEvents(id, events);
  if (!console.watching) return;
  for (const event of events) {
    const leads = console.ruled?.link.leader?.id === id;
    const told =
      event.type === 'role' ||
      event.type === 'truncated' ||
      event.type === 'snapshot' ||
      (event.type === 'commit' && leads);
    if (told) console.print(`  ${id} ${eventText(event)}`);
  }
}
