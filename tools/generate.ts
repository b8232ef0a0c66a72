// Generates everything that is computed from proto/: the types in gen/ and the pages in docs/protocol/.
// With --check it generates aside and names every committed file that differs.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { must, ROOT } from "./toolchain.ts";
import { VALIDATE_MODULE, writeValidateProto } from "./validate-proto.ts";

const GENERATED = ["gen", "docs/protocol"];

export async function generate(): Promise<void> {
  writeValidateProto(VALIDATE_MODULE);
  await must("buf", ["generate"]);
}

/** One line for each generated file that is missing, stale or left over; none where all is current. */
export async function staleFiles(): Promise<string[]> {
  writeValidateProto(VALIDATE_MODULE);
  const aside = mkdtempSync(join(tmpdir(), "x1410-generate-"));
  try {
    await must("buf", ["generate", "-o", aside]);
    return GENERATED.flatMap((folder) =>
      differences(folder, contents(join(ROOT, folder)), contents(join(aside, folder))),
    );
  } finally {
    rmSync(aside, { recursive: true, force: true });
  }
}

function differences(folder: string, committed: Map<string, string>, fresh: Map<string, string>): string[] {
  const lines: string[] = [];
  for (const [name, text] of fresh) {
    if (!committed.has(name)) lines.push(`${folder}/${name} is missing`);
    else if (committed.get(name) !== text) lines.push(`${folder}/${name} is stale`);
  }
  for (const name of committed.keys()) if (!fresh.has(name)) lines.push(`${folder}/${name} comes from no .proto file`);
  return lines;
}

function contents(folder: string): Map<string, string> {
  if (!existsSync(folder)) return new Map();
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(
    files.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return [relative(folder, path), readFileSync(path, "utf8")];
    }),
  );
}

if (import.meta.main) {
  if (process.argv.includes("--check")) {
    const stale = await staleFiles();
    for (const line of stale) console.error(line);
    if (stale.length > 0) {
      console.error("Run `npm run generate` and commit what it changes.");
      process.exitCode = 1;
    }
  } else await generate();
}
