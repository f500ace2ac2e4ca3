import t from 'tap';
import { type Random, randomBetween, seededRandom } from '../../src/base/random.js';
import type { Lock } from '../../src/filesystem/commands.js';
import { locksKey, sessionKey, WAITING } from '../../src/filesystem/keys.js';
import { LOCK_LAST_MAX } from '../../src/filesystem/lock-table.js';
import { S_IFREG } from '../../src/filesystem/mode.js';
import {
  DELEGATED_INODES_MAX,
  DELEGATED_LOCKS_MAX,
  type Ino,
  LOCKS_PER_INODE_MAX,
  type LockKind,
} from '../../src/filesystem/records.js';
import { DelegatedLocks } from '../../src/mount/lock-delegations.js';
import { bytes, FilesystemWorld, ROOT } from '../support/filesystem-world.js';
import { checkTree } from '../support/tree-invariants.js';

type Mode = Lock['mode'];

class Locking {
  readonly world = new FilesystemWorld();
  readonly session = this.world.open();
  readonly ino = this.file('f');
  #request = 0;

  file(name: string): Ino {
    const node = { mode: S_IFREG | 0o644, rdev: 0, uid: 1, gid: 2 };
    const make = { type: 'make-node', parent: ROOT, name: bytes(name), ...node } as const;
    return this.world.do(this.session, make).inode.ino;
  }

  lock(
    owner: string,
    mode: Mode,
    range: readonly [number, number] | 'flock' = [0, LOCK_LAST_MAX],
    { session = this.session, ino = this.ino, wait = false, takesOver = false } = {},
  ): Lock {
    const kind: LockKind = range === 'flock' ? 'flock' : 'posix';
    const [first, last] = range === 'flock' ? [0, LOCK_LAST_MAX] : range;
    this.lastSession = session;
    const request = wait ? ++this.#request : null;
    const command = { type: 'lock', ino, kind, mode, owner, pid: 7, first, last } as const;
    return { ...command, wait: request, ...(takesOver ? { takesOver } : {}) };
  }

  private lastSession = 0;

  /** 'granted', 'not granted' or an error. */
  ask(...args: Parameters<Locking['lock']>): string {
    const command = this.lock(...args);
    const reply = this.world.run(this.lastSession, command);
    if (!reply.ok) return reply.code;
    const granted = reply.value !== null && 'granted' in reply.value && reply.value.granted;
    return granted ? 'granted' : 'not granted';
  }

  /** "owner mode first-last" of each, in their order. */
  held(kind: LockKind = 'posix', ino = this.ino): string[] {
    return (this.world.view.get(locksKey(ino))?.[kind] ?? []).map(
      ({ owner, exclusive, first, last }) =>
        `${owner} ${exclusive ? 'exclusive' : 'shared'} ${first}-${last === LOCK_LAST_MAX ? '' : last}`,
    );
  }

  grants(): number[] {
    return this.world.effects.flatMap((effect) => (effect.type === 'lock' ? [effect.request] : []));
  }
}

t.test('ranges are split, taken over and joined', async (t) => {
  const l = new Locking();
  t.equal(l.ask('a', 'exclusive', [10, 19]), 'granted');
  t.equal(l.ask('a', 'shared', [13, 14]), 'granted');
  t.same(l.held(), ['a exclusive 10-12', 'a shared 13-14', 'a exclusive 15-19']);
  t.equal(l.ask('a', 'exclusive', [13, 14]), 'granted');
  t.same(l.held(), ['a exclusive 10-19']);
  t.equal(l.ask('a', 'unlock', [12, 12]), 'granted');
  t.equal(l.ask('b', 'shared', [0, LOCK_LAST_MAX]), 'not granted');
  t.equal(l.ask('b', 'shared', [12, 12]), 'granted');
  t.equal(l.ask('a', 'shared', [12, 25]), 'granted', 'what is shared, others may share');
  t.same(l.held(), ['a exclusive 10-11', 'a shared 12-25', 'b shared 12-12']);
  t.equal(l.ask('a', 'exclusive', [12, 12]), 'not granted');
  t.equal(l.ask('b', 'unlock'), 'granted');
  t.equal(l.ask('a', 'unlock'), 'granted');
  t.equal(l.world.view.get(locksKey(l.ino)), undefined);
  t.same(l.world.view.get(sessionKey(l.session))?.locks, []);
  t.equal(l.ask('a', 'shared', [0, 0], { ino: 99 }), 'ESTALE');
  checkTree(l.world.view);
});

