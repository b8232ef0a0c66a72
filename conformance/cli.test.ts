import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { x1410InProcess } from "../cli/in-process.fixture.ts";
import { frozen } from "./frozen-suite.ts";
import { purposes, suiteVersion } from "./suite.ts";

const kit = (...args: string[]) => x1410InProcess(folder, "conformance", ...args);

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "x1410-kit-cli-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("x1410 conformance", () => {
  test("lists what filters leave, as JSON as well", async () => {
    const listed = purposes.filter(({ entity, kind }) => entity === "KSS" && kind === "BO").map(({ id }) => id);
    const { code, stdout } = await kit("list", "--entity", "kss", "--kind", "BO", "--json");
    const rows = JSON.parse(stdout) as { id: string; expected: string; status: string }[];
    expect([code, rows.map(({ id }) => id)]).toEqual([0, listed]);
    expect(rows[0]).toMatchObject({ status: "M", expected: expect.stringMatching(/^refused: [A-Z_]+ [A-Z_]+$/) });
  });

  test("lists a frozen version with the digest of each purpose, and says which there are", async () => {
    const { code, stdout } = await kit("list", "--frozen");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^TP\/KSS\/TV\/BI-03 +[0-9a-f]{64}$/m);
    expect(stdout).toContain(`${frozen.versions.at(-1)?.sha256}`);
    const unknown = await kit("list", "--frozen", "0.0.0");
    expect([unknown.code === 0, unknown.output]).toEqual([
      false,
      expect.stringMatching(new RegExp(`there is .*${suiteVersion}`)),
    ]);
  });

  test("names what nothing outside can show, with the reason", async () => {
    const { code, stdout } = await kit("list", "--reasons");
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /TokenVerificationService\/VerifyToken +TV, valid behaviour: answers key storage management/,
    );
  });

  test("says by its exit code that there are no gaps", async () => {
    expect(await kit("list", "--gaps")).toMatchObject({ code: 0, stdout: "" });
  });

  test("explains a purpose in full, with its diagram", async () => {
    const { code, stdout } = await kit("explain", "TP/KSS/TV/BI-03");
    expect(code).toBe(0);
    for (const part of [
      "F4.13.1: verifies the token",
      "UNAUTHENTICATED TOKEN_INVALID",
      "positive twin",
      "sequenceDiagram",
    ])
      expect(stdout).toContain(part);
  });

  test("writes a proforma, never over another, and reviews it", async () => {
    const file = join(folder, "pics.yaml");
    expect(await kit("pics", "init", "--entity", "dss", "-o", file)).toMatchObject({ code: 0 });
    expect(await kit("pics", "init", "--entity", "dss", "--out", file)).toMatchObject({ code: 3 });
    expect(await kit("pics", "init", "--entity", "dss", "--output", file)).toMatchObject({ code: 3 });
    const filled = readFileSync(file, "utf8").replaceAll('"?"', "no");
    writeFileSync(file, filled);
    expect(await kit("pics", "review", file)).toMatchObject({ code: 0, stdout: expect.stringContaining("0 findings") });
    writeFileSync(file, filled.replace(/(item: DD2,.*support: )yes/, "$1no"));
    expect(await kit("pics", "review", file)).toMatchObject({ code: 1, stdout: expect.stringContaining("FAIL   DD2") });
  });

  test.each([
    ["no such purpose", ["explain", "TP/KSS/TV/BI-99"], /no test purpose TP\/KSS\/TV\/BI-99/],
    ["no such target", ["run", "--target", "none.yaml"], /cannot read the target file none\.yaml \(ENOENT\)/],
    ["no such part of the reference", ["run", "--reference", "ledger"], /some of dssm,kss,dss/],
    [
      "a folder for a user's side",
      ["harness", "--for", "dc", "--out", "kit"],
      /run --for dc --command .* \(docs\/conformance\/clients\.md\)/,
    ],
    [
      "a target and a part of the reference",
      ["run", "--target", "t.yaml", "--reference", "kss"],
      /--reference.*--target/,
    ],
    ["procedures and ids", ["run", "--procedures", "--id", "TP/KSS/*"], /--procedures.*--id/],
    ["procedures by name and ids", ["run", "--procedure", "F3", "--id", "TP/KSS/*"], /--procedure.*--id/],
    ["a filter that is none", ["list", "--kind", "BX"], /CA, BV, BI, BO/],
    [
      "expected failures of another suite",
      ["run", "--expected-failures", "list.txt"],
      /list\.txt:1: TP\/X is no purpose/,
    ],
  ])("%s is refused in one line, as a fault of configuration", async (_, args, message) => {
    writeFileSync(join(folder, "list.txt"), "TP/X\n");
    const { code, output, stdout } = await kit(...args);
    expect([code, stdout]).toEqual([3, ""]);
    expect(output).toMatch(/^x1410[^\n]+\n$/);
    expect(output).toMatch(message);
  });

  test("never passes where nothing is selected", async () => {
    const { code, stdout } = await kit("run", "--reference", "dss", "--id", "TP/KSS/*");
    expect([code, stdout]).toEqual([3, expect.stringContaining("Verdict: none, undetermined")]);
    expect(stdout).toMatch(/^ {2}Nothing is left to perform:\n {2}\d+ purposes \(.*\): the kss is not under test$/m);
  });

  test("fails on an expectation that has become stale", async () => {
    writeFileSync(join(folder, "stale.txt"), "TP/DSS/DSM/BV-01   # mended long ago\n");
    const args = ["--reference", "dss", "--id", "TP/DSS/DSM/BV-01", "--expected-failures", "stale.txt"];
    const { code, stdout } = await kit("run", ...args);
    expect([code, stdout]).toEqual([4, expect.stringContaining("expected to fail, and passed: TP/DSS/DSM/BV-01")]);
  });
});
