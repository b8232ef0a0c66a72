import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { afterAll, expect, test } from "vitest";
import { DataDistributionService } from "../../gen/x1410/v1/data_distribution_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { bindDirect, directPeer } from "../communications/direct-binding.ts";
import { reasonOf, refusal } from "../communications/refusal.ts";
import { implement } from "../communications/service.ts";
import { failureOf, impatient } from "../user/user.fixture.ts";
import { downloadPackage } from "./package-download.ts";
import { PackageError } from "./package-validation.ts";

const folder = mkdtempSync(join(tmpdir(), "x1410-download-"));
afterAll(() => rmSync(folder, { recursive: true }));
const packageId = "c".repeat(32);
const content = randomBytes(10_000);
const sha256 = new Uint8Array(createHash("sha256").update(content).digest());
let files = 0;
const freshPath = () => join(folder, `package-${files++}`);

/** Serves `content` in pieces of 1000 bytes and ends call number n after so many, with or without an error. */
function server(ends: readonly { readonly after: number; readonly cause?: Error }[], served: Uint8Array = content) {
  const offsets: number[] = [];
  const implementation: Partial<ServiceImpl<typeof DataDistributionService>> = {
    async *getPackage({ offset }) {
      const end = ends[offsets.length];
      offsets.push(Number(offset));
      if (offset > BigInt(served.length)) throw refusal(ErrorReason.OFFSET_OUT_OF_RANGE);
      yield { part: { case: "description", value: { size: BigInt(served.length), sha256, offset } } };
      let sent = 0;
      for (let at = Number(offset); at < served.length; at += 1000) {
        if (end !== undefined && sent >= end.after) {
          if (end.cause !== undefined) throw end.cause;
          return;
        }
        const data = served.subarray(at, at + 1000);
        yield { part: { case: "data", value: data } };
        sent += data.length;
      }
    },
  };
  const registration = implement(DataDistributionService, implementation);
  return { client: bindDirect(registration, { peer: directPeer("urn:x1410:user:consumer") }), offsets };
}

const broken = () => new ConnectError("the connection broke", Code.Unavailable);

test("a download that breaks goes on where it broke", async () => {
  const { client, offsets } = server([
    { after: 3000, cause: broken() },
    { after: 4000, cause: broken() },
  ]);
  const path = freshPath();
  const received: number[] = [];
  await downloadPackage({
    client,
    packageId,
    path,
    sha256,
    patience: impatient,
    received: (bytes) => void received.push(bytes),
  });
  expect(offsets).toEqual([0, 3000, 7000]);
  expect(Buffer.compare(readFileSync(path), content)).toBe(0);
  expect(existsSync(`${path}.part`)).toBe(false);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(received.at(-1)).toBe(10_000);
});

test("an end before the announced size is a broken connection too", async () => {
  const { client, offsets } = server([{ after: 2000 }]);
  const path = freshPath();
  await downloadPackage({ client, packageId, path, sha256, patience: impatient });
  expect(offsets).toEqual([0, 2000]);
  expect(Buffer.compare(readFileSync(path), content)).toBe(0);
});

test("what an earlier process left is gone on with", async () => {
  const { client, offsets } = server([]);
  const path = freshPath();
  writeFileSync(`${path}.part`, content.subarray(0, 6000));
  await downloadPackage({ client, packageId, path, sha256, patience: impatient });
  expect(offsets).toEqual([6000]);
  expect(Buffer.compare(readFileSync(path), content)).toBe(0);
});

test.each([
  ["is damaged", randomBytes(6000), [6000, 0]],
  ["is longer than the package", randomBytes(20_000), [20_000, 0]],
])("a part that %s is fetched anew", async (_, part, expected) => {
  const { client, offsets } = server([]);
  const path = freshPath();
  writeFileSync(`${path}.part`, part);
  await downloadPackage({ client, packageId, path, sha256, patience: impatient });
  expect(offsets).toEqual(expected);
  expect(Buffer.compare(readFileSync(path), content)).toBe(0);
});

test("a package that is there already is not fetched again", async () => {
  const { client, offsets } = server([]);
  const path = freshPath();
  writeFileSync(path, content);
  await downloadPackage({ client, packageId, path, sha256, patience: impatient });
  expect(offsets).toEqual([]);
});

test("bytes that are not those announced are refused and not kept", async () => {
  const { client } = server([], randomBytes(10_000));
  const path = freshPath();
  const cause = await failureOf(downloadPackage({ client, packageId, path, sha256, patience: impatient }));
  expect(cause).toBeInstanceOf(PackageError);
  expect(cause).toMatchObject({ code: Code.DataLoss, flaw: "digest" });
  expect(existsSync(path) || existsSync(`${path}.part`)).toBe(false);
});

test("another object than the management announced is refused", async () => {
  const { client } = server([]);
  const announced = new Uint8Array(32).fill(1);
  const download = { client, packageId, path: freshPath(), sha256: announced, patience: impatient };
  expect(await failureOf(downloadPackage(download))).toMatchObject({ code: Code.DataLoss, flaw: "digest" });
});

test("a server that stays away ends it, and the part is kept", async () => {
  const ends = [{ after: 3000, cause: broken() }, ...Array(4).fill({ after: 0, cause: broken() })];
  const path = freshPath();
  const { client } = server(ends);
  const cause = await failureOf(downloadPackage({ client, packageId, path, sha256, patience: impatient }));
  expect(ConnectError.from(cause).code).toBe(Code.Unavailable);
  expect(statSync(`${path}.part`).size).toBe(3000);
});

test("a package that the server refuses is not asked for again", async () => {
  const { client, offsets } = server([{ after: 0, cause: refusal(ErrorReason.PACKAGE_CORRUPT) }]);
  const cause = await failureOf(downloadPackage({ client, packageId, path: freshPath(), sha256, patience: impatient }));
  expect(reasonOf(cause)).toBe(ErrorReason.PACKAGE_CORRUPT);
  expect(offsets).toHaveLength(1);
});
