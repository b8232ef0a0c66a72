// The log of a server as people and collectors read it: a line of JSON for each event, on standard error.
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
export function faultLog(now: () => number = Date.now, tell = standardErrorLog.error): Log {
  let until = 0;
  let told = new Set<string>();
  let leftOut = 0;
  return {
    ...silentLog,
    error(event, fields) {
      if (now() >= until) {
        until = now() + WINDOW_MS;
        told = new Set();
      }
      // Not the method: what one cause does to all of them is told once.
      const { method: _any, cause, ...where } = fields ?? {};
      const what = JSON.stringify([event, String(cause).split("\n")[0], where]);
      if (told.has(what) || told.size >= ERRORS_PER_WINDOW) {
        leftOut += 1;
        return;
      }
      told.add(what);
      tell(event, leftOut === 0 ? fields : { ...fields, leftOut });
      leftOut = 0;
    },
  };
}

function write(level: string, event: string, fields: Record<string, unknown> = {}): void {
  process.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), level, event, ...fields })}\n`);
}
