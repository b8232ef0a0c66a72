// Submission and the provider's own view of its policies (F3.5 to F3.9, A1.5 to A1.9): the way through, and every reason against it.
// Submission (F3.5 to F3.9, A1.5 to A1.9) and the provider's own view: the way through, and every reason against it.
import { equals } from "@bufbuild/protobuf";
import { timestampDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { PolicyState } from "../../gen/x1410/v1/data_sharing_pb.ts";
import {
  PendingStorage,
  SubmitPolicyResponseSchema,
  type WatchNotificationsResponse,
} from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { newContext } from "../envelope/sign.ts";
import { checkOpening } from "../ledger/commitment.ts";
import { hexId, PolicyRig, refused, type User } from "./policy-management.fixture.ts";
import { MANAGEMENT } from "./policy-peers.fixture.ts";

let rig: PolicyRig;
let alice: User;
let bob: User;

beforeAll(async () => {
  rig = await PolicyRig.open();
  alice = await rig.user("alice");
  bob = await rig.user("bob");
});
afterAll(() => rig.close());
beforeEach(() => {
  rig.ledger.failures.length = 0;
  rig.storage.calls.length = 0;
  rig.storage.down = false;
  rig.broken.clear();
});

const submit = (user: User, submission = {}) => rig.policy(user).submitPolicy({ submission }, user.inSession);

async function notifications(user: User, count: number, afterPosition = 0n): Promise<WatchNotificationsResponse[]> {
  const seen: WatchNotificationsResponse[] = [];
  const stop = new AbortController();
  const options = { ...user.inSession, signal: stop.signal };
  for await (const message of rig.policy(user).watchNotifications({ afterPosition }, options)) {
    seen.push(message);
    if (seen.length > count) break;
  }
  stop.abort();
  return seen.slice(1);
}

describe("SubmitPolicy", () => {
  test("with everything stored, records, publishes and notifies at once", async () => {
    const offer = rig.offer(alice);
    const { policy } = await submit(alice, rig.submission(alice, offer));
    expect(policy?.state).toBe(PolicyState.PUBLISHED);
    expect(policy?.version).toBe(1n);
    expect(policy?.pending).toEqual([]);
    expect(policy?.contractAddress).toBe(`x1410://dlt.net/contracts/${offer.policyId}`);
    expect(rig.object(offer.keyId).inUse && rig.object(offer.packageId).inUse).toBe(true);
    const found = await rig
      .as(alice, rig.components.publication.registration)
      .getInformation({ contractAddress: policy?.contractAddress ?? "" }, alice.inSession);
    expect(found.information?.withAccessPermission).toBe(true);
    const [notification] = (await notifications(alice, 1)).map((message) => message.notification);
    expect(notification).toMatchObject({ policyId: offer.policyId, policyVersion: 1n, state: PolicyState.PUBLISHED });
    expect(notification?.receipt?.transactionId).toBe(policy?.receipt?.transactionId);
  });

  test("puts limits and a commitment on the ledger, whose opening the provider gets, and no identity", async () => {
    const offer = rig.offer(alice);
    const validUntil = timestampFromMs(rig.nowMs + 1000);
    const submission = rig.submission(alice, offer, {
      policy: { policyId: offer.policyId, version: 1n, managementIdentity: MANAGEMENT, validUntil },
    });
    const { policy } = await submit(alice, submission);
    const action = rig.ledger.transactions.at(-1)?.action;
    const contract = action?.case === "createContract" ? action.value : undefined;
    expect(contract?.accessTimes).toBe(3);
    // The earlier of the policy's and the permission's end.
    expect(contract?.expiration && timestampDate(contract.expiration).getTime()).toBe(rig.nowMs + 1000);
    const [commitment] = contract?.commitments ?? [];
    const [opening] = policy?.openings ?? [];
    expect(commitment?.name).toBe("signed-policy");
    expect(commitment && opening && checkOpening(commitment, opening)).toBe(true);
    expect(Buffer.compare(opening?.value ?? new Uint8Array(), submission.payload)).toBe(0);
    const envelope = Buffer.from(rig.ledger.submitted.at(-1) ?? "");
    expect(envelope.equals(policy?.proof?.transaction ?? new Uint8Array())).toBe(true);
    expect(envelope.includes(alice.identity)).toBe(false);
  });

  test("answers what is still to be stored; then there is neither block nor notification nor use", async () => {
    const blocks = rig.ledger.submitted.length;
    const offer = rig.offer(alice, "empty");
    const { policy } = await submit(alice, rig.submission(alice, offer));
    expect(policy?.state).toBe(PolicyState.AWAITING_STORAGE);
    expect(policy?.pending).toEqual([PendingStorage.KEY, PendingStorage.PACKAGE]);
    expect(policy?.contractAddress).toBe("");
    expect(rig.ledger.submitted).toHaveLength(blocks);
    expect(rig.storage.calls).not.toContain("setKeyUse");
    expect(await rig.components.policy.contracts.get(offer.policyId)).toBeUndefined();
  });

  test("answers identical bytes with the first answer, also when they come twice at once", async () => {
    const offer = rig.offer(alice);
    const submission = rig.submission(alice, offer);
    const blocks = rig.ledger.submitted.length;
    const [one, other] = await Promise.all([submit(alice, submission), submit(alice, submission)]);
    const again = await submit(alice, submission);
    for (const answer of [other, again]) expect(equals(SubmitPolicyResponseSchema, answer, one)).toBe(true);
    expect(rig.ledger.submitted).toHaveLength(blocks + 1);
  });

  test("refuses other bytes under a nonce that was used", async () => {
    const offer = rig.offer(alice);
    const context = newContext(alice.signer, MANAGEMENT, rig.now());
    await submit(alice, rig.submission(alice, offer, { context }));
    await refused(ErrorReason.NONCE_REUSED, submit(alice, rig.submission(alice, rig.offer(alice), { context })));
  });

  test("refuses a policy id that is taken, whoever has it", async () => {
    const offer = rig.offer(alice);
    await submit(alice, rig.submission(alice, offer));
    await refused(ErrorReason.POLICY_STATE_INVALID, submit(alice, rig.submission(alice, offer)));
    const taken = { ...rig.offer(bob), policyId: offer.policyId };
    await refused(ErrorReason.POLICY_STATE_INVALID, submit(bob, rig.submission(bob, taken)));
  });

  test("needs a session of this certificate, and the right to publish", async () => {
    const submission = rig.submission(alice, rig.offer(alice));
    await refused(ErrorReason.SESSION_REQUIRED, rig.policy(alice).submitPolicy({ submission }));
    await refused(ErrorReason.SESSION_INVALID, rig.policy(alice).submitPolicy({ submission }, bob.inSession));
    const carol = await rig.user("carol", { access: true });
    await refused(ErrorReason.RIGHT_MISSING, submit(carol, rig.submission(carol, rig.offer(carol))));
  });

  test("refuses what is not signed properly, by the party named, for this management", async () => {
    const offer = rig.offer(alice);
    const submission = rig.submission(alice, offer);
    await refused(ErrorReason.SIGNATURE_MISSING, submit(alice, { ...submission, signatures: [] }));
    const flipped = Uint8Array.from(submission.payload, (byte, index) => (index === 40 ? byte ^ 1 : byte));
    await refused(ErrorReason.SIGNATURE_INVALID, submit(alice, { ...submission, payload: flipped }));
    await refused(ErrorReason.PAYLOAD_TYPE_MISMATCH, submit(alice, rig.update(alice, offer, 1n)));
    await refused(ErrorReason.SIGNER_NOT_CALLER, submit(bob, submission));
    await refused(ErrorReason.PARTY_NOT_SIGNER, submit(bob, rig.submission(bob, offer)));
    const information = { ...offer.information, providerPublicKey: bob.signer.publicKey };
    await refused(ErrorReason.PARTY_NOT_SIGNER, submit(alice, rig.submission(alice, offer, { information })));
    const elsewhere = newContext(alice.signer, "urn:x1410:entity:dssm:other", rig.now());
    await refused(ErrorReason.AUDIENCE_MISMATCH, submit(alice, rig.submission(alice, offer, { context: elsewhere })));
    const policy = { policyId: offer.policyId, version: 1n, managementIdentity: "urn:x1410:entity:dssm:other" };
    await refused(ErrorReason.AUDIENCE_MISMATCH, submit(alice, rig.submission(alice, offer, { policy })));
    const stale = newContext(alice.signer, MANAGEMENT, new Date(rig.nowMs - 600_000));
    await refused(
      ErrorReason.SIGNED_TIME_OUT_OF_WINDOW,
      submit(alice, rig.submission(alice, offer, { context: stale })),
    );
    expect((await submit(alice, submission)).policy?.state).toBe(PolicyState.PUBLISHED);
  });

  test.each(["keyAddress", "packageAddress"] as const)("refuses a %s of another object than the id", async (field) => {
    const offer = rig.offer(alice);
    const address = offer.information[field]?.replace(/[0-9a-f]{32}$/, hexId()) ?? "";
    const information = { ...offer.information, [field]: address };
    await refused(ErrorReason.PAYLOAD_MALFORMED, submit(alice, rig.submission(alice, offer, { information })));
  });

  test("refuses an access permission for other data, a first version that is not 1, and Annex A without encrypted data", async () => {
    const offer = rig.offer(alice);
    const other = rig.offer(alice);
    const accessPermission = {
      accessTimes: 1,
      expiration: timestampFromMs(rig.nowMs + 1000),
      keyId: other.keyId,
      keyAddress: other.information.keyAddress ?? "",
      packageId: offer.packageId,
      packageAddress: offer.information.packageAddress ?? "",
    };
    await refused(ErrorReason.PAYLOAD_MALFORMED, submit(alice, rig.submission(alice, offer, { accessPermission })));
    const policy = { policyId: offer.policyId, version: 2n, managementIdentity: MANAGEMENT };
    await refused(ErrorReason.PAYLOAD_MALFORMED, submit(alice, rig.submission(alice, offer, { policy })));
    const { encryptedData: _, ...information } = offer.information;
    await refused(
      ErrorReason.PAYLOAD_MALFORMED,
      submit(alice, rig.submission(alice, offer, { information, accessPermission: undefined })),
    );
  });

  test("asks nobody where a storage address names an entity that is not registered", async () => {
    const offer = rig.offer(alice);
    const information = { ...offer.information, packageAddress: `x1410://dss.stranger/packages/${offer.packageId}` };
    const accessPermission = undefined;
    await refused(
      ErrorReason.ENTITY_NOT_REGISTERED,
      submit(alice, rig.submission(alice, offer, { information, accessPermission })),
    );
    expect(rig.storage.calls).toEqual([]);
  });

  test("treats another provider's key or package, or one meant for another management, as absent", async () => {
    const theirs = rig.offer(bob);
    const own = rig.offer(alice);
    const { keyId, keyAddress, packageId, packageAddress } = theirs.information;
    const keyOfBob = { ...own, information: { ...own.information, keyId: keyId ?? "", keyAddress: keyAddress ?? "" } };
    await refused(ErrorReason.KEY_NOT_FOUND, submit(alice, rig.submission(alice, keyOfBob)));
    const packageOfBob = {
      ...own,
      information: { ...own.information, packageId: packageId ?? "", packageAddress: packageAddress ?? "" },
    };
    await refused(ErrorReason.PACKAGE_NOT_FOUND, submit(alice, rig.submission(alice, packageOfBob)));
    rig.object(own.keyId).management = "urn:x1410:entity:dssm:other";
    await refused(ErrorReason.KEY_NOT_FOUND, submit(alice, rig.submission(alice, own)));
    rig.storage.objects.delete(own.keyId);
    await refused(ErrorReason.KEY_NOT_FOUND, submit(alice, rig.submission(alice, own)));
    expect(
      (await rig.policy(alice).listPolicies({}, alice.inSession)).policies.map((one) => one.policyId),
    ).not.toContain(own.policyId);
  });

  test("in Annex A refuses a ciphertext that is not the one signed for; in Figure 3 the package has metadata for that", async () => {
    const offer = rig.offer(alice);
    const plain = rig.submission(alice, offer, { accessPermission: undefined });
    rig.object(offer.packageId).size = 999n;
    await refused(ErrorReason.STORAGE_MISMATCH, submit(alice, plain));
    rig.object(offer.packageId).size = 1000n;
    const { policy } = await submit(alice, plain);
    expect(policy?.state).toBe(PolicyState.PUBLISHED);
    const last = rig.ledger.transactions.at(-1)?.action;
    expect(last?.case === "createContract" && [last.value.withAccessPermission, last.value.accessTimes]).toEqual([
      false,
      0,
    ]);
    const figure3 = rig.offer(alice);
    rig.object(figure3.packageId).size = 2000n;
    expect((await submit(alice, rig.submission(alice, figure3))).policy?.state).toBe(PolicyState.PUBLISHED);
  });

  test("says that a storage server cannot be reached; the same bytes succeed later", async () => {
    const submission = rig.submission(alice, rig.offer(alice));
    rig.storage.down = true;
    await refused(ErrorReason.PEER_UNAVAILABLE, submit(alice, submission));
    rig.storage.down = false;
    expect((await submit(alice, submission)).policy?.state).toBe(PolicyState.PUBLISHED);
  });
});

describe("a provider's own policies", () => {
  test("are listed in the order of submission, page by page, without evidence", async () => {
    const erin = await rig.user("erin");
    const offers = [rig.offer(erin), rig.offer(erin, "empty"), rig.offer(erin)];
    for (const offer of offers) await submit(erin, rig.submission(erin, offer));
    const first = await rig.policy(erin).listPolicies({ pageSize: 2 }, erin.inSession);
    const second = await rig.policy(erin).listPolicies({ pageSize: 2, pageToken: first.nextPageToken }, erin.inSession);
    expect([...first.policies, ...second.policies].map(({ policyId }) => policyId)).toEqual(
      offers.map(({ policyId }) => policyId),
    );
    expect(second.nextPageToken).toBe("");
    expect(first.policies[0]?.openings).toEqual([]);
    expect(first.policies[0]?.proof).toBeUndefined();
    await refused(ErrorReason.REQUEST_INVALID, rig.policy(erin).listPolicies({ pageToken: "x" }, erin.inSession));
    await refused(ErrorReason.SESSION_REQUIRED, rig.policy(erin).listPolicies({}));
  });

  test("are shown to nobody else", async () => {
    const offer = rig.offer(alice);
    await submit(alice, rig.submission(alice, offer));
    const { policyId } = offer;
    await refused(ErrorReason.POLICY_NOT_FOUND, rig.policy(bob).getPolicy({ policyId }, bob.inSession));
    await refused(ErrorReason.SESSION_REQUIRED, rig.policy(alice).getPolicy({ policyId }));
    const { policy } = await rig.policy(alice).getPolicy({ policyId }, alice.inSession);
    expect(policy?.openings).toHaveLength(1);
    expect(policy?.proof).toBeDefined();
  });

  test("come to access management with the salt that only the management has", async () => {
    const offer = rig.offer(alice);
    await submit(alice, rig.submission(alice, offer));
    const contract = await rig.components.policy.contracts.get(offer.policyId);
    expect(contract?.state).toBe(PolicyState.PUBLISHED);
    expect(contract?.salt).toHaveLength(32);
    expect(contract?.accessPermission?.accessTimes).toBe(3);
    expect(contract?.information.keyId).toBe(offer.keyId);
    expect(await rig.components.policy.contracts.get(hexId())).toBeUndefined();
  });
});