t.test('a conflict is told of: the first', async (t) => {
  const l = new Locking();
  const other = l.world.open();
  l.ask('a', 'shared', [5, 9]);
  l.ask('b', 'exclusive', [20, 29], { session: other });
  const ask = (session: number, owner: string, exclusive: boolean, first: number) =>
    l.world.query({
      type: 'get-lock',
      ino: l.ino,
      session,
      owner,
      exclusive,
      first,
      last: LOCK_LAST_MAX,
    });
  t.match(ask(other, 'a', true, 0), { value: { lock: { session: l.session, first: 5, last: 9 } } });
  t.match(ask(l.session, 'a', true, 0), { value: { lock: { session: other, first: 20 } } });
  t.match(ask(other, 'b', false, 0), { value: { lock: null } });
  t.match(ask(l.session, 'c', false, 30), { value: { lock: null } });
});

t.test('flock(2) and fcntl(2) take no notice of each other', async (t) => {
  const l = new Locking();
  t.equal(l.ask('a', 'exclusive', 'flock'), 'granted');
  t.equal(l.ask('b', 'exclusive'), 'granted');
  t.equal(l.ask('b', 'shared', 'flock'), 'not granted');
  t.equal(l.ask('a', 'shared', 'flock'), 'granted');
  t.equal(l.ask('b', 'shared', 'flock'), 'granted');
  t.equal(l.ask('a', 'exclusive', 'flock'), 'not granted');
  t.same(l.held('flock'), ['b shared 0-'], 'a change that fails loses the lock, says flock(2)');
  checkTree(l.world.view);
});

t.test('two that share a lock and both want it for themselves: one gets it', async (t) => {
  const l = new Locking();
  l.ask('a', 'shared', 'flock');
  l.ask('b', 'shared', 'flock');
  t.equal(l.ask('a', 'exclusive', 'flock', { wait: true }), 'not granted');
  t.equal(l.ask('b', 'exclusive', 'flock', { wait: true }), 'granted');
  t.same(l.held('flock'), ['b exclusive 0-']);
  t.equal(l.ask('b', 'unlock', 'flock'), 'granted');
  t.same(l.grants(), [1]);
  checkTree(l.world.view);
});

t.test('who waits is granted in order, and may give up', async (t) => {
  const l = new Locking();
  const other = l.world.open();
  l.ask('a', 'exclusive');
  t.equal(l.ask('b', 'exclusive', [0, 4], { session: other, wait: true }), 'not granted');
  t.equal(l.ask('c', 'shared', [2, 4], { wait: true }), 'not granted');
  t.equal(l.ask('d', 'shared', [3, 9], { wait: true }), 'not granted');
  const cancel = (session: number, request: number) =>
    l.world.do(session, { type: 'cancel-lock', ino: l.ino, request });
  t.match(cancel(l.session, 1), { granted: true }, 'of another session');
  t.equal(l.world.view.get(WAITING)?.length, 3);
  t.match(cancel(l.session, 3), { granted: false });
  l.ask('a', 'unlock', [0, 3]);
  t.same(l.grants(), [], 'not all of it is free');
  l.ask('a', 'shared', [4, 4]);
  t.same(l.grants(), [2]);
  t.same(l.world.effects, [{ type: 'lock', ino: l.ino, session: l.session, request: 2 }]);
  t.match(cancel(l.session, 2), { granted: true, file: { ino: l.ino } }, 'too late');
  l.ask('c', 'unlock');
  l.ask('a', 'unlock');
  t.match(l.world.effects, [{ session: other, request: 1 }]);
  t.equal(l.world.view.get(WAITING), undefined);
  checkTree(l.world.view);
});

