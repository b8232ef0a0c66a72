import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { EntityProcesses } from "../reference/stack/split-processes.ts";
import { campaign as isCampaign, seededShare } from "../tools/seeded-share.ts";
import { ROOT } from "../tools/toolchain.ts";
import { campaign } from "./campaign.ts";
import type { ClientStack } from "./channels.ts";
import { referenceSubset, subsets } from "./reference-subsets.ts";
import { parseReport, reportJson } from "./report/report-json.ts";
import { Stage } from "./stage.ts";
import { purposes } from "./suite.ts";
import type { EntityRole } from "./target.ts";

/** True in continuous integration, which takes the time for processes. */
const isPairwise = process.env["X1410_PAIRWISE"] === "1";

/** Purposes for each subset and client stack; the campaign has all of them. */
const SHARE = 16;

type Form = "in one process" | "each in a process of its own";

async function conducted(roles: readonly EntityRole[], client: ClientStack, form: Form) {
  const within = purposes.filter(
    ({ involves }) => involves.length > 0 && involves.every((role) => roles.some((one) => one === role)),
  );
  const command = [join(ROOT, "bin", "x1410.js"), "entity"];
  const processes = form === "in one process" ? undefined : new EntityProcesses(command, 0);
  const reference = await referenceSubset(roles, processes && { launch: processes.launch });
  try {
    const stage = new Stage(reference.settings, reference.harness, { client, seed: "1", recordBytes: 64 * 1024 });
    return await campaign(stage, {
      purposes: seededShare(within, SHARE, `${roles} ${client}`),
      filters: {},
      pics: reference.pics,
      expectedFailures: new Map(),
      // A machine that does other work as well is not to decide.
      parallel: isCampaign ? 8 : 4,
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
  const combinations = subsets.flatMap((roles, index) => {
    const [client, other]: readonly ClientStack[] = index % 2 === 0 ? ["grpc", "connect"] : ["connect", "grpc"];
    const [here, apart]: readonly Form[] = ["in one process", "each in a process of its own"];
    // Every subset over every client stack and in every form, and every client stack with every form.
    const pairwise = [
      [client, here],
      [other, apart],
    ];
    const rest = [
      [client, apart],
      [other, here],
    ];
    // Without either the whole stack is judged on the command line, and each other subset by one combination.
    const chosen = isCampaign
      ? [...pairwise, ...rest]
      : isPairwise
        ? pairwise
        : pairwise.slice(0, roles.length < 3 ? 1 : 0);
    return chosen.map(([client, form]) => [roles.join(" and "), client as ClientStack, form as Form, roles] as const);
  });
  test.each(combinations)(
    "as %s over %s, %s, and nothing is left on it",
    { timeout: isCampaign ? 300_000 : 60_000 },
    async (_, client, form, roles) => {
      const report = await conducted(roles, client, form);
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
