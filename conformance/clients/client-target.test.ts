import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { campaign as isCampaign, seededShare } from "../../tools/seeded-share.ts";
import { campaign } from "../campaign.ts";
import { recompute } from "../evidence/recomputation.ts";
import { purposesOf } from "../mutants/client-mutants.ts";
import type { Report } from "../report/report.ts";
import { parseReport, reportJson } from "../report/report-json.ts";
import type { ClientRole } from "../target.ts";
import { clientRoleOf, openClientTarget, readClientSettings } from "./client-target.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "x1410-client-target-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function targetFile(text: string): string {
  const path = join(folder, "target.yaml");
  writeFileSync(path, text);
  return path;
}

describe("a target file", () => {
  test("names the role, its commands and their time", async () => {
    const path = targetFile(
      "name: ours\nunderTest: data-consumer\ncommands: { access: 'get {contract} {output}' }\nixit: { commandSeconds: 5 }\n",
    );
    expect(await clientRoleOf(path)).toBe("dc");
    expect(await readClientSettings(path)).toEqual({
      name: "ours",
      role: "dc",
      commands: { access: "get {contract} {output}" },
      commandSeconds: 5,
    });
  });

  test("of servers names no role of a user", async () => {
    expect(await clientRoleOf(targetFile("entities: {}\n"))).toBeUndefined();
  });

  test.each([
    ["underTest: data-broker\ncommands: { access: x }\n", /underTest must be one of data-provider, data-consumer/],
    ["underTest: dc\ncommands: { search: x }\n", /commands\.access is missing: access the data behind/],
    ["underTest: dp\ncommands: { access: x }\n", /commands\.access is unknown; known here: publish,/],
    ["underTest: dc\ncommands: { access: 'get {contarct}' }\n", /commands\.access: \{contarct\} is no placeholder/],
    ["underTest: dc\ncommands: { access: x }\nixit: { commandSeconds: 0 }\n", /commandSeconds must be a number from 1/],
  ])("%s is refused", async (text, message) => {
    await expect(readClientSettings(targetFile(text))).rejects.toThrow(message);
  });
});

async function conducted(role: ClientRole, command: string | undefined, ids: readonly string[]): Promise<Report> {
  const options = { client: "grpc", seed: "1", recordBytes: 16 * 1024, pics: [], file: undefined } as const;
  const { stage, pics, close } = await openClientTarget({ ...options, role, command });
  try {
    return await campaign(stage, {
      purposes: purposesOf(role).filter(({ id }) => ids.includes(id)),
      filters: {},
      pics,
      expectedFailures: new Map(),
      parallel: 2,
      budgetMs: 600_000,
      reproduce: (id) => id,
    });
  } finally {
    await close();
  }
}

describe("the reference's own commands", () => {
  test.each(["dp", "dc"] as const)("as %s pass, and nothing is left", { timeout: 600_000 }, async (role) => {
    const ids = purposesOf(role).map(({ id }) => id);
    const quick = ids.filter((id) => !id.includes("/AAC/"));
    const report = await conducted(role, undefined, isCampaign ? ids : seededShare(quick, 1, role));
    const others = report.results.filter(({ verdict }) => verdict !== "PASS");
    expect(others.map(({ id, verdict, expected, actual }) => ({ id, verdict, expected, actual }))).toEqual([]);
    expect([report.results.length > 0, report.leftBehind, report.outOfReach]).toEqual([true, [], []]);
    if (isCampaign) expect([report.conformance, report.exitCode]).toEqual(["conformant", 0]);
    expect(parseReport(reportJson(report))).toEqual(report);
    // What a seal attests follows from the report alone.
    const tried = new Set(report.results.map(({ id }) => id));
    expect(() =>
      recompute(
        report,
        purposesOf(role).filter(({ id }) => tried.has(id)),
      ),
    ).not.toThrow();
  });
});

describe("a command", () => {
  const some = ["TP/DC/F4/BV-01", "TP/DC/DC/BI-10", "TP/DC/DC/BV-08"];

  test("that cannot be run gives no verdict, and what it lacks is out of reach", { timeout: 60_000 }, async () => {
    const { results, outOfReach, exitCode } = await conducted("dc", "x1410-no-such-client {contract}", some);
    expect(results.map(({ id, verdict }) => [id, verdict])).toEqual([
      ["TP/DC/F4/BV-01", "INCONC"],
      ["TP/DC/DC/BI-10", "INCONC"],
    ]);
    expect(results[0]?.actual).toMatch(/^the command "access" cannot be run; its last words: .*not found/);
    expect(outOfReach).toEqual([
      { id: "TP/DC/DC/BV-08", reason: 'needs the client\'s command "search": name it in the target file' },
    ]);
    expect(exitCode).toBe(2);
  });

  test("that claims success and has called nobody fails", { timeout: 60_000 }, async () => {
    const { results } = await conducted("dc", "echo nonsense > {output}", some);
    expect(results.map(({ id, verdict }) => [id, verdict])).toEqual([
      ["TP/DC/F4/BV-01", "FAIL"],
      // Whoever accesses nothing proves nothing by refusing.
      ["TP/DC/DC/BI-10", "INCONC"],
    ]);
    expect(results[0]).toMatchObject({
      expected: "the plaintext that was shared, byte for byte",
      actual: expect.stringMatching(
        /^9 bytes with SHA-256 .*, where \d+ bytes .* were shared; .* byte 0; "access" ended with exit code 0; .*; calls that came: none$/,
      ),
      // The purpose never came to what its likely mistake is about.
      likelyMistake: "",
    });
  });
});
