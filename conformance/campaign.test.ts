import { describe, expect, test } from "vitest";
import { type CampaignOptions, campaign } from "./campaign.ts";
import { allBut } from "./pics.ts";
import { parseReport, reportJson } from "./report/report-json.ts";
import { authorityForTests, blackHole, NOWHERE, stageAt } from "./stage.fixture.ts";
import { purposes, suiteHash } from "./suite.ts";
import { defaultIxit } from "./target.ts";

authorityForTests();

const options: CampaignOptions = {
  purposes,
  filters: {},
  pics: [],
  expectedFailures: new Map(),
  parallel: 8,
  budgetMs: 60_000,
  reproduce: (id) => `again ${id}`,
};

describe("a campaign against", () => {
  test("nobody is inconclusive, says why, and reports by the schema", async () => {
    const report = await campaign(stageAt(NOWHERE), options);
    expect(report).toMatchObject({ verdict: "INCONC", conformance: "inconclusive", exitCode: 2 });
    expect(report.results.every(({ verdict }) => verdict === "INCONC")).toBe(true);
    expect(report.results[0]).toMatchObject({ actual: expect.stringMatching(/cannot reach .*ECONNREFUSED/) });
    expect(report.suite).toMatchObject({ hash: suiteHash(), purposes: purposes.length });
    expect(report.outOfReach.length).toBeGreaterThan(0);
    expect(parseReport(reportJson(report))).toEqual(report);
  });

  test("a black hole ends within the time of one handshake and its repetition, though it has every purpose before it", async () => {
    const hole = await blackHole();
    const from = performance.now();
    const ixit = { ...defaultIxit, callTimeoutSeconds: 2 };
    const report = await campaign(stageAt(hole.endpoint, { ixit }), options);
    expect(performance.now() - from).toBeLessThan(8_000);
    expect(report).toMatchObject({ verdict: "INCONC", exitCode: 2 });
    expect(report.target.entities).toMatchObject(
      ["dssm", "kss", "dss"].map((role) => ({
        role,
        reached: false,
        problem: expect.stringMatching(/no answer from/),
      })),
    );
    await hole.close();
  });
});

test("a filter that leaves nothing is a fault of whoever runs the kit", async () => {
  const report = await campaign(stageAt(NOWHERE), { ...options, filters: { ids: ["TP/NONE/*"] } });
  expect(report).toMatchObject({ verdict: null, conformance: "undetermined", exitCode: 3 });
});

test("a statement without a mandatory item fails before anything is performed", async () => {
  const pics = [allBut("kss", "ours", new Set(["TV2"]))];
  const report = await campaign(stageAt(NOWHERE), { ...options, pics });
  expect(report).toMatchObject({ conformance: "non-conformant", exitCode: 1, staticReview: [{ item: "TV2" }] });
});