t.test('the same request again finds its place, or its lock', async (t) => {
  const l = new Locking();
  l.ask('a', 'exclusive');
  const request = l.lock('b', 'exclusive', [0, 4], { wait: true });
  t.match(l.world.do(l.session, request), { granted: false });
  t.match(l.world.do(l.session, request), { granted: false });
  t.equal(l.world.view.get(WAITING)?.length, 1);
  l.ask('a', 'unlock');
  t.same(l.held(), ['b exclusive 0-4']);
  t.match(l.world.do(l.session, request), { granted: true, file: { ino: l.ino } });
  t.same(l.held(), ['b exclusive 0-4']);
});

t.test('the end of a session ends its locks and its waiting', async (t) => {
  const l = new Locking();
  const other = l.world.open();
  const third = l.world.open();
  const second = l.file('g');
  l.ask('a', 'exclusive', [0, 9], { session: other });
  l.ask('a', 'exclusive', 'flock', { session: other });
  l.ask('a', 'exclusive', [0, 9], { session: other, ino: second });
  l.ask('b', 'exclusive', [0, 0], { wait: true });
  l.ask('c', 'shared', [1, 1], { wait: true, ino: second, session: third });
  l.ask('c', 'shared', 'flock', { wait: true, session: third });
  l.ask('a', 'exclusive', [0, 0], { session: third });
  t.same(l.world.view.get(sessionKey(other))?.locks, [l.ino, second]);
  l.world.do(third, { type: 'close-session' });
  t.equal(l.world.view.get(WAITING)?.length, 1);
  const lastIndex = l.world.view.get(sessionKey(other))?.lastIndex ?? 0;
  l.world.apply(0, 0, { type: 'expire-session', session: other, lastIndex });
  t.same(l.grants(), [1]);
  t.same(l.held(), ['b exclusive 0-0']);
  t.equal(l.world.view.get(locksKey(second)), undefined);
  checkTree(l.world.view);
  const late = l.world.apply(other, 4, l.lock('a', 'exclusive', [5, 5]));
  t.same(late.outcome, { type: 'no-session' }, 'a late command of an ended session does nothing');
});

t.test('a circle of owners that wait for each other is refused', async (t) => {
  const l = new Locking();
  const other = l.world.open();
  const g = l.file('g');
  const h = l.file('h');
  const all = [0, LOCK_LAST_MAX] as const;
  l.ask('a', 'exclusive', all);
  l.ask('b', 'exclusive', all, { session: other, ino: g });
  l.ask('c', 'exclusive', all, { ino: h });
  t.equal(l.ask('b', 'shared', all, { session: other, ino: h, wait: true }), 'not granted');
  t.equal(l.ask('c', 'shared', all, { wait: true }), 'not granted');
  t.equal(l.ask('a', 'shared', all, { ino: g, wait: true }), 'EDEADLK');
  t.equal(l.ask('a', 'shared', all, { ino: g }), 'not granted', 'who does not wait closes none');
  t.equal(l.ask('a', 'unlock'), 'granted');
  t.same(l.grants(), [2]);
  t.equal(l.ask('a', 'shared', all, { ino: g, wait: true }), 'not granted', 'a chain is no circle');
  l.ask('d', 'shared', [0, 1], {});
  l.ask('e', 'shared', [0, 1], {});
  t.equal(l.ask('d', 'exclusive', [0, 1], { wait: true }), 'not granted');
  t.equal(l.ask('e', 'exclusive', [0, 1], { wait: true }), 'EDEADLK', 'two that share one');
  checkTree(l.world.view);
});

t.test('too many pieces are refused, a whole is always let go', async (t) => {
  const l = new Locking();
  for (let i = 0; i < LOCKS_PER_INODE_MAX - 1; i++) l.ask('a', 'shared', [2 * i, 2 * i]);
  l.ask('a', 'shared', [100_000, 100_010]);
  t.equal(l.ask('a', 'shared', [200_000, 200_000]), 'ENOLCK');
  t.equal(l.ask('a', 'unlock', [100_005, 100_005]), 'ENOLCK');
  t.equal(l.ask('a', 'unlock', [2, 2]), 'granted');
  t.equal(l.ask('a', 'unlock', [100_005, 100_005]), 'granted');
  t.equal(l.held().length, LOCKS_PER_INODE_MAX);
  t.equal(l.ask('a', 'unlock'), 'granted');
  t.same(l.held(), []);
});

