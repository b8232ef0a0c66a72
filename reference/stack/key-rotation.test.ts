// Keys of a running stack that are replaced in time or on order, in one process and in many.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test, vi } from "vitest";
import { silentLog } from "../communications/log.ts";
import { ROTATION_ORDER } from "../key-storage-server/server.ts";
import { launchHere } from "./one-process.ts";
import { planEntities } from "./plan.ts";
import { EntityProcesses } from "./split-processes.ts";
import { type StackOptions, startStack } from "./stack.ts";

const folder = mkdtempSync(join(tmpdir(), "x1410-key-rotation-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const command = [fileURLToPath(new URL("../../bin/x1410.js", import.meta.url)), "entity"];

async function start(name: string, { rotation }: Pick<StackOptions, "rotation">, launch = launchHere) {
  const dataDirectory = join(folder, name);
  const options: StackOptions = {
    dataDirectory,
    host: "127.0.0.1",
    basePort: 0,
    ledgerNodes: 1,
    revocationRefreshMs: 60_000,
    introspection: "off",
    log: silentLog,
    ...(rotation && { rotation }),
  };
  const stack = await startStack(options, launch);
  const current = (...path: string[]) => {
    const { current: now } = JSON.parse(readFileSync(join(dataDirectory, ...path), "utf8"));
    return typeof now === "string" ? now : (now.publicJwk.kid as string);
  };
  return {
    close: () => stack.close(),
    order: join(dataDirectory, "kss", ROTATION_ORDER),
    kek: () => current("kss", "key-encryption-keys.json"),
    tokenKey: () => current("dssm", "token-keys", "token-keys.json"),
  };
}

test.each(["in one process", "in many"])("the entities follow the times given to the stack, %s", async (form) => {
  const processes =
    form === "in many" ? new EntityProcesses(command, planEntities({ basePort: 0, ledgerNodes: 1 }).length) : undefined;
  const stack = await start(form, { rotation: { kekMs: 50, tokenKeyMs: 50 } }, processes?.launch);
  try {
    const [kek, tokenKey] = [stack.kek(), stack.tokenKey()];
    await vi.waitFor(() => expect(stack.kek()).not.toBe(kek), 10_000);
    await vi.waitFor(() => expect(stack.tokenKey()).not.toBe(tokenKey), 10_000);
  } finally {
    await stack.close();
    await processes?.close();
  }
});

test("long before that time an order alone replaces the key-encryption key of the running stack", async () => {
  const stack = await start("on order", {});
  try {
    const [kek, tokenKey] = [stack.kek(), stack.tokenKey()];
    writeFileSync(stack.order, "");
    await vi.waitFor(() => expect(existsSync(stack.order)).toBe(false), 10_000);
    expect(stack.kek()).not.toBe(kek);
    expect(stack.tokenKey()).toBe(tokenKey);
  } finally {
    await stack.close();
  }
});
