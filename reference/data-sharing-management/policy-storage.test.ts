// Confirmation that all is stored, and what follows from it (F3.7 to F3.9, A1.7 to A1.9).
import { fromBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { PolicyState } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { PendingStorage, type WatchNotificationsResponse } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { TransactionSchema } from "../../gen/x1410/v1/ledger_pb.ts";
import { subjectOf } from "../communications/refusal.ts";
import { hexId, PolicyRig, refused, type User } from "./policy-management.fixture.ts";

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
const confirm = (user: User, policyId: string) => rig.policy(user).confirmStorage({ policyId }, user.inSession);

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

describe("ConfirmStorage", () => {
  test("refuses while something is missing and names it, then records and publishes once", async () => {
    const offer = rig.offer(alice, "empty");
    await submit(alice, rig.submission(alice, offer));
    const blocks = rig.ledger.submitted.length;
    expect(subjectOf(await refused(ErrorReason.STORAGE_INCOMPLETE, confirm(alice, offer.policyId)))).toBe(
      "key, package",
    );
    rig.object(offer.keyId).stored = true;
    expect(subjectOf(await refused(ErrorReason.STORAGE_INCOMPLETE, confirm(alice, offer.policyId)))).toBe("package");
    const { policy: waiting } = await rig.policy(alice).getPolicy({ policyId: offer.policyId }, alice.inSession);
    expect(waiting?.pending).toEqual([PendingStorage.PACKAGE]);
    expect(rig.ledger.submitted).toHaveLength(blocks);
    rig.object(offer.packageId).stored = true;
    const { policy } = await confirm(alice, offer.policyId);
    expect(policy?.state).toBe(PolicyState.PUBLISHED);
    const again = await confirm(alice, offer.policyId);
    expect(again.policy?.receipt?.transactionId).toBe(policy?.receipt?.transactionId);
    expect(rig.ledger.submitted).toHaveLength(blocks + 1);
  });

  test("twice at once, makes one block and one notification", async () => {
    const dora = await rig.user("dora");
    const offer = rig.offer(dora, "empty");
    await submit(dora, rig.submission(dora, offer));
    rig.object(offer.keyId).stored = true;
    rig.object(offer.packageId).stored = true;
    const blocks = rig.ledger.submitted.length;
    const [one, other] = await Promise.all([confirm(dora, offer.policyId), confirm(dora, offer.policyId)]);
    expect(one.policy?.receipt?.transactionId).toBe(other.policy?.receipt?.transactionId);
    expect(rig.ledger.submitted).toHaveLength(blocks + 1);
    const later = rig.offer(dora);
    await submit(dora, rig.submission(dora, later));
    expect((await notifications(dora, 2)).map(({ notification }) => notification?.policyId)).toEqual([
      offer.policyId,
      later.policyId,
    ]);
  });

  test("counts a registration that is gone as missing, and a stored ciphertext that differs as a mismatch", async () => {
    const offer = rig.offer(alice, "empty");
    await submit(alice, rig.submission(alice, offer, { accessPermission: undefined }));
    const key = rig.object(offer.keyId);
    rig.storage.objects.delete(offer.keyId);
    expect(subjectOf(await refused(ErrorReason.STORAGE_INCOMPLETE, confirm(alice, offer.policyId)))).toBe("key");
    rig.storage.objects.set(offer.keyId, { ...key, stored: true });
    const ciphertext = rig.object(offer.packageId);
    rig.storage.objects.set(offer.packageId, { ...ciphertext, stored: true, sha256: new Uint8Array(32) });
    await refused(ErrorReason.STORAGE_MISMATCH, confirm(alice, offer.policyId));
    rig.storage.objects.set(offer.packageId, { ...ciphertext, stored: true });
    expect((await confirm(alice, offer.policyId)).policy?.state).toBe(PolicyState.PUBLISHED);
  });

  test("shows another provider's policy as absent", async () => {
    const offer = rig.offer(alice, "empty");
    await submit(alice, rig.submission(alice, offer));
    await refused(ErrorReason.POLICY_NOT_FOUND, confirm(bob, offer.policyId));
    await refused(ErrorReason.POLICY_NOT_FOUND, confirm(alice, hexId()));
    await refused(ErrorReason.SESSION_REQUIRED, rig.policy(alice).confirmStorage({ policyId: offer.policyId }));
  });

  test.each([
    ["unavailable", ErrorReason.LEDGER_UNAVAILABLE],
    ["lost", ErrorReason.OUTCOME_UNKNOWN],
  ] as const)(
    "with the ledger's answer %s, nothing is published, and a retry submits the identical bytes",
    async (failure, reason) => {
      const offer = rig.offer(alice, "empty");
      await submit(alice, rig.submission(alice, offer));
      rig.object(offer.keyId).stored = true;
      rig.object(offer.packageId).stored = true;
      rig.ledger.failures.push(failure);
      await refused(reason, confirm(alice, offer.policyId));
      const { policy: waiting } = await rig.policy(alice).getPolicy({ policyId: offer.policyId }, alice.inSession);
      expect(waiting?.state).toBe(PolicyState.STORED);
      expect((await confirm(alice, offer.policyId)).policy?.state).toBe(PolicyState.PUBLISHED);
      const [before, last] = rig.ledger.submitted.slice(-2).map((envelope) => Buffer.from(envelope));
      expect(before && last?.equals(before)).toBe(true);
      const mine = rig.ledger.transactions.filter(
        ({ action }) => action.case === "createContract" && action.value.contractId === offer.policyId,
      );
      expect(mine).toHaveLength(1);
    },
  );

  test("forgets a policy that the ledger refuses and frees its objects", async () => {
    const offer = rig.offer(alice, "empty");
    await submit(alice, rig.submission(alice, offer));
    rig.object(offer.keyId).stored = true;
    rig.object(offer.packageId).stored = true;
    const foreign = rig.ledger.transactions.find(({ action }) => action.case === "createContract");
    if (foreign?.action.case !== "createContract") throw new TypeError("no contract on the ledger");
    const { contractId } = foreign.action.value;
    foreign.action.value.contractId = offer.policyId;
    const error = await refused(ErrorReason.TRANSACTION_REJECTED, confirm(alice, offer.policyId));
    foreign.action.value.contractId = contractId;
    expect(subjectOf(error)).toBe("DUPLICATE_ID");
    expect(rig.object(offer.keyId).inUse || rig.object(offer.packageId).inUse).toBe(false);
    await refused(ErrorReason.POLICY_NOT_FOUND, confirm(alice, offer.policyId));
  });

  test("signs a transaction anew that waited longer than the management's certificate lived", async () => {
    const offer = rig.offer(alice, "empty");
    await submit(alice, rig.submission(alice, offer));
    rig.object(offer.keyId).stored = true;
    rig.object(offer.packageId).stored = true;
    rig.renewCertificate();
    expect((await confirm(alice, offer.policyId)).policy?.state).toBe(PolicyState.PUBLISHED);
    const envelope = fromBinary(SignedEnvelopeSchema, rig.ledger.submitted.at(-1) ?? new Uint8Array());
    expect(envelope.signatures[0]?.certificate).toEqual(rig.signer.certificate);
    expect(fromBinary(TransactionSchema, envelope.payload).action.case).toBe("createContract");
  });
});
