import { isMootError, MootError } from '../../src/base/errors.js';
import { type Random, randomBetween } from '../../src/base/random.js';
import { LOCK_LAST_MAX } from '../../src/filesystem/lock-table.js';
import type { Ino } from '../../src/filesystem/records.js';
import { Locks } from '../../src/mount/locks.js';
import type { LockRequest } from '../../src/mount/mount.js';
import type { SimClient } from './client.js';
import { ensure } from './laws.js';
import type { Reference } from './reference.js';

/** Bytes that are locked: few, so that programs get in each other's way. */
const BYTES = 4;

/** What a program believes to have locked. */
interface Belief {
  readonly who: string;
  readonly session: number;
  readonly ino: Ino;
  readonly request: LockRequest;
}

interface LockingClient {
  readonly locks: Locks;
  /** Files that were open when locks were lost are of no use any more. */
  fencedUpTo: number;
}

/**
 * Programs that lock and let go, by the production code of a mount. The law: while somebody believes
 * to have a lock, nobody else gets one that conflicts, unless the session of the first is over; and
 * whoever waits gets it in the end.
 */
export class Lockers {
  private readonly beliefs = new Set<Belief>();
  private readonly clients = new WeakMap<SimClient, LockingClient>();
  private handles = 0;

  constructor(private readonly reference: Reference) {}

  /** Locks something, holds it for a while, and lets it go. */
  async lockOnce(client: SimClient, ino: Ino, who: string, random: Random): Promise<void> {
    const { locks } = this.of(client);
    const handle = ++this.handles;
    const request = requestOf(who, random);
    const gaveUp = new AbortController();
    if (random.next() < 0.3) {
      client.machine.clock.setTimer(random.next() * 3_000, () => gaveUp.abort());
    }
    client.outstanding++;
    try {
      await locks.set(ino, handle, request, gaveUp.signal);
      const session = client.client.session?.id ?? 0;
      const belief: Belief = { who, session, ino, request };
      client.judge(() => this.granted(client, belief, handle));
      await client.sleep(random.next() * 300);
      this.beliefs.delete(belief);
      await locks.set(ino, handle, { ...request, mode: 'unlock' }, gaveUp.signal);
    } catch (error) {
      if (!isMootError(error)) throw error;
    } finally {
      // As the last close(2), whatever came before.
      locks.released(ino, handle);
      client.outstanding--;
    }
  }

  private granted(client: SimClient, belief: Belief, handle: number): void {
    // Lost before the program ran again: it is fenced off.
    if (handle <= this.of(client).fencedUpTo) return;
    for (const other of this.beliefs) {
      if (other.ino !== belief.ino || !conflict(other.request, belief.request)) continue;
      const isOver = !this.reference.hasSession(other.session);
      ensure(isOver, `${belief.who} was granted a lock that ${other.who} has, too`);
      this.beliefs.delete(other);
    }
    this.beliefs.add(belief);
  }

  private of(client: SimClient): LockingClient {
    let own = this.clients.get(client);
    if (own !== undefined) return own;
    const locks = new Locks({
      client: client.forMount(),
      clock: client.machine.clock,
      callOptions: {},
      send: () => {},
      sendAll: () => {},
      locked: async () => {},
      check: (handle) => {
        if (handle <= (own?.fencedUpTo ?? 0)) throw new MootError('SESSION_EXPIRED', 'fenced off');
      },
      lost: () => {
        if (own !== undefined) own.fencedUpTo = this.handles;
        for (const belief of this.beliefs) {
          if (belief.who.startsWith(`${client.name}.`)) this.beliefs.delete(belief);
        }
      },
    });
    client.client.watch(locks);
    own = { locks, fencedUpTo: 0 };
    this.clients.set(client, own);
    return own;
  }
}

function requestOf(owner: string, random: Random): LockRequest {
  const kind = random.next() < 0.5 ? 'flock' : 'posix';
  const first = kind === 'flock' ? 0 : randomBetween(random, 0, BYTES);
  const last = kind === 'flock' ? LOCK_LAST_MAX : randomBetween(random, first, BYTES);
  const mode = random.next() < 0.6 ? 'exclusive' : 'shared';
  return { kind, mode, owner, pid: 1, first, last, waits: random.next() < 0.7 };
}

function conflict(a: LockRequest, b: LockRequest): boolean {
  return (
    a.kind === b.kind &&
    (a.mode === 'exclusive' || b.mode === 'exclusive') &&
    a.first <= b.last &&
    b.first <= a.last
  );
}
