import { randomBytes } from "node:crypto";
import { chmod, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { temporaryDirectory } from "../store/entity.fixture.ts";
import { type KeyBinding, KeyCorruptError, openKekFile, type WrappedKey } from "./key-wrapping.ts";

const binding: KeyBinding = {
  keyId: "0".repeat(32),
  owner: "urn:x1410:user:alice",
  management: "urn:x1410:entity:dssm:one",
};

let time = Date.parse("2026-01-01T00:00:00Z");
const now = () => new Date(time);

let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let path: string;

beforeEach(async () => {
  directory = await temporaryDirectory();
  path = join(directory.path, "keks.json");
});
afterEach(() => directory.remove());

test("a wrapped key is opened under its binding, also after a restart", async () => {
  const key = new Uint8Array(randomBytes(32));
  const wrapped = await openKekFile(path, { create: true, now }).wrap(key, binding);
  expect(JSON.stringify(wrapped)).not.toContain(Buffer.from(key).toString("base64"));
  expect(await openKekFile(path, { create: false, now }).unwrap(wrapped, binding)).toEqual(key);
});

test("the same key wrapped twice looks different", async () => {
  const wrapper = openKekFile(path, { create: true, now });
  const key = new Uint8Array(randomBytes(32));
  const [first, second] = [await wrapper.wrap(key, binding), await wrapper.wrap(key, binding)];
  expect(first.nonce).not.toBe(second.nonce);
  expect(first.sealed).not.toBe(second.sealed);
});

const flip = (base64: string) => {
  const bytes = Buffer.from(base64, "base64");
  bytes.writeUInt8(bytes.readUInt8(0) ^ 1, 0);
  return bytes.toString("base64");
};

test.each<[string, (wrapped: WrappedKey) => WrappedKey, Partial<KeyBinding>]>([
  ["another key id", (wrapped) => wrapped, { keyId: "1".repeat(32) }],
  ["another owner", (wrapped) => wrapped, { owner: "urn:x1410:user:mallory" }],
  ["another management", (wrapped) => wrapped, { management: "urn:x1410:entity:dssm:two" }],
  ["a bit of the ciphertext flipped", (wrapped) => ({ ...wrapped, sealed: flip(wrapped.sealed) }), {}],
  ["a bit of the nonce flipped", (wrapped) => ({ ...wrapped, nonce: flip(wrapped.nonce) }), {}],
  ["the tag cut off", (wrapped) => ({ ...wrapped, sealed: wrapped.sealed.slice(0, 40) }), {}],
  ["nothing but a short tag", (wrapped) => ({ ...wrapped, sealed: "AAAA" }), {}],
  ["an unknown key-encryption key", (wrapped) => ({ ...wrapped, kekId: "f".repeat(16) }), {}],
  ["another version", (wrapped) => ({ ...wrapped, version: 2 }), {}],
])("%s is found out", async (_what, alter, other) => {
  const wrapper = openKekFile(path, { create: true, now });
  const wrapped = await wrapper.wrap(randomBytes(32), binding);
  await expect(wrapper.unwrap(wrapped, binding)).resolves.toHaveLength(32);
  await expect(wrapper.unwrap(alter(wrapped), { ...binding, ...other })).rejects.toThrow(KeyCorruptError);
});

test("after a rotation new wraps are under the new key and old ones still open, until their key is retired", async () => {
  const wrapper = openKekFile(path, { create: true, now });
  const former = wrapper.currentKekId();
  const key = new Uint8Array(randomBytes(32));
  const old = await wrapper.wrap(key, binding);
  const current = await wrapper.rotate();
  expect(current).not.toBe(former);
  expect((await wrapper.wrap(key, binding)).kekId).toBe(current);
  const reopened = openKekFile(path, { create: false, now });
  expect(reopened.currentKekId()).toBe(current);
  expect(await reopened.unwrap(old, binding)).toEqual(key);
  await expect(reopened.retire(current)).rejects.toThrow("current");
  await reopened.retire(former);
  expect(reopened.kekIds()).toEqual([current]);
  await expect(reopened.unwrap(old, binding)).rejects.toThrow(KeyCorruptError);
  expect(openKekFile(path, { create: false, now }).kekIds()).toEqual([current]);
});

test("when a key became the current one is remembered; of a file that does not say it, that it is not known", async () => {
  const made = time;
  const wrapper = openKekFile(path, { create: true, now });
  const former = wrapper.currentKekId();
  time += 1_000;
  expect(openKekFile(path, { create: false, now }).rotatedAt()).toBe(made);
  await wrapper.rotate();
  time += 1_000;
  await wrapper.retire(former);
  expect(openKekFile(path, { create: false, now }).rotatedAt()).toBe(made + 1_000);
  await writeFile(path, (await readFile(path, "utf8")).replace(/"rotatedAt":\d+,/, ""));
  expect(openKekFile(path, { create: false, now }).rotatedAt()).toBeUndefined();
});

test("the file is for its owner only", async () => {
  openKekFile(path, { create: true, now });
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  await chmod(path, 0o640);
  expect(() => openKekFile(path, { create: true, now })).toThrow("chmod 600");
});

test("a missing file is not replaced where keys depend on it", () => {
  expect(() => openKekFile(path, { create: false, now })).toThrow("restore it");
});

test.each([
  ["no JSON", () => "{"],
  ["a short key", (content: string) => content.replace(/"[A-Za-z0-9+/]{40,}=*"/, '"AAAA"')],
  ["no current key", (content: string) => content.replace(/"current":"[0-9a-f]+"/, '"current":"x"')],
])("a damaged file stops the start and is not quoted: %s", async (_what, damage) => {
  openKekFile(path, { create: true, now });
  const damaged = damage(await readFile(path, "utf8"));
  await writeFile(path, damaged);
  expect(() => openKekFile(path, { create: true, now })).toThrow(`${path} is damaged: restore it from its backup`);
  expect(await readFile(path, "utf8")).toBe(damaged);
});
