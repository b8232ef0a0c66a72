import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { AllowedPartiesSchema, PolicySubmissionSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { StorePackageRequestSchema } from "../../gen/x1410/v1/data_storage_pb.ts";
import { SignedContextSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import { anchor, table } from "./markdown.ts";
import { fieldRules, messageRules } from "./rules.ts";

const folder = join(import.meta.dirname, "../../docs/protocol");
const pages = new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), "utf8")]));

function anchors(page: string): string[] {
  return [...page.matchAll(/^#+ (.+)$/gm)].map(([, heading]) => anchor(heading ?? ""));
}

test("every link between the pages leads to a heading", () => {
  const dead: string[] = [];
  let links = 0;
  for (const [name, text] of pages) {
    for (const [, page, heading] of text.matchAll(/\]\(([a-z0-9-]+\.md|README\.md)?(?:#([^)]+))?\)/g)) {
      links++;
      const target = pages.get(page ?? name);
      if (target === undefined || (heading !== undefined && !anchors(target).includes(heading)))
        dead.push(`${name}: ${page ?? ""}#${heading ?? ""}`);
    }
  }
  expect(dead).toEqual([]);
  expect(links).toBeGreaterThan(500);
});

test("no page has two headings of one name: their anchors would differ from the links", () => {
  for (const [name, text] of pages) {
    const all = anchors(text);
    expect([name, all.filter((each, index) => all.indexOf(each) !== index)]).toEqual([name, []]);
  }
});

test("rules read as words", () => {
  expect(fieldRules(AllowedPartiesSchema.field.countries)).toEqual([
    "at most 256",
    "no two alike",
    "each: `^[A-Z]{2}$`",
  ]);
  expect(fieldRules(SignedContextSchema.field.nonce)).toEqual(["16 bytes"]);
  expect(fieldRules(SignedContextSchema.field.signer)).toEqual(["not empty", "at most 128 characters"]);
  expect(fieldRules(StorePackageRequestSchema.field.data)).toContain("one of `part`");
  expect(messageRules(StorePackageRequestSchema)).toEqual(["one of `part` is set"]);
  expect(messageRules(PolicySubmissionSchema)[0]).toContain("has(this.access_permission)");
});

test("a bar inside a table does not end its cell", () => {
  expect(table(["a"], [["`x|y`"]])).toBe("| a |\n|---|\n| `x\\|y` |");
});
