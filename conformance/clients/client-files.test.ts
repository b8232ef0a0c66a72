import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { clientFile } from "./client-files.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "x1410-client-files-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

test("a file's content comes back, and none where there is none", async () => {
  writeFileSync(join(folder, "file"), "plaintext");
  expect(await clientFile(join(folder, "file"))).toEqual(new TextEncoder().encode("plaintext"));
  expect(await clientFile(join(folder, "none"))).toBeUndefined();
});

test.each<[string, (path: string) => unknown]>([
  ["pipe", (path) => execFileSync("mkfifo", [path])],
  ["link", (path) => symlinkSync("/dev/zero", path)],
  ["folder", (path) => mkdirSync(path)],
])("a %s is a deviation, and holds nothing up", async (what, make) => {
  const path = join(folder, what);
  make(path);
  await expect(clientFile(path)).rejects.toThrow(`a regular file at ${path}`);
});

test("a file larger than the kit reads is a deviation", async () => {
  writeFileSync(join(folder, "large"), "12345");
  await expect(clientFile(join(folder, "large"), 4)).rejects.toThrow("at most 4 bytes");
});
