// Work that an entity repeats while it runs: sweeping what has expired.
import type { Log } from "../communications/log.ts";

export interface RecurringTask {
  /** Starts no further run, and waits for the one under way. */
  stop(): Promise<void>;
}

/** Runs `task` each `intervalMs`, one run at a time; a failed run is logged and the next one tries again. Keeps no process alive. */
export function repeat(name: string, intervalMs: number, task: () => Promise<void>, log: Log): RecurringTask {
  let running: Promise<void> | undefined;
  const timer = setInterval(() => {
    running ??= task()
      .catch((cause: unknown) => log.error("recurring task failed", { task: name, cause: String(cause) }))
      .finally(() => {
        running = undefined;
      });
  }, intervalMs);
  timer.unref();
  return {
    async stop() {
      clearInterval(timer);
      await running;
    },
  };
}
