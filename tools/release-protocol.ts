// Freezes the protocol: writes the descriptor set that `buf breaking` compares every later change with. One file for each released
// version of the package, committed with the release and never changed again.
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { must, ROOT } from "./toolchain.ts";
import { VALIDATE_MODULE, writeValidateProto } from "./validate-proto.ts";

const RELEASED = "proto/released";

/** Path of the descriptor set of the last release, from the repository's root. */
export function lastRelease(): string {
  const [last] = readdirSync(join(ROOT, RELEASED))
    .filter((name) => name.endsWith(".binpb"))
    .sort((a, b) => b.localeCompare(a, "en", { numeric: true }));
  if (last === undefined) throw new Error(`${RELEASED} holds no descriptor set`);
  return `${RELEASED}/${last}`;
}

async function release(replace: boolean): Promise<string> {
  const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
  const path = `${RELEASED}/v${version}.binpb`;
  if (existsSync(join(ROOT, path)) && !replace)
    throw new Error(`${path} exists: raise the version in package.json, or pass --replace if it was never published`);
  mkdirSync(join(ROOT, RELEASED), { recursive: true });
  writeValidateProto(VALIDATE_MODULE);
  await must("buf", ["build", "proto", "--exclude-source-info", "-o", path]);
  return path;
}

if (import.meta.main) {
  try {
    console.log(`wrote ${await release(process.argv.includes("--replace"))}`);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
