import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { type Command, InvalidArgumentError } from 'commander';
import { describe, isMootError, MootError } from '../base/errors.js';
import type { WriteConcern } from '../codec/client-messages.js';
import { ClusterLink } from '../control/cluster-link.js';
import type { NodeEvent } from '../control/events.js';
import { ControlLink } from '../control/link.js';
import { Operations, type Processes } from '../control/operations.js';
import { SCENES } from '../control/scenes/scenes.js';
import { openSocket } from '../control/socket.js';
import { eventText } from '../control/wording.js';
import { connectClient } from './assemble/client.js';
import { COMMANDS, commandOf, runLine, watchers } from './console/commands.js';
import type { Console, Ruled } from './console/context.js';
import { directLocalCluster } from './director.js';
import { anyPorts, LocalCluster, portsFrom } from './local-cluster.js';
import { CONTROL_PORT_ABOVE, parseAddresses, writeConcernOption } from './members.js';
import { addMountOptions, type MountOptions } from './mount-options.js';
import { addExample, directoryName, setting, wholeNumber } from './settings.js';
import { stopRequested } from './signals.js';

const ANSWER_MS = 10_000;
const HISTORY_MAX = 1_000;
const PACE_MS = 1_500;
/** The name of a cluster that `start` makes. */
const CLUSTER = 'mootfs';
/** A console's logs are small on purpose: people want to see snapshots. */
const SNAPSHOT_LOG_ENTRIES = 200;

export interface LocalOptions extends MountOptions {
  readonly data?: string;
  readonly mounts: string;
  readonly mount: boolean;
  readonly port: number;
  readonly stretch: number;
  readonly writeConcern?: WriteConcern;
}

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
  command.action(async () => {
    process.exitCode = await runRepl(command.opts<ReplOptions>());
  });
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

/** What a cluster on this machine needs that a console or a scene makes. */
export function addLocalOptions(command: Command): void {
  command
    .addOption(
      setting(
        '--data <dir>',
        "the nodes' data; default: a temporary directory, removed at the end",
      ).argParser(directoryName),
    )
    .addOption(
      setting('--mounts <dir>', 'where the mounts are made, one directory a node')
        .argParser(directoryName)
        .default('mnt'),
    )
    .option('--no-mount', 'only run the nodes')
    .option(
      '--port <port>',
      'port of the first node, its page 1000 above; 0: any that are free',
      wholeNumber(0, 60_000),
      0,
    )
    .addOption(
      setting('--stretch <factor>', 'election time-outs and heartbeats so many times longer')
        .argParser(wholeNumber(1, 100))
        .default(5),
    )
    .addOption(writeConcernOption());
}

