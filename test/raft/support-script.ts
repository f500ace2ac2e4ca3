import { decodeConfiguration } from '../../src/codec/configuration.js';
import { membersOf } from '../../src/raft/membership.js';
import { createRaft } from '../../src/raft/raft.js';
import type {
  Configuration,
  Entry,
  Member,
  MemberChange,
  NodeId,
  Raft,
  RaftConfig,
  RaftMessage,
  Ready,
  Save,
  SnapshotMark,
} from '../../src/raft/types.js';
import { configurationCodec, configurationOf, Disk } from './support-disk.js';

interface ScriptNode {
  readonly id: NodeId;
  readonly config: RaftConfig;
  /** What it was started with. */
  readonly first: Configuration;
  disk: Disk;
  raft: Raft | null;
  applied: number;
  /** Saves wait for the command `save`. */
  held: boolean;
  saves: { readonly save: Save; readonly messages: readonly RaftMessage[] }[];
  /** Election timeouts are this many ticks. */
  timeoutTicks: number;
}

const DEFAULTS = {
  electionTicksMin: 10,
  electionTicksMax: 20,
  heartbeatTicks: 3,
  inFlightMessagesMax: 16,
  inFlightBytesMax: 65_536,
  appendBytesMax: 8192,
  uncommittedBytesMax: 65_536,
  tailBytesMax: 65_536,
};

type Option = keyof typeof DEFAULTS;

/**
 * Runs a conversation between cores that is written down: lines that begin with '> ' are commands,
 * what follows is what they print. `transcript` returns the script with what was really printed.
 *
 *   nodes n1 n2 [option=number]   start nodes with empty logs; options are those of RaftConfig
 *   logs n1 1 1 4                 start again with entries of these terms (all saved), in the last term
 *   term n1 7                     start again in this term, with no vote
 *   empty n1                      start again with an empty, recovering disk
 *   join n4                       start a node that knows nobody, with an empty disk
 *   timeout n1 15                 election timeouts drawn from now on
 *   tick n1 3 | campaign n1 | stepdown n1 | bootstrap n1 3 | unreachable n1 n2
 *   propose n1 x y | read n1 7
 *   change n1 add:n4 promote:n3 remove:n2     n1 is to change the members, all in one
 *       add:n4 becomes a voter by itself; learn:n4 stays a learner; replace:n4:n2 takes n2's place
 *   transfer n1 [n2]              n1 is to hand over (to n2)
 *   deliver | settle              carry all messages until it is quiet, and say which | without saying
 *   round                         carry what is on its way now, and no more
 *   drop n1->n2                   lose what is on its way from n1 to n2
 *   repeat n1->n2                 what is on its way from n1 to n2 will come twice
 *   partition n1,n2 | n3          lose everything between the groups from now on; heal
 *   hold n1 | save n1 [count] | release n1   saves wait | the oldest are done | saves no longer wait
 *   crash n1 [saved]              unsaved is lost | is saved, but nothing of what waited for it was sent
 *   restart n1
 *   compact n1 3                  the log up to there goes
 *   snapshot n1 n2                n1's state arrives at n2
 *   log n1 | status [n1] | progress n1 | members [n1]
 */
export function transcript(script: string): string {
  const stage = new Stage();
  const lines: string[] = [];
  for (const line of script.split('\n')) {
    if (line.startsWith('>')) {
      lines.push(line, ...stage.run(line.slice(1).trim()).map((output) => `  ${output}`));
    } else if (line.startsWith('#') || line === '') lines.push(line);
  }
  return lines.join('\n');
}

class Stage {
  private readonly nodes = new Map<NodeId, ScriptNode>();
  private queue: RaftMessage[] = [];
  private groups: string[][] = [];
  private output: string[] = [];

