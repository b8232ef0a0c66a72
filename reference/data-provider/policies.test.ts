import { create, fromBinary } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import {
  PolicyState,
  PolicySubmissionSchema,
  PolicyUpdateSchema,
  PolicyWithdrawalSchema,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import {
  DataSharingPolicyService,
  type PolicyRecord,
  PolicyRecordSchema,
} from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { DataStorageService } from "../../gen/x1410/v1/data_storage_pb.ts";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { contractAddress, keyAddress, packageAddress } from "../communications/address.ts";
import { reasonOf, refusal } from "../communications/refusal.ts";
import { implement, type Registration } from "../communications/service.ts";
import { newContext, signMessage } from "../envelope/sign.ts";
import { EvidenceError } from "../user/evidence.ts";
import { contractEvidence } from "../user/sharing.fixture.ts";
import { dataStorage, failureOf, impatient, keyStorage, management, userFixture } from "../user/user.fixture.ts";
import { Policies } from "./policies.ts";

const fixture = userFixture();
afterAll(() => fixture.remove());
const provider = fixture.signer("user", "provider");
const policyId = "a".repeat(32);
const keyId = "b".repeat(32);
const packageId = "c".repeat(32);
const addresses = { keyAddress: keyAddress(keyStorage, keyId), packageAddress: packageAddress(dataStorage, packageId) };

let record: PolicyRecord;
const deleted: string[] = [];
const sent: { updates: SignedEnvelope[]; withdrawals: SignedEnvelope[] } = { updates: [], withdrawals: [] };
let failures: Error[] = [];
let evidenceOf = contractEvidence;

beforeEach(() => {
  const submission = create(PolicySubmissionSchema, {
    context: newContext(provider, management, new Date()),
    information: {
      providerIdentity: provider.identity,
      providerPublicKey: provider.publicKey,
      packageId,
      keyId,
      ...addresses,
      allowed: { countries: ["CH"] },
      attributes: { category: "records", usage: "research", price: { currency: "EUR", amountMicros: 5n } },
    },
    policy: { policyId, version: 1n, managementIdentity: management, terms: "none" },
    accessPermission: {
      accessTimes: 1,
      readOnly: true,
      expiration: { seconds: 4_000_000_000n },
      keyId,
      packageId,
      ...addresses,
    },
  });
  record = create(PolicyRecordSchema, {
    policyId,
    state: PolicyState.PUBLISHED,
    version: 1n,
    contractAddress: contractAddress("test", policyId),
    signedPolicy: signMessage(provider, PolicySubmissionSchema, submission),
  });
  sent.updates = [];
  sent.withdrawals = [];
  deleted.length = 0;
  failures = [];
  evidenceOf = contractEvidence;
});

const implementation: Partial<ServiceImpl<typeof DataSharingPolicyService>> = {
  getPolicy: ({ policyId: id }) => {
    if (id !== policyId) throw refusal(ErrorReason.POLICY_NOT_FOUND, id);
    return { policy: record };
  },
  listPolicies: ({ pageToken }) => ({ policies: [record], nextPageToken: pageToken === "" ? "more" : "" }),
  updatePolicy: ({ update }) => {
    if (update !== undefined) sent.updates.push(update);
    const failure = failures.shift();
    if (failure !== undefined) throw failure;
    const message = fromBinary(PolicyUpdateSchema, update?.payload ?? new Uint8Array());
    if (update === undefined) throw refusal(ErrorReason.SIGNATURE_MISSING);
    return { policy: { ...record, version: message.policy?.version ?? 0n, ...evidenceOf(fixture, policyId, update) } };
  },
  withdrawPolicy: ({ withdrawal }) => {
    if (withdrawal !== undefined) sent.withdrawals.push(withdrawal);
    return { policy: { ...record, state: PolicyState.WITHDRAWN } };
  },
};

const policies = new Policies({
  user: fixture.user("provider", {
    [management]: [implement(DataSharingPolicyService, implementation) as Registration],
    [keyStorage]: [
      implement(KeyStorageService, {
        deleteKey: ({ keyId: id }) => {
          deleted.push(id);
          return {};
        },
      }) as Registration,
    ],
    [dataStorage]: [
      implement(DataStorageService, {
        deletePackage: ({ packageId: id }) => {
          deleted.push(id);
          return {};
        },
      }) as Registration,
    ],
  }),
  state: fixture.state(),
  patience: impatient,
});

const lastUpdate = () => fromBinary(PolicyUpdateSchema, sent.updates.at(-1)?.payload ?? new Uint8Array());

test("policies are listed over all pages", async () => {
  const found: string[] = [];
  for await (const { signed } of policies.list()) found.push(signed.policy.policyId);
  expect(found).toEqual([policyId, policyId]);
});

test("a policy that is not there is refused", async () => {
  expect(reasonOf(await failureOf(policies.get("0".repeat(32))))).toBe(ErrorReason.POLICY_NOT_FOUND);
});

describe("an update", () => {
  test("signs everything again with the next version, and changes only what was named", async () => {
    const updated = await policies.update(policyId, {
      attributes: { category: "samples" },
      permission: { accessTimes: 9 },
    });
    expect(updated.version).toBe(2n);
    const { information, policy, accessPermission } = lastUpdate();
    expect(information?.attributes).toMatchObject({
      category: "samples",
      usage: "research",
      price: { amountMicros: 5n },
    });
    expect(information?.allowed?.countries).toEqual(["CH"]);
    expect(policy).toMatchObject({ policyId, version: 2n, terms: "none" });
    expect(accessPermission).toMatchObject({ accessTimes: 9, readOnly: true, keyId, packageId });
  });

  test("can take a limit back, move the end and change the terms", async () => {
    const expiration = new Date("2031-01-01T00:00:00Z");
    await policies.update(policyId, {
      allowed: { countries: [], users: ["urn:x1410:user:consumer"] },
      permission: { readOnly: false, expiration },
      policy: { terms: "new" },
    });
    const { information, policy, accessPermission } = lastUpdate();
    expect(information?.allowed).toMatchObject({ countries: [], users: ["urn:x1410:user:consumer"] });
    expect(policy?.terms).toBe("new");
    expect(accessPermission?.readOnly).toBe(false);
    expect(accessPermission?.expiration && timestampDate(accessPermission.expiration)).toEqual(expiration);
  });

  test("whose answer is lost goes out again as the identical bytes", async () => {
    failures = [refusal(ErrorReason.OUTCOME_UNKNOWN)];
    await policies.update(policyId, { policy: { terms: "new" } });
    expect(sent.updates).toHaveLength(2);
    expect(sent.updates[1]?.payload).toEqual(sent.updates[0]?.payload);
  });

  test("that somebody else overtook is refused", async () => {
    failures = [refusal(ErrorReason.POLICY_VERSION_STALE)];
    const cause = await failureOf(policies.update(policyId, { policy: { terms: "new" } }));
    expect(reasonOf(cause)).toBe(ErrorReason.POLICY_VERSION_STALE);
    expect(sent.updates).toHaveLength(1);
  });

  test("of which the ledger holds something else is told", async () => {
    evidenceOf = (given, id) => contractEvidence(given, id, record.signedPolicy ?? expect.unreachable());
    const cause = await failureOf(policies.update(policyId, { policy: { terms: "new" } }));
    expect(cause).toBeInstanceOf(EvidenceError);
    expect(String(cause)).toContain("as it was signed");
  });
});

test("a withdrawal names the current version, and what is left can be deleted", async () => {
  expect((await policies.withdraw(policyId, "over")).state).toBe(PolicyState.WITHDRAWN);
  const [withdrawal] = sent.withdrawals;
  const message = fromBinary(PolicyWithdrawalSchema, withdrawal?.payload ?? new Uint8Array());
  expect(message).toMatchObject({ policyId, version: 1n, reason: "over" });
  await policies.deleteObjects(policyId);
  expect(deleted).toEqual([keyId, packageId]);
});
