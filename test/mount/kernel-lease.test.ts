import t from 'tap';
import type { Kept, KeptQuery } from '../../src/client/filesystem-client.js';
import type { Command, Rename } from '../../src/filesystem/commands.js';
import { ROOT } from '../../src/filesystem/format.js';
import type { Inode } from '../../src/filesystem/records.js';
import { KernelLease } from '../../src/mount/kernel-lease.js';
import { LocalCluster } from '../support/local-client.js';
import { HandClock, idle, isSettled, name } from '../support/mount-world.js';

const FILE: Inode = { ...ROOT, ino: 7, mode: 0o100644, nlink: 1 };
const asked = { parent: 1, name: name('f') };
const entryEffect = { type: 'entry', ...asked } as const;
const inodeEffect = (ino: number) => ({ type: 'inode', ino, data: false, gone: false }) as const;

/** A kernel that notes what it is told, and a client that knows what the test says. */
function world({ epochs = true } = {}) {
  const told: string[] = [];
  const clock = new HandClock();
  clock.advance(1_000);
  let kept: Kept | null = { inode: FILE, forMs: 150 };
  const finish: (() => void)[] = [];
  const client = new LocalCluster().connect();
  client.kept = ((_query: KeptQuery) => kept) as never;
  /** Inodes that the kernel was told of, and those that it has taken over. */
  const kernel = { told: new Set([1, 7]), has: new Set([1, 7]) };
  const lease = new KernelLease(client, clock, (ino) => kernel.told.has(ino));
  lease.setNotifier({
    invalidateInode: () => {},
    invalidateEntry: async () => {},
    dropPages: async () => {},
    expireInode: (ino) => {
      told.push(`inode ${ino}`);
      return new Promise((resolve) => finish.push(() => resolve(kernel.has.has(ino))));
    },
    expireNames: epochs ? () => told.push('names') : null,
  });
  return {
    lease,
    told,
    kernel,
    clock,
    know: (next: Kept | null) => {
      kept = next;
    },
    finish: () => {
      for (const one of finish.splice(0)) one();
    },
  };
}

t.test('the kernel may believe for less than the lease lasts', async (t) => {
  const { lease, know } = world();
  const entry = lease.entry(asked, FILE);
  t.ok(entry && entry.attrTimeoutSec > 0 && entry.attrTimeoutSec < 0.15);
  t.equal(entry?.entryTimeoutSec, entry?.attrTimeoutSec);
  t.equal(lease.entry(asked, { ...FILE, ino: 8 })?.entryTimeoutSec, 0, 'not the inode asked for');
  t.equal(lease.absenceTimeoutSec(asked), 0, 'it is there');
  know({ inode: null, forMs: 150 });
  t.ok(lease.absenceTimeoutSec(asked) > 0);
  t.equal(lease.attributes(FILE), undefined);
  know({ inode: FILE, forMs: 25 });
  t.equal(lease.attributes(FILE), undefined, 'not worth it');
  know(null);
  t.equal(lease.entry(asked, FILE), undefined);
});

t.test('it forgets what it may believe, and is bothered with nothing else', async (t) => {
  const { lease, told, know, finish } = world();
  lease.entry(asked, FILE);
  know({ inode: ROOT, forMs: 150 });
  lease.attributes(ROOT);
  const own = null;
  const effects = [inodeEffect(7), inodeEffect(1), inodeEffect(9), entryEffect];
  const forgotten = lease.forget({ reset: false, effects, own });
  t.strictSame(told, ['names', 'inode 7', 'inode 1']);
  finish();
  await forgotten;
  t.equal(lease.forget({ reset: false, effects, own }), null, 'it was told');
  t.equal(told.length, 3);
});

t.test('the kernel counts from when it takes an answer over, which may be late', async (t) => {
  const { lease, told, clock, finish } = world();
  lease.entry(asked, FILE);
  clock.advance(500);
  const effects = [inodeEffect(7), entryEffect];
  const forgotten = lease.forget({ reset: false, effects, own: null });
  t.strictSame(told, ['names', 'inode 7']);
  finish();
  await forgotten;
  lease.entry(asked, FILE);
  lease.forgotten(7);
  t.equal(lease.forget({ reset: false, effects: [inodeEffect(7)], own: null }), null);
});

t.test('an inode that the kernel does not have yet is expired when it has', async (t) => {
  const { lease, told, kernel, clock, finish } = world();
  const forget = () => {
    told.length = 0;
    lease.entry(asked, FILE);
    const forgotten = lease.forget({ reset: false, effects: [inodeEffect(7)], own: null });
    return forgotten ?? Promise.resolve();
  };
  const again = async () => {
    finish();
    await idle();
    clock.advance(20);
  };
  kernel.has.delete(7);
  const forgotten = forget();
  for (let i = 0; i < 3; i++) {
    await again();
    t.notOk(await isSettled(forgotten));
  }
  kernel.has.add(7);
  await again();
  t.ok(await isSettled(forgotten));
  t.equal(told.length, 4);

  kernel.has.delete(7);
  const dropped = forget();
  await again();
  kernel.told.delete(7);
  await again();
  t.ok(await isSettled(dropped), 'it has forgotten it');

  kernel.told.add(7);
  const late = forget();
  clock.advance(500);
  await again();
  t.ok(await isSettled(late), 'nobody believes it for so long');
});

