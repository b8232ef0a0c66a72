import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { createPki } from "../../certs/pki.ts";
import { silentLog } from "../communications/log.ts";
import { DataDirectoryError } from "./data-directory.ts";
import { NetworkDirectory, NetworkFile } from "./network.ts";

const folder = mkdtempSync(join(tmpdir(), "x1410-network-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const path = join(folder, "network.json");
const { chainPem } = createPki(join(folder, "pki")).issueIdentity({ role: "kss", identity: "urn:x1410:entity:kss:a" });

const registered = (directory: NetworkDirectory, name: string) =>
  directory.register({
    identity: `urn:x1410:entity:kss:${name}`,
    endpoint: `127.0.0.1:${7000 + name.charCodeAt(0)}`,
    certificateChainPem: chainPem,
  });

test("other processes see each change of the registry, however soon after the last", () => {
  const directory = new NetworkDirectory({ networkId: "local", quorum: 1, trustAnchors: [] }, path);
  const file = new NetworkFile(path, silentLog);
  for (const name of "abcdefgh") {
    expect(file.has(`urn:x1410:entity:kss:${name}`)).toBe(false);
    registered(directory, name);
    expect(file.entity(`urn:x1410:entity:kss:${name}`)?.endpoint).toBe(`127.0.0.1:${7000 + name.charCodeAt(0)}`);
  }
  expect(file.parameters()).toEqual(directory.parameters());
});

test("garbled meanwhile, what was read before holds; garbled from the start, it is told", () => {
  const directory = new NetworkDirectory({ networkId: "local", quorum: 1, trustAnchors: [] }, path);
  registered(directory, "a");
  const told: string[] = [];
  const file = new NetworkFile(path, {
    ...silentLog,
    error: (event, fields) => told.push(`${event} ${fields?.["file"]}`),
  });
  writeFileSync(path, "{");
  expect(file.has("urn:x1410:entity:kss:a")).toBe(true);
  expect(told).toEqual([`configuration not taken over, the former one holds ${path}`]);
  expect(() => new NetworkFile(path, silentLog)).toThrow(DataDirectoryError);
  rmSync(path);
  expect(file.has("urn:x1410:entity:kss:a")).toBe(true);
  registered(directory, "b");
  expect(file.has("urn:x1410:entity:kss:b")).toBe(true);
});
