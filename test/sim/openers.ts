import { isMootError } from '../../src/base/errors.js';
import type { Random } from '../../src/base/random.js';
import { type Ino, ROOT_INO } from '../../src/filesystem/records.js';
import { Handles } from '../../src/mount/handles.js';
import type { SimClient } from './client.js';
import { ensure } from './laws.js';
import type { Reference } from './reference.js';
import { bytes } from './work.js';

/** For so long a file is held open at most. */
const OPEN_MS_MAX = 4_000;

/**
 * Programs that remove a file while they have it open, or make one that has no name, with the production
 * code of a mount, which knows what is open. The law: such a file lives on until it is closed, unless the
 * session of its client is over.
 */
export class Openers {
  private readonly clients = new WeakMap<SimClient, Handles>();
  private made = 0;
  readonly counts = { openWithoutName: 0 };

  constructor(private readonly reference: Reference) {}

  async openOnce(client: SimClient, random: Random): Promise<void> {
    if (!client.holdsOpen) return;
    const handles = this.of(client);
    client.outstanding++;
    try {
      const unnamed = random.next() < 0.4;
      await (unnamed
        ? this.openUnnamed(client, handles, random)
        : this.unlinkOpen(client, handles, random));
    } catch (error) {
      if (!isMootError(error)) throw error;
    } finally {
      client.outstanding--;
    }
  }

  private async openUnnamed(client: SimClient, handles: Handles, random: Random): Promise<void> {
    const session = client.client.session?.id;
    const own = { mode: 0o600, uid: 1, gid: 2 };
    const make = { type: 'make-unnamed', parent: ROOT_INO, ...own } as const;
    const { inode } = await handles.holdNew(
      () => client.forMount().execute(make),
      ({ inode }) => inode.ino,
    );
    handles.markUnlinked(inode.ino);
    await this.use(client, handles, inode.ino, session, random);
  }

  private async unlinkOpen(client: SimClient, handles: Handles, random: Random): Promise<void> {
    const name = bytes(`open-${++this.made}`);
    const own = { mode: 0o100600, rdev: 0, uid: 1, gid: 2 };
    const make = { type: 'make-node', parent: ROOT_INO, name, ...own } as const;
    const { inode } = await handles.holdNew(
      () => client.forMount().execute(make),
      ({ inode }) => inode.ino,
    );
    const session = client.client.session?.id;
    const unlink = { type: 'unlink', parent: ROOT_INO, name } as const;
    const removed = await client.command(unlink);
    if (removed === null) handles.letGo(inode.ino);
    else await this.use(client, handles, inode.ino, session, random);
  }

  /** `session`: as it was before the inode's last name went, or was not given. */
  private async use(
    client: SimClient,
    handles: Handles,
    ino: Ino,
    session: number | undefined,
    random: Random,
  ): Promise<void> {
    const isSame = session !== undefined && session === client.client.session?.id;
    this.counts.openWithoutName++;
    await client.sleep(random.next() * OPEN_MS_MAX);
    try {
      await client.client.query({ type: 'get-inode', ino }, { level: 'strong' });
    } catch (error) {
      if (!isMootError(error)) throw error;
      const isGone = isMootError(error, 'ESTALE') && isSame && this.reference.hasSession(session);
      client.judge(() => ensure(!isGone, `${client.name} has ${ino} open, and it is gone`));
    } finally {
      handles.letGo(ino);
    }
  }

  private of(client: SimClient): Handles {
    let handles = this.clients.get(client);
    if (handles !== undefined) return handles;
    const made = new Handles();
    handles = made;
    client.client.setHolds(() => made.holds());
    client.client.watch({
      onChange: ({ reset, effects }) => {
        if (reset) made.markAllUnlinked();
        for (const effect of effects) {
          if (effect.type === 'inode' && effect.gone) made.markUnlinked(effect.ino);
        }
      },
    });
    this.clients.set(client, handles);
    return handles;
  }
}
