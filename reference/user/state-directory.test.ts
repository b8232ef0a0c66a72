import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { StateDirectory, StateDirectoryError } from "./state-directory.ts";

const folder = mkdtempSync(join(tmpdir(), "x1410-state-"));
afterAll(() => rmSync(folder, { recursive: true }));
let made = 0;
const fresh = () => StateDirectory.open(join(folder, `state-${made++}`));

test("directories are 0700 and files 0600", () => {
  const state = fresh().directory("inner");
  state.write("entry.json", { a: 1 });
  expect(statSync(state.path).mode & 0o777).toBe(0o700);
  expect(statSync(state.file("entry.json")).mode & 0o777).toBe(0o600);
  expect(state.read("entry.json")).toEqual({ a: 1 });
});

test("a directory open to others is refused", () => {
  const { path } = fresh();
  chmodSync(path, 0o755);
  expect(() => StateDirectory.open(path)).toThrow(/chmod 700/);
});

test("a damaged file is refused and named", () => {
  const state = fresh();
  writeFileSync(state.file("entry.json"), "{");
  expect(() => state.read("entry.json")).toThrow(StateDirectoryError);
  expect(() => state.read("entry.json")).toThrow(/entry\.json is damaged/);
});

test("a claim is granted once, and stays claimed when opened again", () => {
  const state = fresh();
  expect(state.claim("one", {})).toBe(true);
  expect(state.claim("one", {})).toBe(false);
  expect(StateDirectory.open(state.path).claim("one", {})).toBe(false);
});

test("a lock is held by one at a time", () => {
  const state = fresh();
  const lock = state.lock("work");
  expect(lock).toBeDefined();
  expect(state.lock("work")).toBeUndefined();
  lock?.release();
  expect(state.lock("work")).toBeDefined();
});

test("the lock of a running process holds, that of a killed one is taken over", () => {
  const state = fresh();
  writeFileSync(state.file("work.lock"), `${process.ppid}\n`);
  expect(state.lock("work")).toBeUndefined();
  // Beyond the largest process id of Linux.
  writeFileSync(state.file("work.lock"), "4194305\n");
  expect(state.lock("work")).toBeDefined();
});

test("a path that cannot be used is named with a way out", () => {
  const file = join(folder, "file");
  writeFileSync(file, "");
  expect(() => StateDirectory.open(join(file, "state"))).toThrow(/file\/state.*--state/);
});
