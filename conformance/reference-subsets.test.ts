import { describe, expect, test } from "vitest";
import { campaign as isCampaign, seededShare } from "../tools/seeded-share.ts";
import { campaign } from "./campaign.ts";
import type { ClientStack } from "./channels.ts";
import { referenceSubset, subsets } from "./reference-subsets.ts";
import { parseReport, reportJson } from "./report/report-json.ts";
import { Stage } from "./stage.ts";
import { purposes } from "./suite.ts";
import type { EntityRole } from "./target.ts";

/** Purposes for each subset and client stack; the campaign has all of them. */
const SHARE = 16;

async function conducted(roles: readonly EntityRole[], client: ClientStack) {
  const within = purposes.filter(
    ({ involves }) => involves.length > 0 && involves.every((role) => roles.some((one) => one === role)),
  );
  const reference = await referenceSubset(roles);
  try {
    const stage = new Stage(reference.settings, reference.harness, { client, seed: "1", recordBytes: 64 * 1024 });
    return await campaign(stage, {
      purposes: seededShare(within, SHARE, `${roles} ${client}`),
      filters: {},
      pics: reference.pics,
      expectedFailures: new Map(),
      parallel: 8,
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
  const pairs = subsets.flatMap((roles, index) => {
    const both: ClientStack[] = ["grpc", "connect"];
    // Elsewhere the whole subset is judged on the command line, and each other over one of the two.
    return (isCampaign ? both : roles.length === 3 ? [] : [both[index % 2] as ClientStack]).map(
      (client) => [roles.join(" and "), client, roles] as const,
    );
  });
  test.each(pairs)(
    "as %s over %s, and nothing is left on it",
    { timeout: isCampaign ? 300_000 : 60_000 },
    async (_, client, roles) => {
      const report = await conducted(roles, client);
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