t.test('a step of a truncation is no answer that the kernel gets', async (t) => {
  const { lease, told, finish } = world();
  const own: Command = { type: 'set-attributes', ino: 7, size: 9 };
  lease.entry(asked, FILE);
  t.equal(lease.forget({ reset: false, effects: [inodeEffect(7)], own }), null);
  lease.entry(asked, FILE);
  lease.unanswered(own);
  const forgotten = lease.forget({ reset: false, effects: [inodeEffect(7)], own });
  t.strictSame(told, ['inode 7']);
  finish();
  await forgotten;
});

t.test('own commands change in the kernel what it changes itself', async (t) => {
  const { lease, told, know, finish } = world();
  const effects = [inodeEffect(1), inodeEffect(7), entryEffect];
  const command = { ...asked, uid: 0, gid: 0 } as const;
  const node = { mode: 0o100644, umask: 0, rdev: 0 } as const;
  const cases: readonly (readonly [Command | null, string[]])[] = [
    [null, ['names', 'inode 1', 'inode 7']],
    [{ ...command, type: 'unlink' }, ['inode 1']],
    [{ ...command, ...node, type: 'make-node' }, ['inode 1', 'inode 7']],
    [
      { ...asked, type: 'rename', newParent: 1, newName: name('g'), mode: 'replace' },
      ['inode 1', 'inode 7'],
    ],
    [{ type: 'set-attributes', ino: 7, mode: 0o600 }, ['names', 'inode 1']],
    [{ type: 'set-attributes', ino: 7, flags: 0 }, ['names', 'inode 1', 'inode 7']],
    [{ type: 'keep-alive', seenIndex: 1, holds: [] }, ['names', 'inode 1', 'inode 7']],
  ];
  for (const [own, expected] of cases) {
    told.length = 0;
    know({ inode: FILE, forMs: 150 });
    lease.entry(asked, FILE);
    know({ inode: ROOT, forMs: 150 });
    lease.attributes(ROOT);
    const forgotten = lease.forget({ reset: false, effects, own });
    t.strictSame(told, expected, own?.type ?? 'by somebody else');
    const expired = own && lease.expired(own);
    if (expired) t.notOk(await isSettled(expired), 'the operation waits');
    finish();
    await Promise.all([forgotten, expired]);
  }
});

t.test('a renamed name is believed on where the leader vouches for the new one', async (t) => {
  const to = { parent: 1, name: name('g') };
  for (const mode of ['replace', 'exchange'] as const) {
    const own: Rename = { ...asked, type: 'rename', newParent: 1, newName: name('g'), mode };
    const effects = [entryEffect, { type: 'entry', ...to }] as const;
    const { lease, told, know } = world();
    lease.entry(asked, FILE);
    lease.forget({ reset: false, effects, own });
    lease.moved(own);
    t.strictSame(told, []);
    const others = [{ type: 'entry', ...to } as const];
    lease.forget({ reset: false, effects: others, own: null });
    t.strictSame(told, ['names'], 'somebody else changes what is there now');

    told.length = 0;
    lease.entry(asked, FILE);
    lease.forget({ reset: false, effects, own });
    know(null);
    lease.moved(own);
    t.strictSame(told, ['names'], 'nobody would tell of a change');

    const { lease: untold, told: all } = world();
    untold.entry(asked, FILE);
    if (mode === 'replace') {
      untold.moved(own);
      t.strictSame(all, ['names'], 'a reply that was given before');
    }

    const { lease: asking, told: nothing } = world();
    asking.forget({ reset: false, effects, own });
    asking.moved(own);
    t.strictSame(nothing, [], 'the kernel had to ask for the old name anyway');
  }
});

t.test('a reset ends everything', async (t) => {
  const { lease, told, finish } = world();
  lease.entry(asked, FILE);
  const forgotten = lease.forget({ reset: true, effects: [], own: null });
  t.strictSame(told, ['names', 'inode 7']);
  finish();
  await forgotten;
});

t.test('a kernel without epochs asks for names each time', async (t) => {
  const { lease, know } = world({ epochs: false });
  t.match(lease.entry(asked, FILE), { entryTimeoutSec: 0 });
  t.ok((lease.entry(asked, FILE)?.attrTimeoutSec ?? 0) > 0);
  know({ inode: null, forMs: 150 });
  t.equal(lease.absenceTimeoutSec(asked), 0);
});

t.test('without a notifier nothing is believed', async (t) => {
  const client = new LocalCluster().connect();
  client.kept = (() => ({ inode: FILE, forMs: 150 })) as never;
  const lease = new KernelLease(client, new HandClock(), () => true);
  t.equal(lease.attributes(FILE), undefined);
  t.equal(lease.forget({ reset: true, effects: [], own: null }), null);
});