t.test('who alone has locks takes over the decision about them', async (t) => {
  const l = new Locking();
  const other = l.world.open();
  const delegate = () => l.world.view.get(locksKey(l.ino))?.delegate;
  const held = { posix: [], flock: [] };
  l.ask('a', 'shared', [0, 9]);
  const taken = l.world.do(l.session, l.lock('b', 'shared', [0, 0], { takesOver: true }));
  t.match(taken, { granted: true, takenOver: { posix: [{ owner: 'a' }, { owner: 'b' }] } });
  t.equal(delegate(), l.session);
  checkTree(l.world.view);

  const refused = l.world.do(other, l.lock('c', 'shared', [5, 5], { session: other, wait: true }));
  t.match(refused, { granted: false, recalled: true });
  const recall = { type: 'delegation', ino: l.ino, session: l.session } as const;
  t.same(l.world.effects, [{ ...recall, ended: false }]);
  t.equal(l.world.view.get(WAITING), undefined, 'nobody waits where one session decides');
  t.equal(l.ask('c', 'unlock', [0, 0], { session: other }), 'granted', 'it has none');
  l.world.do(other, { type: 'recall-locks', ino: l.ino });
  t.same(l.world.effects, [{ ...recall, ended: false }]);
  l.world.do(other, { type: 'return-locks', ino: l.ino, held });
  t.equal(delegate(), l.session, 'only it can');

  const [one] = taken.takenOver?.posix ?? [];
  if (one === undefined) throw new Error('nothing was taken over');
  const rest = { ...one, first: 3 };
  const bad = { ...rest, owner: 'x', exclusive: true };
  l.world.do(l.session, {
    type: 'return-locks',
    ino: l.ino,
    held: { posix: [rest, bad], flock: [bad] },
  });
  t.same(l.world.effects, [{ ...recall, ended: true }]);
  t.same(l.held(), ['a shared 3-9']);
  t.same(l.held('flock'), ['x exclusive 3-9']);
  checkTree(l.world.view);
  l.world.do(l.session, { type: 'return-locks', ino: l.ino, held });
  t.same(l.held(), ['a shared 3-9'], "what was returned is the cluster's");
});

t.test('nobody takes over where others have locks or wait', async (t) => {
  const l = new Locking();
  const other = l.world.open();
  const takesOver = true;
  const take = (...args: Parameters<Locking['lock']>) => {
    const outcome = l.world.do(args[3]?.session ?? l.session, l.lock(...args));
    return outcome.takenOver !== null;
  };
  l.ask('a', 'shared', 'flock', { session: other });
  t.notOk(take('b', 'shared', [0, 0], { takesOver }));
  l.ask('a', 'unlock', 'flock', { session: other });
  l.ask('c', 'exclusive', [0, 0], { wait: true });
  t.notOk(take('b', 'shared', [0, 0], { takesOver }), 'not even an own request');
  l.ask('b', 'unlock');
  t.ok(take('b', 'shared', [1, 1], { takesOver }));
  t.equal(l.ask('d', 'shared', [1, 1]), 'granted');
  t.equal(l.world.view.get(locksKey(l.ino))?.delegate, null, 'its own command ends it');
  t.same(l.held(), ['c exclusive 0-0', 'b shared 1-1', 'd shared 1-1']);
  t.ok(take('b', 'shared', [1, 2], { takesOver }));
  l.world.do(l.session, { type: 'return-locks', ino: l.ino, held: null });
  t.same(l.held(), ['c exclusive 0-0', 'b shared 1-2', 'd shared 1-1'], 'as they were');
  for (let i = 10; i < 10 + DELEGATED_LOCKS_MAX; i++) l.ask('b', 'shared', [2 * i, 2 * i]);
  t.notOk(take('b', 'shared', [1, 2], { takesOver }), 'too many');
  l.ask('b', 'unlock');
  for (let i = 0; i < DELEGATED_INODES_MAX; i++)
    l.ask('b', 'shared', 'flock', { ino: l.file(`${i}`) });
  t.notOk(take('b', 'shared', [1, 2], { takesOver }), 'on too many inodes');
  checkTree(l.world.view);
});

