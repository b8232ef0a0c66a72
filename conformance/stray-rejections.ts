// Promises that the check of a purpose has begun and does not await any more, because something else ended it first: what they reject with
// belongs to that purpose, and must not end the kit.
import { AsyncLocalStorage } from "node:async_hooks";
import { setImmediate as turn } from "node:timers/promises";

const running = new AsyncLocalStorage<unknown[]>();
let watchers = 0;

/** Runs `work`; what is rejected meanwhile in code that it has begun, and awaited by nobody, is in `strays`. */
export async function collectingStrays<T>(strays: unknown[], work: () => Promise<T>): Promise<T> {
  if (watchers++ === 0) process.on("unhandledRejection", sort);
  try {
    return await running.run(strays, work);
  } finally {
    // Node.js tells of a rejection after the promises of its turn.
    await turn();
    if (--watchers === 0) process.off("unhandledRejection", sort);
  }
}

function sort(cause: unknown): void {
  const strays = running.getStore();
  if (strays !== undefined) strays.push(cause);
  // What is of no purpose ends the process, as it would if nobody listened here.
  else if (process.listenerCount("unhandledRejection") === 1) throw cause;
}
