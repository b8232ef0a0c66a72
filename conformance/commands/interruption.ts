// Ctrl-C, SIGTERM or the end of the terminal during a run: no verdict, and nothing is left running.
import { constants } from "node:os";

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Runs `close` at the first of the signals and ends the process, exit code 128 and the signal's number. Answers how to take that back. */
export function closeOnInterrupt(close: () => Promise<void>): () => void {
  const interrupted = (signal: (typeof signals)[number]) => {
    stand();
    process.stderr.write(`x1410: interrupted by ${signal}, without a verdict\n`);
    void close().finally(() => process.exit(128 + constants.signals[signal]));
  };
  const stand = () => {
    for (const signal of signals) process.off(signal, interrupted);
  };
  for (const signal of signals) process.on(signal, interrupted);
  return stand;
}
