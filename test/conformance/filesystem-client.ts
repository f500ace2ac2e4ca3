import type { Test } from 'tap';
import { isMootError } from '../../src/base/errors.js';
import type { FilesystemClient } from '../../src/client/filesystem-client.js';
import type { Effect } from '../../src/filesystem/filesystem.js';
import { S_IFDIR, S_IFREG } from '../../src/filesystem/mode.js';
import { ROOT_INO, WRITE_BYTES_MAX } from '../../src/filesystem/records.js';

/** A running cluster and a way to make clients of the implementation under test. */
export interface ClientWorld {
  client(options?: {
    readonly deadlineMs?: number;
    readonly holdsOpen?: boolean;
  }): FilesystemClient;
  /** The leader dies; another one is elected, now or soon. */
  failover(): Promise<void>;
  /** From now on nobody can decide, but the first node lives. */
  loseQuorum(): Promise<void>;
  close(): Promise<void>;
}

type Suite = (t: Test, world: ClientWorld) => Promise<void>;

const CREDENTIALS = { uid: 7, gid: 8 } as const;

/** What holds for every FilesystemClient, however it reaches the cluster. */
export function filesystemClientSuite(
  t: Test,
  name: string,
  open: () => Promise<ClientWorld>,
): Promise<unknown> {
  return t.test(name, async (t) => {
    for (const [what, suite] of Object.entries(SUITES)) {
      await t.test(what, async (t) => {
        const world = await open();
        t.teardown(() => world.close());
        await suite(t, world);
      });
    }
  });
}

