// Ctrl-C, SIGTERM or the end of the terminal during a run: no verdict, and nothing is left running.
import { constants } from "node:os";

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
export type Interrupt = (typeof signals)[number];

/**
 * Runs `end` at the first of the signals and ends the process, exit code 128 and the signal's number. `end` is told of a second one, which
 * waits for nothing any more. Answers how to take that back.
 */
export function endOnInterrupt(end: (signal: Interrupt, again: Promise<void>) => Promise<void>): () => void {
  const again = Promise.withResolvers<void>();
  let first = true;
  const interrupted = (signal: Interrupt) => {
    if (!first) return again.resolve();
    first = false;
    process.stderr.write(`x1410: interrupted by ${signal}, without a verdict\n`);
    void end(signal, again.promise).finally(() => process.exit(128 + constants.signals[signal]));
  };
  for (const signal of signals) process.on(signal, interrupted);
  return () => {
    for (const signal of signals) process.off(signal, interrupted);
  };
}
