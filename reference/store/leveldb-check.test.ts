// The check against databases that LevelDB itself wrote: whole ones pass, whatever is altered is found, and nothing is changed by looking.
import { randomBytes } from "node:crypto";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Level } from "level";
import { afterAll, beforeAll, expect, test } from "vitest";
import { crc32c } from "./crc32c.ts";
import { checkDatabase, DatabaseDamage } from "./leveldb-check.ts";
import { snappyUncompress } from "./snappy.ts";

let folder: string;
/** Two tables, one of them compressed, and a log of several blocks. */
let database: string;

async function filled(path: string, rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const db = new Level<string, string>(path);
    await db.open();
    for (let at = 0; at < 300; at++) {
      const value = at % 2 === 0 ? randomBytes(150).toString("base64") : "the same again and again ".repeat(12);
      await db.batch([
        { type: "put", key: `${round} ${at}`, value },
        { type: "del", key: `${round - 1} ${at}` },
      ]);
    }
    await db.close();
  }
}

function copied(): string {
  const copy = join(folder, randomBytes(6).toString("hex"));
  cpSync(database, copy, { recursive: true });
  return copy;
}

const contents = (path: string) =>
  new Map(readdirSync(path).map((name) => [name, readFileSync(join(path, name)).toString("base64")]));

const dataFiles = () => readdirSync(database).filter((name) => /ldb$|^\d+\.log$|^MANIFEST|^CURRENT$/.test(name));

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "x1410-leveldb-"));
  database = join(folder, "whole");
  await filled(database, 3);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("CRC-32C and Snappy give the published values", () => {
  expect(crc32c(Buffer.from("123456789"))).toBe(0xe3069283);
  expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa);
  expect(crc32c(Buffer.from("456789"), crc32c(Buffer.from("123")))).toBe(0xe3069283);
  // A literal, then a copy that overlaps itself.
  const compressed = Uint8Array.from([10, 0x04, 0x61, 0x62, 0x11, 0x02]);
  expect(Buffer.from(snappyUncompress(compressed)).toString()).toBe("ababababab");
  expect(() => snappyUncompress(Uint8Array.from([4, 0x01, 0x05]))).toThrow(RangeError);
});

test("a database as LevelDB left it passes, and no database does", async () => {
  const before = contents(database);
  await checkDatabase(database);
  await checkDatabase(join(folder, "none"));
  expect(contents(database)).toEqual(before);
  expect([...before.keys()].filter((name) => name.endsWith(".ldb")).length).toBeGreaterThan(0);
});

test("a byte altered anywhere is found, and the file named", async () => {
  for (const name of dataFiles()) {
    const whole = readFileSync(join(database, name));
    const step = Math.max(1, Math.floor(whole.length / 12));
    for (let at = 0; at < whole.length; at += step) {
      // The padding of a table's footer means nothing.
      if (name.endsWith(".ldb") && at >= whole.length - 48 && at < whole.length - 8) continue;
      const copy = copied();
      const altered = Buffer.from(whole);
      altered[at] = (altered[at] ?? 0) ^ 0x55;
      writeFileSync(join(copy, name), altered);
      await expect(checkDatabase(copy), `${name} at ${at}`).rejects.toThrow(DatabaseDamage);
      await expect(checkDatabase(copy)).rejects.toThrow(name === "CURRENT" ? /./ : name);
      expect(readFileSync(join(copy, name)).equals(altered)).toBe(true);
      rmSync(copy, { recursive: true });
    }
  }
});

test("a missing file is found", async () => {
  for (const name of dataFiles()) {
    const copy = copied();
    rmSync(join(copy, name));
    await expect(checkDatabase(copy), name).rejects.toThrow(`${name} is missing`);
  }
});

test("a table or the list of tables cut short is found", async () => {
  for (const name of dataFiles().filter((name) => !name.endsWith(".log"))) {
    const copy = copied();
    const whole = readFileSync(join(copy, name));
    for (const length of [0, whole.length >> 1, whole.length - 1]) {
      writeFileSync(join(copy, name), whole.subarray(0, length));
      await expect(checkDatabase(copy), `${name} to ${length}`).rejects.toThrow(DatabaseDamage);
    }
  }
});

test("without contents, a table's size and presence are checked and nothing in it", async () => {
  const copy = copied();
  const table = join(copy, dataFiles().find((name) => name.endsWith(".ldb")) ?? "");
  const altered = readFileSync(table);
  altered[0] = (altered[0] ?? 0) ^ 0x55;
  writeFileSync(table, altered);
  await checkDatabase(copy, { contents: false });
  writeFileSync(table, altered.subarray(1));
  await expect(checkDatabase(copy, { contents: false })).rejects.toThrow("bytes instead of");
  rmSync(table);
  await expect(checkDatabase(copy, { contents: false })).rejects.toThrow("is missing");
});

test("a log whose last entry a crash cut short passes, as LevelDB recovers it", async () => {
  const copy = copied();
  const log = join(copy, dataFiles().find((name) => name.endsWith(".log")) ?? "");
  const whole = readFileSync(log);
  writeFileSync(log, whole.subarray(0, whole.length - 20));
  await checkDatabase(copy);
  await expect(checkDatabase(copy, { closed: true })).rejects.toThrow(DatabaseDamage);
  writeFileSync(log, Buffer.concat([whole.subarray(0, whole.length - 20), Buffer.alloc(5000)]));
  await checkDatabase(copy);
});

test("the last entry of a log whose length is altered is damage: its checksum fits another length, which no crash brings about", async () => {
  const copy = copied();
  const log = join(copy, dataFiles().find((name) => name.endsWith(".log")) ?? "");
  const whole = readFileSync(log);
  for (let at = whole.length - 400; at < whole.length; at++) {
    for (const mask of [0x01, 0x80]) {
      const altered = Buffer.from(whole);
      altered[at] = (altered[at] ?? 0) ^ mask;
      writeFileSync(log, altered);
      await expect(checkDatabase(copy, { contents: false }), `at ${at}`).rejects.toThrow("is altered at");
    }
  }
});

test("where entries are cut short is answered, also between two pieces of one and in the list of tables; closed in order, it is damage", async () => {
  expect(await checkDatabase(database)).toEqual([]);
  const copy = copied();
  const name = dataFiles().find((name) => name.endsWith(".log")) ?? "";
  const log = join(copy, name);
  const whole = readFileSync(log);
  // A log's block of 32 KiB ends within an entry, of which the first piece is whole.
  writeFileSync(log, whole.subarray(0, 32_768));
  expect(await checkDatabase(copy)).toEqual([expect.stringMatching(`^${name} at \\d+$`)]);
  await expect(checkDatabase(copy, { closed: true })).rejects.toThrow(`${name} is altered at`);
  writeFileSync(log, whole);
  const manifest = dataFiles().find((name) => name.startsWith("MANIFEST")) ?? "";
  const list = readFileSync(join(copy, manifest));
  writeFileSync(join(copy, manifest), Buffer.concat([list, Buffer.from([1, 2, 3])]));
  expect(await checkDatabase(copy)).toEqual([`${manifest} at ${list.length}`]);
  await expect(checkDatabase(copy, { closed: true })).rejects.toThrow(`${manifest} is altered at ${list.length}`);
});
