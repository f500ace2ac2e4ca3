import type { Session } from '../filesystem/records.js';

/** How often silent sessions are looked for. */
const SWEEP_MS = 1_000;
/** Who does not look for so long was stopped, or its machine was: then what came meanwhile is unread. */
const AWAY_MS = 1_000;

/**
 * Which sessions are silent. Nobody's wall clock counts: a leader measures, by its own monotonic
 * clock, how long it has heard nothing since it leads, and proposes to expire the session; that
 * takes effect only if nothing of the session came between.
 */
export class SessionExpiry {
  private readonly heardMs = new Map<number, number>();
  private readonly proposed = new Set<number>();
  private sweptMs = Number.NEGATIVE_INFINITY;
  private lookedMs: number | null = null;

  constructor(private readonly timeoutMs: number) {}

  /** This node begins to lead: what was heard before says nothing. */
  begin(): void {
    this.heardMs.clear();
    this.proposed.clear();
    this.lookedMs = null;
  }

  heard(session: number, nowMs: number): void {
    if (session !== 0) this.heardMs.set(session, nowMs);
  }

  /** Called often. The sessions to expire now; each stays under way until `ended`. */
  sweep(sessions: ReadonlyMap<number, Session>, nowMs: number): readonly Session[] {
    const awayMs = nowMs - (this.lookedMs ?? nowMs);
    this.lookedMs = nowMs;
    if (awayMs > AWAY_MS) {
      for (const [id, ms] of this.heardMs) this.heardMs.set(id, Math.min(nowMs, ms + awayMs));
    }
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
