import type { Clock, Timer } from '../base/clock.js';
import type { FilesystemClient } from '../client/filesystem-client.js';
import type { NodeStatus } from '../codec/client-messages.js';
import type { MemberDocument } from './document.js';

/** Where a node's page is changes only when it is started anew. */
const ASK_MS = 5_000;
/** Until all are known. */
const ASK_EAGERLY_MS = 500;
const ANSWER_MS = 1_000;

/** Where the other nodes' control servers are: asked from them, as clients ask for their status. */
export class Neighbours {
  private readonly controls = new Map<string, string | null>();
  private timer: Timer | null = null;
  private stopped = false;

  constructor(
    private readonly client: Pick<FilesystemClient, 'status'>,
    private readonly status: () => NodeStatus,
    private readonly clock: Clock,
  ) {}

  start(): void {
    void this.ask();
  }

  stop(): void {
    this.stopped = true;
    this.timer?.cancel();
  }

  members(): readonly MemberDocument[] {
    const { id: own, control, peers } = this.status();
    return peers.map(({ id, address }) => ({
      id,
      address,
      control: id === own ? control : (this.controls.get(id) ?? null),
    }));
  }

  private async ask(): Promise<void> {
    for (const { status } of await this.client.status(ANSWER_MS)) {
      if (status !== null) this.controls.set(status.id, status.control);
    }
    if (this.stopped) return;
    const known = this.status().peers.every(({ id }) => this.controls.has(id));
    this.timer = this.clock.setTimer(known ? ASK_MS : ASK_EAGERLY_MS, () => void this.ask());
  }
}
