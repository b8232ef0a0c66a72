// The stream of notifications that a provider opens (P9, U5; F3.9.1, A1.9.1).
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { WatchNotificationsResponse } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { PolicyRig, refused, type User } from "./policy-management.fixture.ts";

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

describe("WatchNotifications", () => {
  test("begins with the position, resumes after one, and follows", async () => {
    const fred = await rig.user("fred");
    const stop = new AbortController();
    const stream = rig
      .policy(fred)
      .watchNotifications({}, { ...fred.inSession, signal: stop.signal })
      [Symbol.asyncIterator]();
    const standing = await stream.next();
    expect(standing.value).toMatchObject({ position: 0n });
    expect(standing.value?.notification).toBeUndefined();
    const next = stream.next();
    const offer = rig.offer(fred);
    await submit(fred, rig.submission(fred, offer));
    expect((await next).value).toMatchObject({ position: 1n, notification: { policyId: offer.policyId } });
    const later = rig.offer(fred);
    await submit(fred, rig.submission(fred, later));
    const [resumed] = await notifications(fred, 1, 1n);
    expect(resumed).toMatchObject({ position: 2n, notification: { policyId: later.policyId } });
    stop.abort();
    await expect(stream.next().then(() => stream.next())).rejects.toSatisfy(
      (error) => ConnectError.from(error).code === Code.Canceled,
    );
  });

  test("shows a provider only its own", async () => {
    const gina = await rig.user("gina");
    await submit(alice, rig.submission(alice, rig.offer(alice)));
    const offer = rig.offer(gina);
    await submit(gina, rig.submission(gina, offer));
    expect((await notifications(gina, 1)).map(({ notification }) => notification?.policyId)).toEqual([offer.policyId]);
  });

  test("needs a session, refuses positions that it cannot resume after, and a flood of streams", async () => {
    const hugo = await rig.user("hugo");
    const open = (options = hugo.inSession as object, afterPosition = 0n) =>
      rig.policy(hugo).watchNotifications({ afterPosition }, options)[Symbol.asyncIterator]();
    await refused(ErrorReason.SESSION_REQUIRED, open({}).next());
    await refused(ErrorReason.SESSION_INVALID, open(bob.inSession).next());
    await refused(ErrorReason.POSITION_EXPIRED, open(hugo.inSession, 7n).next());
    const stops = Array.from({ length: 16 }, () => new AbortController());
    const streams = stops.map(({ signal }) => open({ ...hugo.inSession, signal }));
    await Promise.all(streams.map((stream) => stream.next()));
    await refused(ErrorReason.SUBSCRIPTION_LIMIT, open().next());
    stops.pop()?.abort();
    const last = new AbortController();
    expect((await open({ ...hugo.inSession, signal: last.signal }).next()).done).toBe(false);
    for (const stop of [...stops, last]) stop.abort();
  });

  test("tells nothing more once the account is gone", async () => {
    const ivan = await rig.user("ivan");
    const stream = rig.policy(ivan).watchNotifications({}, ivan.inSession)[Symbol.asyncIterator]();
    await stream.next();
    const offer = rig.offer(ivan, "empty");
    await submit(ivan, rig.submission(ivan, offer));
    rig.object(offer.keyId).stored = true;
    rig.object(offer.packageId).stored = true;
    rig.ledger.failures.push("lost");
    await refused(ErrorReason.OUTCOME_UNKNOWN, confirm(ivan, offer.policyId));
    await rig.as(ivan, rig.components.accounts).deleteAccount({ identity: ivan.identity });
    const next = stream.next();
    await rig.components.policy.reconcile();
    await refused(ErrorReason.SESSION_INVALID, next);
  });
});
