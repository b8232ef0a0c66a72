// Sessions on a disk that takes no more: who is authenticated may read (AAU1).
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { Level } from "level";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { AccountSchema } from "../../gen/x1410/v1/identity_pb.ts";
import { SESSION_LIFETIME_MS, Sessions } from "./sessions.ts";
import type { Accounts } from "./user-account.ts";

const folder = mkdtempSync(join(tmpdir(), "x1410-sessions-"));
const store = new Level<string, string>(folder);
const accounts = { get: async (identity: string) => create(AccountSchema, { identity }) } as Accounts;
const [identity, binding] = ["urn:x1410:user:alice", "a".repeat(64)];
let nowMs = 0;
let sessions: Sessions;

beforeAll(() => store.open());
beforeEach(() => {
  nowMs = Date.now();
  sessions = new Sessions({ store, accounts, now: () => new Date(nowMs) });
});
afterEach(() => vi.restoreAllMocks());
afterAll(async () => {
  await store.close();
  rmSync(folder, { recursive: true });
});

function diskFull(code = "LEVEL_IO_ERROR"): void {
  vi.spyOn(store, "batch").mockImplementation(
    () => Promise.reject(Object.assign(new Error("full"), { code })) as never,
  );
}

test("a session that cannot be stored works as one that is, until it ends; another fault opens none", async () => {
  const stored = await sessions.open(identity, binding);
  diskFull();
  const held = await sessions.open(identity, binding);
  for (const { secret } of [stored, held]) {
    expect((await sessions.find(secret, binding))?.account.identity).toBe(identity);
    expect(await sessions.find(secret, "b".repeat(64))).toBeUndefined();
  }
  expect(await sessions.end(held.secret, "b".repeat(64))).toBe(false);
  expect(await sessions.end(held.secret, binding)).toBe(true);
  expect(await sessions.find(held.secret, binding)).toBeUndefined();
  const late = await sessions.open(identity, binding);
  nowMs += SESSION_LIFETIME_MS;
  expect(await sessions.find(late.secret, binding)).toBeUndefined();
  diskFull("LEVEL_CORRUPTION");
  await expect(sessions.open(identity, binding)).rejects.toThrow("full");
});

test("a user holds no more of them than of others, and loses them with the account", async () => {
  diskFull();
  const secrets: string[] = [];
  for (let count = 0; count < 65; count++) secrets.push((await sessions.open(identity, binding)).secret);
  const [first = "", second = ""] = secrets;
  expect(await sessions.find(first, binding)).toBeUndefined();
  expect(await sessions.find(second, binding)).toBeDefined();
  vi.restoreAllMocks();
  await sessions.endAll(identity);
  expect(await sessions.find(second, binding)).toBeUndefined();
});
