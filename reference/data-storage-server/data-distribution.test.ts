import { type FileHandle, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { bindDirect } from "../communications/direct-binding.ts";
import { silentLog } from "../communications/log.ts";
import { refusalOf } from "../store/entity.fixture.ts";
import { createDataDistribution } from "./data-distribution.ts";
import {
  alice,
  carol,
  clock,
  db,
  distributionAs,
  dssm,
  fetched,
  fetching,
  folder,
  MIB,
  mallory,
  random,
  register,
  serverForEachTest,
  sha256,
  stored,
} from "./data-storage-server.fixture.ts";
import { PackageFiles } from "./package-files.ts";
import { PackageTable } from "./package-table.ts";

serverForEachTest();

describe("GetPackage (F4.15.2 to F4.17)", () => {
  test("describes, then sends chunks of 1 MiB, from any offset", async () => {
    const content = random(2 * MIB + 5);
    const packageId = await stored(content);
    const [first, ...rest] = await fetching(packageId);
    expect(first?.part).toMatchObject({
      case: "description",
      value: { size: BigInt(content.byteLength), sha256: sha256(content), offset: 0n },
    });
    expect(rest.map(({ part }) => part.case === "data" && part.value.byteLength)).toEqual([MIB, MIB, 5]);
    for (const offset of [1, MIB + 7, content.byteLength]) {
      expect(Buffer.compare(await fetched(packageId, carol, offset), content.subarray(offset))).toBe(0);
    }
    const beyond = fetching(packageId, carol, BigInt(content.byteLength + 1));
    expect(await refusalOf(beyond)).toBe("OUT_OF_RANGE OFFSET_OUT_OF_RANGE");
  });

  test("answers the readers named and the owner; to others there is no package", async () => {
    const content = random(10);
    const packageId = await stored(content, { readers: [carol.identity] });
    expect(Buffer.compare(await fetched(packageId, carol), content)).toBe(0);
    expect(Buffer.compare(await fetched(packageId, alice), content)).toBe(0);
    expect(await refusalOf(fetching(packageId, mallory))).toBe("NOT_FOUND PACKAGE_NOT_FOUND");
    expect(await refusalOf(fetching("0".repeat(32)))).toBe("NOT_FOUND PACKAGE_NOT_FOUND");
    expect(await refusalOf(fetching(packageId, dssm))).toBe("PERMISSION_DENIED CALLER_NOT_ALLOWED");
  });

  test("a package that is not stored yet is not sent", async () => {
    const { packageId } = await register({ readers: [carol.identity] });
    expect(await refusalOf(fetching(packageId))).toBe("FAILED_PRECONDITION PACKAGE_NOT_STORED");
    expect(await refusalOf(fetching(packageId, mallory))).toBe("NOT_FOUND PACKAGE_NOT_FOUND");
  });

  test.each<[string, (path: string) => Promise<void>]>([
    [
      "altered",
      async (path) => {
        const bytes = await readFile(path);
        bytes.writeUInt8(bytes.readUInt8(7) ^ 1, 7);
        await writeFile(path, bytes);
      },
    ],
    ["truncated", (path) => truncate(path, 2 * MIB)],
    ["removed", (path) => rm(path)],
  ])("a file that was %s is never sent as whole", async (_what, damage) => {
    const content = random(3 * MIB);
    const packageId = await stored(content);
    await fetched(packageId);
    await damage(join(folder(), packageId));
    let sent = 0;
    const reading = (async () => {
      for await (const { part } of distributionAs(carol).getPackage({ packageId, offset: 0n })) {
        if (part.case === "data") sent += part.value.byteLength;
      }
    })();
    expect(await refusalOf(reading)).toBe("DATA_LOSS PACKAGE_CORRUPT");
    expect(sent).toBeLessThan(content.byteLength);
  });

  test("reads no further than the consumer takes, and closes the file when it leaves", async () => {
    const packageId = await stored(random(8 * MIB));
    const opened: FileHandle[] = [];
    class WatchedFiles extends PackageFiles {
      override async openWhole(id: string): Promise<FileHandle | undefined> {
        const file = await super.openWhole(id);
        if (file !== undefined) opened.push(file);
        return file;
      }
    }
    const registration = createDataDistribution({
      table: new PackageTable(db.sublevel("data-storage", {})),
      files: new WatchedFiles(folder()),
      now: clock.now,
      log: silentLog,
    });
    const leaving = new AbortController();
    const client = bindDirect(registration, { peer: carol });
    let taken = 0;
    const reading = (async () => {
      for await (const { part } of client.getPackage({ packageId, offset: 0n }, { signal: leaving.signal })) {
        if (part.case === "data" && ++taken === 2) leaving.abort();
      }
    })();
    await expect(reading).rejects.toThrow();
    expect(taken).toBe(2);
    expect(opened).toHaveLength(1);
    await expect.poll(() => opened[0]?.fd).toBe(-1);
  });
});