  private readonly commands: Record<string, (...args: string[]) => void> = {
    nodes: (...args) => this.createNodes(args),
    logs: (id, ...terms) => this.setLog(this.node(id), terms.map(Number)),
    term: (id, term) => {
      const node = this.node(id);
      node.disk.hardState = { term: Number(term), vote: null, recovering: false, incarnation: 0 };
      this.start(node);
    },
    empty: (id) => {
      const node = this.node(id);
      node.disk = new Disk(true, node.first);
      node.applied = 0;
      this.start(node);
    },
    join: (id) =>
      this.createNode(id ?? '', configurationOf([]), new Disk(true, configurationOf([])), {}),
    timeout: (id, ticks) => {
      this.node(id).timeoutTicks = Number(ticks);
    },
    tick: (id, count = '1') => {
      const { raft } = this.node(id);
      this.recall(this.node(id));
      for (let i = 0; i < Number(count); i++) raft?.tick();
    },
    campaign: (id) => this.node(id).raft?.campaign(),
    stepdown: (id) => this.node(id).raft?.stepDown(),
    bootstrap: (id, term) => this.node(id).raft?.bootstrap(Number(term)),
    unreachable: (id, peer) => this.node(id).raft?.unreachable(peer ?? ''),
    propose: (id, ...values) => {
      const result = this.node(id).raft?.propose(values.map((v) => new TextEncoder().encode(v)));
      if (result?.ok === false) this.output.push(result.reason);
    },
    change: (id, ...changes) => {
      const result = this.node(id).raft?.changeMembers(changes.map(parseChange));
      if (result?.ok === false) this.output.push(`${result.reason}: ${result.message}`);
    },
    transfer: (id, to) => {
      const result = this.node(id).raft?.transferLeadership(to ?? null);
      if (result?.ok === false) this.output.push(`${result.reason}: ${result.message}`);
    },
    read: (id, context) => this.node(id).raft?.readIndex(Number(context)),
    round: () => this.deliver(1, true),
    deliver: () => this.deliver(100, true),
    settle: () => this.deliver(1000, false),
    drop: (pair) => {
      this.queue = this.queue.filter((message) => {
        if (pairOf(message) !== pair) return true;
        this.output.push(`lost ${describe(message)}`);
        return false;
      });
    },
    repeat: (pair) => {
      this.queue.push(...this.queue.filter((message) => pairOf(message) === pair));
    },
    partition: (...args) => {
      const text = args.join(' ');
      this.groups = text.split('|').map((group) => group.trim().split(','));
    },
    heal: () => {
      this.groups = [];
    },
    hold: (id) => {
      this.node(id).held = true;
    },
    save: (id, count) => this.finishSaves(this.node(id), Number(count ?? Number.MAX_VALUE)),
    release: (id) => {
      this.node(id).held = false;
    },
    crash: (id, how) => {
      const node = this.node(id);
      if (how === 'saved') for (const { save } of node.saves) node.disk.append(save);
      node.raft = null;
      node.saves = [];
    },
    restart: (id) => this.start(this.node(id)),
    compact: (id, index) => {
      const node = this.node(id);
      const mark = markOf(node, Number(index));
      node.disk.compact(mark);
      node.raft?.compacted(mark);
    },
    snapshot: (id, to) => this.streamSnapshot(this.node(id), this.node(to)),
    log: (id) => this.output.push(this.describeLog(this.node(id))),
    status: (id) => {
      for (const node of id === undefined ? this.nodes.values() : [this.node(id)]) {
        this.output.push(describeStatus(node));
      }
    },
    members: (id) => {
      for (const { id: name, raft } of id === undefined ? this.nodes.values() : [this.node(id)]) {
        if (raft === null) continue;
        const { configuration, index } = raft.status().configuration;
        this.output.push(`${name} at ${index}: ${describeConfiguration(configuration)}`);
      }
    },
    progress: (id) => {
      for (const f of this.node(id).raft?.status().followers ?? []) {
        this.output.push(
          `${f.id} ${f.state} match ${f.match} next ${f.next} in flight ${f.inFlightMessages}`,
        );
      }
    },
  };

  run(line: string): string[] {
    this.output = [];
    const [name = '', ...args] = line.split(/\s+/);
    const command = this.commands[name];
    if (command === undefined) throw new Error(`unknown command: ${line}`);
    command(...args);
    for (const node of this.nodes.values()) this.pump(node);
    return this.output;
  }

  /** A node that has forgotten what it promised asks all others that are there for their terms. */
  private recall({ raft }: ScriptNode): void {
    if (raft?.status().recovering !== true) return;
    const terms = new Map<NodeId, number>();
    for (const { id } of membersOf(raft.status().configuration.configuration)) {
      const term = this.nodes.get(id)?.raft?.status().term;
      if (term !== undefined) terms.set(id, term);
    }
    raft.othersTerms(terms);
  }

  private node(id: string | undefined): ScriptNode {
    const node = this.nodes.get(id ?? '');
    if (node === undefined) throw new Error(`unknown node: ${id}`);
    return node;
  }

