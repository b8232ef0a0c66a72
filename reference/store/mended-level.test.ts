// A database after a write that has failed: nothing more goes into the log that holds a piece of it.
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Level } from "level";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { commit, put, type Store, textTable } from "./durable-batch.ts";
import { MendedLevel } from "./mended-level.ts";

let folder: string;
let db: MendedLevel;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "x1410-mended-"));
  db = new MendedLevel(join(folder, "db"));
  await db.open();
});
afterEach(async () => {
  vi.restoreAllMocks();
  vi.useRealTimers();
  await db.close();
  rmSync(folder, { recursive: true });
});

const logs = () => readdirSync(join(folder, "db")).filter((name) => name.endsWith(".log"));

/** The next write fails; LevelDB would take the one after it into the same log. */
function failOnce(code: string, method: "batch" | "put" | "del" = "batch"): void {
  const failure = Object.assign(new Error("no"), { code });
  vi.spyOn(Level.prototype, method).mockImplementationOnce(() => Promise.reject(failure) as never);
}

test("the next write goes into another log, and parts of parts that there are go on", async () => {
  const part = db.sublevel("part") as Store;
  const below = textTable((part as Level).sublevel("below") as unknown as Store, "table");
  await commit(part, [put(below, "one", "1")]);
  const before = logs();
  failOnce("LEVEL_IO_ERROR");
  await expect(commit(part, [put(below, "two", "2")])).rejects.toThrow("no");
  expect(logs()).toEqual(before);
  expect(await below.get("one")).toBe("1");
  await Promise.all(["three", "four"].map((key) => commit(part, [put(below, key, key)])));
  expect(logs()).not.toEqual(before);
  expect(await below.keys().all()).toEqual(["four", "one", "three"]);
  expect(readdirSync(folder)).toEqual(["db"]);
});

test("a write that was refused for what it is leaves the log as it is", async () => {
  const table = textTable(db as unknown as Store, "table");
  const before = logs();
  failOnce("LEVEL_INVALID_KEY");
  await expect(commit(db as unknown as Store, [put(table, "one", "1")])).rejects.toThrow("no");
  await commit(db as unknown as Store, [put(table, "two", "2")]);
  expect(logs()).toEqual(before);
});

test("a write under way beside one that fails is not acknowledged", async () => {
  const table = textTable(db as unknown as Store, "table");
  failOnce("LEVEL_IO_ERROR");
  const both = await Promise.allSettled(
    ["one", "two"].map((key) => commit(db as unknown as Store, [put(table, key, key)])),
  );
  expect(both.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  await commit(db as unknown as Store, [put(table, "three", "3")]);
  expect(await table.get("three")).toBe("3");
});

test("where it does not open it is tried again, and reads come back by themselves", async () => {
  const table = textTable(db as unknown as Store, "table");
  await commit(db as unknown as Store, [put(table, "one", "1")]);
  failOnce("LEVEL_IO_ERROR");
  await expect(commit(db as unknown as Store, [put(table, "two", "2")])).rejects.toThrow("no");
  vi.spyOn(db, "open").mockRejectedValueOnce(new Error("not yet"));
  await expect(commit(db as unknown as Store, [put(table, "two", "2")])).rejects.toThrow("not yet");
  await expect(table.get("one")).rejects.toMatchObject({ code: "LEVEL_DATABASE_NOT_OPEN" });
  await expect.poll(() => table.get("one").catch(() => ""), { interval: 20, timeout: 10_000 }).toBe("1");
});

test.each(["put", "del"] as const)(
  "a %s that fails is mended as a batch is, of the whole and of a part",
  async (method) => {
    const table = textTable(db as unknown as Store, "table");
    const change = (key: string) => (method === "put" ? table.put(key, key) : table.del(key));
    const before = logs();
    failOnce("LEVEL_IO_ERROR", method);
    await expect(change("one")).rejects.toThrow("no");
    expect(logs()).toEqual(before);
    await change("two");
    const after = logs();
    expect(after).not.toEqual(before);
    failOnce("LEVEL_IO_ERROR", method);
    await expect(method === "put" ? db.put("one", "1") : db.del("one")).rejects.toThrow("no");
    await db.put("two", "2");
    expect(logs()).not.toEqual(after);
    expect(await db.get("two")).toBe("2");
  },
);

test("a write after the end does not open it again, though one has failed before", async () => {
  failOnce("LEVEL_IO_ERROR");
  await expect(db.batch([{ type: "put", key: "one", value: "1" }])).rejects.toThrow("no");
  await db.close();
  await expect(db.put("one", "1")).rejects.toMatchObject({ code: "LEVEL_DATABASE_NOT_OPEN" });
  expect(db.status).toBe("closed");
});

test("one that ends while a write is about to mend it stays closed", async () => {
  failOnce("LEVEL_IO_ERROR");
  await expect(db.batch([{ type: "put", key: "one", value: "1" }])).rejects.toThrow("no");
  const opened = vi.spyOn(db, "open");
  const write = db.put("one", "1");
  await Promise.all([expect(write).rejects.toMatchObject({ code: "LEVEL_DATABASE_NOT_OPEN" }), db.close()]);
  expect([db.status, opened.mock.calls]).toEqual(["closed", []]);
});

test("once a write has mended it, it is not opened again by the attempt that was to come; where that write fails, it is", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  failOnce("LEVEL_IO_ERROR", "put");
  await expect(db.put("one", "1")).rejects.toThrow("no");
  const opened = vi
    .spyOn(db, "open")
    .mockRejectedValueOnce(new Error("not yet"))
    .mockRejectedValueOnce(new Error("nor now"));
  await expect(db.put("one", "1")).rejects.toThrow("not yet");
  expect(vi.getTimerCount()).toBe(1);
  await expect(db.put("one", "1")).rejects.toThrow("nor now");
  expect(vi.getTimerCount()).toBe(1);
  mkdirSync(join(folder, "room"));
  await expect(db.put("one", "1")).rejects.toThrow("directory");
  expect(vi.getTimerCount()).toBe(1);
  rmSync(join(folder, "room"), { recursive: true, force: true });
  await db.put("one", "1");
  expect([vi.getTimerCount(), opened.mock.calls.length]).toEqual([0, 3]);
});
