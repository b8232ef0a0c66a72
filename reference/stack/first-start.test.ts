// What a first start leaves: a directory that no repository takes in, or, where the start fails, nothing.
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { silentLog } from "../communications/log.ts";
import { DataDirectory } from "./data-directory.ts";
import { launchHere } from "./one-process.ts";
import { startStack } from "./stack.ts";

const folder = mkdtempSync(join(tmpdir(), "x1410-first-start-"));
const other = createServer();
beforeAll(async () => {
  other.listen(0, "127.0.0.1");
  await once(other, "listening");
});
afterAll(() => {
  other.close();
  rmSync(folder, { recursive: true, force: true });
});

function start(dataDirectory: string) {
  // The certification authority starts first, on the fourth of the ports.
  const basePort = (other.address() as AddressInfo).port - 3;
  const options = { host: "127.0.0.1", ledgerNodes: 1, revocationRefreshMs: 60_000, log: silentLog } as const;
  return startStack({ ...options, dataDirectory, basePort, introspection: "off" }, launchHere);
}

test("a start on a busy port takes a new directory away again, and says which option mends it", async () => {
  const directory = join(folder, "new");
  await expect(start(directory)).rejects.toThrow(/is in use by another process: .*--base-port/);
  expect(existsSync(directory)).toBe(false);
});

test("a directory that was there stays", async () => {
  const directory = join(folder, "present");
  mkdirSync(directory);
  await expect(start(directory)).rejects.toThrow(/--base-port/);
  expect(existsSync(directory)).toBe(true);
});

test("a new directory is nothing for git; what the user writes there later stays", async () => {
  const path = join(folder, "ignored");
  const directory = await DataDirectory.open(path);
  await directory.release();
  expect(readFileSync(join(path, ".gitignore"), "utf8")).toBe("*\n");
  rmSync(join(path, ".gitignore"));
  await (await DataDirectory.open(path)).release();
  expect(existsSync(join(path, ".gitignore"))).toBe(false);
});
