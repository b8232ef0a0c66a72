// Packages that were stored and are lost, told at the start.
import { rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  alice,
  files,
  folder,
  random,
  register,
  restart,
  serverForEachTest,
  startServer,
  stopServer,
  storageAs,
  stored,
} from "./data-storage-server.fixture.ts";
import { PackageDamage } from "./package-inventory.ts";

serverForEachTest();

/** What the start says; afterwards the server runs again, with what it was given back. */
async function startWithout(damage: () => Promise<void>, mend: () => Promise<void>): Promise<unknown> {
  await stopServer();
  await damage();
  const outcome = await startServer().catch((cause: unknown) => cause);
  await stopServer();
  await mend();
  await startServer();
  return outcome;
}

test("a stored package that is missing, or of another size, keeps the server from starting", async () => {
  const content = random(1_000);
  const packageId = await stored(content);
  const path = join(folder(), packageId);
  const mend = () => writeFile(path, content);
  const missing = await startWithout(() => rm(path), mend);
  expect(missing).toBeInstanceOf(PackageDamage);
  expect((missing as Error).message).toMatch(`${path} is missing; restore it from a copy`);
  const short = await startWithout(() => truncate(path, 999), mend);
  expect((short as Error).message).toMatch("has 999 bytes instead of 1000");
});

test("what was deleted or never stored is not missed", async () => {
  const packageId = await stored(random(1_000));
  await storageAs(alice).deletePackage({ packageId });
  await register();
  expect(await files()).toEqual([]);
  await restart();
});
