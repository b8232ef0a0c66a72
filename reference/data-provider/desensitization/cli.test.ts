import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { desensitizeCommand } from "./cli.ts";

let directory: string;
const file = (name: string) => join(directory, name);
const text = (name: string) => readFileSync(file(name), "utf8");

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "x1410-desensitize-"));
  writeFileSync(file("rules.yaml"), "version: 1\nrules: [{columns: [a], paths: [$.a], action: pseudonymize}]");
  writeFileSync(file("in.csv"), "a,b\nx,1\n");
});
afterEach(() => rmSync(directory, { recursive: true }));

test("writes output and report; a kept key gives the same tokens again", async () => {
  const common = ["--rules", file("rules.yaml"), "--in", file("in.csv"), "--key", file("key")];
  expect(await x1410(...common, "--out", file("one.csv"), "--report", file("report.json"))).toEqual({
    out: "",
    code: 0,
  });
  const { out } = await x1410(...common, "--out", file("two.csv"));
  expect(text("one.csv")).toMatch(/^a,b\n[0-9a-f]{32},1\n$/);
  expect(text("two.csv")).toBe(text("one.csv"));
  expect(out).toBe("a: pseudonymize, 1 of 1 values changed\n1 records\n");
  expect(JSON.parse(text("report.json"))).toMatchObject({ format: "csv", records: 1, fields: [{ field: "a" }] });
});

test("takes the format from the file's name, or as told", async () => {
  writeFileSync(file("in.jsonl"), '{"a":"x"}\n');
  writeFileSync(file("in.txt"), '{"a":"x"}\n');
  const common = ["--rules", file("rules.yaml"), "--out", file("out")];
  expect((await x1410(...common, "--in", file("in.jsonl"))).code).toBe(0);
  expect(text("out")).toMatch(/^\{"a":"[0-9a-f]{32}"\}\n$/);
  expect((await x1410(...common, "--in", file("in.txt"), "--format", "jsonl", "--force")).code).toBe(0);
});

test("an output file that is there stays, unless it is to be replaced", async () => {
  const args = ["--rules", file("rules.yaml"), "--in", file("in.csv"), "--out", file("out.csv")];
  writeFileSync(file("out.csv"), "mine");
  const refused = await x1410(...args);
  expect([refused.code, refused.out]).toEqual(["x1410.output_exists", expect.stringContaining("--force")]);
  expect(text("out.csv")).toBe("mine");
  expect((await x1410(...args, "--force")).code).toBe(0);
  expect(text("out.csv")).toMatch(/^a,b\n/);
});

test("what is wrong with rules that are not YAML is said in words", async () => {
  writeFileSync(file("rules.yaml"), "version: 1\nrules: [{columns: [a]");
  const { out } = await x1410("--rules", file("rules.yaml"), "--in", file("in.csv"), "--out", file("out.csv"));
  expect(out).toMatch(/line 2 is not YAML: Flow map .* end with a \}/);
});

test.each([
  ["rules: 1", "a,b\nx,1\n", "x1410.rule_file"],
  ["version: 1\nrules: [{columns: [c], action: drop}]", "a,b\nx,1\n", "x1410.missing_column"],
  ["version: 1\nrules: [{columns: [a], action: mask}]", "a,b\nx,1\nx\n", "x1410.malformed_record"],
  ["version: 1\nrules: [{columns: [a], action: mask}]", undefined, "x1410.unreadable_input"],
])("a refusal is one line and leaves no output file (%#)", async (rules, input, code) => {
  writeFileSync(file("rules.yaml"), rules);
  if (input === undefined) rmSync(file("in.csv"));
  else writeFileSync(file("in.csv"), input);
  const refused = await x1410("--rules", file("rules.yaml"), "--in", file("in.csv"), "--out", file("out.csv"));
  expect(refused.code).toBe(code);
  expect(refused.out).toMatch(/^x1410 provider desensitize: .+\n$/);
  expect(existsSync(file("out.csv"))).toBe(false);
  expect(existsSync(file("out.csv.partial"))).toBe(false);
});

test("an output that cannot be written is named as the user named it", async () => {
  writeFileSync(file("rules.yaml"), "version: 1\nrules: [{columns: [a], action: drop}]");
  writeFileSync(file("in.csv"), "a,b\nx,1\n");
  const out = file("absent/out.csv");
  const refused = await x1410("--rules", file("rules.yaml"), "--in", file("in.csv"), "--out", out);
  expect(refused.code).toBe("x1410.storage_failed");
  expect(refused.out).toBe(
    `x1410 provider desensitize: cannot write ${out} (ENOENT); name another --out or --report\n`,
  );
});

async function x1410(...args: string[]): Promise<{ out: string; code: number | string }> {
  let out = "";
  const append = (part: string) => {
    out += part;
  };
  const command = desensitizeCommand().exitOverride().configureOutput({ writeOut: append, writeErr: append });
  try {
    await command.parseAsync(args, { from: "user" });
    return { out, code: 0 };
  } catch (error) {
    return { out, code: (error as { code: string }).code };
  }
}
