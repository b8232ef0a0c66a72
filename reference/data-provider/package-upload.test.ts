import { createHash, randomBytes } from "node:crypto";
import { type Client, Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { DataStorageService, PackageState } from "../../gen/x1410/v1/data_storage_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { bindDirect, directPeer } from "../communications/direct-binding.ts";
import { reasonOf, refusal } from "../communications/refusal.ts";
import { implement } from "../communications/service.ts";
import { failureOf, impatient } from "../user/user.fixture.ts";
import { uploadPackage } from "./package-upload.ts";

const packageId = "c".repeat(32);
const content = randomBytes(10_000);
const sha256 = new Uint8Array(createHash("sha256").update(content).digest());
const object = {
  size: content.length,
  sha256,
  async *from(offset: number) {
    for (let at = offset; at < content.length; at += 1000) yield content.subarray(at, at + 1000);
  },
};

/** A server that commits every 2000 bytes and breaks each upload after so many bytes. */
function server(breakAfter: readonly number[], given: { stored?: Uint8Array; other?: boolean } = {}) {
  let received = Buffer.alloc(0);
  let committed = 0;
  const offsets: number[] = [];
  const implementation: Partial<ServiceImpl<typeof DataStorageService>> = {
    getPackageStatus: () => {
      if (given.stored) return { state: PackageState.STORED, size: 10_000n, sha256: given.stored };
      if (offsets.length === 0 && !given.other) return { state: PackageState.REGISTERED };
      const announced = given.other ? new Uint8Array(32) : sha256;
      return { state: PackageState.PARTIAL, size: 10_000n, sha256: announced, committedOffset: BigInt(committed) };
    },
    storePackage: async (messages) => {
      const limit = breakAfter[offsets.length] ?? Number.POSITIVE_INFINITY;
      let came = 0;
      for await (const { part } of messages) {
        if (part.case === "open") {
          offsets.push(Number(part.value.offset));
          received = received.subarray(0, Number(part.value.offset));
        } else if (part.case === "data") {
          received = Buffer.concat([received, part.value]);
          came += part.value.length;
          committed = Math.floor(received.length / 2000) * 2000;
          if (came >= limit) throw new ConnectError("the connection broke", Code.Unavailable);
        }
      }
      return { size: BigInt(received.length), sha256: createHash("sha256").update(received).digest() };
    },
  };
  const client: Client<typeof DataStorageService> = bindDirect(implement(DataStorageService, implementation), {
    peer: directPeer("urn:x1410:user:provider"),
  });
  return { client, offsets, received: () => received };
}

test("an upload that breaks is resumed from the committed offset", async () => {
  const { client, offsets, received } = server([5000, 3000]);
  const sent: number[] = [];
  await uploadPackage({ client, packageId, object, patience: impatient, sent: (bytes) => void sent.push(bytes) });
  expect(offsets).toEqual([0, 4000, 6000]);
  expect(Buffer.compare(received(), content)).toBe(0);
  expect(sent.at(-1)).toBe(10_000);
});

test("an upload of another process is resumed too", async () => {
  const { client, offsets } = server([5000]);
  const once = { ...impatient, attempts: 1 };
  await failureOf(uploadPackage({ client, packageId, object, patience: once }));
  await uploadPackage({ client, packageId, object, patience: once });
  expect(offsets).toEqual([0, 4000]);
});

test("progress renews patience, and without progress it ends", async () => {
  const slow = server([2000, 2000, 2000, 2000]);
  await uploadPackage({ client: slow.client, packageId, object, patience: impatient });
  expect(slow.offsets).toEqual([0, 2000, 4000, 6000, 8000]);
  const stuck = server([2000, 0, 0, 0, 0]);
  const cause = await failureOf(uploadPackage({ client: stuck.client, packageId, object, patience: impatient }));
  expect(ConnectError.from(cause).code).toBe(Code.Unavailable);
});

test("what is stored already is not sent again", async () => {
  const { client, offsets } = server([], { stored: sha256 });
  await uploadPackage({ client, packageId, object, patience: impatient });
  expect(offsets).toEqual([]);
});

test.each([
  ["stored", { stored: new Uint8Array(32) }],
  ["begun", { other: true }],
])("another package that is %s under the id is refused", async (_, given) => {
  const { client } = server([], given);
  const cause = await failureOf(uploadPackage({ client, packageId, object, patience: impatient }));
  expect(reasonOf(cause)).toBe(ErrorReason.PACKAGE_EXISTS);
  expect(ConnectError.from(cause).code).toBe(Code.AlreadyExists);
});

test("a refusal for good is not repeated", async () => {
  const { client, offsets } = server([]);
  const refusing = {
    ...client,
    storePackage: () => {
      offsets.push(-1);
      return Promise.reject(refusal(ErrorReason.REGISTRATION_EXPIRED));
    },
  };
  const cause = await failureOf(uploadPackage({ client: refusing, packageId, object, patience: impatient }));
  expect(reasonOf(cause)).toBe(ErrorReason.REGISTRATION_EXPIRED);
  expect(offsets).toEqual([-1]);
});
