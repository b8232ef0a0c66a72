// A provider manages its policies (P10, DSPM5): updates and withdrawals, and every reason against them.
import { timestampDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { PolicyState } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { newContext } from "../envelope/sign.ts";
import { checkOpening } from "../ledger/commitment.ts";
import { hexId, type Offer, PolicyRig, refused, type User } from "./policy-management.fixture.ts";
import { MANAGEMENT } from "./policy-peers.fixture.ts";

let rig: PolicyRig;
let alice: User;
let bob: User;
let reader: User;

beforeAll(async () => {
  rig = await PolicyRig.open();
  alice = await rig.user("alice");
  bob = await rig.user("bob");
  reader = await rig.user("reader", { access: true });
});
afterAll(() => rig.close());
beforeEach(() => {
  rig.ledger.failures.length = 0;
  rig.storage.down = false;
  rig.broken.clear();
});

const submit = (user: User, submission = {}) => rig.policy(user).submitPolicy({ submission }, user.inSession);
const update = (user: User, signed = {}) => rig.policy(user).updatePolicy({ update: signed }, user.inSession);
const withdraw = (user: User, signed = {}) => rig.policy(user).withdrawPolicy({ withdrawal: signed }, user.inSession);
const information = (user: User, { policyId }: Offer) =>
  rig
    .as(user, rig.components.publication.registration)
    .getInformation({ contractAddress: `x1410://dlt.net/contracts/${policyId}` }, user.inSession);
const search = async (providerIdentity: string) =>
  (
    await rig
      .as(reader, rig.components.publication.registration)
      .searchInformation({ filter: { providerIdentity } }, reader.inSession)
  ).information.map((found) => [found.contractAddress.slice(-32), found.policyVersion]);

async function published(user: User, change = {}): Promise<Offer> {
  const offer = rig.offer(user);
  await submit(user, rig.submission(user, offer, change));
  return offer;
}

function permission(offer: Offer, accessTimes: number) {
  const { keyId, packageId, information } = offer;
  const expiration = timestampFromMs(rig.nowMs + 5000);
  const [keyAddress, packageAddress] = [information.keyAddress ?? "", information.packageAddress ?? ""];
  return { accessTimes, expiration, keyId, keyAddress, packageId, packageAddress };
}

describe("UpdatePolicy", () => {
  test("records the next version, stores its permission, publishes it again and notifies", async () => {
    const offer = await published(alice);
    const attributes = { category: "subscriber-records", introduction: "Now with more" };
    const changed = { ...offer.information, attributes } as Offer["information"];
    const signed = rig.update(alice, offer, 2n, { information: changed, accessPermission: permission(offer, 9) });
    const { policy } = await update(alice, signed);
    expect(policy).toMatchObject({ state: PolicyState.PUBLISHED, version: 2n });
    const action = rig.ledger.transactions.at(-1)?.action;
    const terms = action?.case === "updateContract" ? action.value : undefined;
    expect(terms).toMatchObject({ contractId: offer.policyId, version: 2n, accessTimes: 9 });
    expect(terms?.expiration && timestampDate(terms.expiration).getTime()).toBe(rig.nowMs + 5000);
    const [commitment] = terms?.commitments ?? [];
    const [opening] = policy?.openings ?? [];
    expect(commitment && opening && checkOpening(commitment, opening)).toBe(true);
    const { information: found } = await information(reader, offer);
    expect(found?.policyVersion).toBe(2n);
    expect(found?.information?.attributes?.introduction).toBe("Now with more");
    expect((await search(alice.identity)).filter(([id]) => id === offer.policyId)).toEqual([[offer.policyId, 2n]]);
    const contract = await rig.components.policy.contracts.get(offer.policyId);
    expect(contract?.accessPermission?.accessTimes).toBe(9);
  });

  test("answers identical bytes with the first answer, and makes one transaction", async () => {
    const offer = await published(alice);
    const signed = rig.update(alice, offer, 2n);
    const before = rig.ledger.transactions.length;
    const [one, other] = await Promise.all([update(alice, signed), update(alice, signed)]);
    expect(other.policy?.receipt?.transactionId).toBe(one.policy?.receipt?.transactionId);
    expect((await update(alice, signed)).policy?.version).toBe(2n);
    expect(rig.ledger.transactions).toHaveLength(before + 1);
  });

  test("refuses every version but the next", async () => {
    const offer = await published(alice);
    await update(alice, rig.update(alice, offer, 2n));
    for (const version of [1n, 2n, 4n]) {
      await refused(ErrorReason.POLICY_VERSION_STALE, update(alice, rig.update(alice, offer, version)));
    }
    expect((await update(alice, rig.update(alice, offer, 3n))).policy?.version).toBe(3n);
  });

  test("changes terms, never what is shared", async () => {
    const offer = await published(alice);
    const other = rig.offer(alice);
    const mixed = { ...other, policyId: offer.policyId };
    await refused(ErrorReason.INFORMATION_MISMATCH, update(alice, rig.update(alice, mixed, 2n)));
    const { encryptedData: _, ...silent } = offer.information;
    await refused(
      ErrorReason.INFORMATION_MISMATCH,
      update(alice, rig.update(alice, offer, 2n, { information: silent })),
    );
    await refused(
      ErrorReason.INFORMATION_MISMATCH,
      update(alice, rig.update(alice, offer, 2n, { accessPermission: undefined })),
    );
    await refused(
      ErrorReason.PAYLOAD_MALFORMED,
      update(alice, rig.update(alice, offer, 2n, { accessPermission: permission(other, 1) })),
    );
    expect((await update(alice, rig.update(alice, offer, 2n))).policy?.version).toBe(2n);
  });

  test("is the owner's alone", async () => {
    const offer = await published(alice);
    await refused(ErrorReason.PARTY_NOT_SIGNER, update(bob, rig.update(bob, offer, 2n)));
    const claimed = { ...offer, information: { ...offer.information, providerIdentity: bob.identity } };
    await refused(ErrorReason.PARTY_NOT_SIGNER, update(bob, rig.update(bob, claimed, 2n)));
    const named = { ...claimed, information: { ...claimed.information, providerPublicKey: bob.signer.publicKey } };
    await refused(ErrorReason.POLICY_NOT_FOUND, update(bob, rig.update(bob, named, 2n)));
    await refused(ErrorReason.SIGNER_NOT_CALLER, update(bob, rig.update(alice, offer, 2n)));
  });

  test("needs session, right, signature, audience, time and nonce as a submission does", async () => {
    const offer = await published(alice);
    const signed = rig.update(alice, offer, 2n);
    await refused(ErrorReason.SESSION_REQUIRED, rig.policy(alice).updatePolicy({ update: signed }));
    await refused(ErrorReason.RIGHT_MISSING, update(reader, rig.update(reader, offer, 2n)));
    await refused(ErrorReason.SIGNATURE_MISSING, update(alice, { ...signed, signatures: [] }));
    await refused(ErrorReason.PAYLOAD_TYPE_MISMATCH, update(alice, rig.submission(alice, offer)));
    const elsewhere = newContext(alice.signer, "urn:x1410:entity:dssm:other", rig.now());
    await refused(ErrorReason.AUDIENCE_MISMATCH, update(alice, rig.update(alice, offer, 2n, { context: elsewhere })));
    const late = newContext(alice.signer, MANAGEMENT, new Date(rig.nowMs + 600_000));
    await refused(
      ErrorReason.SIGNED_TIME_OUT_OF_WINDOW,
      update(alice, rig.update(alice, offer, 2n, { context: late })),
    );
    const context = newContext(alice.signer, MANAGEMENT, rig.now());
    await update(alice, rig.update(alice, offer, 2n, { context }));
    await refused(ErrorReason.NONCE_REUSED, update(alice, rig.update(alice, offer, 3n, { context })));
  });

  test("is refused before the contract is recorded and after it has ended", async () => {
    const offer = rig.offer(alice, "empty");
    await submit(alice, rig.submission(alice, offer));
    await refused(ErrorReason.POLICY_STATE_INVALID, update(alice, rig.update(alice, offer, 2n)));
    const ended = await published(alice);
    await withdraw(alice, rig.withdrawal(alice, ended, 1n));
    await refused(ErrorReason.POLICY_STATE_INVALID, update(alice, rig.update(alice, ended, 2n)));
    await refused(ErrorReason.POLICY_NOT_FOUND, update(alice, rig.update(alice, { ...ended, policyId: hexId() }, 2n)));
  });

  test.each([
    ["unavailable", ErrorReason.LEDGER_UNAVAILABLE],
    ["lost", ErrorReason.OUTCOME_UNKNOWN],
  ] as const)(
    "with the ledger's answer %s the old terms hold, and a retry brings the new ones",
    async (failure, reason) => {
      const offer = await published(alice);
      const signed = rig.update(alice, offer, 2n);
      rig.ledger.failures.push(failure);
      await refused(reason, update(alice, signed));
      expect((await rig.components.policy.contracts.get(offer.policyId))?.version).toBe(1n);
      expect((await update(alice, signed)).policy).toMatchObject({ version: 2n, state: PolicyState.PUBLISHED });
      const updates = rig.ledger.transactions.filter(
        ({ action }) => action.case === "updateContract" && action.value.contractId === offer.policyId,
      );
      expect(updates).toHaveLength(1);
    },
  );

  test("that the ledger rejects leaves the policy as it was", async () => {
    const offer = await published(alice);
    const own = rig.ledger.transactions.at(-1);
    rig.ledger.transactions.pop();
    await refused(ErrorReason.TRANSACTION_REJECTED, update(alice, rig.update(alice, offer, 2n)));
    if (own !== undefined) rig.ledger.transactions.push(own);
    const { policy } = await rig.policy(alice).getPolicy({ policyId: offer.policyId }, alice.inSession);
    expect(policy).toMatchObject({ version: 1n, state: PolicyState.PUBLISHED });
    expect((await update(alice, rig.update(alice, offer, 2n))).policy?.version).toBe(2n);
  });

  test("holds once it is recorded; what cannot be told of it now is told later", async () => {
    const offer = await published(alice);
    rig.broken.add("publishInformation");
    const { policy } = await update(alice, rig.update(alice, offer, 2n));
    expect(policy).toMatchObject({ version: 2n, state: PolicyState.RECORDED });
    rig.broken.clear();
    await rig.components.policy.reconcile();
    expect((await information(reader, offer)).information?.policyVersion).toBe(2n);
    rig.broken.add("storeAccessPermission");
    const third = rig.update(alice, offer, 3n);
    await refused(ErrorReason.OUTCOME_UNKNOWN, update(alice, third));
    rig.broken.clear();
    expect((await update(alice, third)).policy).toMatchObject({ version: 3n, state: PolicyState.PUBLISHED });
  });
});

describe("WithdrawPolicy", () => {
  test("ends the contract, takes the information out of the search and frees key and package", async () => {
    const offer = await published(alice);
    const signed = rig.withdrawal(alice, offer, 1n);
    const { policy } = await withdraw(alice, signed);
    expect(policy?.state).toBe(PolicyState.WITHDRAWN);
    const action = rig.ledger.transactions.at(-1)?.action;
    const ended = action?.case === "withdrawContract" ? action.value : undefined;
    expect(ended?.contractId).toBe(offer.policyId);
    const opening = policy?.openings.find(({ name }) => name === "withdrawal");
    const [commitment] = ended?.commitments ?? [];
    expect(commitment && opening && checkOpening(commitment, opening)).toBe(true);
    expect(Buffer.compare(opening?.value ?? new Uint8Array(), signed.payload)).toBe(0);
    expect((await search(alice.identity)).map(([id]) => id)).not.toContain(offer.policyId);
    expect((await information(reader, offer)).information?.withdrawn).toBe(true);
    expect(rig.object(offer.keyId).inUse || rig.object(offer.packageId).inUse).toBe(false);
    expect((await rig.components.policy.contracts.get(offer.policyId))?.state).toBe(PolicyState.WITHDRAWN);
    expect((await withdraw(alice, signed)).policy?.state).toBe(PolicyState.WITHDRAWN);
    expect((await withdraw(alice, rig.withdrawal(alice, offer, 1n))).policy?.state).toBe(PolicyState.WITHDRAWN);
    await refused(
      ErrorReason.POLICY_STATE_INVALID,
      rig.policy(alice).confirmStorage({ policyId: offer.policyId }, alice.inSession),
    );
  });

  test("keeps an object marked that another live policy shares", async () => {
    const offer = await published(alice);
    const second = { ...offer, policyId: hexId() };
    await submit(alice, rig.submission(alice, second));
    await withdraw(alice, rig.withdrawal(alice, offer, 1n));
    expect(rig.object(offer.keyId).inUse && rig.object(offer.packageId).inUse).toBe(true);
    await withdraw(alice, rig.withdrawal(alice, second, 1n));
    expect(rig.object(offer.keyId).inUse || rig.object(offer.packageId).inUse).toBe(false);
  });

  test("before the contract is recorded leaves no trace on the ledger", async () => {
    const offer = rig.offer(alice, "empty");
    await submit(alice, rig.submission(alice, offer));
    const before = rig.ledger.submitted.length;
    expect((await withdraw(alice, rig.withdrawal(alice, offer, 1n))).policy?.state).toBe(PolicyState.WITHDRAWN);
    expect(rig.ledger.submitted).toHaveLength(before);
    await rig.components.policy.reconcile();
    await refused(
      ErrorReason.POLICY_STATE_INVALID,
      rig.policy(alice).confirmStorage({ policyId: offer.policyId }, alice.inSession),
    );
  });

  test("after an unknown outcome first finds out what is on the ledger", async () => {
    const offer = rig.offer(alice);
    rig.ledger.failures.push("lost");
    await refused(ErrorReason.OUTCOME_UNKNOWN, submit(alice, rig.submission(alice, offer)));
    expect((await withdraw(alice, rig.withdrawal(alice, offer, 1n))).policy?.state).toBe(PolicyState.WITHDRAWN);
    const kinds = rig.ledger.transactions
      .filter(
        ({ action }) =>
          action.case !== undefined && "contractId" in action.value && action.value.contractId === offer.policyId,
      )
      .map(({ action }) => action.case);
    expect(kinds).toEqual(["createContract", "withdrawContract"]);
  });

  test("names the current version, and is the owner's alone", async () => {
    const offer = await published(alice);
    await update(alice, rig.update(alice, offer, 2n));
    await refused(ErrorReason.POLICY_VERSION_STALE, withdraw(alice, rig.withdrawal(alice, offer, 1n)));
    await refused(ErrorReason.POLICY_NOT_FOUND, withdraw(bob, rig.withdrawal(bob, offer, 2n)));
    await refused(ErrorReason.SIGNER_NOT_CALLER, withdraw(bob, rig.withdrawal(alice, offer, 2n)));
    await refused(ErrorReason.PAYLOAD_TYPE_MISMATCH, withdraw(alice, rig.update(alice, offer, 3n)));
    const withdrawal = rig.withdrawal(alice, offer, 2n);
    await refused(ErrorReason.SESSION_REQUIRED, rig.policy(alice).withdrawPolicy({ withdrawal }));
    expect((await withdraw(alice, withdrawal)).policy?.state).toBe(PolicyState.WITHDRAWN);
  });

  test("holds while storage servers or publication are out of reach; the rest follows", async () => {
    const offer = await published(alice);
    rig.storage.down = true;
    expect((await withdraw(alice, rig.withdrawal(alice, offer, 1n))).policy?.state).toBe(PolicyState.WITHDRAWN);
    expect(rig.object(offer.keyId).inUse).toBe(true);
    rig.storage.down = false;
    await rig.components.policy.reconcile();
    expect(rig.object(offer.keyId).inUse).toBe(false);
  });
});
