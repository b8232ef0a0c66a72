// The log of a server as people and collectors read it: a line of JSON for each event, on standard error.
import { type Log, silentLog } from "../communications/log.ts";

export const standardErrorLog: Log = {
  info: (event, fields) => write("info", event, fields),
  warn: (event, fields) => write("warn", event, fields),
  error: (event, fields) => write("error", event, fields),
};

/** What somebody has to see to, such as a configuration that was not taken over: told whether or not anybody asked for a log. */
export const standardErrorTroubles: Log = { ...silentLog, error: standardErrorLog.error };

function write(level: string, event: string, fields: Record<string, unknown> = {}): void {
  process.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), level, event, ...fields })}\n`);
}