t.test('the end of a session ends what it decides', async (t) => {
  const l = new Locking();
  const g = l.file('g');
  l.world.do(l.session, l.lock('a', 'exclusive', [0, 0], { takesOver: true }));
  l.world.do(l.session, l.lock('a', 'exclusive', [0, 0], { takesOver: true, ino: g }));
  l.world.do(l.session, { type: 'return-locks', ino: g, held: null });
  t.same(l.world.view.get(sessionKey(l.session))?.locks, [l.ino, g]);
  const end = { type: 'delegation', ino: l.ino, session: l.session, ended: true };
  l.world.do(l.session, { type: 'close-session' });
  t.same(l.world.effects, [end]);
  t.equal(l.world.view.get(locksKey(l.ino)), undefined);
  t.equal(l.world.view.get(locksKey(g)), undefined);
  checkTree(l.world.view);
});

/** A byte, a kind, an inode, and who has it how; who waits stands in a list. */
class Model {
  readonly bytes = new Map<string, Map<string, 'shared' | 'exclusive'>>();
  waiting: (Lock & { readonly session: number })[] = [];

  static last = 11;

  apply(session: number, command: Lock): boolean {
    const asked = { ...command, session };
    if (command.kind === 'flock' && command.mode !== 'unlock') {
      const mine = this.#cell(asked, 0).get(`${session}${command.owner}`);
      if (mine !== undefined && mine !== command.mode) this.#set({ ...asked, mode: 'unlock' });
    }
    const free = command.mode === 'unlock' || !this.#blocked(asked);
    if (free) this.#set(asked);
    this.grant();
    if (!free && command.wait !== null) this.waiting.push(asked);
    return free;
  }

  end(session: number): void {
    this.waiting = this.waiting.filter((one) => one.session !== session);
    for (const cell of this.bytes.values()) {
      for (const who of cell.keys()) if (who.startsWith(`${session}`)) cell.delete(who);
    }
    this.grant();
  }

  grant(): void {
    for (;;) {
      const free = this.waiting.find((one) => !this.#blocked(one));
      if (free === undefined) return;
      this.waiting.splice(this.waiting.indexOf(free), 1);
      this.#set(free);
    }
  }

  #cell({ ino, kind }: Lock, byte: number) {
    const key = `${ino} ${kind} ${byte}`;
    const cell = this.bytes.get(key) ?? new Map<string, 'shared' | 'exclusive'>();
    this.bytes.set(key, cell);
    return cell;
  }

  #cells(lock: Lock) {
    const cells = [];
    for (let byte = lock.first; byte <= Math.min(lock.last, Model.last); byte++) {
      cells.push(this.#cell(lock, byte));
    }
    return cells;
  }

  #blocked(lock: Lock & { readonly session: number }): boolean {
    const self = `${lock.session}${lock.owner}`;
    return this.#cells(lock).some((cell) =>
      [...cell].some(
        ([who, how]) => who !== self && (how === 'exclusive' || lock.mode === 'exclusive'),
      ),
    );
  }

  #set(lock: Lock & { readonly session: number }): void {
    for (const cell of this.#cells(lock)) {
      if (lock.mode === 'unlock') cell.delete(`${lock.session}${lock.owner}`);
      else cell.set(`${lock.session}${lock.owner}`, lock.mode);
    }
  }
}

function pick<T>(random: Random, from: readonly T[]): T {
  const one = from[randomBetween(random, 0, from.length)];
  if (one === undefined) throw new Error('nothing to pick from');
  return one;
}

function decidedBy(own: DelegatedLocks, command: Lock): boolean {
  const { kind, mode, owner } = command;
  if (mode === 'unlock') return own.unlock(kind, owner, command);
  const { pid, first, last } = command;
  return own.lock(kind, { owner, pid, exclusive: mode === 'exclusive', first, last }) === 'granted';
}

