import { describe, expect, test } from "vitest";
import { notBegun } from "../execution.ts";
import { purposes } from "../suite.ts";
import { CampaignConsole } from "./campaign-console.ts";
import { sampleReport } from "./report.fixture.ts";
import type { Report, ReportedPurpose } from "./report.ts";

function printed(show: (console: CampaignConsole) => void): string[] {
  const lines: string[] = [];
  show(new CampaignConsole((line) => lines.push(line), false));
  return lines;
}

const some = purposes.slice(0, 40);
const all = (reason: string) => some.map(({ id }) => ({ id, reason }));
const selected = { selected: some, notApplicable: [], outOfReach: [], filtered: [] };

describe("where no purpose is selected", () => {
  const nothing = { ...selected, selected: [] };

  test("says why, once for each reason, with the first ten ids", () => {
    const outOfReach = [...all("no harness"), { id: "TP/X", reason: "no command" }];
    const lines = printed((console) => console.selection({ ...nothing, outOfReach }));
    expect(lines).toHaveLength(4);
    expect(lines[2]).toMatch(/^ {2}40 purposes \((TP\S+, ){9}TP\S+ and 30 more\): no harness$/);
    expect(lines[3]).toBe("  1 purpose (TP/X): no command");
  });

  test("says that the filters fit nothing", () => {
    const lines = printed((console) => console.selection({ ...nothing, filtered: ["TP/X"] }));
    expect(lines.at(-1)).toMatch(/no purpose fits the filters/);
  });

  test("and says nothing of it otherwise", () => {
    expect(printed((console) => console.selection({ ...selected, outOfReach: all("no harness") }))).toHaveLength(1);
  });
});

test("what was never begun for one cause is told once, with the count", () => {
  const cause = "nobody listens at 127.0.0.1:7411";
  const results = sampleReport()
    .results.slice(0, 40)
    .map((each) => ({ ...each, verdict: "INCONC" as const, actual: cause }));
  const lines = printed((console) => {
    console.selection(selected);
    for (const each of some) console.result(notBegun(each, cause), each);
    console.summary(sampleReport({ results, reasons: [] }));
  });
  expect(lines.filter((line) => line.includes(cause))).toHaveLength(2);
  expect(lines).toContainEqual(expect.stringMatching(/^INCONC 40 purposes \(.* and 30 more\), all for one cause$/));
});

test("causes that differ are told each", () => {
  const results = sampleReport()
    .results.slice(0, 3)
    .map((each, place) => ({ ...each, verdict: "INCONC" as const, actual: `cause ${place}` }));
  const lines = printed((console) => console.summary(sampleReport({ results })));
  expect(lines.filter((line) => line.startsWith("INCONC"))).toHaveLength(3);
});

test.each<[string, number, RegExp]>([
  ["ten", 10, /^ {2}claimed and not tested: (I\d+, ){9}I9$/],
  [
    "hundreds of",
    232,
    /^ {2}claimed and not tested: 232, (I\d+, ){9}I9 and 222 more: the JSON report \(--json\) has all$/,
  ],
])("%s items of a reason", (_, count, wanted) => {
  const items = Array.from({ length: count }, (__, place) => `I${place}`);
  const reasons: Report["reasons"] = [`claimed and not tested: ${items.join(", ")}`];
  const lines = printed((console) => console.summary(sampleReport({ results: [], reasons })));
  expect(lines.filter((line) => line.includes("claimed and not tested"))).toEqual([expect.stringMatching(wanted)]);
});

describe("a failure teaches", () => {
  const failed = sampleReport().results.find(
    ({ verdict, capabilities, messages }) => verdict === "FAIL" && capabilities.includes("AAC1") && messages.length > 0,
  ) as ReportedPurpose;
  const explained = (changes: Partial<ReportedPurpose>) =>
    printed((console) => console.summary(sampleReport({ results: [{ ...failed, ...changes }] })));

  test("the requirement, what came, the TLS facts, the last messages, the likely mistake and the command", () => {
    const lines = explained({ actual: "TLS 1.2", likelyMistake: "a default" });
    for (const wanted of [
      /^ {2}clause {10}7\.2\.5$/,
      /^ {2}requirement {5}AAC1 \S/,
      /^ {2}expected {8}\S/,
      /^ {2}actual {10}TLS 1\.2$/,
      /^ {2}TLS {13}\w+ at 127\.0\.0\.1:\d+ .*TLSv1\.3/,
      /^ {6}> \{"key_id":"0a","access_token":"\[redacted\]"/,
      /^ {2}likely mistake {2}a default$/,
      /^ {2}again {11}npx x1410 conformance run --id /,
    ])
      expect(lines).toContainEqual(expect.stringMatching(wanted));
  });

  test("in a few lines, however many and long the messages", () => {
    const [call] = failed.messages;
    if (call === undefined) throw new Error("the sample has a message");
    const messages = Array.from({ length: 50 }, () => ({ ...call, requests: [{ text: "x".repeat(10_000) }] }));
    const long = explained({ messages }).filter((line) => line.includes("xxx"));
    expect(long).toHaveLength(2);
    expect(Math.max(...long.map(({ length }) => length))).toBeLessThan(300);
  });

  test("once, where several fail for one cause that no mistake of their own explains", () => {
    const results = ["TP/KSS/KSM/BV-01", "TP/KSS/KSM/BV-02"].map((id) => {
      const actual = "RegisterKey to kss: UNIMPLEMENTED without a reason";
      return { ...failed, id, actual, likelyMistake: "" };
    });
    const lines = printed((console) => console.summary(sampleReport({ results })));
    expect(lines.filter((line) => line.includes("UNIMPLEMENTED"))).toHaveLength(1);
    expect(lines).toContainEqual(expect.stringMatching(/^FAIL {3}2 purposes \(.*\), all for one cause$/));
  });
});

test("a part that somebody chose and that passed is said to be that, and not what else is claimed", () => {
  const reasons = ["9 purposes left out by the filters", "claimed and not tested: KSM1, KSM2"];
  const part = { ...sampleReport(), results: [], verdict: "PASS", conformance: "partial", reasons } as const;
  const told = (report: Report) => printed((console) => console.summary(report)).join("\n");
  expect(told(part)).toMatch(
    /\n {2}9 purposes left out by the filters\nVerdict: PASS, partial: the selected purposes passed; no claim, after/,
  );
  expect(told(part)).not.toContain("claimed and not tested");
  expect(told({ ...part, run: { ...part.run, filtered: false } })).toContain(
    "claimed and not tested: KSM1, KSM2\nVerdict: PASS, partial, after",
  );
});
