// Attacks on policies and accesses at the running management (DSPM, DSAM; clauses 6.2.2, 7.3.1, 7.3.2).
import { randomBytes } from "node:crypto";
import { create, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test, vi } from "vitest";
import { expectRefusal } from "../../conformance/refusal.ts";
import type { DataProvider } from "../../conformance/roles/data-provider.ts";
import {
  type PolicySubmission,
  PolicyUpdateSchema,
  PolicyWithdrawalSchema,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import { DataSharingPolicyService } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { DataStorageService } from "../../gen/x1410/v1/data_storage_pb.ts";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { LedgerService } from "../../gen/x1410/v1/ledger_service_pb.ts";
import { reasonOf } from "../communications/refusal.ts";
import { newContext, signMessage } from "../envelope/sign.ts";
import { type Door, doors, grantFor, rigForFile, type Scene } from "./attack-rig.fixture.ts";
import { change, draftOf, informationOf, nobodyElse, policyOf, refusedWith } from "./policy-draft.fixture.ts";

const rig = rigForFile();
const silent = () => {};
const draft = (door: Door, edit?: (submission: PolicySubmission) => void) => draftOf(rig().provider(door), edit);

/** What the provider is told of a policy within a moment, and how the stream ends. */
async function toldOf(provider: DataProvider, policyId: string): Promise<string[]> {
  const told: string[] = [];
  const stream = provider
    .client(DataSharingPolicyService, "dssm")
    .watchNotifications({ afterPosition: 0n }, { ...provider.inSession, timeoutMs: 500 });
  try {
    for await (const { notification } of stream)
      if (notification?.policyId === policyId) told.push(notification.contractAddress);
    return [...told, "ended"];
  } catch (cause) {
    return [...told, Code[ConnectError.from(cause).code] ?? ""];
  }
}

async function ledgerHeight(): Promise<bigint> {
  const ledger = rig().client(LedgerService, "ledger", rig().target.provider);
  return (await ledger.getHead({})).finalHeight;
}

describe.each(doors)("policies through the %s", (door) => {
  test("another provider's key or package is as good as none", async () => {
    const victim = rig().provider(door, rig().target.consumer);
    const key = await victim.registerKey(silent);
    const stored = await victim.registerPackage(silent);
    const useKey = (submission: PolicySubmission) => {
      for (const part of [submission.information, submission.accessPermission])
        if (part) Object.assign(part, { keyId: key.id, keyAddress: key.address });
    };
    const usePackage = (submission: PolicySubmission) => {
      for (const part of [submission.information, submission.accessPermission])
        if (part) Object.assign(part, { packageId: stored.id, packageAddress: stored.address });
    };
    await refusedWith(await draft(door), useKey, ErrorReason.KEY_NOT_FOUND);
    await refusedWith(await draft(door), usePackage, ErrorReason.PACKAGE_NOT_FOUND);
  });

  test("an address at an entity outside the registry is refused", async () => {
    const elsewhere = (submission: PolicySubmission) => {
      const keyAddress = `x1410://kss.attacker.example/keys/${informationOf(submission).keyId}`;
      for (const part of [submission.information, submission.accessPermission])
        if (part) Object.assign(part, { keyAddress });
    };
    await refusedWith(await draft(door), elsewhere, ErrorReason.ENTITY_NOT_REGISTERED);
    for (const keyAddress of [
      "https://attacker.example/keys/1",
      "x1410://kss.local:9/keys/x",
      "x1410://kss.local/keys/../x",
    ])
      await refusedWith(
        await draft(door),
        (s) => change(informationOf(s), { keyAddress }),
        ErrorReason.PAYLOAD_MALFORMED,
      );
  });

  test("parts of a submission that contradict each other are refused", async () => {
    await refusedWith(
      await draft(door),
      ({ accessPermission: p }) => change(p, { keyId: "a".repeat(32) }),
      ErrorReason.PAYLOAD_MALFORMED,
    );
    await refusedWith(await draft(door), (s) => change(policyOf(s), { version: 2n }), ErrorReason.PAYLOAD_MALFORMED);
  });

  test("nothing is recorded or told while key or package is missing", async () => {
    await rig().scene(door);
    const { provider, key, stored, submission } = await draft(door);
    const { policyId } = await provider.submit(provider.sign(submission));
    const height = await ledgerHeight();
    await expectRefusal(() => provider.confirmStorage(policyId), ErrorReason.STORAGE_INCOMPLETE);
    const secret = randomBytes(32);
    await provider.storeKey(key, secret, silent);
    await expectRefusal(() => provider.confirmStorage(policyId), ErrorReason.STORAGE_INCOMPLETE);
    expect(await ledgerHeight()).toBe(height);
    expect(await toldOf(provider, policyId)).toEqual(["DeadlineExceeded"]);
    const encrypted = provider.encrypt(Buffer.from("x"), secret, key);
    const metadata = provider.metadata(key, stored, encrypted.encryptedData);
    await provider.storePackage(stored, provider.package(metadata, encrypted), silent);
    const { contractAddress } = await provider.confirmStorage(policyId);
    expect((await provider.awaitContract(policyId)).contractAddress).toBe(contractAddress);
    expect(await ledgerHeight()).toBeGreaterThan(height);
  });

  test("only the owner updates and withdraws, and never to an older version", async () => {
    const { provider, shared, consumer } = await rig().scene(door);
    const policyId = shared.contractAddress.slice(-32);
    const found = consumer.checkPublication(await consumer.lookUp(shared.contractAddress));
    const { policy: record } = await provider
      .client(DataSharingPolicyService, "dssm")
      .getPolicy({ policyId }, provider.inSession);
    expect(record?.policyId).toBe(policyId);
    const update = (who: DataProvider, version: bigint, providerIdentity = who.identity) => {
      const { policy, ...rest } = who.submission(
        who.information(shared.key, shared.stored),
        who.permission(shared.key, shared.stored, nobodyElse),
      );
      if (rest.information) rest.information.providerIdentity = providerIdentity;
      return signed(who, PolicyUpdateSchema, {
        ...(rest as object),
        policy: { ...policy, policyId, version },
      });
    };
    const send = (who: DataProvider, envelope: SignedEnvelope) =>
      who.client(DataSharingPolicyService, "dssm").updatePolicy({ update: envelope }, who.inSession);
    const thief = rig().provider(door, rig().target.consumer);
    await thief.authenticate(silent);
    await expectRefusal(() => send(thief, update(thief, 2n, provider.identity)), ErrorReason.PARTY_NOT_SIGNER);
    await expectRefusal(() => send(thief, update(thief, 2n)), ErrorReason.POLICY_NOT_FOUND);
    await expectRefusal(() => send(provider, update(provider, 1n)), ErrorReason.POLICY_VERSION_STALE);
    await expectRefusal(() => send(provider, update(provider, 3n)), ErrorReason.POLICY_VERSION_STALE);
    await send(provider, update(provider, 2n));
    const withdrawal = (who: DataProvider, version: bigint) =>
      signed(who, PolicyWithdrawalSchema, {
        context: newContext(who.signer, who.management, new Date()),
        policyId,
        version,
        reason: "over",
      });
    const withdraw = (who: DataProvider, version: bigint) =>
      who
        .client(DataSharingPolicyService, "dssm")
        .withdrawPolicy({ withdrawal: withdrawal(who, version) }, who.inSession);
    await expectRefusal(() => withdraw(thief, 2n), ErrorReason.POLICY_NOT_FOUND);
    await expectRefusal(() => withdraw(provider, 1n), ErrorReason.POLICY_VERSION_STALE);
    await withdraw(provider, 2n);
    const request = consumer.signRequest(consumer.accessRequest(found));
    await expectRefusal(() => consumer.requestAccess(request), ErrorReason.CONTRACT_WITHDRAWN);
  });

  test("an object under a live contract is not taken away", async () => {
    const { provider, shared } = await rig().scene(door);
    const keys = provider.client(KeyStorageService, "kss");
    const packages = provider.client(DataStorageService, "dss");
    await expectRefusal(() => keys.deleteKey({ keyId: shared.key.id }), ErrorReason.OBJECT_IN_USE);
    await expectRefusal(() => packages.deletePackage({ packageId: shared.stored.id }), ErrorReason.OBJECT_IN_USE);
  });
});

describe.each(doors)("accesses through the %s", (door) => {
  /** A contract with this information and permission, and the consumer who asks for it. */
  async function contract(edit: (submission: PolicySubmission) => void): Promise<Scene & { address: string }> {
    const scene = await rig().scene(door);
    const made = await draft(door, edit);
    const { provider, key, stored } = made;
    const secret = randomBytes(32);
    const encrypted = provider.encrypt(Buffer.from("x"), secret, key);
    await provider.storeKey(key, secret, silent);
    const metadata = provider.metadata(key, stored, encrypted.encryptedData);
    await provider.storePackage(stored, provider.package(metadata, encrypted), silent);
    const { contractAddress: address } = await provider.submit(provider.sign(made.submission));
    const shared = { ...scene.shared, contractAddress: address, key, stored, secret };
    return { ...scene, provider, shared, address };
  }

  const consumer = "urn:x1410:user:consumer";
  test.each([
    ["industry", { industries: ["isic:z99"] }, { industries: ["isic:j61"] }, ErrorReason.INDUSTRY_NOT_ALLOWED],
    ["country", { countries: ["LI"] }, { countries: ["LI", "CH"] }, ErrorReason.COUNTRY_NOT_ALLOWED],
    ["user", { users: ["urn:x1410:user:somebody"] }, { users: [consumer] }, ErrorReason.USER_NOT_ALLOWED],
  ])("refused: an %s that the provider does not allow", async (_, wrong, right, reason) => {
    const allow = (allowed: object) => (s: PolicySubmission) => {
      Object.assign(informationOf(s).allowed ?? {}, { industries: [], countries: [], users: [], ...allowed });
    };
    const forbidden = await contract(allow(wrong));
    await expectRefusal(() => grantFor(forbidden), reason);
    await grantFor(await contract(allow(right)));
  });

  test("refused: after the expiration", async () => {
    const ends = new Date(Date.now() + 3_000);
    const scene = await contract(({ accessPermission: p }) => {
      if (p) Object.assign(p, { expiration: timestampFromDate(ends), accessTimes: 1_000 });
    });
    await grantFor(scene);
    await vi.waitFor(() => expectRefusal(() => grantFor(scene), ErrorReason.CONTRACT_EXPIRED), {
      timeout: 10_000,
      interval: 100,
    });
  });

  test("refused: one access more than allowed, and of 50 at once with one left exactly one is granted", async () => {
    const scene = await contract(({ accessPermission: p }) => change(p, { accessTimes: 2 }));
    const first = await grantFor(scene);
    const requests = Array.from({ length: 50 }, () =>
      scene.consumer.signRequest(scene.consumer.accessRequest(first.found)),
    );
    const outcomes = await Promise.allSettled(requests.map((request) => scene.consumer.requestAccess(request)));
    const failures = outcomes.flatMap((each) => (each.status === "rejected" ? [reasonOf(each.reason)] : []));
    expect(failures).toEqual(new Array(49).fill(ErrorReason.ACCESS_TIMES_EXHAUSTED));
    const again = await scene.consumer.requestAccess(first.request);
    expect(again.record).toEqual(first.grant.record);
    const recorded = await scene.provider.usageOf(scene.address);
    expect(new Set(recorded.map(({ accessId }) => accessId)).size).toBe(2);
  });

  test("of 50 identical requests at once all get the one access", async () => {
    const scene = await contract(({ accessPermission: p }) => change(p, { accessTimes: 1 }));
    const found = scene.consumer.checkPublication(await scene.consumer.lookUp(scene.address));
    const request = scene.consumer.signRequest(scene.consumer.accessRequest(found));
    const answers = await Promise.all(Array.from({ length: 50 }, () => scene.consumer.requestAccess(request)));
    expect(new Set(answers.map(({ record }) => record?.accessId)).size).toBe(1);
    expect(new Set(answers.map(({ record }) => record?.accessNumber))).toEqual(new Set([1]));
  });

  test("refused: a request whose information is not that of the contract", async () => {
    const { consumer: asking, shared } = await rig().scene(door);
    const found = asking.checkPublication(await asking.lookUp(shared.contractAddress));
    const request = asking.accessRequest(found);
    if (request.sharedData) request.sharedData.keyId = "a".repeat(32);
    await expectRefusal(() => asking.requestAccess(asking.signRequest(request)), ErrorReason.INFORMATION_MISMATCH);
    const unknown = asking.accessRequest({
      ...found,
      contractAddress: `x1410://dlt.local/contracts/${"0".repeat(32)}`,
    });
    await expectRefusal(() => asking.requestAccess(asking.signRequest(unknown)), ErrorReason.CONTRACT_NOT_FOUND);
    await asking.requestAccess(asking.signRequest(asking.accessRequest(found)));
  });

  test("another's access is as good as none", async () => {
    const scene = await rig().scene(door);
    const { grant } = await grantFor(scene);
    const accessId = grant.record?.accessId ?? "";
    const stranger = rig().consumer(door, await rig().newcomer());
    await stranger.authenticate(silent);
    await expectRefusal(() => stranger.reportUsage(accessId, 2, "not mine"), ErrorReason.ACCESS_RECORD_NOT_FOUND);
    await scene.consumer.reportUsage(accessId, 2, "mine");
  });
});

function signed<D extends DescMessage>(who: DataProvider, schema: D, init: object): SignedEnvelope {
  return signMessage(who.signer, schema, create(schema, init as never) as MessageShape<D>);
}
