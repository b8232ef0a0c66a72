import { describe, expect, test } from "vitest";
import { violations } from "./json-schema.ts";
import { conformantReport, sampleReport } from "./report.fixture.ts";
import { parseReport, ReportError, reportJson, reportSchema } from "./report-json.ts";

test.each([
  ["everything in it", sampleReport()],
  ["a conformant implementation", conformantReport()],
  ["nothing performed", sampleReport({ results: [], verdict: null })],
])("a report with %s is valid and comes back as it was", (_, report) => {
  const text = reportJson(report);
  expect(parseReport(text)).toEqual(JSON.parse(JSON.stringify(report)));
  expect(reportJson(parseReport(text))).toBe(text);
});

test("every member is required, and none may be added, at every depth", () => {
  const checked = new Set<string>();
  const walk = (value: unknown, path: readonly string[]): void => {
    // Messages are of any form.
    if (path.includes("requests") || path.includes("responses")) return;
    if (Array.isArray(value)) {
      for (const [index, item] of value.entries()) walk(item, [...path, `${index}`]);
      return;
    }
    if (typeof value !== "object" || value === null) return;
    const names = Object.keys(value);
    const kind = path.filter((part) => !/^\d+$/.test(part)).join(".");
    if (!checked.has(kind)) {
      checked.add(kind);
      for (const name of names)
        expect(
          altered(path, (copy) => delete copy[name]),
          `${kind}.${name}`,
        ).not.toEqual([]);
      expect(
        altered(path, (copy) => Object.assign(copy, { colour: "red" })),
        kind,
      ).not.toEqual([]);
    }
    for (const name of names) walk((value as Record<string, unknown>)[name], [...path, name]);
  };
  walk(small, []);
  expect([...checked]).toEqual(expect.arrayContaining(["", "run", "results", "results.procedure", "results.messages"]));
});

const whole = sampleReport();
const small = { ...whole, results: whole.results.filter(({ id }) => /F3|TV\/BV-01/.test(id)) };

function altered(path: readonly string[], alter: (copy: Record<string, unknown>) => void): string[] {
  const copy = JSON.parse(JSON.stringify(small));
  alter(path.reduce((value, part) => value[part], copy));
  return violations(reportSchema, copy);
}

test.each<[string, (copy: Record<string, never>) => void, RegExp]>([
  ["another format", (copy) => Object.assign(copy, { format: "x" }), /^\$\.format: not "x1410-conformance-report\/1"$/],
  ["an unknown verdict", (copy) => Object.assign(copy, { verdict: "FINE" }), /^\$\.verdict: not one of/],
  ["an exit code", (copy) => Object.assign(copy, { exitCode: 5 }), /^\$\.exitCode/],
  ["a hash", (copy) => Object.assign(copy["suite"] ?? {}, { hash: "00" }), /^\$\.suite\.hash: not like/],
  ["a negative time", (copy) => Object.assign(copy["run"] ?? {}, { durationMs: -1 }), /^\$\.run\.durationMs: below 0/],
  [
    "a text for a number",
    (copy) => Object.assign(copy["run"] ?? {}, { parallel: "4" }),
    /string where integer is asked/,
  ],
  [
    "half an arrow",
    (copy) => Object.assign(copy["results"]?.[0] ?? {}, { diagram: [["a", "b"]] }),
    /fewer than 3 items/,
  ],
])("%s is told with its place", (_, alter, message) => {
  expect(altered([], alter as never)).toEqual(expect.arrayContaining([expect.stringMatching(message)]));
});

test("what is no report is refused in one line", () => {
  expect(() => parseReport("{", "r.json")).toThrow(ReportError);
  expect(() => parseReport("{}", "r.json")).toThrow(
    /^r\.json is no conformance report: \$: format is missing, and \d+ more$/,
  );
});

describe("schemas", () => {
  test("a keyword that is not understood is an error", () => {
    expect(() => violations({ type: "object", oneOf: [] }, {})).toThrow(TypeError);
    expect(() => violations({ $ref: "#/$defs/none" }, {})).toThrow(TypeError);
  });
});