  private createNodes(args: readonly string[]): void {
    const voters = args.filter((arg) => !arg.includes('='));
    const options: Partial<Record<Option, number>> = {};
    for (const arg of args) {
      const [name, value] = arg.split('=');
      if (value !== undefined) options[name as Option] = Number(value);
    }
    const first = configurationOf(voters);
    for (const id of voters) this.createNode(id, first, new Disk(false, first), options);
  }

  private createNode(
    id: NodeId,
    first: Configuration,
    disk: Disk,
    options: Partial<Record<Option, number>>,
  ): void {
    const config: RaftConfig = {
      id,
      configurations: configurationCodec,
      ...DEFAULTS,
      ...options,
    };
    const node: ScriptNode = {
      id,
      config,
      first,
      disk,
      raft: null,
      applied: 0,
      held: false,
      saves: [],
      timeoutTicks: config.electionTicksMin,
    };
    this.nodes.set(id, node);
    this.start(node);
  }

  private start(node: ScriptNode): void {
    const { electionTicksMin: low, electionTicksMax: high } = node.config;
    const random = { next: () => (node.timeoutTicks - low) / (high - low) };
    node.saves = [];
    node.raft = createRaft(node.config, node.disk.restored(node.applied), random);
  }

  private setLog(node: ScriptNode, terms: readonly number[]): void {
    node.disk.entries = terms.map((term, i) => ({
      index: i + 1,
      term,
      kind: 'command',
      data: new TextEncoder().encode('-'),
    }));
    node.disk.hardState = {
      term: terms.at(-1) ?? 0,
      vote: null,
      recovering: false,
      incarnation: 0,
    };
    this.start(node);
  }

  private pump(node: ScriptNode): void {
    while (node.raft?.hasReady()) this.carryOut(node, node.raft.ready());
  }

  private carryOut(node: ScriptNode, ready: Ready): void {
    const { raft } = node;
    this.queue.push(...ready.messages);
    if (ready.save !== null)
      node.saves.push({ save: ready.save, messages: ready.messagesAfterSave });
    if (!node.held) this.finishSaves(node);
    const { committedFromLog } = ready;
    const fromLog =
      committedFromLog === null
        ? []
        : node.disk.read(committedFromLog.first, committedFromLog.last, Number.MAX_VALUE);
    const committed = [...fromLog, ...ready.committed];
    if (committed.length > 0) {
      this.output.push(`${node.id} applies ${committed.map(describeEntry).join(' ')}`);
    }
    node.applied = committed.at(-1)?.index ?? node.applied;
    raft?.applied(node.applied);
    for (const { context, index } of ready.reads) {
      this.output.push(`${node.id} read ${context} ${index === 0 ? 'refused' : `at ${index}`}`);
    }
    for (const { to, first, last, bytesMax } of ready.loads) {
      this.output.push(`${node.id} loads ${first}..${last} for ${to}`);
      raft?.loaded(to, node.disk.read(first, last, bytesMax));
    }
    for (const to of ready.snapshotsTo)
      this.output.push(`${node.id} must send a snapshot to ${to}`);
  }

  private finishSaves(node: ScriptNode, count = Number.MAX_VALUE): void {
    const saves = node.saves.splice(0, count);
    for (const { save, messages } of saves) {
      node.disk.append(save);
      this.queue.push(...messages);
    }
    const last = saves.at(-1);
    if (last !== undefined) node.raft?.saved(last.save.number);
  }

  private deliver(roundsMax: number, aloud: boolean): void {
    for (let i = 0; i < roundsMax && this.queue.length > 0; i++) {
      const messages = this.queue;
      this.queue = [];
      for (const message of messages) {
        const target = this.nodes.get(message.to);
        const lost = target?.raft === null || !this.connected(message.from, message.to);
        if (aloud) this.output.push(`${lost ? 'lost ' : ''}${describe(message)}`);
        if (lost) continue;
        target?.raft?.step(message);
      }
      for (const node of this.nodes.values()) this.pump(node);
    }
  }

  private connected(a: NodeId, b: NodeId): boolean {
    return this.groups.length === 0 || this.groups.some((g) => g.includes(a) && g.includes(b));
  }