function randomly(seed: number, steps: number): string | null {
  const random = seededRandom(seed);
  const l = new Locking();
  const inos = [l.ino, l.file('g')];
  const model = new Model();
  let sessions = [l.world.open(), l.world.open(), l.world.open()];
  /** Where one session decides, as a mount does. */
  const decided = new Map<Ino, DelegatedLocks>();
  const giveBack = (ino: Ino) => {
    const own = decided.get(ino);
    if (own === undefined || !decided.delete(ino)) return;
    l.world.do(own.session, { type: 'return-locks', ino, held: own.returned });
  };
  for (let step = 0; step < steps; step++) {
    const session = pick(random, sessions);
    if (randomBetween(random, 0, 40) === 0) {
      l.world.do(session, { type: 'close-session' });
      model.end(session);
      for (const [ino, own] of decided) if (own.session === session) decided.delete(ino);
      sessions = sessions.filter((id) => id !== session).concat(l.world.open());
    } else {
      const kind = pick(random, ['posix', 'posix', 'flock'] as const);
      const first = kind === 'flock' ? 0 : randomBetween(random, 0, Model.last + 1);
      const last = first + randomBetween(random, 0, Model.last + 1 - first);
      const toEnd = kind === 'flock' || last === Model.last;
      const command: Lock = {
        type: 'lock',
        ino: pick(random, inos),
        kind,
        mode: pick(random, ['shared', 'exclusive', 'unlock'] as const),
        owner: pick(random, ['a', 'b']),
        pid: step,
        first,
        last: toEnd ? LOCK_LAST_MAX : last,
        wait: randomBetween(random, 0, 3) === 0 ? step : null,
        takesOver: randomBetween(random, 0, 3) > 0,
      };
      const own = decided.get(command.ino);
      const isOwn = own?.session === session;
      if (isOwn && (command.mode === 'unlock' || command.wait === null)) {
        const granted = decidedBy(own, command);
        if (granted !== model.apply(session, command)) return `step ${step}: ${granted} by itself`;
        continue;
      }
      if (own !== undefined && !isOwn && command.mode !== 'unlock') {
        const refused = l.world.run(session, command);
        const isRecalled =
          refused.ok &&
          refused.value !== null &&
          'recalled' in refused.value &&
          refused.value.recalled;
        if (!isRecalled) return `step ${step}: not recalled`;
      }
      if (isOwn || command.mode !== 'unlock') giveBack(command.ino);
      const reply = l.world.run(session, command);
      if (reply.ok) {
        if (reply.value !== null && 'takenOver' in reply.value && reply.value.takenOver !== null) {
          decided.set(command.ino, new DelegatedLocks(session, reply.value.takenOver));
        }
        const granted = reply.value !== null && 'granted' in reply.value && reply.value.granted;
        if (granted !== model.apply(session, command)) return `step ${step}: ${granted}`;
      } else if (reply.code !== 'EDEADLK' || command.wait === null || kind === 'flock') {
        return `step ${step}: ${reply.code}`;
      }
    }
    checkTree(l.world.view);
    const found = l.world.view.get(WAITING)?.map((one) => one.request) ?? [];
    if (found.join() !== model.waiting.map((one) => one.wait).join())
      return `step ${step}: waiting`;
    for (const ino of inos) {
      for (const kind of ['posix', 'flock'] as const) {
        for (let byte = 0; byte <= Model.last; byte++) {
          const own = decided.get(ino);
          const all =
            own === undefined
              ? (l.world.view.get(locksKey(ino))?.[kind] ?? [])
              : own.returned[kind].map((one) => ({ ...one, session: own.session }));
          const held = all
            .filter((one) => one.first <= byte && byte <= one.last)
            .map((one) => `${one.session}${one.owner} ${one.exclusive ? 'exclusive' : 'shared'}`);
          const wanted = [...(model.bytes.get(`${ino} ${kind} ${byte}`) ?? [])].map((e) =>
            e.join(' '),
          );
          if (held.sort().join() !== wanted.sort().join()) return `step ${step}: byte ${byte}`;
        }
      }
    }
  }
  return null;
}

t.test('random locks are those of a simple model', async (t) => {
  const wrong: string[] = [];
  for (let seed = 1; seed <= 150; seed++) {
    const difference = randomly(seed, 120);
    if (difference !== null) wrong.push(`seed ${seed}: ${difference}`);
  }
  t.same(wrong, []);
});
