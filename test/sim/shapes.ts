import type { Random } from '../../src/base/random.js';
import type { FaultKind } from './faults.js';

/** Pairs that do not reach each other. */
export function apart(
  shape: Extract<FaultKind, { type: 'partition' }>['shape'],
  hosts: readonly string[],
  leader: string,
  random: Random,
): [string, string][] {
  const all = pairs(hosts);
  switch (shape) {
    case 'halves': {
      const left = new Set(hosts.filter(() => random.next() < 0.5));
      return all.filter(([a, b]) => left.has(a) !== left.has(b));
    }
    case 'alone': {
      const alone = nth(hosts, Math.floor(random.next() * hosts.length));
      return all.filter(([a, b]) => a === alone || b === alone);
    }
    case 'leader-alone': {
      // From its peers, and from some of its clients: the others still think that it leads.
      const cut = new Set(hosts.filter((host) => host[0] === 'n' || random.next() < 0.5));
      return all.filter(([a, b]) => (a === leader ? cut.has(b) : b === leader && cut.has(a)));
    }
    case 'ring': {
      // Each node reaches its two neighbours only.
      const nodes = hosts.filter((host) => host[0] === 'n');
      const at = (host: string) => nodes.indexOf(host);
      return pairs(nodes).filter(([a, b]) => {
        const apart = Math.abs(at(a) - at(b));
        return apart !== 1 && apart !== nodes.length - 1;
      });
    }
    case 'link': {
      const nodes = hosts.filter((host) => host[0] === 'n');
      const all = pairs(nodes);
      return all.length === 0 ? [] : [nth(all, Math.floor(random.next() * all.length))];
    }
    case 'random':
      return all.filter(() => random.next() < 0.3);
  }
}

export function nth<T>(items: readonly T[], n: number): T {
  return items[n % items.length] as T;
}

function pairs(hosts: readonly string[]): [string, string][] {
  return hosts.flatMap((a, i) => hosts.slice(i + 1).map((b): [string, string] => [a, b]));
}
