import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { MootError } from '../base/errors.js';
import type { WriteConcern } from '../codec/client-messages.js';
import { parseAddress } from '../transport/address.js';
import { freePorts } from './free-ports.js';
import { keepMadeFor, madeFor, refuseMadeForOthers } from './made-for.js';
import { CONTROL_PORT_ABOVE, type Member } from './members.js';
import { type MountOptions, refuseWaitingForEver } from './mount-options.js';
import { Supervised } from './supervised.js';

/** All nodes and mounts must be up within this, or it is given up and what is missing is said. */
const START_TIMEOUT_MS = 60_000;
/** What `--stretch` multiplies; as the defaults of `mootfs node`. */
const ELECTION_TIMEOUT_MS = 150;
const HEARTBEAT_MS = 50;

export interface LocalClusterOptions extends MountOptions {
  readonly nodes: number;
  readonly data: string;
  /** Where the mounts are made; null: none. */
  readonly mounts: string | null;
  readonly ports: LocalPorts;
  readonly restart: boolean;
  /** Election time-outs and heartbeats are so many times longer, for people to follow. */
  readonly stretch: number;
  /** When the log is compacted; null: as a node does by itself. */
  readonly snapshotLogEntries: number | null;
  readonly writeConcern: WriteConcern;
}

/** On the loopback interface. */
export interface LocalPorts {
  readonly nodes: readonly number[];
  /** null: no control ports, and no director. */
  readonly control: { readonly director: number; readonly nodes: readonly number[] } | null;
}

/** The ports that people know: the nodes' from `first` on, their pages 1000 above, the director's before those. */
export function portsFrom(first: number, nodes: number, control: boolean): LocalPorts {
  const run = (from: number) => Array.from({ length: nodes }, (_, i) => from + i);
  return {
    nodes: run(first),
    control: control
      ? { director: first + CONTROL_PORT_ABOVE - 1, nodes: run(first + CONTROL_PORT_ABOVE) }
      : null,
  };
}

/** Any that are free; but for nodes of a directory that was made for as many, those by which they know each other. */
export async function anyPorts(nodes: number, data: string): Promise<LocalPorts> {
  const before = madeFor(resolve(data))?.nodes.map((address) => parseAddress(address).port);
  const [director = 0, ...free] = await freePorts(2 * nodes + 1);
  return {
    nodes: before?.length === nodes ? before : free.slice(nodes),
    control: { director, nodes: free.slice(0, nodes) },
  };
}

/** A whole cluster on this machine: a process for every node, and one for every mount. */
export class LocalCluster {
  readonly members: readonly Member[];
  /** host:port of the nodes' control servers. */
  readonly controls: readonly string[];
  readonly nodes: readonly Supervised[];
  readonly mounts: readonly Supervised[];

  constructor(private readonly options: LocalClusterOptions) {
    const { ports, nodes, mounts } = options;
    if (mounts !== null) refuseWaitingForEver(options);
    this.members = Array.from({ length: nodes }, (_, i) => ({
      id: `n${i + 1}`,
      address: `127.0.0.1:${ports.nodes[i]}`,
    }));
    this.controls = (ports.control?.nodes ?? []).map((port) => `127.0.0.1:${port}`);
    this.nodes = this.members.map((member, i) => this.superviseNode(member, i));
    this.mounts =
      mounts === null ? [] : this.members.map((member) => this.superviseMount(member, mounts));
  }

  get children(): readonly Supervised[] {
    return [...this.nodes, ...this.mounts];
  }

  /** False: `stop` came before all were up. Then the rest is not started, and somebody has to call `stop`. */
  async start(stop: Promise<unknown>): Promise<boolean> {
    const { data, cluster } = this.options;
    const present = { cluster, nodes: this.members.map(({ address }) => address) };
    refuseMadeForOthers(resolve(data), present);
    if (!(await startAll(this.nodes, stop))) return false;
    await keepMadeFor(resolve(data), present);
    return startAll(this.mounts, stop);
  }

