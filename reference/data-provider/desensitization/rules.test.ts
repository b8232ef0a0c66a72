import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { DesensitizationError } from "./desensitization-error.ts";
import { pseudonymizationKeyFile } from "./pseudonymization-key.ts";
import { parseRules, readRules } from "./rule-file.ts";

const directory = mkdtempSync(join(tmpdir(), "x1410-rules-"));
afterAll(() => rmSync(directory, { recursive: true }));

describe("rule files", () => {
  test("the documented example is right, in YAML and as JSON", () => {
    const example = readRules(
      fileURLToPath(new URL("../../../docs/desensitization/example-rules.yaml", import.meta.url)),
    );
    expect(example.rules).toHaveLength(9);
    expect(parseRules(JSON.stringify(example))).toEqual(example);
  });

  test.each([
    ["rules: [", "line 1"],
    ["version: 1\nversion: 1", "line 2"],
    ["version: 2\nrules: []", "version:"],
    ["version: 1\nrules: []", "rules:"],
    ["version: 1\nsalt: x\nrules: [{columns: [a], action: drop}]", "salt:"],
    ["[]", "(top level):"],
    [rule("{action: drop}"), "rules[0]:"],
    [rule("{columns: [], action: drop}"), "rules[0].columns:"],
    [rule("{columns: [3], action: drop}"), "rules[0].columns[0]:"],
    [rule("{columns: [a, a], action: drop}"), "rules[0].columns[1]: another"],
    [rule("{columns: [a], action: hide}"), "rules[0].action:"],
    [rule("{columns: [a], action: drop, optional: 1}"), "rules[0].optional:"],
    [rule("{columns: [a], action: drop, keepFirst: 1}"), "rules[0].keepFirst:"],
    [rule("{columns: [a], action: mask, keepFirst: -1}"), "rules[0].keepFirst:"],
    [rule("{columns: [a], action: mask, keepLast: 1.5}"), "rules[0].keepLast:"],
    [rule("{columns: [a], action: mask, character: xx}"), "rules[0].character:"],
    [rule("{columns: [a], action: pseudonymize, length: 8}"), "rules[0].length:"],
    [rule("{columns: [a], action: pseudonymize, domain: ''}"), "rules[0].domain:"],
    [rule("{columns: [a], action: generalize}"), "rules[0]: exactly one"],
    [rule("{columns: [a], action: generalize, width: 5, prefix: 2}"), "rules[0]: exactly one"],
    [rule("{columns: [a], action: generalize, width: 0}"), "rules[0].width:"],
    [rule("{columns: [a], action: generalize, date: day}"), "rules[0].date:"],
    [rule("{columns: [a], action: generalize, date: year, layout: YY}"), "rules[0].layout:"],
    [rule("{columns: [a], action: generalize, bounds: [1, 1]}"), "rules[0].bounds[1]:"],
    [rule("{columns: [a], action: generalize, prefix: 0}"), "rules[0].prefix:"],
    [rule("{columns: [a], detect: []}"), "rules[0].detect:"],
    [rule("{columns: [a], action: drop, detect: [{kind: card, action: drop}]}"), "rules[0].action:"],
    [rule("{columns: [a], detect: [{kind: iban, action: drop}]}"), "rules[0].detect[0].kind:"],
    [rule("{columns: [a], detect: [{kind: card, action: generalize, prefix: 2}]}"), "rules[0].detect[0].action:"],
    [rule("{columns: [a], detect: [{kind: card, action: drop, country: DE}]}"), "rules[0].detect[0].country:"],
    [rule("{columns: [a], detect: [{kind: phone, action: drop, country: XX}]}"), "rules[0].detect[0].country:"],
    [rule("{columns: [a], detect: [{kind: phone, action: mask, replacement: x}]}"), "rules[0].detect[0].replacement:"],
    [rule("{columns: [a], detect: [{kind: name, action: drop}]}"), "rules[0].detect[0]: columns or paths"],
    ['version: 1\ndelimiter: "ab"\nrules: [{columns: [a], action: drop}]', "delimiter:"],
    ["version: 1\ndelimiter: '\"'\nrules: [{columns: [a], action: drop}]", "delimiter:"],
  ])("refuses %j and names the place", (source, place) => {
    const error = refusalOf(() => parseRules(source));
    expect(error.code).toBe("rule_file");
    expect(error.message).toContain(place);
  });

  test("aliases serve, but not a bomb of them", () => {
    const shared =
      "version: 1\nrules: [{columns: &c [a], action: drop}, {columns: [b], detect: [{kind: name, columns: *c, action: drop}]}]";
    expect(parseRules(shared).rules).toHaveLength(2);
    const bomb = `version: 1\na: &a [x]\nb: &b [${"*a,".repeat(30)}]\nc: &c [${"*b,".repeat(30)}]\nrules: [${"*c,".repeat(30)}]`;
    expect(refusalOf(() => parseRules(bomb)).message).toContain("too many aliases");
  });

  test("a file that is not there", () => {
    expect(refusalOf(() => readRules(join(directory, "none.yaml"))).message).toContain("ENOENT");
  });
});

describe("the key of pseudonyms", () => {
  test("is made once, private, and then stays", () => {
    const path = join(directory, "key");
    const key = pseudonymizationKeyFile(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readFileSync(path, "latin1")).toMatch(/^[0-9a-f]{64}\n$/);
    expect(pseudonymizationKeyFile(path).equals(key)).toBe(true);
  });

  test("is refused where the file holds something else, without naming it", () => {
    const path = join(directory, "short");
    writeFileSync(path, "secret");
    const error = refusalOf(() => pseudonymizationKeyFile(path));
    expect(error.code).toBe("key_file");
    expect(error.message).not.toContain("secret");
    expect(refusalOf(() => pseudonymizationKeyFile(join(directory, "none", "key"))).code).toBe("key_file");
  });
});

function rule(text: string): string {
  return `version: 1\nrules: [${text}]`;
}

function refusalOf(run: () => unknown): DesensitizationError {
  try {
    run();
  } catch (error) {
    if (error instanceof DesensitizationError) return error;
    throw error;
  }
  throw new Error("accepted");
}
