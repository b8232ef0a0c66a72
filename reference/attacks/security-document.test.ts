// docs/security.md promises tests by file and name; each of them exists.
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const docs = new URL("../../docs/", import.meta.url);
const text = readFileSync(new URL("security.md", docs), "utf8");
const proofs = [...text.matchAll(/\[([^\]]+)\]\((\S+\.test\.ts)\)/g)].map(([, name = "", file = ""]) => ({
  name,
  file,
}));

test("every proof that the document names is there", () => {
  expect(proofs.length).toBeGreaterThan(80);
  const missing = proofs.filter(({ name, file }) => {
    const path = fileURLToPath(new URL(file, docs));
    return !existsSync(path) || !readFileSync(path, "utf8").includes(name);
  });
  expect(missing).toEqual([]);
});
