import { pino } from 'pino';
import type { Report } from '../base/report.js';
import type { NodeEvent } from './events.js';
import type { LogFormat, LogLevel } from './log-level.js';
import { eventText } from './wording.js';

export interface Logger {
  /** Something worth a line, in words. */
  readonly report: Report;
  readonly event: (event: NodeEvent) => void;
}

/** One line per event on standard error: JSON for machines, or time, level and words for people. */
export function createLogger(options: {
  readonly node: string;
  readonly level: LogLevel;
  readonly format: LogFormat;
}): Logger {
  const logger = pino(
    {
      level: options.level,
      base: { node: options.node },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (level) => ({ level }) },
    },
    { write: options.format === 'json' ? writeLine : (line) => writeLine(forPeople(line)) },
  );
  return {
    report: (level, line) => logger[level](line),
    event: (event) => {
      const { type, at: _, ...facts } = event;
      logger[levelOf(event)]({ event: type, ...facts }, eventText(event));
    },
  };
}

function writeLine(line: string): void {
  process.stderr.write(line);
}

/** `pino` hands over one JSON object per line. */
function forPeople(line: string): string {
  const { time, level, node, msg } = JSON.parse(line) as Record<string, unknown>;
  return `${time} ${level} ${node} ${onOneLine(String(msg))}\n`;
}

/** A part of it may be a stranger's: it must neither begin a line of its own nor rule a terminal. */
function onOneLine(text: string): string {
  return text.replace(
    /\p{Cc}/gu,
    (control) => `\\x${(control.codePointAt(0) ?? 0).toString(16).padStart(2, '0')}`,
  );
}

function levelOf(event: NodeEvent): LogLevel {
  switch (event.type) {
    case 'truncated':
    case 'fault':
      return 'warn';
    case 'role':
    case 'snapshot':
      return 'info';
    default:
      return 'debug';
  }
}
