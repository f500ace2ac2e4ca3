import { nameKey } from '../filesystem/facts.js';
import type { AskedName } from './known-names.js';

/** Of more absent names than these the kernel must ask each time. */
const NAMES_MAX = 16_384;

/** What the kernel was told is not there, and may believe for some time without asking. */
export class AbsentNames {
  private readonly untilMs = new Map<string, { readonly asked: AskedName; readonly ms: number }>();

  /** Unless there are too many: what is not remembered here the kernel must not be told. */
  add(asked: AskedName, nowMs: number, untilMs: number): void {
    if (this.untilMs.size >= NAMES_MAX) this.dropPast(nowMs);
    if (this.untilMs.size >= NAMES_MAX) return;
    this.untilMs.set(nameKey(asked.parent, asked.name), { asked, ms: untilMs });
  }

  has({ parent, name }: AskedName): boolean {
    return this.untilMs.has(nameKey(parent, name));
  }

  drop({ parent, name }: AskedName): void {
    this.untilMs.delete(nameKey(parent, name));
  }

  takeAll(): readonly AskedName[] {
    const all = [...this.untilMs.values()].map(({ asked }) => asked);
    this.untilMs.clear();
    return all;
  }

  private dropPast(nowMs: number): void {
    for (const [key, { ms }] of this.untilMs) if (ms <= nowMs) this.untilMs.delete(key);
  }
}
