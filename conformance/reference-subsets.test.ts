import { describe, expect, test } from "vitest";
import { campaign as isCampaign, seededShare } from "../tools/seeded-share.ts";
import { campaign } from "./campaign.ts";
import { referenceSubset, subsets } from "./reference-subsets.ts";
import { parseReport, reportJson } from "./report/report-json.ts";
import { Stage } from "./stage.ts";
import { purposes } from "./suite.ts";
import type { EntityRole } from "./target.ts";

async function conducted(roles: readonly EntityRole[], client: "grpc" | "connect", parallel: number) {
  const reference = await referenceSubset(roles);
  try {
    const stage = new Stage(reference.settings, reference.harness, { client, seed: "1", recordBytes: 64 * 1024 });
    return await campaign(stage, {
      purposes,
      filters: {},
      pics: reference.pics,
      expectedFailures: new Map(),
      parallel,
      budgetMs: 300_000,
      reproduce: (id) => id,
    });
  } finally {
    await reference.close();
  }
}

test("there are seven subsets", () => {
  expect(new Set(subsets.map(String)).size).toBe(7);
});

describe("the reference passes", () => {
  // All in the campaign, two elsewhere; `npm test` has the whole on the command line.
  const parts = [...seededShare(subsets.slice(0, 6), 2), ...(isCampaign ? subsets.slice(6) : [])];
  test.each(parts.map((roles) => [roles.join(" and "), roles] as const))(
    "as %s, and nothing is left on it",
    { timeout: isCampaign ? 300_000 : 120_000 },
    async (_, roles) => {
      const report = await conducted(roles, roles.length % 2 === 0 ? "connect" : "grpc", 8);
      const others = report.results.filter(({ verdict }) => verdict !== "PASS");
      expect(others.map(({ id, verdict, expected, actual }) => ({ id, verdict, expected, actual }))).toEqual([]);
      expect([report.results.length > 0, report.leftBehind, report.outOfReach]).toEqual([true, [], []]);
      expect(report.target.entities.map(({ role, reached }) => [role, reached])).toEqual(
        ["dssm", "kss", "dss"].filter((role) => roles.includes(role as EntityRole)).map((role) => [role, true]),
      );
      expect(parseReport(reportJson(report)).results).toHaveLength(report.results.length);
    },
  );
});
