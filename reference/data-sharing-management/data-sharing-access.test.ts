import { createHash } from "node:crypto";
import { create, fromBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { decodeJwt } from "jose";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  AccessRecordSchema,
  AllowedPartiesSchema,
  PolicyState,
  RequestedPermissionSchema,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { verifyEnvelope } from "../envelope/verify.ts";
import { consumerPseudonym } from "../ledger/commitment.ts";
import type { SharedContract } from "./contracts.ts";
import {
  AccessWorld,
  Cast,
  CONTRACT,
  CONTRACT_ADDRESS,
  PACKAGE_SHA256,
  PACKAGE_SIZE,
  refused,
  START,
} from "./data-sharing-access.fixture.ts";

let cast: Cast;
let world: AccessWorld;

beforeAll(() => {
  cast = new Cast();
});
afterAll(() => cast.remove());
beforeEach(() => {
  world = new AccessWorld(cast);
});
afterEach(() => world.close());

const start = async (options: Parameters<AccessWorld["publish"]>[0] = { accessTimes: 3 }) => {
  world.publish(options);
  await world.open();
};
const ask = (request = world.request(world.consumer), user = world.consumer) =>
  world.as(user).requestAccess({ request });
const withContract = (change: Partial<SharedContract>) => ({
  accessTimes: 3,
  change: (contract: SharedContract) => ({ ...contract, ...change }),
});

describe("an access (Figure 4, Annex A.2)", () => {
  test("gets record, token, requested permission, key, package, information and evidence", async () => {
    await start();
    const answer = await ask();
    expect(answer.record).toMatchObject({
      contractAddress: CONTRACT_ADDRESS,
      consumerIdentity: world.consumer.identity,
      accessNumber: 1,
      purpose: "statistics",
    });
    const claims = decodeJwt(answer.accessToken);
    expect(claims).toMatchObject({
      aud: "urn:x1410:entity:kss:one",
      sub: world.consumer.identity,
      cnf: { "x5t#S256": Buffer.from(world.consumer.fingerprint, "hex").toString("base64url") },
    });
    if (answer.requestedPermission === undefined) return expect.unreachable("no permission");
    const permission = verifyEnvelope(answer.requestedPermission, RequestedPermissionSchema, cast.trust);
    expect(permission.signer.identity).toBe(cast.management.identity);
    expect(permission.message).toMatchObject({
      accessId: answer.record?.accessId,
      contractAddress: CONTRACT_ADDRESS,
      accessNumber: 1,
      accessTimes: 3,
      readOnly: true,
    });
    expect(permission.message.context?.audience).toBe(world.consumer.identity);
    expect(answer.key?.server?.certificate?.certificates.length).toBeGreaterThan(0);
    expect(answer.package?.server?.identity).toBe("urn:x1410:entity:dss:one");
    expect(answer.package).toMatchObject({ size: PACKAGE_SIZE, sha256: PACKAGE_SHA256 });
    expect(answer.information).toMatchObject({ contractAddress: CONTRACT_ADDRESS, withAccessPermission: true });
    expect(answer.proof?.transaction.length).toBeGreaterThan(0);
    return undefined;
  });

  test("follows the order of the figure", async () => {
    await start();
    await ask();
    expect(world.calls).toEqual(["getPackageStatus", "createToken", "createRequestedPermission"]);
  });

  test("without an access permission (Annex A.2) has no requested permission and no limit", async () => {
    await start({});
    const answers = [await ask(), await ask(), await ask()];
    expect(answers.map(({ record }) => record?.accessNumber)).toEqual([1, 2, 3]);
    expect(answers.every(({ requestedPermission }) => requestedPermission === undefined)).toBe(true);
    expect(world.calls).toEqual(["createToken", "createToken", "createToken"]);
    expect(answers[0]?.package).toMatchObject({ size: PACKAGE_SIZE, sha256: PACKAGE_SHA256 });
  });

  test("stands on the ledger under a pseudonym, and its openings open the commitments", async () => {
    await start();
    const request = world.request(world.consumer);
    const { record, openings } = await ask(request);
    const [onLedger] = world.ledger.accesses();
    expect(onLedger?.accessId).toBe(record?.accessId);
    expect(onLedger?.contractId).toBe(CONTRACT);
    const pseudonym = consumerPseudonym(new Uint8Array(32).fill(9), world.consumer.identity);
    expect(Buffer.from(onLedger?.consumerPseudonym ?? [])).toEqual(Buffer.from(pseudonym));
    for (const { name, salt, value } of openings) {
      const digest = createHash("sha256").update("x1410-commitment-v1\0").update(salt).update(value).digest();
      expect(Buffer.from(onLedger?.commitments.find((each) => each.name === name)?.digest ?? [])).toEqual(digest);
    }
    const values = new Map(openings.map(({ name, value }) => [name, value]));
    expect(Buffer.from(values.get("access-request") ?? [])).toEqual(Buffer.from(request.payload));
    const opensRecord = fromBinary(AccessRecordSchema, values.get("record") ?? new Uint8Array());
    expect(opensRecord).toMatchObject({ accessId: record?.accessId, consumerIdentity: world.consumer.identity });
    const [transaction] = world.ledger.committed.values();
    const text = Buffer.from(transaction?.envelope ?? []).toString("latin1");
    expect(text).not.toContain(world.consumer.identity);
    expect(text).not.toContain(Buffer.from(world.consumer.fingerprint, "hex").toString("latin1"));
  });

  test("is bound to the certificate that signed where the connection has none (pre-shared key)", async () => {
    await start();
    const caller = { ...world.consumer, fingerprint: "" };
    const { accessToken } = await world.as(caller).requestAccess({ request: world.request(world.consumer) });
    const thumbprint = Buffer.from(world.consumer.fingerprint, "hex").toString("base64url");
    expect(decodeJwt(accessToken)["cnf"]).toEqual({ "x5t#S256": thumbprint });
  });

  test("gets a token that ends with the contract", async () => {
    const validUntil = timestampFromMs(START + 60_000);
    await start({
      accessTimes: 3,
      change: (contract) => ({ ...contract, policy: { ...contract.policy, validUntil } }),
    });
    const { accessToken } = await ask();
    expect(decodeJwt(accessToken).exp).toBe((START + 60_000) / 1000);
  });
});

describe("the request is refused", () => {
  const nothingHappened = () => {
    expect(world.ledger.transactions).toEqual([]);
    expect(world.calls.filter((call) => call !== "getPackageStatus")).toEqual([]);
  };

  test("without session or right", async () => {
    await start();
    const request = world.request(world.consumer);
    await refused(
      world.as(world.consumer, {}).requestAccess({ request }),
      Code.Unauthenticated,
      ErrorReason.SESSION_REQUIRED,
    );
    const { rights } = world.consumer.account;
    if (rights !== undefined) rights.access = false;
    await refused(ask(request), Code.PermissionDenied, ErrorReason.RIGHT_MISSING);
    nothingHappened();
  });

  test("where signer, sender, party, audience, key or time are not one", async () => {
    await start();
    const { consumer, other } = world;
    const stripped = { ...world.request(consumer), signatures: [] };
    await refused(ask(stripped), Code.InvalidArgument, ErrorReason.SIGNATURE_MISSING);
    const flipped = world.request(consumer);
    flipped.payload[flipped.payload.length - 1] = (flipped.payload.at(-1) ?? 0) ^ 1;
    await refused(ask(flipped), Code.Unauthenticated, ErrorReason.SIGNATURE_INVALID);
    await refused(ask(world.request(consumer), other), Code.PermissionDenied, ErrorReason.SIGNER_NOT_CALLER);
    const party = world.request(consumer, (message) => {
      if (message.consumer !== undefined) message.consumer.identity = other.identity;
    });
    await refused(ask(party), Code.PermissionDenied, ErrorReason.PARTY_NOT_SIGNER);
    const key = world.request(consumer, (message) => {
      if (message.consumer !== undefined) message.consumer.publicKey = other.signer.publicKey;
    });
    await refused(ask(key), Code.PermissionDenied, ErrorReason.PARTY_NOT_SIGNER);
    const audience = world.request(consumer, (message) => {
      if (message.context !== undefined) message.context.audience = "urn:x1410:entity:dssm:other";
    });
    await refused(ask(audience), Code.PermissionDenied, ErrorReason.AUDIENCE_MISMATCH);
    const late = world.request(consumer);
    world.time += 361_000;
    await refused(ask(late), Code.Unauthenticated, ErrorReason.SIGNED_TIME_OUT_OF_WINDOW);
    nothingHappened();
    await expect(ask()).resolves.toBeDefined();
  });

  test("where the contract is unknown, of another network, withdrawn or over", async () => {
    await start();
    for (const address of [`x1410://dlt.net/contracts/${"0".repeat(32)}`, `x1410://dlt.other/contracts/${CONTRACT}`]) {
      const request = world.request(world.consumer, (message) => {
        message.contractAddress = address;
      });
      await refused(ask(request), Code.NotFound, ErrorReason.CONTRACT_NOT_FOUND);
    }
    world.publish(withContract({ state: PolicyState.STORED }));
    await refused(ask(), Code.NotFound, ErrorReason.CONTRACT_NOT_FOUND);
    world.publish(withContract({ state: PolicyState.WITHDRAWN }));
    await refused(ask(), Code.FailedPrecondition, ErrorReason.CONTRACT_WITHDRAWN);
    world.publish();
    world.time = START + 86_400_000;
    world.publish({ accessTimes: 3 });
    await refused(ask(), Code.FailedPrecondition, ErrorReason.CONTRACT_EXPIRED);
    nothingHappened();
    world.time = START + 86_400_000 - 1000;
    await expect(ask()).resolves.toBeDefined();
  });

  test.each(["packageId", "keyId", "providerIdentity", "providerPublicKey"] as const)(
    "where its %s is not that of the contract",
    async (field) => {
      await start();
      const request = world.request(world.consumer, ({ sharedData }) => {
        if (sharedData === undefined) return;
        if (field === "providerPublicKey") sharedData[field] = world.other.signer.publicKey;
        else sharedData[field] = field === "providerIdentity" ? world.other.identity : "0".repeat(32);
      });
      await refused(ask(request), Code.FailedPrecondition, ErrorReason.INFORMATION_MISMATCH);
      nothingHappened();
    },
  );

  test.each([
    [
      "industry",
      { industries: ["isic:k64"] },
      { industries: ["isic:k64", "isic:j61"] },
      ErrorReason.INDUSTRY_NOT_ALLOWED,
    ],
    ["country", { countries: ["DE"] }, { countries: ["DE", "FR"] }, ErrorReason.COUNTRY_NOT_ALLOWED],
    [
      "user",
      { users: ["urn:x1410:user:other"] },
      { users: ["urn:x1410:user:other", "urn:x1410:user:consumer"] },
      ErrorReason.USER_NOT_ALLOWED,
    ],
  ])("where the policy does not allow the %s", async (_, forbidding, allowing, reason) => {
    const allow = (allowed: object) => ({
      accessTimes: 3,
      change: (contract: SharedContract) => ({
        ...contract,
        information: { ...contract.information, allowed: create(AllowedPartiesSchema, allowed) },
      }),
    });
    await start(allow(forbidding));
    await refused(ask(), Code.PermissionDenied, reason);
    nothingHappened();
    world.publish(allow(allowing));
    await expect(ask()).resolves.toBeDefined();
    // What the operator has not verified counts as absent.
    world.publish(allow(forbidding));
    delete world.consumer.account.attributes;
    await refused(ask(), Code.PermissionDenied, reason);
  });

  test("where the nonce was used under other bytes", async () => {
    await start();
    let nonce = new Uint8Array();
    await ask(world.request(world.consumer, ({ context }) => (nonce = new Uint8Array(context?.nonce ?? []))));
    const reused = world.request(world.consumer, (message) => {
      message.purpose = "another";
      if (message.context !== undefined) message.context.nonce = nonce;
    });
    await refused(ask(reused), Code.AlreadyExists, ErrorReason.NONCE_REUSED);
    expect(world.ledger.accesses()).toHaveLength(1);
  });

  test.each(["kss", "dss"])("where the %s is not in the registry, before anything is debited", async (kind) => {
    await start();
    world.entities.delete(`urn:x1410:entity:${kind}:one`);
    await refused(ask(), Code.Unavailable, ErrorReason.PEER_UNAVAILABLE);
    nothingHappened();
  });

  test("where the data storage server cannot be asked, before anything is debited", async () => {
    await start();
    world.failing.add("getPackageStatus");
    const request = world.request(world.consumer);
    await refused(ask(request), Code.Unavailable, ErrorReason.PEER_UNAVAILABLE);
    nothingHappened();
    await expect(ask(request)).resolves.toBeDefined();
  });
});
