// Lines of a log that one cause can bring about again and again: so many of an event in an interval, and the number of the others at its end.
import type { Log } from "./log.ts";

interface Bounds {
  /** Lines of one event in an interval. */
  readonly limit: number;
  readonly intervalMs: number;
  /** Where it is given, lines of one event that say the same by it are told once in an interval. */
  sameBy?(fields: Record<string, unknown>): string;
}

export function boundedLines(tell: Log["warn"], { limit, intervalMs, sameBy }: Bounds): Log["warn"] {
  const events = new Map<string, { told: number; further: number; readonly said: Set<string> }>();
  const close = (event: string) => {
    const further = events.get(event)?.further ?? 0;
    events.delete(event);
    if (further > 0) tell(event, { further });
  };
  return (event, fields) => {
    const lines = events.get(event) ?? { told: 0, further: 0, said: new Set<string>() };
    if (!events.has(event)) setTimeout(() => close(event), intervalMs).unref();
    events.set(event, lines);
    const what = sameBy?.(fields ?? {});
    if (lines.told >= limit || (what !== undefined && lines.said.has(what))) {
      lines.further += 1;
      return;
    }
    lines.told += 1;
    if (what !== undefined) lines.said.add(what);
    tell(event, fields);
  };
}
