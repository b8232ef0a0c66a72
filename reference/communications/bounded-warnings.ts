// Warnings that strangers can bring about: so many lines of an event in an interval, and the number of the others at its end.
import type { Limits } from "./limits.ts";
import type { Log } from "./log.ts";

export function boundedWarnings(
  log: Log,
  { maxWarnings, warningIntervalMs }: Pick<Limits, "maxWarnings" | "warningIntervalMs">,
): Log["warn"] {
  const counts = new Map<string, number>();
  const interval = (event: string) => {
    const unsaid = (counts.get(event) ?? 0) - maxWarnings;
    counts.delete(event);
    if (unsaid > 0) log.warn(event, { further: unsaid });
  };
  return (event, fields) => {
    const count = (counts.get(event) ?? 0) + 1;
    counts.set(event, count);
    if (count === 1) setTimeout(() => interval(event), warningIntervalMs).unref();
    if (count <= maxWarnings) log.warn(event, fields);
  };
}
