import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { conclude, type Evidence } from "./conclusion.ts";
import type { PurposeResult } from "./execution.ts";
import { readExpectedFailures } from "./expected-failures.ts";
import type { Finding } from "./pics.ts";
import type { Verdict } from "./verdict.ts";

const nothing = {
  expected: "",
  actual: "",
  onTheWay: false,
  seen: [],
  steps: [],
  messages: [],
  durationMs: 0,
  leftBehind: [],
};
const results = (...verdicts: Verdict[]): PurposeResult[] =>
  verdicts.map((verdict, index) => ({ id: `TP/KSS/TV/BV-0${index}`, verdict, ...nothing }));

const finding: Finding = { entity: "kss", item: "TV2", clause: "6.2.3", text: "not supported" };
const selection = { selected: [], notApplicable: [], outOfReach: [], filtered: [] };
const outOfReach = { ...selection, outOfReach: [{ id: "TP/KSS/TV/BI-01", reason: "no harness" }] };
const filteredOut = { ...selection, filtered: ["TP/KSS/TV/BI-01"] };
const first = new Map([["TP/KSS/TV/BV-00", "known"]]);

function concluded(evidence: Partial<Evidence>) {
  const { verdict, conformance, exitCode } = conclude({
    selection,
    results: [],
    findings: [],
    untested: [],
    filtered: false,
    expected: new Map(),
    ...evidence,
  });
  return [verdict, conformance, exitCode];
}

describe("a campaign concludes", () => {
  test.each<[string, Partial<Evidence>, unknown[]]>([
    ["all passed", { results: results("PASS", "PASS") }, ["PASS", "conformant", 0]],
    ["one failed", { results: results("PASS", "FAIL", "INCONC") }, ["FAIL", "non-conformant", 1]],
    ["one inconclusive", { results: results("PASS", "INCONC") }, ["INCONC", "inconclusive", 2]],
    ["a fault of the kit, whatever else", { results: results("FAIL", "ERROR") }, ["ERROR", "undetermined", 3]],
    ["nothing selected", {}, [null, "undetermined", 3]],
    ["nothing selected by a filter", { selection: filteredOut, filtered: true }, [null, "undetermined", 3]],
    [
      "a finding of the static review",
      { results: results("PASS"), findings: [finding] },
      ["FAIL", "non-conformant", 1],
    ],
    ["a finding, nothing run", { findings: [finding] }, ["FAIL", "non-conformant", 1]],
    ["an item untested", { results: results("PASS"), untested: ["TV2"] }, ["PASS", "partial", 2]],
    ["a purpose out of reach", { results: results("PASS"), selection: outOfReach }, ["PASS", "partial", 2]],
    ["a filter", { results: results("PASS"), selection: filteredOut, filtered: true }, ["PASS", "partial", 0]],
    ["a failure expected", { results: results("FAIL", "PASS"), expected: first }, ["FAIL", "non-conformant", 0]],
    [
      "a failure expected, and a purpose out of reach",
      { results: results("FAIL"), expected: first, selection: outOfReach },
      ["FAIL", "non-conformant", 2],
    ],
    [
      "a failure expected, under a filter",
      { results: results("FAIL"), expected: first, selection: filteredOut, filtered: true },
      ["FAIL", "non-conformant", 0],
    ],
    ["another beside it", { results: results("FAIL", "FAIL"), expected: first }, ["FAIL", "non-conformant", 1]],
    ["a stale expectation", { results: results("PASS", "PASS"), expected: first }, ["PASS", "conformant", 4]],
    [
      "a stale one beside a failure that nobody expected",
      { results: results("PASS", "FAIL"), expected: first },
      ["FAIL", "non-conformant", 1],
    ],
    ["a stale one and a fault", { results: results("PASS", "ERROR"), expected: first }, ["ERROR", "undetermined", 3]],
    ["an expected one unreachable", { results: results("INCONC"), expected: first }, ["INCONC", "inconclusive", 2]],
  ])("%s", (_, evidence, wanted) => {
    expect(concluded(evidence)).toEqual(wanted);
  });

  test("with reasons wherever it is not conformant", () => {
    const all = { selection: outOfReach, results: results("PASS"), findings: [], untested: ["TV2"], filtered: false };
    const { reasons } = conclude({ ...all, expected: new Map() });
    expect(reasons).toEqual([expect.stringMatching(/out of reach.*BI-01/), "claimed and not tested: TV2"]);
  });
});

describe("expected failures", () => {
  const known = new Set(["TP/KSS/TV/BV-00", "TP/KSS/TV/BV-01"]);
  async function read(text: string) {
    const folder = await mkdtemp(join(tmpdir(), "x1410-expected-"));
    try {
      await writeFile(join(folder, "list"), text);
      return await readExpectedFailures(join(folder, "list"), known);
    } finally {
      await rm(folder, { recursive: true });
    }
  }

  test("are read with their remarks", async () => {
    const list = await read("# ours\n\nTP/KSS/TV/BV-00   # issue 7\nTP/KSS/TV/BV-01\n");
    expect([...list]).toEqual([
      ["TP/KSS/TV/BV-00", "issue 7"],
      ["TP/KSS/TV/BV-01", ""],
    ]);
  });

  test("of another suite are refused with their line", async () => {
    await expect(read("\nTP/KSS/TV/BV-77")).rejects.toThrow(/list:2: TP\/KSS\/TV\/BV-77 is no purpose of this suite/);
    await expect(readExpectedFailures("/nowhere/list", known)).rejects.toThrow(/cannot read .*ENOENT/);
  });
});
