import { type Random, seededRandom } from '../../src/base/random.js';
import type { Command } from '../../src/filesystem/commands.js';
import { inodeKey } from '../../src/filesystem/keys.js';
import type { Query } from '../../src/filesystem/queries.js';
import { type Ino, READ_BYTES_MAX, ROOT_INO } from '../../src/filesystem/records.js';
import type { SimClient } from './client.js';
import { ensure } from './laws.js';
import type { Lockers } from './lockers.js';
import type { Machine } from './machine.js';
import type { Openers } from './openers.js';
import type { Reference } from './reference.js';
import { bytes, Work } from './work.js';

/** Programs of one client at one time. */
const PROGRAMS = 2;
const JOURNAL = 'journal';
const TOKEN_BYTES = 8;
const FINISH_TRIES = 2;
/** A disk that has room again is believed later. */
const ROOM_AGAIN_MS = 500;
/** So often, and so far apart, a client looks until it knows a name by heart. */
const LOOKS = 3;
const LOOK_AGAIN_MS = 20;

interface Entry {
  readonly token: string;
  readonly writer: string;
  acknowledged: boolean;
}

/**
 * What runs on the clients: a mix of everything, and now and then a line for a journal that all
 * append to, in which later every acknowledged line must be found once.
 */
export class Programs {
  private readonly work: Work;
  private readonly journal: Entry[] = [];
  private journalIno: Ino | null = null;
  private stopped = false;

  constructor(
    random: Random,
    private readonly lockers: Lockers,
    readonly openers: Openers,
  ) {
    this.work = new Work(random);
  }

  start(client: SimClient, machine: Machine): void {
    const thinkMs = 10 + this.work.below(200);
    for (let i = 0; i < PROGRAMS; i++) {
      const random = seededRandom(this.work.below(2 ** 31));
      machine.after(random.next() * 100_000, 'program', () => {
        void this.run(client, `${client.name}.${i}`, thinkMs, random);
      });
    }
  }

  /** Nothing new is begun. */
  stop(): void {
    this.stopped = true;
  }

  /** One command and one question more, which must both succeed. */
  async finish(client: SimClient): Promise<void> {
    // A session that expired meanwhile is told once, and then there is another one.
    for (let tries = 1; ; tries++) {
      await client.command({ type: 'set-quota', bytes: null, inodes: null });
      const name = bytes(`done-${client.name}-${tries}`);
      const { refused } = client;
      if ((await client.command(makeFile(name))) !== null) {
        const found = await client.query({ type: 'lookup', parent: ROOT_INO, name }, 'strong');
        ensure(found !== null, `${client.name} does not find its file after healing`);
        return;
      }
      if (client.refused > refused) {
        // What was said of a disk counts for a while.
        await client.sleep(ROOM_AGAIN_MS);
        tries = 0;
      }
      ensure(tries < FINISH_TRIES, `${client.name} cannot make a file after healing`);
    }
  }

  judgeEnd(reference: Reference): void {
    if (this.journalIno === null) return;
    const { index } = reference;
    const ino = this.journalIno;
    const inode = reference.query(index, { type: 'get-inode', ino });
    ensure(inode.ok, `the journal, inode ${inodeKey(ino)}, is gone`);
    let text = '';
    for (let end = false; !end; ) {
      const range = { offset: text.length, size: READ_BYTES_MAX };
      const read = reference.query(index, { type: 'read', ino, ...range });
      ensure(read.ok && 'data' in read.value, 'the journal can be read');
      text += Buffer.from(read.value.data).toString('latin1');
      end = read.value.data.length < READ_BYTES_MAX;
    }
    const found = new Map<string, number>();
    for (let at = 0; at < text.length; at += TOKEN_BYTES) {
      const token = text.slice(at, at + TOKEN_BYTES);
      ensure(!found.has(token), `the journal has ${token} twice`);
      found.set(token, at);
    }
    const last = new Map<string, number>();
    for (const { token, writer, acknowledged } of this.journal) {
      const at = found.get(token);
      found.delete(token);
      ensure(at !== undefined || !acknowledged, `the journal has lost ${token}`);
      if (at === undefined) continue;
      ensure(at > (last.get(writer) ?? -1), `the journal has ${token} out of its order`);
      last.set(writer, at);
    }
    ensure(found.size === 0, `nobody wrote ${[...found.keys()].join(', ')} in the journal`);
  }

