import type { Clock } from '../base/clock.js';
import type { Report } from '../base/report.js';
import { REPORTS_MAX, REPORTS_WINDOW_MS } from './rules.js';

/** Passes lines on, but no flood of them: what is too many within a window is counted and said later. */
export function boundedReporter(report: Report, clock: Clock): Report {
  let windowEndsMs = 0;
  let lines = 0;
  return (level, line) => {
    const nowMs = clock.monotonicMs();
    if (nowMs >= windowEndsMs) {
      if (lines > REPORTS_MAX) {
        report('warn', `${lines - REPORTS_MAX} more lines like these were left out`);
      }
      windowEndsMs = nowMs + REPORTS_WINDOW_MS;
      lines = 0;
    }
    if (++lines <= REPORTS_MAX) report(level, line);
  };
}
