// A management that dies at any write of a submission, an update or a withdrawal, before it is on disk or just after: a new process and the
// provider's identical bytes bring it about once.
import { afterAll, beforeAll, expect, test } from "vitest";
import { PolicyState } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { type Offer, PolicyRig, type User } from "./policy-management.fixture.ts";

/** More writes than any of the three makes; the first test says so. */
const MOST_WRITES = 10;

let rig: PolicyRig;
let alice: User;

beforeAll(async () => {
  rig = await PolicyRig.open();
  alice = await rig.user("alice");
});
afterAll(() => rig.close());

const steps = ["submission", "update", "withdrawal"] as const;
type Step = (typeof steps)[number];

const points = steps.flatMap((step) =>
  Array.from({ length: MOST_WRITES }, (_, index) => index + 1).flatMap((write) => [
    { step, write, durable: false },
    { step, write, durable: true },
  ]),
);

/** Brings a new policy to where `step` applies, and answers the call, which may be made again with the same bytes. */
async function prepared(step: Step): Promise<{ offer: Offer; call: () => Promise<unknown> }> {
  const offer = rig.offer(alice);
  const submission = rig.submission(alice, offer);
  const submit = () => rig.policy(alice).submitPolicy({ submission }, alice.inSession);
  if (step === "submission") return { offer, call: submit };
  await submit();
  const update = rig.update(alice, offer, 2n);
  if (step === "update") return { offer, call: () => rig.policy(alice).updatePolicy({ update }, alice.inSession) };
  const withdrawal = rig.withdrawal(alice, offer, 1n);
  return { offer, call: () => rig.policy(alice).withdrawPolicy({ withdrawal }, alice.inSession) };
}

const actionsOf = ({ policyId }: Offer) =>
  rig.ledger.transactions
    .map(({ action }) => action)
    .filter(({ value }) => value !== undefined && "contractId" in value && value.contractId === policyId)
    .map((action) => action.case);

async function notificationsOf({ policyId }: Offer): Promise<number> {
  let told = 0;
  const stream = rig.policy(alice).watchNotifications({}, alice.inSession);
  let end: bigint | undefined;
  for await (const { position, notification } of stream) {
    end ??= position;
    if (notification?.policyId === policyId) told++;
    if (position === end && (notification !== undefined || end === 0n)) break;
  }
  return told;
}

test.each(steps)("a %s makes fewer writes than these tests go through", async (step) => {
  const { call } = await prepared(step);
  const seen = rig.dieAt(Number.POSITIVE_INFINITY, true);
  await call();
  expect(seen.writes).toBeGreaterThan(3);
  expect(seen.writes).toBeLessThanOrEqual(MOST_WRITES);
  rig.revive();
});

test.each(points)("a $step interrupted at write $write (on disk: $durable) takes effect once", async (point) => {
  const { step, write, durable } = point;
  const { offer, call } = await prepared(step);
  rig.dieAt(write, durable);
  await call().catch(() => undefined);
  rig.revive();
  await rig.components.policy.reconcile();
  await call();
  await rig.components.policy.reconcile();
  await rig.components.publication.deliver();
  const { policy } = await rig.policy(alice).getPolicy({ policyId: offer.policyId }, alice.inSession);
  const withdrawn = step === "withdrawal";
  expect(policy?.state).toBe(withdrawn ? PolicyState.WITHDRAWN : PolicyState.PUBLISHED);
  expect(policy?.version).toBe(step === "update" ? 2n : 1n);
  const second = { submission: [], update: ["updateContract"], withdrawal: ["withdrawContract"] }[step];
  expect(actionsOf(offer)).toEqual(["createContract", ...second]);
  expect(await notificationsOf(offer)).toBe(1 + second.length);
  expect(rig.object(offer.keyId).inUse).toBe(!withdrawn);
  const { information } = await rig
    .as(alice, rig.components.publication.registration)
    .getInformation({ contractAddress: policy?.contractAddress ?? "" }, alice.inSession);
  expect(information).toMatchObject({ policyVersion: policy?.version, withdrawn });
});