  /** See the fault of this name; `vanish`: the keeper has what it keeps. */
  async lookAgain(keeper: SimClient, changer: SimClient, vanish: () => void): Promise<void> {
    const { parent, name } = this.work.place();
    const lookup: Query = { type: 'lookup', parent, name };
    let found: unknown = null;
    // Asks for a lease, asks under it, and keeps the answer.
    for (let i = 0; i < LOOKS; i++) {
      if (this.stopped) return;
      found = await keeper.query({ ...lookup }, 'strong');
      await keeper.sleep(LOOK_AGAIN_MS);
    }
    if (this.stopped) return;
    vanish();
    // From another machine.
    changer.machine.happen(async () => {
      const change = found === null ? makeFile(name, parent) : unlink(parent, name);
      await changer.command(change);
      keeper.machine.happen(() => void keeper.query({ ...lookup }, 'strong'));
    });
  }

  private isOver(client: SimClient): boolean {
    return this.stopped || client.isClosed;
  }

  private async run(
    client: SimClient,
    writer: string,
    thinkMs: number,
    random: Random,
  ): Promise<void> {
    await this.findJournal(client);
    // Some only look, again and again, so that much is answered out of the client's memory.
    if (random.next() < 0.3) await this.look(client, 10 + thinkMs / 3);
    while (!this.isOver(client)) {
      const { work } = this;
      if (work.chance(0.15)) await this.write(client, writer);
      else if (work.chance(0.1)) await this.lock(client, writer, random);
      else if (work.chance(0.03)) await this.openers.openOnce(client, random);
      else if (work.chance(0.5)) work.learn(await client.command(work.command()));
      else await this.ask(client);
      await client.sleep(random.next() * 2 * thinkMs);
    }
  }

  private async ask(client: SimClient): Promise<void> {
    const { work } = this;
    const query = work.query();
    const answer = await client.query(query, work.level());
    work.learn(answer);
    if (query.type === 'read-directory') work.listed(query, answer);
  }

  private async look(client: SimClient, thinkMs: number): Promise<void> {
    while (!this.isOver(client)) {
      this.work.learn(await client.query(this.work.lookup(), 'strong'));
      await client.sleep(thinkMs);
    }
  }

  private async findJournal(client: SimClient): Promise<void> {
    const name = bytes(JOURNAL);
    while (this.journalIno === null && !this.isOver(client)) {
      const made = await client.command(makeFile(name));
      if (made === null) await client.sleep(LOOK_AGAIN_MS);
      const answer = await client.query({ type: 'lookup', parent: ROOT_INO, name }, 'strong');
      if (typeof answer !== 'object' || answer === null || !('inode' in answer)) continue;
      this.journalIno ??= (answer.inode as { ino: Ino }).ino;
      this.work.lockable = this.journalIno;
    }
  }

  private async lock(client: SimClient, who: string, random: Random): Promise<void> {
    if (this.journalIno !== null) await this.lockers.lockOnce(client, this.journalIno, who, random);
  }

  private async write(client: SimClient, writer: string): Promise<void> {
    if (this.journalIno === null) return;
    const entry: Entry = { token: `${this.work.token()}\n`, writer, acknowledged: false };
    this.journal.push(entry);
    const answer = await client.command({
      type: 'write',
      ino: this.journalIno,
      offset: 0,
      data: bytes(entry.token),
      append: true,
    });
    entry.acknowledged = answer !== null;
  }
}

function unlink(parent: Ino, name: Uint8Array): Command {
  return { type: 'unlink', parent, name };
}

function makeFile(name: Uint8Array, parent = ROOT_INO): Command {
  const mode = 0o100644;
  return { type: 'make-node', parent, name, mode, rdev: 0, uid: 0, gid: 0 };
}