async function runRepl(options: ReplOptions): Promise<number> {
  const stop = stopRequested(false);
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
      starting.ruled = startLocal(nodes, { ...options, cluster: CLUSTER }, stop, (id, events) =>
        tell(console, id, events),
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
    console.ruled = await joinCluster(options.cluster, (id, events) => tell(console, id, events));
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
  let stopped = false;
  void stop.then(() => {
    stopped = true;
    console.done = true;
    lineReader.close();
  });
  if (terminal) print("A console for clusters. 'help' shows the commands, Tab completes them.");
  try {
    for await (const line of linesOf(readline, (now) => {
      waiting = now && terminal;
    })) {
      if (line.trim() !== '') lines.push(line.trim());
      try {
        await Promise.race([console.run(line), stop]);
      } catch (error) {
        if (!isMootError(error)) throw error;
        failed = true;
        process.stderr.write(`${describe(error)}\n`);
      }
      if (console.done) break;
    }
  } finally {
    readline.close();
    // Asked to stop in the middle of a start, which then fails and leaves nothing.
    await starting.ruled?.catch(() => undefined);
    await console.ruled?.close();
    process.stdin.destroy();
  }
  const code = failed && !terminal ? 1 : 0;
  // What the line under way still waits for must not keep the process.
  if (stopped) process.exit(code);
  return code;
}

/** One line after the other; the next is asked for when the one before was dealt with. */
async function* linesOf(
  readline: Interface,
  onWaiting: (waiting: boolean) => void,
): AsyncGenerator<string> {
  const queue: string[] = [];
  let closed = false;
  let wake: () => void = () => undefined;
  readline.on('line', (line) => {
    queue.push(line);
    wake();
  });
  readline.on('close', () => {
    closed = true;
    wake();
  });
  for (;;) {
    const line = queue.shift();
    if (line !== undefined) {
      onWaiting(false);
      yield line;
      continue;
    }
    if (closed) return;
    onWaiting(true);
    if (readline.terminal) readline.prompt();
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  }
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

type OnEvents = (id: string, events: readonly NodeEvent[]) => void;

/** A cluster on this machine, of processes of our own; when `stop` resolves before it is there: none. */
export async function startLocal(
  nodes: number,
  options: LocalOptions,
  stop: Promise<unknown>,
  onEvents: OnEvents,
): Promise<Ruled> {
  const temporary = options.data === undefined ? mkdtempSync(join(tmpdir(), 'mootfs-')) : null;
  const ports = options.port === 0 ? await anyPorts(nodes) : portsFrom(options.port, nodes, true);
  const cluster = new LocalCluster({
    ...options,
    nodes,
    data: options.data ?? temporary ?? '',
    mounts: options.mount ? options.mounts : null,
    ports,
    restart: false,
    snapshotLogEntries: SNAPSHOT_LOG_ENTRIES,
    writeConcern: options.writeConcern ?? 'majority',
  });
  const removeData = () => {
    if (temporary !== null) rmSync(temporary, { recursive: true, force: true });
  };
  const director = await directLocalCluster(cluster, ports.control?.director ?? 0, options.cluster);
  try {
    if (!(await cluster.start(stop))) throw new MootError('INTERRUPTED', 'asked to stop');
  } catch (error) {
    await director.close();
    await cluster.stop();
    removeData();
    throw error;
  }
  const ruled = await ruledOf(cluster.controls, cluster, options.cluster, onEvents);
  return {
    ...ruled,
    own: { cluster, director },
    async close() {
      await ruled.close();
      await director.close();
      await cluster.stop();
      removeData();
    },
  };
}

/** A cluster that runs, by the control address of one of its nodes or more. */
async function joinCluster(controls: readonly string[], onEvents: OnEvents): Promise<Ruled> {
  const probe = new ClusterLink(controls, openSocket);
  const document = await probe.until(() => probe.documents[0] ?? null, ANSWER_MS);
  probe.close();
  if (document === null) {
    throw new MootError(
      'UNREACHABLE',
      `no control server answers at ${controls.join(', ')} (a node's is ${CONTROL_PORT_ABOVE} above its own port)`,
    );
  }
  const director = document.director === null ? null : new RemoteDirector(document.director);
  const ruled = await ruledOf(controls, director, document.cluster, onEvents);
  return {
    ...ruled,
    own: null,
    async close() {
      director?.close();
      await ruled.close();
    },
  };
}

async function ruledOf(
  controls: readonly string[],
  processes: Processes | null,
  cluster: string,
  onEvents: OnEvents,
): Promise<Omit<Ruled, 'own'>> {
  const link = new ClusterLink(controls, openSocket, { onEvents });
  const known = () => {
    const [first] = link.documents;
    return first !== undefined && link.documents.length >= first.members.length;
  };
  // Some of them may be dead; then those that answer are ruled.
  await link.until(known, ANSWER_MS);
  const addresses = link.documents[0]?.members.map((member) => member.address) ?? [];
  const client = connectClient({ nodes: addresses, cluster, name: 'console' });
  return {
    link,
    operations: new Operations(link, processes),
    client,
    async close() {
      link.close();
      await client.close();
    },
  };
}

/** The director of a running cluster, over its control port. */
class RemoteDirector implements Processes {
  private readonly link: ControlLink<unknown, unknown>;

  constructor(address: string) {
    this.link = new ControlLink(address, openSocket, {
      onDocument: () => undefined,
      onEvents: () => undefined,
    });
  }

  async crash(id: string): Promise<void> {
    await this.link.call('crash', { id });
  }

  async recover(id: string): Promise<void> {
    await this.link.call('recover', { id }, 60_000);
  }

  close(): void {
    this.link.close();
  }
}

/** What may stand where the cursor is, for readline. */
function complete(console: Console, line: string): [string[], string] {
  const words = line.split(/[\s,|]+/);
  const word = words.at(-1) ?? '';
  const [name = ''] = line.trim().split(/\s+/);
  if (words.length === 1) return match(Object.keys(COMMANDS), word);
  let kinds: readonly string[];
  try {
    kinds = commandOf(name).completes;
  } catch {
    return [[], word];
  }
  const candidates: Readonly<Record<string, () => readonly string[]>> = {
    node: () => console.ruled?.link.nodes.map(({ document }) => document.id) ?? [],
    file: () => [...console.ids, 'last'],
    scene: () => SCENES.map((scene) => scene.name),
    speed: () => ['fast', 'normal', 'slow'],
    command: () => Object.keys(COMMANDS),
    path: () => localPaths(word),
  };
  return match(candidates[kinds[words.length - 2] ?? '']?.() ?? [], word);
}

function match(candidates: readonly string[], word: string): [string[], string] {
  const found = candidates.filter((one) => one.startsWith(word));
  // One that fits is followed by a space, as in a shell; a directory is not.
  const [only] = found;
  const ended = found.length === 1 && only !== undefined && !only.endsWith('/');
  return [ended ? [`${only} `] : found, word];
}

function localPaths(word: string): readonly string[] {
  const directory = word.endsWith('/') ? word : dirname(word);
  const start = word.endsWith('/') ? '' : basename(word);
  const prefix = word.includes('/') ? join(directory, '/') : '';
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.name.startsWith(start))
      .map((entry) => `${prefix}${entry.name}${entry.isDirectory() ? '/' : ''}`);
  } catch {
    return [];
  }
}
