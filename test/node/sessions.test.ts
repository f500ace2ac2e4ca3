import t from 'tap';
import type { Session } from '../../src/filesystem/records.js';
import { SessionExpiry } from '../../src/node/sessions.js';

const TIMEOUT_MS = 60_000;
const LOOK_MS = 100;
/** All that the sweep looks at. */
const SESSIONS = new Map([[1, { id: 1 } as Session]]);

/** Looks regularly until then; what was to be expired, and when. */
function look(expiry: SessionExpiry, fromMs: number, untilMs: number): number[] {
  const found: number[] = [];
  for (let nowMs = fromMs; nowMs <= untilMs; nowMs += LOOK_MS) {
    if (expiry.sweep(SESSIONS, nowMs).length > 0) found.push(nowMs);
  }
  return found;
}

t.test('who is silent for too long is found once', async (t) => {
  const expiry = new SessionExpiry(TIMEOUT_MS);
  expiry.begin();
  expiry.heard(1, 0);
  const [found, ...more] = look(expiry, 0, 2 * TIMEOUT_MS);
  t.ok(found !== undefined && found > TIMEOUT_MS && found < TIMEOUT_MS + 2_000);
  t.strictSame(more, []);
});

t.test('a pause of this node is nobody else’s silence', async (t) => {
  const expiry = new SessionExpiry(TIMEOUT_MS);
  expiry.begin();
  expiry.heard(1, 0);
  t.strictSame(look(expiry, 0, 10_000), []);
  const awakeMs = 10_000 + 3 * TIMEOUT_MS;
  const [found] = look(expiry, awakeMs, awakeMs + 2 * TIMEOUT_MS);
  t.ok(found !== undefined && found > awakeMs + TIMEOUT_MS - 11_000);
  t.ok(found !== undefined && found < awakeMs + TIMEOUT_MS);
});
