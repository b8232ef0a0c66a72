import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLocalJWKSet, jwtVerify, SignJWT } from "jose";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openTokenKeys, TOKEN_ALGORITHM, type TokenKeys } from "./token-keys.ts";

let directory: string;
let time: number;
const now = () => new Date(time);
const open = () => openTokenKeys({ directory, now });

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "x1410-token-keys-"));
  time = Date.parse("2026-01-01T00:00:00Z");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function sign(keys: TokenKeys): Promise<string> {
  const { kid, privateKey } = keys.current();
  return new SignJWT({}).setProtectedHeader({ alg: TOKEN_ALGORITHM, kid }).sign(privateKey);
}

test("what the current key signs verifies with the published set, before and after a rotation", async () => {
  const keys = await open();
  const before = await sign(keys);
  const publishedBefore = createLocalJWKSet(keys.jwks());
  await keys.rotate();
  const after = await sign(keys);
  const published = createLocalJWKSet(keys.jwks());
  await expect(jwtVerify(before, published)).resolves.toBeDefined();
  await expect(jwtVerify(after, published)).resolves.toBeDefined();
  // A server that has cached the older set knows the next key already.
  await expect(jwtVerify(after, publishedBefore)).resolves.toBeDefined();
  expect(keys.jwks().keys).toHaveLength(3);
});

test("a retired key leaves the set when the last token that it signed is long over", async () => {
  const keys = await open();
  const { kid } = keys.current();
  await keys.rotate();
  time += 14 * 60_000;
  expect(keys.jwks().keys.map((key) => key.kid)).toContain(kid);
  time += 60_000;
  expect(keys.jwks().keys.map((key) => key.kid)).not.toContain(kid);
});

test("keys survive a restart, in a file for the owner alone, and no public set carries a private part", async () => {
  const first = await open();
  await first.rotate();
  const again = await open();
  expect(again.current().kid).toBe(first.current().kid);
  expect(again.jwks()).toEqual(first.jwks());
  const file = join(directory, "token-keys.json");
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(again.jwks().keys.every((key) => key.d === undefined)).toBe(true);
  const { retired } = JSON.parse(readFileSync(file, "utf8")) as { retired: { privateKeyPem?: string }[] };
  expect(retired.map((key) => key.privateKeyPem)).toEqual([undefined]);
});

test("rotations at once retire one key each", async () => {
  const keys = await open();
  const first = keys.current().kid;
  await Promise.all([keys.rotate(), keys.rotate(), keys.rotate()]);
  const kids = keys.jwks().keys.map((key) => key.kid);
  expect(new Set(kids).size).toBe(5);
  expect(kids).toContain(first);
});

test("a damaged file is named and its contents are not", async () => {
  await open();
  const file = join(directory, "token-keys.json");
  const content = readFileSync(file, "utf8");
  writeFileSync(file, content.slice(0, 200));
  await expect(open()).rejects.toThrow(/token-keys\.json is damaged/);
  const keys = JSON.parse(content) as { current: unknown; next: { privateKeyPem: string } };
  const swapped = { ...keys, current: { ...(keys.current as object), privateKeyPem: keys.next.privateKeyPem } };
  writeFileSync(file, JSON.stringify(swapped));
  await expect(open()).rejects.toThrow(/damaged/);
  await expect(open()).rejects.not.toThrow(/PRIVATE KEY/);
});