const SUITES: Record<string, Suite> = {
  'a command is answered, and its effect can be read at every level': async (t, world) => {
    const client = world.client();
    const { inode } = await makeFile(client, 'a');
    t.equal(inode.uid, 7);
    for (const level of ['strong', 'session'] as const) {
      const found = await client.query(
        { type: 'lookup', parent: ROOT_INO, name: bytes('a') },
        { level },
      );
      t.equal(found.inode.ino, inode.ino, level);
    }
    await eventually(async () => {
      const root = await client.query({ type: 'get-inode', ino: ROOT_INO }, { level: 'local' });
      return root.inode.entries === 1;
    });
  },

  'errors of the filesystem have their POSIX names': async (t, world) => {
    const client = world.client();
    await makeFile(client, 'a');
    await t.rejects(makeFile(client, 'a'), { code: 'EEXIST' });
    await t.rejects(client.query({ type: 'lookup', parent: ROOT_INO, name: bytes('b') }), {
      code: 'ENOENT',
    });
  },

  'what no node would take is refused at once, and the rest goes on': async (t, world) => {
    const client = world.client();
    const { inode } = await makeFile(client, 'f');
    const { ino } = inode;
    const data = new Uint8Array(WRITE_BYTES_MAX + 1);
    await t.rejects(client.execute({ type: 'write', ino, offset: 0, data }), {
      code: 'BAD_ARGUMENT',
    });
    for (const length of [256, 5_000, 100_000]) {
      const name = 'n'.repeat(length);
      await t.rejects(makeFile(client, name), { code: 'ENAMETOOLONG' }, `${length} bytes`);
      await t.rejects(
        client.query({ type: 'lookup', parent: ROOT_INO, name: bytes(name) }),
        { code: 'ENAMETOOLONG' },
        `${length} bytes`,
      );
    }
    await t.rejects(
      client.execute({
        type: 'set-xattr',
        ino,
        name: bytes('user.a'),
        value: new Uint8Array(200_000),
        mode: 'set',
      }),
      { code: 'E2BIG' },
    );
    await t.rejects(client.query({ type: 'read', ino, offset: 0, size: 2 ** 30 }), {
      code: 'BAD_ARGUMENT',
    });
    const largest = data.subarray(1);
    t.equal(
      (await client.execute({ type: 'write', ino, offset: 0, data: largest })).inode.size,
      WRITE_BYTES_MAX,
    );
  },

  'commands that are not waited for take effect in order': async (t, world) => {
    const client = world.client();
    const { inode } = await makeFile(client, 'log');
    const writes = Array.from({ length: 600 }, (_, i) =>
      client.execute({
        type: 'write',
        ino: inode.ino,
        offset: 0,
        data: bytes(`${i}\n`),
        append: true,
      }),
    );
    await Promise.all(writes);
    const expected = Array.from({ length: 600 }, (_, i) => `${i}\n`).join('');
    t.equal(await readText(client, inode.ino), expected);
  },

  'each command takes effect once, also when the leader dies': async (t, world) => {
    const client = world.client();
    const { inode } = await makeFile(client, 'log');
    const append = (i: number) =>
      client.execute({
        type: 'write',
        ino: inode.ino,
        offset: 0,
        data: bytes(`${i}\n`),
        append: true,
      });
    const before = Array.from({ length: 300 }, (_, i) => append(i));
    await before[20];
    const dying = world.failover();
    const after = Array.from({ length: 300 }, (_, i) => append(300 + i));
    await dying;
    await Promise.all([...before, ...after]);
    const expected = Array.from({ length: 600 }, (_, i) => `${i}\n`).join('');
    t.equal(await readText(client, inode.ino), expected);
  },

  'a strong read sees what any client was told before': async (t, world) => {
    const [writer, reader] = [world.client(), world.client()];
    const { inode } = await makeFile(writer, 'f');
    for (let i = 0; i < 20; i++) {
      await writer.execute({ type: 'write', ino: inode.ino, offset: 0, data: bytes(`${i}`) });
      t.equal(await readText(reader, inode.ino), `${i}`);
    }
  },

  'watchers hear of every change, in order': async (t, world) => {
    const [writer, watching] = [world.client(), world.client({ holdsOpen: true })];
    const names: string[] = [];
    let lastIndex = 0;
    let orderly = true;
    const stop = watching.watch({
      onChange({ index, effects }) {
        orderly &&= index >= lastIndex;
        lastIndex = index;
        for (const effect of effects) if (isEntry(effect)) names.push(text(effect.name));
      },
    });
    const wanted = Array.from({ length: 50 }, (_, i) => `f${i}`);
    await Promise.all(wanted.map((name) => makeFile(writer, name)));
    await eventually(async () => names.length >= wanted.length);
    t.strictSame(names, wanted);
    t.ok(orderly);
    t.equal(watching.seenIndex, lastIndex);
    stop();
    await makeFile(writer, 'later');
    t.strictSame(names, wanted);
  },

  'a file that is unlinked lives as long as another client holds it': async (t, world) => {
    const holder = world.client({ holdsOpen: true });
    const other = world.client();
    const { inode } = await makeFile(holder, 'f');
    let holds = [inode.ino];
    holder.setHolds(() => holds);
    await other.execute({ type: 'unlink', parent: ROOT_INO, name: bytes('f') });
    await eventually(async () => holder.seenIndex > 0);
    t.equal((await other.query({ type: 'get-inode', ino: inode.ino })).inode.nlink, 0);
    holds = [];
    await eventually(() =>
      other.query({ type: 'get-inode', ino: inode.ino }).then(
        () => false,
        (error) => isMootError(error, 'ESTALE'),
      ),
    );
  },

  'without a quorum calls end at their deadline, and local reads go on': async (t, world) => {
    const [client, hasty] = [world.client(), world.client({ deadlineMs: 300 })];
    const { inode } = await makeFile(client, 'f');
    // The node that stays learns of the commit a little later than who asked for it.
    await eventually(() =>
      client.query({ type: 'get-inode', ino: inode.ino }, { level: 'local' }).then(
        () => true,
        () => false,
      ),
    );
    await world.loseQuorum();
    await t.rejects(makeFile(hasty, 'g'), /NO_LEADER|OUTCOME_UNKNOWN|no leader|no decision/);
    await t.rejects(hasty.query({ type: 'get-inode', ino: inode.ino }), { code: 'NO_LEADER' });
    const local = await client.query({ type: 'get-inode', ino: inode.ino }, { level: 'local' });
    t.equal(local.inode.ino, inode.ino);
  },

  'a signal ends a call that waits': async (t, world) => {
    const client = world.client();
    await makeFile(client, 'f');
    await world.loseQuorum();
    const abort = new AbortController();
    const command = makeFile(client, 'g', abort.signal);
    const query = client.query(
      { type: 'get-inode', ino: ROOT_INO },
      { signal: abort.signal, level: 'strong' },
    );
    setImmediate(() => abort.abort());
    await t.rejects(command, { code: 'INTERRUPTED' });
    await t.rejects(query, { code: 'INTERRUPTED' });
    await t.rejects(makeFile(client, 'h', abort.signal), { code: 'INTERRUPTED' });
  },

  'a closed client fails its calls': async (t, world) => {
    const client = world.client();
    await makeFile(client, 'f');
    await client.close();
    await t.rejects(makeFile(client, 'g'), { code: 'CLOSED' });
    await t.rejects(client.query({ type: 'statfs' }), { code: 'CLOSED' });
    await client.close();
  },

  'closing ends the session': async (t, world) => {
    const other = world.client();
    const sessions = async () => {
      const reports = await other.status(5_000);
      return Math.max(...reports.map(({ status }) => status?.sessions.length ?? 0));
    };
    // Who closes waits a second for that; where a machine stands still for longer, the session expires later.
    let hasEnded = false;
    for (let tries = 0; tries < CLOSING_TRIES && !hasEnded; tries++) {
      const before = await sessions();
      const client = world.client({ holdsOpen: true });
      await makeFile(client, `f${tries}`);
      await eventually(async () => (await sessions()) === before + 1);
      await client.close();
      const end = performance.now() + CLOSED_MS;
      while (!hasEnded && performance.now() < end) hasEnded = (await sessions()) <= before;
    }
    t.ok(hasEnded);
  },

  'every node says how it is and takes a snapshot': async (t, world) => {
    const client = world.client();
    await client.execute({
      type: 'make-node',
      parent: ROOT_INO,
      name: bytes('d'),
      mode: S_IFDIR | 0o755,
      rdev: 0,
      ...CREDENTIALS,
    });
    let reports = await client.status(10_000);
    // On a machine that is busy with something else there may be an election at any time.
    await eventually(async () => {
      reports = await client.status(10_000);
      const leaders = reports.filter(({ status }) => status?.role === 'leader');
      return leaders.length === 1 && reports.every(({ status }) => status !== null);
    });
    const snapshots = await client.snapshot();
    t.strictSame(snapshots.map(({ id }) => id).sort(), reports.map((r) => r.status?.id).sort());
    const first = reports[0]?.status?.id ?? '';
    t.equal((await client.snapshot(first))[0]?.id, first);
    await t.rejects(client.snapshot('nobody'), { code: 'BAD_ARGUMENT' });
  },
};

function makeFile(client: FilesystemClient, name: string, signal?: AbortSignal) {
  return client.execute(
    {
      type: 'make-node',
      parent: ROOT_INO,
      name: bytes(name),
      mode: S_IFREG | 0o644,
      rdev: 0,
      ...CREDENTIALS,
    },
    signal === undefined ? {} : { signal },
  );
}

async function readText(client: FilesystemClient, ino: number): Promise<string> {
  const { data } = await client.query({ type: 'read', ino, offset: 0, size: 1_000_000 });
  return text(data);
}

function isEntry(effect: Effect): effect is Extract<Effect, { type: 'entry' }> {
  return effect.type === 'entry';
}

function bytes(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

function text(value: Uint8Array): string {
  return new TextDecoder().decode(value);
}

const CLOSING_TRIES = 4;
/** Nodes say so soon after the session has ended. */
const CLOSED_MS = 5_000;

/** Waits for a condition, for a minute at most. */
async function eventually(condition: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 60_000;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error('the condition was not met within a minute');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
