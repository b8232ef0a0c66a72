import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { conclude, failure, notRun, PASSED, report, summary, total } from "./tally.ts";

let printed: string[] = [];
beforeEach(() => {
  printed = [];
  vi.spyOn(console, "log").mockImplementation((line: string) => void printed.push(line));
});
afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
});

test("adds up, and names skipped checks only where there are any", () => {
  expect(summary(total([PASSED, PASSED]))).toBe("2 passed, 0 failed");
  expect(summary(total([PASSED, failure("x"), notRun("y")]))).toBe("1 passed, 1 failed, 1 skipped");
});

test("a check that throws has failed, and says why", async () => {
  const check = { name: "broken", run: () => Promise.reject(new Error("no such tool")) };
  expect(await report(check)).toMatchObject({ passed: 0, failed: 1 });
  expect(printed.join("\n")).toMatch(/^FAIL {2}broken .*\n {6}no such tool$/);
});

test("a check that cannot run here says so and is no pass", async () => {
  expect(await report({ name: "java", run: async () => notRun("javac is missing") })).toMatchObject({
    passed: 0,
    skipped: 1,
  });
  expect(printed.join("\n")).toMatch(/^skip {2}java .*\n {6}NOT RUN: javac is missing$/);
});

test.each([
  [[PASSED], undefined],
  [[PASSED, notRun("x")], undefined],
  [[PASSED, failure("x")], 1],
  [[], 1],
])("the exit code follows the totals", (tallies, code) => {
  conclude(tallies);
  expect(process.exitCode).toBe(code);
});
