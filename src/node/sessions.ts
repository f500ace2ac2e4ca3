import type { Session } from '../filesystem/records.js';

/** How often silent sessions are looked for. */
const SWEEP_MS = 1_000;

/**
 * Which sessions are silent. Nobody's wall clock counts: a leader measures, by its own monotonic
 * clock, how long it has heard nothing since it leads, and proposes to expire the session; that
 * takes effect only if nothing of the session came between.
 */
export class SessionExpiry {
  private readonly heardMs = new Map<number, number>();
  private readonly proposed = new Set<number>();
  private sweptMs = Number.NEGATIVE_INFINITY;

  constructor(private readonly timeoutMs: number) {}

  /** This node begins to lead: what was heard before says nothing. */
  begin(): void {
    this.heardMs.clear();
    this.proposed.clear();
  }

  heard(session: number, nowMs: number): void {
    if (session !== 0) this.heardMs.set(session, nowMs);
  }

  /** The sessions to expire now; each stays under way until `ended`. */
  sweep(sessions: ReadonlyMap<number, Session>, nowMs: number): readonly Session[] {
    if (nowMs - this.sweptMs < Math.min(SWEEP_MS, this.timeoutMs / 4)) return [];
    this.sweptMs = nowMs;
    for (const id of this.heardMs.keys()) if (!sessions.has(id)) this.heardMs.delete(id);
    const silent: Session[] = [];
    for (const session of sessions.values()) {
      const heardMs = this.heardMs.get(session.id);
      if (heardMs === undefined) this.heardMs.set(session.id, nowMs);
      else if (nowMs - heardMs > this.timeoutMs && !this.proposed.has(session.id)) {
        this.proposed.add(session.id);
        silent.push(session);
      }
    }
    return silent;
  }

  /** The proposal to expire this session was decided. */
  ended(session: number): void {
    this.proposed.delete(session);
  }
}
