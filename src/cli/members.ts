import { InvalidArgumentError, type Option } from 'commander';
import { describe } from '../base/errors.js';
import type { WriteConcern } from '../codec/client-messages.js';
import { formatAddress, parseAddress } from '../transport/address.js';
import { setting } from './settings.js';

/** A node's name and the address at which everybody reaches it. */
export interface Member {
  readonly id: string;
  readonly address: string;
}

/** The first node of `mootfs up` listens here, the others on the ports behind it. */
export const PORT_DEFAULT = 7101;
/** A node's control port is so much above its own, unless somebody says otherwise. */
export const CONTROL_PORT_ABOVE = 1_000;
/** Where the commands look for a cluster when nobody says: the nodes of `mootfs up`. */
export const NODES_DEFAULT = [0, 1, 2].map((i) => `127.0.0.1:${PORT_DEFAULT + i}`);

const ID = /^[A-Za-z0-9._-]{1,64}$/;

export function parseId(text: string): string {
  if (ID.test(text)) return text;
  throw new InvalidArgumentError(`'${text}' is not 1 to 64 characters of A-Z a-z 0-9 . _ -`);
}

/** `n1=host:port,n2=host:port,…` */
export function parsePeers(text: string): readonly Member[] {
  const members = text.split(',').map(parseMember);
  for (const [what, of] of [
    ['id', (m: Member) => m.id],
    ['address', (m: Member) => m.address],
  ] as const) {
    if (new Set(members.map(of)).size !== members.length) {
      throw new InvalidArgumentError(`the same ${what} stands there twice.`);
    }
  }
  return members;
}

/** `n1=host:port` */
export function parseMember(text: string): Member {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError(`'${text}' is not of the form id=host:port.`);
  return { id: parseId(text.slice(0, at).trim()), address: parseReachable(text.slice(at + 1)) };
}

/** `host:port`, an IPv6 host in brackets. */
export function parseAddressText(text: string): string {
  const address = text.trim();
  try {
    parseAddress(address);
  } catch (error) {
    throw new InvalidArgumentError(`${describe(error)}.`);
  }
  return address;
}

/**
 * As parseAddressText, for an address that others are told: an unspecified one (0.0.0.0, [::]) is
 * where a server listens, and leads everybody else to himself.
 */
export function parseReachable(text: string): string {
  const address = parseAddressText(text);
  if (!isUnspecified(address)) return address;
  throw new InvalidArgumentError(
    `nobody else reaches '${text}': name the address of this machine that others use.`,
  );
}

/** Where others reach a server that listens there, on the machine of `address`. */
export function reachedAt(listen: string, address: string): string {
  if (!isUnspecified(listen)) return listen;
  const { host } = parseAddress(address);
  return formatAddress({ host, port: parseAddress(listen).port });
}

/** URL writes every form of an address in one way: 0 and 0.0.0.0, [::] and [0:0::0]. */
export function isUnspecified(address: string): boolean {
  const url = `http://${address}`;
  return URL.canParse(url) && UNSPECIFIED.has(new URL(url).hostname);
}

const UNSPECIFIED: ReadonlySet<string> = new Set(['0.0.0.0', '[::]', '[::ffff:0:0]']);

export function parseAddresses(text: string): readonly string[] {
  return text.split(',').map(parseAddressText);
}

export function nodesOption(): Option {
  return setting('--nodes <addresses>', 'nodes of the cluster, as host:port,host:port,…')
    .argParser(parseAddresses)
    .default(NODES_DEFAULT, NODES_DEFAULT.join(','));
}

/** Of a cluster that nobody has named. */
export const CLUSTER_DEFAULT = 'mootfs';

export function clusterOption(): Option {
  return setting(
    '--cluster <name>',
    'name of the cluster; nodes and clients of another are refused',
  )
    .argParser(parseId)
    .default(CLUSTER_DEFAULT);
}

export const WRITE_CONCERNS: readonly WriteConcern[] = ['majority', 'all'];

export function writeConcernOption(): Option {
  return setting(
    '--write-concern <who>',
    "who must have a change on disk: 'majority', or 'all' that live; one for all nodes",
  ).choices(WRITE_CONCERNS);
}
