import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { IssuanceLog, type IssuedRecord } from "./issuance-log.ts";

let directory: string;
let path: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "x1410-log-"));
  path = join(directory, "issued.jsonl");
  writeFileSync(path, "");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const record = (serialNumber: string): IssuedRecord => ({
  serialNumber,
  fingerprint: serialNumber.repeat(32),
  profile: "user",
  notBefore: "2026-01-01T00:00:00.000Z",
  notAfter: "2027-01-01T00:00:00.000Z",
  issuedAt: "2026-01-01T00:00:00.000Z",
  certificate: "AA==",
});
const damage = expect.objectContaining({ code: "corrupt_store" });

test("what was appended is there after a restart", () => {
  const log = new IssuanceLog(path);
  log.appendIssued(record("aa"));
  log.appendRevoked({ serialNumber: "aa", reason: "superseded", revokedAt: "2026-02-01T00:00:00.000Z" });
  expect(log.nextCrlNumber()).toMatchObject({ number: 1, revocations: [{ serialNumber: "aa" }] });
  const again = new IssuanceLog(path);
  expect(again.issued("aa")).toEqual(record("aa"));
  expect(again.issued("aa".repeat(32))).toEqual(record("aa"));
  expect(again.revocation("aa")?.reason).toBe("superseded");
  expect(again.nextCrlNumber().number).toBe(2);
});

test("a crash at any octet of the last line loses that line and no other", () => {
  const log = new IssuanceLog(path);
  log.appendIssued(record("aa"));
  const kept = readFileSync(path).byteLength;
  log.appendIssued(record("bb"));
  const whole = readFileSync(path);
  for (let length = kept; length < whole.byteLength; length += 7) {
    writeFileSync(path, whole);
    truncateSync(path, length);
    const again = new IssuanceLog(path);
    expect(again.allIssued().map(({ serialNumber }) => serialNumber)).toEqual(["aa"]);
    again.appendIssued(record("cc"));
    expect(new IssuanceLog(path).allIssued()).toHaveLength(2);
  }
});

test("damage before the end stops the authority", () => {
  const log = new IssuanceLog(path);
  log.appendIssued(record("aa"));
  const content = readFileSync(path, "utf8");
  writeFileSync(path, `${content.slice(0, 10)}\n${content}`);
  expect(() => new IssuanceLog(path)).toThrow(damage);
  writeFileSync(path, `{"event":"forgotten"}\n${content}`);
  expect(() => new IssuanceLog(path)).toThrow(damage);
});

test("a log that became shorter under a running authority is noticed", () => {
  const log = new IssuanceLog(path);
  log.appendIssued(record("aa"));
  truncateSync(path, 0);
  expect(() => log.refresh()).toThrow(damage);
});

test("two holders see each other's entries, and of two revocations the first stands", () => {
  const one = new IssuanceLog(path);
  const other = new IssuanceLog(path);
  one.appendIssued(record("aa"));
  other.refresh();
  expect(other.issued("aa")).toBeDefined();
  one.appendRevoked({ serialNumber: "aa", reason: "keyCompromise", revokedAt: "2026-02-01T00:00:00.000Z" });
  other.appendRevoked({ serialNumber: "aa", reason: "superseded", revokedAt: "2026-02-02T00:00:00.000Z" });
  one.refresh();
  expect(one.revocation("aa")?.reason).toBe("keyCompromise");
  expect(other.revocation("aa")?.reason).toBe("keyCompromise");
  const numbers = [one.nextCrlNumber(), other.nextCrlNumber(), one.nextCrlNumber()].map(({ number }) => number);
  expect(numbers).toEqual([1, 2, 3]);
});

test("an unfinished line of another process is left for later", () => {
  const log = new IssuanceLog(path);
  const line = `${JSON.stringify({ event: "issued", ...record("aa") })}\n`;
  appendFileSync(path, line.slice(0, 20));
  log.refresh();
  expect(log.allIssued()).toHaveLength(0);
  appendFileSync(path, line.slice(20));
  log.refresh();
  expect(log.allIssued()).toHaveLength(1);
});

test("a missing log is an error, not an empty authority", () => {
  expect(() => new IssuanceLog(join(directory, "absent.jsonl"))).toThrow(
    expect.objectContaining({ code: "storage_failed" }),
  );
});
