// What a server says that nobody asked to say anything.
import { expect, test } from "vitest";
import { faultLog } from "./standard-error-log.ts";

test("faults are told once a minute for each cause, no more than can be read, with how many were left out", () => {
  let now = 0;
  const told: unknown[] = [];
  const log = faultLog(
    () => now,
    (event, fields) => told.push([event, fields]),
  );
  log.info("served");
  log.warn("slow");
  for (const method of ["A", "B", "C"]) log.error("fault", { method, cause: "Error: full\n    at here" });
  log.error("fault", { method: "A", cause: "Error: other" });
  expect(told).toEqual([
    ["fault", { method: "A", cause: "Error: full\n    at here" }],
    ["fault", { method: "A", cause: "Error: other", leftOut: 2 }],
  ]);
  for (let index = 0; index < 100; index++) log.error("fault", { cause: `Error: ${index}` });
  expect(told).toHaveLength(20);
  now = 60_000;
  log.error("fault", { method: "D", cause: "Error: full" });
  expect(told.at(-1)).toEqual(["fault", { method: "D", cause: "Error: full", leftOut: 82 }]);
});
