// The log of a server as people and collectors read it: a line of JSON for each event, on standard error.
import { boundedLines } from "../communications/bounded-lines.ts";
import { type Log, silentLog } from "../communications/log.ts";

export const standardErrorLog: Log = {
  info: (event, fields) => write("info", event, fields),
  warn: (event, fields) => write("warn", event, fields),
  error: (event, fields) => write("error", event, fields),
};

/** In which an error is told once, however often it comes back. */
const WINDOW_MS = 60_000;
const ERRORS_PER_WINDOW = 20;

/**
 * For whoever asked for no log: what somebody has to see to all the same, such as a fault or a configuration that was not taken over, and so
 * much of it that it can be read.
 */
export function faultLog(tell = standardErrorLog.error): Log {
  const sameBy = ({ method: _any, cause, ...where }: Record<string, unknown>) =>
    // Not by the method: what one cause does to all of them is told once.
    JSON.stringify([String(cause).split("\n")[0], where]);
  return { ...silentLog, error: boundedLines(tell, { limit: ERRORS_PER_WINDOW, intervalMs: WINDOW_MS, sameBy }) };
}

function write(level: string, event: string, fields: Record<string, unknown> = {}): void {
  process.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), level, event, ...fields })}\n`);
}
