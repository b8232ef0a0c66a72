// What a server says that nobody asked to say anything.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { faultLog } from "./standard-error-log.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout"] }));
afterEach(() => void vi.useRealTimers());

test("faults are told once a minute for each cause, no more than can be read, and at its end how many were left out", () => {
  const told: unknown[] = [];
  const log = faultLog((event, fields) => told.push([event, fields]));
  log.info("served");
  log.warn("slow");
  for (const method of ["A", "B", "C"]) log.error("fault", { method, cause: "Error: full\n    at here" });
  log.error("fault", { method: "A", cause: "Error: other" });
  expect(told).toEqual([
    ["fault", { method: "A", cause: "Error: full\n    at here" }],
    ["fault", { method: "A", cause: "Error: other" }],
  ]);
  for (let index = 0; index < 100; index++) log.error("fault", { cause: `Error: ${index}` });
  expect(told).toHaveLength(20);
  // Others have a share of their own.
  log.error("halted", { why: "link" });
  expect(told.splice(0).at(-1)).toEqual(["halted", { why: "link" }]);
  vi.advanceTimersByTime(60_000);
  expect(told.splice(0)).toEqual([["fault", { further: 84 }]]);
  log.error("fault", { method: "D", cause: "Error: full" });
  vi.advanceTimersByTime(60_000);
  expect(told).toEqual([["fault", { method: "D", cause: "Error: full" }]]);
});
