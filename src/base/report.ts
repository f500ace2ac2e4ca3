/** How bad what is reported is: something failed; something is refused, late or lost; or it is good to know. */
export type ReportLevel = 'error' | 'warn' | 'info';

/** One line for whoever keeps a process's log. */
export type Report = (level: ReportLevel, line: string) => void;