  async stop(): Promise<void> {
    // Mounts first: what programs still have buffered is committed while there is a cluster.
    await Promise.all(this.mounts.map((mount) => mount.stop()));
    await Promise.all(this.nodes.map((node) => node.stop()));
  }

  /** kill -9, and it stays down until `recover`. */
  crash(id: string): Promise<void> {
    return this.node(id).crash();
  }

  /** Starts it again on its own disk. */
  recover(id: string): Promise<void> {
    return this.node(id).start();
  }

  private node(id: string): Supervised {
    const node = this.nodes.find((one) => one.name === id);
    if (node !== undefined) return node;
    const ids = this.members.map((member) => member.id).join(', ');
    throw new MootError('BAD_ARGUMENT', `there is no node ${id}; there are: ${ids}`);
  }

  private superviseNode(member: Member, i: number): Supervised {
    const { options, controls } = this;
    const data = join(resolve(options.data), member.id);
    // For the logs; a node makes its own directory.
    mkdirSync(dirname(data), { recursive: true });
    const peers = this.members.map((m) => `${m.id}=${m.address}`).join(',');
    const { control } = options.ports;
    return new Supervised({
      name: member.id,
      args: [
        ...['node', '--id', member.id, '--data', data, '--peers', peers],
        ...['--cluster', options.cluster, '--allow-faults'],
        ...['--write-concern', options.writeConcern],
        ...['--election-timeout-ms', String(ELECTION_TIMEOUT_MS * options.stretch)],
        ...['--heartbeat-ms', String(HEARTBEAT_MS * options.stretch)],
        ...(options.snapshotLogEntries === null
          ? []
          : ['--snapshot-log-entries', String(options.snapshotLogEntries)]),
        ...['--control', controls[i] ?? 'off'],
        ...(control === null ? [] : ['--director', `127.0.0.1:${control.director}`]),
      ],
      readyLine: 'listens on',
      log: join(resolve(options.data), `${member.id}.log`),
      restart: options.restart,
    });
  }

  private superviseMount(member: Member, mounts: string): Supervised {
    const { options } = this;
    const directory = join(resolve(mounts), member.id);
    // A mount whose process was killed answers ENOTCONN to everything: it exists, `mootfs mount` replaces it.
    if (!existsSync(directory)) makeMountPoint(directory);
    const nodes = [member, ...this.members.filter((m) => m !== member)].map((m) => m.address);
    return new Supervised({
      name: `mount ${member.id}`,
      args: [
        'mount',
        directory,
        ...['--nodes', nodes.join(','), '--cluster', options.cluster, '--adapter', options.adapter],
        ...['--level', options.level, '--deadline', deadlineText(options.deadline)],
        ...['--locks', options.locks],
        ...(options.writeThrough === true ? ['--write-through'] : []),
      ],
      readyLine: 'mounted',
      log: join(resolve(options.data), `mount-${member.id}.log`),
      restart: options.restart,
    });
  }
}

function makeMountPoint(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true });
  } catch (cause) {
    // The last one is of a mount that is just going.
    const code = cause instanceof Error && 'code' in cause ? cause.code : null;
    const dead = code === 'EEXIST' || code === 'ENOTCONN' || code === 'ECONNABORTED';
    if (!dead) throw new MootError('MOUNT_UNAVAILABLE', `${directory} cannot be made`, { cause });
  }
}

function deadlineText(ms: number): string {
  return Number.isFinite(ms) ? String(ms / 1000) : 'hard';
}

/** Whether all are up, and `stop` did not come first. */
async function startAll(children: readonly Supervised[], stop: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const late = children.filter((child) => child.state !== 'up').map((child) => child.name);
      reject(
        new MootError('NO_LEADER', `not up after ${START_TIMEOUT_MS / 1000} s: ${late.join(', ')}`),
      );
    }, START_TIMEOUT_MS);
  });
  try {
    const up = Promise.all(children.map((child) => child.start()));
    return await Promise.race([stop.then(() => false), up.then(() => true), timeout]);
  } finally {
    clearTimeout(timer);
  }
}
