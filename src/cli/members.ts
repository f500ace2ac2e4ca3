import { InvalidArgumentError, type Option } from 'commander';
import { setting } from './settings.js';

/** A node's name and the address at which everybody reaches it. */
export interface Member {
  readonly id: string;
  readonly address: string;
}

/** The first node of `mootfs up` listens here, the others on the ports behind it. */
export const PORT_DEFAULT = 7101;
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
  return { id: parseId(text.slice(0, at).trim()), address: parseAddressText(text.slice(at + 1)) };
}

/** `host:port`, an IPv6 host in brackets. */
export function parseAddressText(text: string): string {
  const match = /^(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+):(\d{1,5})$/.exec(text.trim());
  const port = Number(match?.[2]);
  if (match === null || port < 1 || port > 65_535) {
    throw new InvalidArgumentError(`'${text}' is not of the form host:port.`);
  }
  return text.trim();
}

export function parseAddresses(text: string): readonly string[] {
  return text.split(',').map(parseAddressText);
}

export function nodesOption(): Option {
  return setting('--nodes <addresses>', 'nodes of the cluster, as host:port,host:port,…')
    .argParser(parseAddresses)
    .default(NODES_DEFAULT, NODES_DEFAULT.join(','));
}

export function clusterOption(): Option {
  return setting(
    '--cluster <name>',
    'name of the cluster; nodes and clients of another are refused',
  )
    .argParser(parseId)
    .default('mootfs');
}