  private streamSnapshot(from: ScriptNode, to: ScriptNode): void {
    const mark = markOf(from, from.applied);
    if (from.raft === null || to.raft === null) throw new Error('both must run');
    const wanted = to.raft.wantsSnapshot(mark);
    this.output.push(
      `${to.id} ${wanted ? 'installs' : 'does not want'} ${mark.index}/${mark.term}`,
    );
    if (wanted) {
      this.finishSaves(to);
      const configuration = from.disk.configurationAt(mark.index);
      to.disk.reset(mark, configuration);
      to.applied = mark.index;
      to.raft.snapshotInstalled(from.id, from.raft.status().term, mark, configuration);
    }
    from.raft.snapshotSent(to.id, { ok: true, index: mark.index });
  }

  private describeLog(node: ScriptNode): string {
    const { snapshot, entries } = node.disk;
    const start = snapshot.index > 0 ? [`(${snapshot.index}/${snapshot.term})`] : [];
    const texts = [...start, ...entries.map(describeEntry)];
    return `${node.id}: ${texts.join(' ')}; commit ${node.raft?.status().commitIndex ?? '?'}`;
  }
}

function markOf(node: ScriptNode, index: number): SnapshotMark {
  const term = node.disk.termAt(index);
  if (term === undefined) throw new Error(`${node.id} has no entry ${index}`);
  return { index, term };
}

function describeStatus({ id, raft }: ScriptNode): string {
  if (raft === null) return `${id} crashed`;
  const { role, term, vote, leader, commitIndex, lastIndex } = raft.status();
  const { recovering, removed, transferringTo } = raft.status();
  const more = [
    recovering ? ' recovering' : '',
    removed ? ' removed' : '',
    transferringTo === null ? '' : ` handing over to ${transferringTo}`,
  ];
  return `${id} ${role} term ${term} vote ${vote ?? '-'} leader ${leader ?? '-'} last ${lastIndex} commit ${commitIndex}${more.join('')}`;
}

/** index/term, and the data of a command or the members. */
function describeEntry({ index, term, kind, data }: Entry): string {
  const payload = {
    empty: () => '',
    command: () => `:${new TextDecoder().decode(data)}`,
    configuration: () => `:{${describeConfiguration(decodeConfiguration(data))}}`,
  };
  return `${index}/${term}${payload[kind]()}`;
}

/** The voters; 'and' the ones before; then who learns and who was removed. */
function describeConfiguration({ voters, outgoing, learners, removed }: Configuration): string {
  const ids = (members: readonly Pick<Member, 'id'>[]) => members.map(({ id }) => id).join(',');
  return [
    ids(voters) || '-',
    outgoing.length > 0 ? ` and ${ids(outgoing)}` : '',
    learners.length > 0 ? ` learning ${ids(learners)}` : '',
    removed.length > 0 ? ` without ${removed.join(',')}` : '',
  ].join('');
}

function parseChange(text: string): MemberChange {
  const [type = '', id = '', other = null] = text.split(':');
  if (type === 'promote' || type === 'remove') return { type, id };
  if (!['add', 'learn', 'replace'].includes(type)) throw new Error(`unknown change: ${text}`);
  return { type: 'add', id, address: id, promote: type !== 'learn', replaces: other };
}

function pairOf({ from, to }: RaftMessage): string {
  return `${from}->${to}`;
}

function describe(message: RaftMessage): string {
  return `${pairOf(message)} t${message.term} ${message.type} ${describeFields(message)}`.trimEnd();
}

function describeFields(m: RaftMessage): string {
  switch (m.type) {
    case 'pre-vote':
      return `last ${m.lastIndex}/${m.lastTerm}`;
    case 'vote':
      return `last ${m.lastIndex}/${m.lastTerm}${m.transfer ? ' transfer' : ''}`;
    case 'pre-vote-reply':
    case 'vote-reply':
      return m.granted ? 'yes' : 'no';
    case 'append':
      return `after ${m.prevIndex}/${m.prevTerm} [${m.entries.map(describeEntry).join(' ')}] commit ${m.commit}`;
    case 'append-reply':
      return m.success
        ? `match ${m.match}${m.recovering ? ' recovering' : ''}`
        : `not after ${m.prevIndex}, perhaps after ${m.hintIndex}/${m.hintTerm}`;
    case 'heartbeat':
      return `commit ${m.commit} context ${m.context}`;
    case 'heartbeat-reply':
    case 'read-index':
      return `context ${m.context}`;
    case 'read-index-reply':
      return `context ${m.context} index ${m.index}`;
    case 'timeout-now':
    case 'removed':
      return '';
  }
}
