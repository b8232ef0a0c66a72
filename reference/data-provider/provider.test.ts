import { createHash, randomBytes } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { fromBinary } from "@bufbuild/protobuf";
import { afterAll, describe, expect, test } from "vitest";
import { DataSharingPackageSchema, PolicySubmissionSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { reasonOf, refusal } from "../communications/refusal.ts";
import { decryptBytes } from "../symmetric-encryption/encrypt-bytes.ts";
import { Sharing } from "../user/sharing.fixture.ts";
import type { StateDirectory } from "../user/state-directory.ts";
import { failureOf, impatient, userFixture } from "../user/user.fixture.ts";
import type { Offer } from "./offer.ts";
import { DataProvider, type Publication } from "./provider.ts";

const fixture = userFixture();
afterAll(() => fixture.remove());

const plaintext = randomBytes(100_000);
const permission = { accessTimes: 2, expiration: new Date(Date.now() + 3_600_000), readOnly: true };
const offer: Offer = { attributes: { category: "records", keywords: ["test"] }, permission };
const ledgerAway = () => refusal(ErrorReason.LEDGER_UNAVAILABLE);

async function* data() {
  for (let at = 0; at < plaintext.length; at += 30_000) yield plaintext.subarray(at, at + 30_000);
}

function setting({ state = fixture.state(), sharing = new Sharing(fixture), minutesLater = 0 } = {}) {
  const provider = new DataProvider({
    user: fixture.user("provider", sharing.services()),
    state,
    patience: impatient,
    now: () => new Date(Date.now() + minutesLater * 60_000),
  });
  return { state, sharing, provider };
}

function openPackage(sharing: Sharing, { keyId, packageId }: Publication): Uint8Array {
  const { encryptedData } = fromBinary(DataSharingPackageSchema, sharing.packages.get(packageId) ?? Buffer.alloc(0));
  return decryptBytes(encryptedData, sharing.keys.get(keyId) ?? new Uint8Array(), Buffer.from(keyId));
}

/** A failure for as long as patience lasts, as if the process had been killed then. */
function broken(sharing: Sharing, method: string, moment: "before" | "after" = "before"): void {
  for (let attempt = 0; attempt < impatient.attempts; attempt++) sharing.fail(method, ledgerAway(), moment);
}

const leftIn = (state: StateDirectory) => readdirSync(state.directory("publications").path);

test("a publication takes the steps of Figure 3 in their order", async () => {
  const { provider, sharing } = setting();
  const steps: string[] = [];
  const publication = await provider.publish(data(), offer, (step) => void steps.push(step));
  expect(sharing.calls).toEqual([
    "RegisterKey",
    "RegisterPackage",
    "SubmitPolicy",
    "StoreKey",
    "StorePackage",
    "ConfirmStorage",
  ]);
  expect([...new Set(steps)]).toEqual(["F3.2.2", "F3.2.4", "F3.3.5", "F3.5", "F3.7.2", "F3.7.4", "F3.9.1"]);
  expect(publication.contractAddress).toBe(`x1410://dlt.test/contracts/${publication.policyId}`);
  expect(Buffer.compare(openPackage(sharing, publication), plaintext)).toBe(0);
});

test("without a permission the steps are those of Annex A.1", async () => {
  const { provider } = setting();
  const steps: string[] = [];
  await provider.publish(data(), { attributes: offer.attributes }, (step) => void steps.push(step));
  const expected = ["A1.2.2", "A1.2.4", "A1.3", "A1.5", "A1.7.1", "A1.7.2", "A1.9.1"];
  expect([...new Set(steps)]).toEqual(expected);
});

test("nothing is left on the provider's side: no key, no ciphertext, no journal", async () => {
  const { provider, state } = setting();
  await provider.publish(data(), offer);
  expect(leftIn(state)).toEqual([]);
});

test("the signed submission holds information, policy and permission", async () => {
  const { provider, sharing } = setting();
  const { policyId, keyId, packageId } = await provider.publish(data(), offer);
  const [payload = new Uint8Array()] = sharing.payloads.get("SubmitPolicy") ?? [];
  expect(fromBinary(PolicySubmissionSchema, payload)).toMatchObject({
    information: { keyId, packageId, attributes: { category: "records" } },
    policy: { policyId, version: 1n },
    accessPermission: { accessTimes: 2, readOnly: true, keyId, packageId },
  });
});

test("without a permission the ciphertext is stored bare and the information states what it is", async () => {
  const { provider, sharing } = setting();
  const { keyId, packageId } = await provider.publish(data(), { attributes: offer.attributes });
  const ciphertext = sharing.packages.get(packageId) ?? Buffer.alloc(0);
  const key = sharing.keys.get(keyId) ?? new Uint8Array();
  expect(Buffer.compare(decryptBytes(ciphertext, key, Buffer.from(keyId)), plaintext)).toBe(0);
  const [payload = new Uint8Array()] = sharing.payloads.get("SubmitPolicy") ?? [];
  const { accessPermission, information } = fromBinary(PolicySubmissionSchema, payload);
  expect(accessPermission).toBeUndefined();
  const sha256 = createHash("sha256").update(ciphertext).digest();
  expect(Buffer.from(information?.encryptedData?.sha256 ?? [])).toEqual(sha256);
});

describe("lost answers", () => {
  test.each(["RegisterKey", "RegisterPackage", "SubmitPolicy", "StoreKey", "StorePackage", "ConfirmStorage"])(
    "that of %s costs nothing: the identical request goes out again",
    async (method) => {
      const { provider, sharing } = setting();
      sharing.fail(method, refusal(ErrorReason.OUTCOME_UNKNOWN), "after");
      const publication = await provider.publish(data(), offer);
      expect(Buffer.compare(openPackage(sharing, publication), plaintext)).toBe(0);
      expect(sharing.keys.size).toBe(1);
      expect(sharing.packages.size).toBe(1);
      const [first, second] = sharing.payloads.get("SubmitPolicy") ?? [];
      if (method === "SubmitPolicy") expect(second).toEqual(first);
    },
  );
});

describe("a publication that was broken off", () => {
  test.each(["SubmitPolicy", "StoreKey", "StorePackage", "ConfirmStorage"])(
    "at %s is resumed by another process",
    async (method) => {
      const { provider, sharing, state } = setting();
      broken(sharing, method);
      expect(reasonOf(await failureOf(provider.publish(data(), offer)))).toBe(ErrorReason.LEDGER_UNAVAILABLE);
      const { provider: later } = setting({ sharing, state });
      const [outcome] = await later.resume();
      if (outcome?.outcome !== "published") return expect.unreachable("published");
      expect(Buffer.compare(openPackage(sharing, outcome.publication), plaintext)).toBe(0);
      expect(leftIn(state)).toEqual([]);
      expect(await later.resume()).toEqual([]);
    },
  );

  test("after its submission sends the identical signed bytes while they are accepted", async () => {
    const { provider, sharing, state } = setting();
    broken(sharing, "SubmitPolicy", "after");
    await failureOf(provider.publish(data(), offer));
    await setting({ sharing, state }).provider.resume();
    expect(new Set(sharing.payloads.get("SubmitPolicy")?.map((bytes) => Buffer.from(bytes).toString("hex"))).size).toBe(
      1,
    );
  });

  test("long ago asks first whether its policy is known, and signs anew only where it is not", async () => {
    const known = setting();
    broken(known.sharing, "SubmitPolicy", "after");
    await failureOf(known.provider.publish(data(), offer));
    const before = known.sharing.payloads.get("SubmitPolicy")?.length;
    const [outcome] = await setting({ ...known, minutesLater: 10 }).provider.resume();
    expect(outcome?.outcome).toBe("published");
    expect(known.sharing.payloads.get("SubmitPolicy")?.length).toBe(before);

    const unknown = setting();
    broken(unknown.sharing, "SubmitPolicy");
    await failureOf(unknown.provider.publish(data(), offer));
    const [again] = await setting({ ...unknown, minutesLater: 10 }).provider.resume();
    expect(again?.outcome).toBe("published");
    expect(unknown.sharing.payloads.get("SubmitPolicy")?.length).toBe(1);
  });

  test("has wiped its key once the key storage server has it, and does without it", async () => {
    const { provider, sharing, state } = setting();
    broken(sharing, "StorePackage");
    await failureOf(provider.publish(data(), offer));
    const [id = ""] = provider.unfinished();
    const own = state.directory("publications").directory(id);
    expect(existsSync(own.file("key"))).toBe(false);
    expect(existsSync(own.file("ciphertext"))).toBe(true);
    const [outcome] = await setting({ sharing, state }).provider.resume();
    expect(outcome?.outcome).toBe("published");
    expect(sharing.calls.filter((call) => call === "StoreKey")).toHaveLength(1);
  });

  test("stays where the servers are still away, and says why", async () => {
    const { provider, sharing, state } = setting();
    broken(sharing, "ConfirmStorage");
    broken(sharing, "ConfirmStorage");
    await failureOf(provider.publish(data(), offer));
    const [outcome] = await setting({ sharing, state }).provider.resume();
    expect(outcome?.outcome === "failed" && reasonOf(outcome.cause)).toBe(ErrorReason.LEDGER_UNAVAILABLE);
    expect(provider.unfinished()).toHaveLength(1);
  });

  test("can be given up, which wipes what is kept", async () => {
    const { provider, sharing, state } = setting();
    broken(sharing, "SubmitPolicy");
    await failureOf(provider.publish(data(), offer));
    const [id = ""] = provider.unfinished();
    expect(provider.discard(id)).toBe(true);
    expect(provider.discard(id)).toBe(false);
    expect(leftIn(state)).toEqual([]);
  });

  test("before anything was wrapped leaves nothing but a discarded journal", async () => {
    const { provider, sharing, state } = setting();
    const own = state.directory("publications").directory("d".repeat(32));
    own.write("publication.json", { policyId: "d".repeat(32) });
    own.write("ciphertext", "half of it");
    expect(await provider.resume()).toEqual([{ outcome: "discarded", policyId: "d".repeat(32) }]);
    expect(leftIn(state)).toEqual([]);
    expect(sharing.calls).toEqual([]);
  });
});

describe("what cannot come about leaves nothing behind", () => {
  test.each([
    ["StoreKey", ErrorReason.REGISTRATION_EXPIRED],
    ["ConfirmStorage", ErrorReason.STORAGE_MISMATCH],
    ["SubmitPolicy", ErrorReason.PAYLOAD_MALFORMED],
  ])("%s refused for good", async (method, reason) => {
    const { provider, sharing, state } = setting();
    sharing.fail(method, refusal(reason));
    expect(reasonOf(await failureOf(provider.publish(data(), offer)))).toBe(reason);
    expect(leftIn(state)).toEqual([]);
  });

  test("data that breaks off", async () => {
    const { provider, state, sharing } = setting();
    const breaking = async function* () {
      yield plaintext;
      throw new Error("the disk is gone");
    };
    await expect(provider.publish(breaking(), offer)).rejects.toThrow("the disk is gone");
    expect(leftIn(state)).toEqual([]);
    expect(sharing.calls).not.toContain("SubmitPolicy");
  });
});

test("a right that is missing today may be there tomorrow: the publication is kept", async () => {
  const { provider, sharing } = setting();
  sharing.fail("SubmitPolicy", refusal(ErrorReason.RIGHT_MISSING));
  expect(reasonOf(await failureOf(provider.publish(data(), offer)))).toBe(ErrorReason.RIGHT_MISSING);
  expect((await provider.resume())[0]?.outcome).toBe("published");
});

test("a network without key storage is refused at once", () => {
  const user = fixture.user("provider", {});
  const network = { ...user.network, entities: [] };
  expect(() => new DataProvider({ user: { ...user, network }, state: fixture.state() })).toThrow(
    /ENTITY_NOT_REGISTERED/,
  );
});
