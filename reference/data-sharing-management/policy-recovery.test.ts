// Killed between any two steps, policy management comes back and finishes what was begun, once: nothing is half published.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { PolicyState } from "../../gen/x1410/v1/data_sharing_pb.ts";
import type { WatchNotificationsResponse } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { type Offer, PolicyRig, refused, type User } from "./policy-management.fixture.ts";

let rig: PolicyRig;
let alice: User;

beforeEach(async () => {
  rig = await PolicyRig.open();
  alice = await rig.user("alice");
});
afterEach(() => rig.close());

const submit = (signed = {}) => rig.policy(alice).submitPolicy({ submission: signed }, alice.inSession);
const stateOf = async ({ policyId }: Offer) =>
  (await rig.policy(alice).getPolicy({ policyId }, alice.inSession)).policy?.state;
const isPublished = async ({ policyId }: Offer) =>
  rig
    .as(alice, rig.components.publication.registration)
    .getInformation({ contractAddress: `x1410://dlt.net/contracts/${policyId}` }, alice.inSession)
    .then(({ information }) => information !== undefined && !information.withdrawn)
    .catch(() => false);

/** Everything that the provider was ever notified of; a last policy marks the end. */
async function history(): Promise<WatchNotificationsResponse["notification"][]> {
  const marker = rig.offer(alice);
  await submit(rig.submission(alice, marker));
  const seen: WatchNotificationsResponse["notification"][] = [];
  for await (const { notification } of rig.policy(alice).watchNotifications({}, alice.inSession)) {
    if (notification?.policyId === marker.policyId) break;
    if (notification !== undefined) seen.push(notification);
  }
  return seen;
}

describe.each([
  ["storage is asked", "storage", ErrorReason.PEER_UNAVAILABLE],
  ["the ledger takes it", "unavailable", ErrorReason.LEDGER_UNAVAILABLE],
  ["the ledger's answer arrives", "lost", ErrorReason.OUTCOME_UNKNOWN],
  ["the permission is stored", "storeAccessPermission", ErrorReason.PEER_UNAVAILABLE],
  ["the information is published", "publishInformation", ErrorReason.PEER_UNAVAILABLE],
] as const)("stopped before %s", (_step, failing, reason) => {
  test("nothing is published or notified, and a new process finishes it once", async () => {
    const offer = rig.offer(alice, "empty");
    await submit(rig.submission(alice, offer));
    rig.object(offer.keyId).stored = true;
    rig.object(offer.packageId).stored = true;
    if (failing === "storage") rig.storage.down = true;
    else if (failing === "unavailable" || failing === "lost") rig.ledger.failures.push(failing);
    else rig.broken.add(failing);
    const { policyId } = offer;
    await refused(reason, rig.policy(alice).confirmStorage({ policyId }, alice.inSession));
    expect(await isPublished(offer)).toBe(false);
    rig.restart();
    rig.storage.down = false;
    rig.broken.clear();
    // Storage that could not be asked leaves the policy waiting for its provider; everything later goes on by itself.
    await rig.components.policy.reconcile();
    if ((await stateOf(offer)) === PolicyState.AWAITING_STORAGE) {
      await rig.policy(alice).confirmStorage({ policyId }, alice.inSession);
    }
    await rig.components.policy.reconcile();
    expect(await stateOf(offer)).toBe(PolicyState.PUBLISHED);
    expect(await isPublished(offer)).toBe(true);
    expect(rig.ledger.transactions).toHaveLength(1);
    expect((await history()).map((notification) => notification?.policyId)).toEqual([policyId]);
  });
});

test("a submission whose answer was lost is answered by a new process, with no second effect", async () => {
  const offer = rig.offer(alice);
  const submission = rig.submission(alice, offer);
  rig.ledger.failures.push("lost");
  await refused(ErrorReason.OUTCOME_UNKNOWN, submit(submission));
  rig.restart();
  expect((await submit(submission)).policy?.state).toBe(PolicyState.PUBLISHED);
  rig.restart();
  expect((await submit(submission)).policy?.state).toBe(PolicyState.PUBLISHED);
  expect(rig.ledger.transactions).toHaveLength(1);
});

test("an update and a withdrawal under way are finished by a new process", async () => {
  const offer = rig.offer(alice);
  await submit(rig.submission(alice, offer));
  rig.ledger.failures.push("lost");
  const update = rig.update(alice, offer, 2n);
  await refused(ErrorReason.OUTCOME_UNKNOWN, rig.policy(alice).updatePolicy({ update }, alice.inSession));
  rig.restart();
  await rig.components.policy.reconcile();
  expect((await rig.components.policy.contracts.get(offer.policyId))?.version).toBe(2n);
  rig.ledger.failures.push("unavailable");
  const withdrawal = rig.withdrawal(alice, offer, 2n);
  await refused(ErrorReason.LEDGER_UNAVAILABLE, rig.policy(alice).withdrawPolicy({ withdrawal }, alice.inSession));
  expect(await isPublished(offer)).toBe(true);
  rig.restart();
  await rig.components.policy.reconcile();
  expect(await stateOf(offer)).toBe(PolicyState.WITHDRAWN);
  expect(await isPublished(offer)).toBe(false);
  expect((await history()).map((notification) => [notification?.policyVersion, notification?.state])).toEqual([
    [1n, PolicyState.PUBLISHED],
    [2n, PolicyState.PUBLISHED],
    [2n, PolicyState.WITHDRAWN],
  ]);
});

test("reconciling twice, or beside a provider who retries, does nothing twice", async () => {
  const offer = rig.offer(alice);
  rig.ledger.failures.push("lost");
  await refused(ErrorReason.OUTCOME_UNKNOWN, submit(rig.submission(alice, offer)));
  const { policyId } = offer;
  await Promise.all([
    rig.components.policy.reconcile(),
    rig.policy(alice).confirmStorage({ policyId }, alice.inSession),
    rig.components.policy.reconcile(),
  ]);
  expect(rig.ledger.transactions).toHaveLength(1);
  expect(await history()).toHaveLength(1);
});

test("a session and an account outlive the process", async () => {
  rig.restart();
  expect((await rig.policy(alice).listPolicies({}, alice.inSession)).policies).toEqual([]);
});
