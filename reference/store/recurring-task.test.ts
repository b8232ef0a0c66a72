import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { silentLog } from "../communications/log.ts";
import { repeat } from "./recurring-task.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

test("runs one at a time, goes on after a failure, and stops with the run under way", async () => {
  const faults: unknown[] = [];
  const runs: PromiseWithResolvers<void>[] = [];
  const task = () => {
    const run = Promise.withResolvers<void>();
    runs.push(run);
    return run.promise;
  };
  const recurring = repeat("sweep", 1_000, task, { ...silentLog, error: (_event, fields) => faults.push(fields) });
  await vi.advanceTimersByTimeAsync(3_000);
  expect(runs).toHaveLength(1);
  runs[0]?.reject(new Error("disk full"));
  await vi.advanceTimersByTimeAsync(1_000);
  expect(faults).toEqual([{ task: "sweep", cause: "Error: disk full" }]);
  expect(runs).toHaveLength(2);
  let stopped = false;
  const stopping = recurring.stop().then(() => {
    stopped = true;
  });
  await vi.advanceTimersByTimeAsync(3_000);
  expect(stopped).toBe(false);
  runs[1]?.resolve();
  await stopping;
  expect(runs).toHaveLength(2);
});
