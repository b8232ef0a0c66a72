// Links in the texts of the repository lead to a file, and to a heading where they name one.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { expect, test } from "vitest";
import { anchor } from "./protocol-docs/markdown.ts";
import { ROOT } from "./toolchain.ts";

const texts = [
  "README.md",
  "CONTRIBUTING.md",
  ...readdirSync(join(ROOT, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => join("docs", name)),
];

function read(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

function hasHeading(path: string, heading: string): boolean {
  return [...read(path).matchAll(/^#+ (.+)$/gm)].some(([, text]) => anchor(text ?? "") === heading);
}

test("every link leads somewhere", () => {
  const dead: string[] = [];
  let links = 0;
  for (const text of texts) {
    // What stands in code is no link.
    const prose = read(text)
      .replace(/^```.*?^```/gms, "")
      .replace(/`[^`\n]*`/g, "");
    for (const [, target = ""] of prose.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      links++;
      const [path = "", heading] = target.split("#");
      const file = path === "" ? text : relative(ROOT, join(ROOT, dirname(text), path));
      const good =
        existsSync(join(ROOT, file)) && (heading === undefined || !file.endsWith(".md") || hasHeading(file, heading));
      if (!good) dead.push(`${text}: ${target}`);
    }
  }
  expect(dead).toEqual([]);
  expect(links).toBeGreaterThan(500);
});
