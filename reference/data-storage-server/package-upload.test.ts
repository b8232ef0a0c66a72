import { copyFile, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { PackageState } from "../../gen/x1410/v1/data_storage_pb.ts";
import { refusalOf } from "../store/entity.fixture.ts";
import {
  alice,
  brokenOff,
  chunks,
  clock,
  DAY,
  db,
  directory,
  dssm,
  fetched,
  fetching,
  files,
  folder,
  HOUR,
  heldUpload,
  MIB,
  mallory,
  opening,
  random,
  register,
  restart,
  serverForEachTest,
  sha256,
  status,
  storageAs,
  store,
  stored,
  stream,
} from "./data-storage-server.fixture.ts";
import { PackageFiles } from "./package-files.ts";

serverForEachTest();

describe("StorePackage (F3.7.4)", () => {
  test.each([1, MIB, 3 * MIB + 17])("%i bytes are stored and come back", async (size) => {
    const content = random(size);
    const { packageId } = await register();
    const answer = await store(packageId, content);
    expect(answer).toMatchObject({ size: BigInt(size), sha256: sha256(content) });
    expect(answer.storedAt && timestampDate(answer.storedAt)).toEqual(clock.now());
    expect(await files()).toEqual([packageId]);
    await restart();
    expect((await status(packageId)).state).toBe(PackageState.STORED);
    expect(Buffer.compare(await fetched(packageId), content)).toBe(0);
  });

  test("the same package again is confirmed, another one is refused", async () => {
    const content = random(2 * MIB);
    const { packageId } = await register();
    const first = await store(packageId, content);
    clock.advance(HOUR);
    expect(await store(packageId, content)).toEqual(first);
    expect(await refusalOf(store(packageId, random(2 * MIB)))).toBe("ALREADY_EXISTS PACKAGE_EXISTS");
    const resized = store(packageId, content, { size: content.byteLength + 1 });
    expect(await refusalOf(resized)).toBe("ALREADY_EXISTS PACKAGE_EXISTS");
    expect(Buffer.compare(await fetched(packageId), content)).toBe(0);
  });

  test.each<[string, (content: Uint8Array) => Uint8Array]>([
    ["altered", (content) => content.map((byte, index) => (index === 5 ? byte ^ 1 : byte))],
    ["truncated", (content) => content.subarray(0, -1)],
    ["extended", (content) => Buffer.concat([content, new Uint8Array(1)])],
    ["reordered", (content) => Buffer.concat([content.subarray(MIB), content.subarray(0, MIB)])],
  ])("bytes that are %s are not kept", async (_what, change) => {
    const content = random(2 * MIB);
    const { packageId } = await register();
    const upload = storageAs(alice).storePackage(stream(opening(packageId, content), chunks(change(content))));
    expect(await refusalOf(upload)).toBe("DATA_LOSS PACKAGE_DIGEST_MISMATCH");
    expect(await files()).toEqual([]);
    expect(await status(packageId)).toMatchObject({ state: PackageState.REGISTERED, committedOffset: 0n, size: 0n });
    await store(packageId, content);
  });

  test("an upload that was broken off stores nothing, and resumes from what is committed", async () => {
    const content = random(5 * MIB);
    const { packageId } = await register();
    await brokenOff(packageId, content, [...chunks(content)].slice(0, 3));
    await restart();
    const { state, committedOffset, size } = await status(packageId, dssm);
    expect({ state, committedOffset, size }).toEqual({
      state: PackageState.PARTIAL,
      committedOffset: BigInt(3 * MIB),
      size: BigInt(5 * MIB),
    });
    expect(await refusalOf(fetching(packageId))).toBe("FAILED_PRECONDITION PACKAGE_NOT_STORED");
    const beyond = store(packageId, content, { offset: 3 * MIB + 1 });
    expect(await refusalOf(beyond)).toBe("OUT_OF_RANGE OFFSET_OUT_OF_RANGE");
    await store(packageId, content, { offset: 3 * MIB });
    expect(Buffer.compare(await fetched(packageId), content)).toBe(0);
  });

  test.each([0, MIB, 2 * MIB + 5])("it can also go on from %i", async (offset) => {
    const content = random(4 * MIB);
    const { packageId } = await register();
    await brokenOff(packageId, content, [...chunks(content)].slice(0, 3));
    await store(packageId, content, { offset });
    expect(Buffer.compare(await fetched(packageId), content)).toBe(0);
  });

  test("a committed part that was altered on disk is found out when the upload ends", async () => {
    const content = random(4 * MIB);
    const { packageId } = await register();
    await brokenOff(packageId, content, [...chunks(content)].slice(0, 3));
    const part = join(folder(), `${packageId}.part`);
    const bytes = await readFile(part);
    bytes.writeUInt8(bytes.readUInt8(0) ^ 1, 0);
    await writeFile(part, bytes);
    const resumed = store(packageId, content, { offset: 3 * MIB });
    expect(await refusalOf(resumed)).toBe("DATA_LOSS PACKAGE_DIGEST_MISMATCH");
    await store(packageId, content);
  });

  test("while a part is stored, another package is refused; where nothing came, it is not", async () => {
    const content = random(2 * MIB);
    const { packageId } = await register();
    await brokenOff(packageId, random(2 * MIB), []);
    expect((await status(packageId)).state).toBe(PackageState.REGISTERED);
    await brokenOff(packageId, content, [...chunks(content)].slice(0, 1));
    expect(await refusalOf(store(packageId, random(2 * MIB)))).toBe("ALREADY_EXISTS PACKAGE_EXISTS");
    await store(packageId, content);
  });

  test("long uploads commit on the way", async () => {
    const content = random(40 * MIB);
    const { packageId } = await register();
    const upload = heldUpload(packageId, content, [...chunks(content)].slice(0, 33));
    await upload.reached;
    expect((await status(packageId)).committedOffset).toBe(BigInt(32 * MIB));
    upload.goOn([...chunks(content)].slice(33));
    expect((await upload.outcome).size).toBe(BigInt(40 * MIB));
  });

  test("of two uploads at once the newer wins, and the older is told", async () => {
    const content = random(4 * MIB);
    const { packageId } = await register();
    const older = heldUpload(packageId, content, [...chunks(content)].slice(0, 2));
    await older.reached;
    await store(packageId, content);
    expect(await refusalOf(older.outcome)).toBe("ALREADY_EXISTS PACKAGE_EXISTS");
    expect(Buffer.compare(await fetched(packageId), content)).toBe(0);
  });

  test("of many uploads at once each is stored, confirmed or told, and the package is whole", async () => {
    const content = random(3 * MIB);
    const { packageId } = await register();
    const outcomes = await Promise.allSettled(Array.from({ length: 12 }, () => store(packageId, content)));
    const reasons = await Promise.all(
      outcomes
        .filter(({ status: settled }) => settled === "rejected")
        .map((outcome) => refusalOf(Promise.reject((outcome as PromiseRejectedResult).reason))),
    );
    expect(new Set(reasons)).toEqual(new Set(["ALREADY_EXISTS PACKAGE_EXISTS"]));
    expect(reasons.length).toBeLessThan(12);
    expect(Buffer.compare(await fetched(packageId), content)).toBe(0);
    expect(await files()).toEqual([packageId]);
  });

  test("another package or another's upload does not stop one under way", async () => {
    const content = random(2 * MIB);
    const { packageId } = await register();
    const upload = heldUpload(packageId, content, [...chunks(content)].slice(0, 1));
    await upload.reached;
    expect(await refusalOf(store(packageId, random(2 * MIB)))).toBe("ALREADY_EXISTS PACKAGE_EXISTS");
    expect(await refusalOf(store(packageId, content, {}, mallory))).toBe("NOT_FOUND PACKAGE_NOT_FOUND");
    upload.goOn([...chunks(content)].slice(1));
    await upload.outcome;
  });

  test("an absent id and another owner's are the same", async () => {
    const { packageId } = await register();
    expect(await refusalOf(store(packageId, random(1), {}, mallory))).toBe("NOT_FOUND PACKAGE_NOT_FOUND");
    expect(await refusalOf(store("0".repeat(32), random(1)))).toBe("NOT_FOUND PACKAGE_NOT_FOUND");
  });

  test("a registration that was not filled in time is over, and its part goes", async () => {
    const content = random(2 * MIB);
    const { packageId } = await register();
    await brokenOff(packageId, content, [...chunks(content)].slice(0, 1));
    clock.advance(DAY);
    const refused = "FAILED_PRECONDITION REGISTRATION_EXPIRED";
    expect(await refusalOf(store(packageId, content, { offset: MIB }))).toBe(refused);
    expect(await files()).toEqual([`${packageId}.part`]);
    await restart();
    expect(await files()).toEqual([]);
    expect(await refusalOf(store(packageId, content))).toBe(refused);
    expect(await refusalOf(status(packageId))).toBe("NOT_FOUND PACKAGE_NOT_FOUND");
    expect(await refusalOf(fetching(packageId))).toBe("NOT_FOUND PACKAGE_NOT_FOUND");
    clock.advance(31 * DAY);
    await restart();
    expect(await refusalOf(store(packageId, content))).toBe("NOT_FOUND PACKAGE_NOT_FOUND");
  });

  test("a stream that does not open, or opens twice, is refused", async () => {
    const content = random(2 * MIB);
    const { packageId } = await register();
    const open = opening(packageId, content);
    for (const messages of [stream(), stream(chunks(content)), stream(open, open)]) {
      expect(await refusalOf(storageAs(alice).storePackage(messages))).toBe("INVALID_ARGUMENT REQUEST_INVALID");
    }
    const far = store(packageId, content, { offset: 3 * MIB });
    expect(await refusalOf(far)).toBe("OUT_OF_RANGE OFFSET_OUT_OF_RANGE");
  });

  test.each(["../x", "a/b", `${"a".repeat(31)}\u0000`, "%2f".repeat(10), ""])("%j is no id", async (packageId) => {
    expect(await refusalOf(store(packageId, random(1)))).toBe("INVALID_ARGUMENT REQUEST_INVALID");
    expect(await refusalOf(fetching(packageId))).toBe("INVALID_ARGUMENT REQUEST_INVALID");
    expect(() => new PackageFiles(folder()).wholePath(packageId)).toThrow("package_id");
  });
});

describe("after a crash", () => {
  test("a package whose record was lost between rename and acknowledgement is stored", async () => {
    const content = random(2 * MIB);
    const { packageId } = await register();
    const { batch } = db;
    let writes = 0;
    // The announcement is written, the process dies before the record of the whole.
    Object.assign(db, {
      batch: (...operations: unknown[]) =>
        ++writes === 1 ? Reflect.apply(batch, db, operations) : Promise.reject(new Error("killed")),
    });
    expect(await refusalOf(store(packageId, content))).toBe("INTERNAL INTERNAL_FAULT");
    expect(await files()).toEqual([packageId]);
    await restart();
    expect((await status(packageId)).state).toBe(PackageState.STORED);
    expect(Buffer.compare(await fetched(packageId), content)).toBe(0);
  });

  test("a file that is not what was announced is no package", async () => {
    const content = random(2 * MIB);
    const { packageId } = await register();
    await brokenOff(packageId, content, [...chunks(content)].slice(0, 1));
    await copyFile(join(folder(), `${packageId}.part`), join(folder(), packageId));
    await restart();
    expect((await status(packageId)).state).toBe(PackageState.PARTIAL);
    expect(await files()).toEqual([`${packageId}.part`]);
    await store(packageId, content, { offset: MIB });
  });

  test("a part that the disk has lost is started again", async () => {
    const content = random(2 * MIB);
    const { packageId } = await register();
    await brokenOff(packageId, content, [...chunks(content)].slice(0, 1));
    await truncate(join(folder(), `${packageId}.part`), 10);
    await restart();
    expect(await status(packageId)).toMatchObject({ state: PackageState.REGISTERED, committedOffset: 0n });
    await store(packageId, content);
  });

  test("the file of a deleted package goes, files without a row stay", async () => {
    const content = random(10);
    const packageId = await stored(content);
    const kept = join(directory.path, "kept");
    await copyFile(join(folder(), packageId), kept);
    await storageAs(alice).deletePackage({ packageId });
    await copyFile(kept, join(folder(), packageId));
    await copyFile(kept, join(folder(), "f".repeat(32)));
    await restart();
    expect(await files()).toEqual(["f".repeat(32)]);
  });
});
