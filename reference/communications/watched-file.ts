// A configuration file that may change while the server runs.
import { type FSWatcher, watch } from "node:fs";
import { basename, dirname } from "node:path";
import type { Log } from "./log.ts";

/** The event by which an operator learns that what is written somewhere is not what holds. */
export const NOT_TAKEN_OVER = "configuration not taken over, the former one holds";

/** Editors and scripts write in several steps: the file is read once it has been quiet for this long. */
const QUIET_MS = 50;

/**
 * Calls `changed` after the file was written, replaced by another, made or removed. What `changed` throws is logged as one line, and the
 * watch goes on.
 */
export function watchFile(path: string, changed: () => void, log: Log): { close(): void } {
  const name = basename(path);
  let quiet: NodeJS.Timeout | undefined;
  const settle = () => {
    try {
      changed();
    } catch (cause) {
      log.error(NOT_TAKEN_OVER, { file: path, cause: messageOf(cause) });
    }
  };
  // The folder, not the file: a file that is replaced is another one to the operating system.
  const watcher: FSWatcher = watch(dirname(path), { persistent: false }, (_event, file) => {
    if (file !== null && file !== name) return;
    clearTimeout(quiet);
    quiet = setTimeout(settle, QUIET_MS);
    quiet.unref();
  });
  watcher.on("error", (cause) => log.error("configuration no longer watched", { file: path, cause: messageOf(cause) }));
  return {
    close() {
      clearTimeout(quiet);
      watcher.close();
    },
  };
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
