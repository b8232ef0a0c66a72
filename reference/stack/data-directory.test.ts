import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, test } from "vitest";
import { DataDirectory, DataDirectoryError, openDatabase } from "./data-directory.ts";

const above = mkdtempSync(join(tmpdir(), "x1410-data-directory-"));
afterAll(() => rmSync(above, { recursive: true, force: true }));
let count = 0;
let folder: string;
beforeEach(() => {
  folder = join(above, `${++count}`);
});

async function refused(opened: Promise<unknown>): Promise<string> {
  const error = await opened.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  expect(error).toBeInstanceOf(DataDirectoryError);
  return (error as Error).message;
}

test("one at a time uses it; released, the next may", async () => {
  const first = await DataDirectory.open(folder);
  expect(await refused(DataDirectory.open(folder))).toMatch(`in use by process ${process.pid}; stop it`);
  await first.release();
  await (await DataDirectory.open(folder)).release();
});

test("a PKI made beforehand is welcome, somebody else's files are not, and stay", async () => {
  mkdirSync(join(folder, "pki"), { recursive: true });
  await (await DataDirectory.open(folder)).release();
  const other = join(above, "other");
  mkdirSync(other);
  writeFileSync(join(other, "thesis.txt"), "");
  expect(await refused(DataDirectory.open(other))).toMatch(/it holds thesis.txt but no format.json/);
  expect(readdirSync(other)).toEqual(["thesis.txt"]);
});

test.each([
  ["1\n", /has format 1, this version reads format 2; run the version that wrote it/],
  ["", /format.json is damaged/],
  ["{}", /format.json is damaged/],
])("format %j is refused and left as it is", async (text, message) => {
  mkdirSync(folder);
  writeFileSync(join(folder, "format.json"), text);
  expect(await refused(DataDirectory.open(folder))).toMatch(message);
  expect(readFileSync(join(folder, "format.json"), "utf8")).toBe(text);
});

test("a damaged lock says that it may go", async () => {
  await (await DataDirectory.open(folder)).release();
  writeFileSync(join(folder, "lock", "CURRENT"), "x");
  expect(await refused(DataDirectory.open(folder))).toMatch(/remove its folder lock, which holds no data/);
  rmSync(join(folder, "lock"), { recursive: true });
  await (await DataDirectory.open(folder)).release();
});

async function written(): Promise<string> {
  mkdirSync(folder);
  const { db, close } = await openDatabase(folder);
  for (const key of ["a", "b", "c"]) await db.put(key, key.repeat(100));
  await close();
  return join(folder, "db", readdirSync(join(folder, "db")).find((name) => name.endsWith(".log")) ?? "");
}

test("what is in a database is there again", async () => {
  await written();
  const { db, close } = await openDatabase(folder);
  expect(await db.get("b")).toBe("b".repeat(100));
  await close();
});

test("a database cut short since it was closed is refused, and left as it is", async () => {
  const log = await written();
  const whole = readFileSync(log);
  for (const bytes of [0, 150, whole.length - 1]) {
    writeFileSync(log, whole.subarray(0, bytes));
    expect(await refused(openDatabase(folder))).toMatch(`has ${bytes} bytes instead of ${whole.length}); restore it`);
    expect(readFileSync(log)).toEqual(whole.subarray(0, bytes));
  }
  writeFileSync(log, whole);
  await (await openDatabase(folder)).close();
});

test("a database altered since it was closed is refused, and nothing stays locked", async () => {
  const log = await written();
  const whole = readFileSync(log);
  const altered = Buffer.from(whole);
  altered[150] = (altered[150] ?? 0) ^ 1;
  writeFileSync(log, altered);
  for (let round = 0; round < 2; round++) expect(await refused(openDatabase(folder))).toMatch(/log is altered at/);
  writeFileSync(log, whole);
  await (await openDatabase(folder)).close();
});

test("after a crash, whose last entry is cut short, it opens with what was acknowledged", async () => {
  mkdirSync(folder);
  const running = await openDatabase(folder);
  for (const key of ["a", "b"]) await running.db.put(key, key.repeat(100), { sync: true });
  // What a crash leaves: the files as they are now, of which the last entry was half written.
  const crashed = join(above, "crashed");
  cpSync(folder, crashed, { recursive: true });
  await running.close();
  const log = join(crashed, "db", readdirSync(join(crashed, "db")).find((name) => name.endsWith(".log")) ?? "");
  writeFileSync(log, readFileSync(log).subarray(0, -20));
  const { db, close } = await openDatabase(crashed);
  expect(await db.get("a")).toBe("a".repeat(100));
  expect(await db.get("b")).toBeUndefined();
  await close();
});

test.skipIf(process.platform !== "linux")("a place where nothing can be made is told at once", async () => {
  for (const place of ["/proc/x1410", "/proc/x1410/data"])
    expect(await refused(DataDirectory.open(place))).toMatch(/^cannot use \/proc\/x1410.*; name another with --data$/);
});
