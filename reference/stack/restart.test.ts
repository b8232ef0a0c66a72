// What a further start takes over from the former one, and what it refuses to make anew.
import { appendFileSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";
import { silentLog } from "../communications/log.ts";
import { DataDirectoryError } from "./data-directory.ts";
import { launchHere } from "./one-process.ts";
import { startStack } from "./stack.ts";

const folder = mkdtempSync(join(tmpdir(), "x1410-restart-"));
const dataDirectory = join(folder, "data");
const start = () =>
  startStack(
    {
      dataDirectory,
      host: "127.0.0.1",
      basePort: 0,
      ledgerNodes: 1,
      revocationRefreshMs: 60_000,
      introspection: "off",
      log: silentLog,
    },
    launchHere,
  );
beforeAll(async () => {
  await (await start()).close();
}, 60_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("what was added to the target file stays, comments too; endpoints are those of now", async () => {
  const file = join(dataDirectory, "target.yaml");
  const former = parse(readFileSync(file, "utf8"));
  // At the end of the file the ixit stands; an own one and a top-level member.
  appendFileSync(file, "  callTimeoutSeconds: 20 # a slow machine\npics: mine.yaml\n");
  const stack = await start();
  const text = readFileSync(file, "utf8");
  await stack.close();
  const now = parse(text);
  expect(now).toMatchObject({ ixit: { crlRefreshSeconds: 60, callTimeoutSeconds: 20 }, pics: "mine.yaml" });
  expect(text).toContain("# a slow machine");
  expect(now.entities.dssm.endpoint).toBe(stack.entities.find(({ kind }) => kind === "dssm")?.endpoint);
  expect(now.entities.dssm.endpoint).not.toBe(former.entities.dssm.endpoint);
});

test.each(["", "intermediate", "root"])("a PKI that is lost is not made anew: pki/%s", async (part) => {
  const path = join(dataDirectory, "pki", part);
  const aside = join(folder, "aside");
  renameSync(path, aside);
  const refused = await start().then(
    () => undefined,
    (cause: unknown) => cause,
  );
  renameSync(aside, path);
  expect(refused).toBeInstanceOf(DataDirectoryError);
  expect((refused as Error).message).toMatch(/pki.* is missing.*restore it from a copy/);
  await (await start()).close();
});
