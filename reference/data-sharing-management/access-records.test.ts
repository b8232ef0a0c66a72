import { equals } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { decodeJwt } from "jose";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { RequestAccessResponseSchema } from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import { PolicyState } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { RejectionReason } from "../../gen/x1410/v1/ledger_pb.ts";
import { reasonOf } from "../communications/refusal.ts";
import { AccessWorld, Cast, CONTRACT_ADDRESS, millisecondsOf, refused, START } from "./data-sharing-access.fixture.ts";

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
const tokenIdOf = (token: string) => decodeJwt(token).jti;

describe("access times", () => {
  test("number N is granted and N+1 refused, per consumer", async () => {
    await start({ accessTimes: 2 });
    expect((await ask()).record?.accessNumber).toBe(1);
    expect((await ask()).record?.accessNumber).toBe(2);
    await refused(ask(), Code.FailedPrecondition, ErrorReason.ACCESS_TIMES_EXHAUSTED);
    const { record } = await ask(world.request(world.other), world.other);
    expect(record?.accessNumber).toBe(1);
    expect(world.ledger.accesses()).toHaveLength(3);
  });

  test("of fifty at once with one left exactly one is granted", async () => {
    await start({ accessTimes: 1 });
    const held = Promise.withResolvers<void>();
    world.ledger.gate = held.promise;
    const requests = Array.from({ length: 50 }, () => ask().catch((cause: unknown) => reasonOf(cause)));
    held.resolve();
    const outcomes = await Promise.all(requests);
    expect(outcomes.filter((outcome) => typeof outcome === "object")).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome === ErrorReason.ACCESS_TIMES_EXHAUSTED)).toHaveLength(49);
    expect(world.ledger.accesses()).toHaveLength(1);
  });

  test("requests at once get numbers of their own", async () => {
    await start({ accessTimes: 20 });
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask()));
    const numbers = answers.map(({ record }) => record?.accessNumber ?? 0).sort((a, b) => a - b);
    expect(numbers).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
  });

  test("the last number comes back where its access does not come about, and who waits for it gets it", async () => {
    await start({ accessTimes: 1 });
    world.ledger.failures.push("unavailable");
    const held = Promise.withResolvers<void>();
    world.ledger.gate = held.promise;
    const outcomes = [ask(), ask()].map((call) => call.catch((cause: unknown) => reasonOf(cause)));
    held.resolve();
    const settled = await Promise.all(outcomes);
    expect(settled).toContain(ErrorReason.LEDGER_UNAVAILABLE);
    expect(settled).toContainEqual(expect.objectContaining({ record: expect.objectContaining({ accessNumber: 1 }) }));
    expect(world.ledger.accesses()).toHaveLength(1);
  });

  test.each([
    [RejectionReason.ACCESS_TIMES_EXHAUSTED, Code.FailedPrecondition, ErrorReason.ACCESS_TIMES_EXHAUSTED],
    [RejectionReason.WITHDRAWN, Code.FailedPrecondition, ErrorReason.CONTRACT_WITHDRAWN],
    [RejectionReason.EXPIRED, Code.FailedPrecondition, ErrorReason.CONTRACT_EXPIRED],
    [RejectionReason.UNKNOWN_CONTRACT, Code.NotFound, ErrorReason.CONTRACT_NOT_FOUND],
    [RejectionReason.SIGNER_NOT_ALLOWED, Code.Internal, ErrorReason.INTERNAL_FAULT],
  ])("rejection %i by the ledger is told, and costs no access", async (rejection, code, reason) => {
    await start({ accessTimes: 1 });
    world.ledger.rejectWith = rejection;
    await refused(ask(), code, reason);
    expect((await world.as(world.consumer).listAccessRecords({})).records).toEqual([]);
    world.ledger.rejectWith = undefined;
    expect((await ask()).record?.accessNumber).toBe(1);
  });
});

describe("a lost answer costs nothing", () => {
  test("identical bytes get the first answer, one record, one debit: again, at once, after a restart", async () => {
    await start({ accessTimes: 2 });
    const request = world.request(world.consumer);
    const first = await ask(request);
    const answers = await Promise.all([ask(request), ask(request), ask(request)]);
    await world.restart();
    world.time += 200_000;
    answers.push(await ask(request));
    for (const again of answers) {
      expect(tokenIdOf(again.accessToken)).toBe(tokenIdOf(first.accessToken));
      // Everything but the token's signature is the first answer.
      expect(equals(RequestAccessResponseSchema, { ...again, accessToken: "" }, { ...first, accessToken: "" })).toBe(
        true,
      );
    }
    expect(world.ledger.accesses()).toHaveLength(1);
    expect((await ask()).record?.accessNumber).toBe(2);
  });

  test("identical bytes of another identity are refused", async () => {
    await start();
    const request = world.request(world.consumer);
    await ask(request);
    await refused(ask(request, world.other), Code.PermissionDenied, ErrorReason.SIGNER_NOT_CALLER);
  });

  test("where the ledger is not available nothing is debited, and the identical request succeeds later", async () => {
    await start({ accessTimes: 1 });
    const request = world.request(world.consumer);
    world.ledger.failures.push("unavailable");
    await refused(ask(request), Code.Unavailable, ErrorReason.LEDGER_UNAVAILABLE);
    expect((await world.as(world.consumer).listAccessRecords({})).records).toEqual([]);
    expect((await ask(request)).record?.accessNumber).toBe(1);
    expect(world.ledger.accesses()).toHaveLength(1);
  });

  test("where the outcome is unknown the identical request finds the one record", async () => {
    await start({ accessTimes: 1 });
    const request = world.request(world.consumer);
    world.ledger.failures.push("lost");
    await refused(ask(request), Code.Unavailable, ErrorReason.OUTCOME_UNKNOWN);
    // Not even "not available" says afterwards that nothing was recorded.
    world.ledger.failures.push("unavailable");
    await refused(ask(request), Code.Unavailable, ErrorReason.OUTCOME_UNKNOWN);
    // Another request cannot know whether an access is left.
    world.ledger.failures.push("unavailable");
    await refused(ask(), Code.Unavailable, ErrorReason.LEDGER_UNAVAILABLE);
    expect((await ask(request)).record?.accessNumber).toBe(1);
    expect(world.ledger.accesses()).toHaveLength(1);
    await refused(ask(), Code.FailedPrecondition, ErrorReason.ACCESS_TIMES_EXHAUSTED);
  });

  test("where the policy has changed meanwhile, what was decided stays decided", async () => {
    await start({ accessTimes: 1 });
    const request = world.request(world.consumer);
    world.ledger.failures.push("lost");
    await refused(ask(request), Code.Unavailable, ErrorReason.OUTCOME_UNKNOWN);
    world.publish({ accessTimes: 1, change: (contract) => ({ ...contract, state: PolicyState.WITHDRAWN }) });
    expect((await ask(request)).information?.withdrawn).toBe(true);
  });

  test.each(["createToken", "createRequestedPermission"] as const)(
    "where %s fails the access stands, and the identical request completes it",
    async (component) => {
      await start({ accessTimes: 1 });
      const request = world.request(world.consumer);
      world.failing.add(component);
      await refused(ask(request), Code.Unavailable, ErrorReason.PEER_UNAVAILABLE);
      // Nothing was given out, so no usage says so.
      const usages = () => world.as(world.provider).listUsageRecords({ contractAddress: CONTRACT_ADDRESS });
      expect((await usages()).records).toEqual([]);
      await world.restart();
      expect(await ask(request)).toMatchObject({ record: { accessNumber: 1 } });
      expect(world.ledger.accesses()).toHaveLength(1);
      expect((await usages()).records).toHaveLength(1);
    },
  );
});

describe("a crash", () => {
  test("before the ledger answered: the start finishes the access, the identical request gets it", async () => {
    await start({ accessTimes: 1 });
    const request = world.request(world.consumer);
    world.ledger.failures.push("lost");
    await refused(ask(request), Code.Unavailable, ErrorReason.OUTCOME_UNKNOWN);
    await world.restart();
    const { accesses } = await world.access.reconcile();
    expect(accesses).toEqual({ finished: 1, voided: 0, open: 0 });
    const { records } = await world.as(world.consumer).listAccessRecords({});
    expect(records).toHaveLength(1);
    // No token without somebody to take it.
    expect(world.calls).not.toContain("createToken");
    expect((await ask(request)).record?.accessId).toBe(records[0]?.accessId);
    expect(world.ledger.accesses()).toHaveLength(1);
  });

  test("before the ledger got it: the start submits the same bytes, or voids what the ledger refuses", async () => {
    await start({ accessTimes: 2 });
    // The first attempt reached nothing, though nobody could know; the bytes are in the store.
    for (const _ of [1, 2]) {
      const held = world.ledger.take;
      world.ledger.take = () => {
        throw new Error("connection reset");
      };
      await refused(ask(), Code.Unavailable, ErrorReason.OUTCOME_UNKNOWN);
      world.ledger.take = held;
    }
    expect(world.ledger.accesses()).toHaveLength(0);
    world.ledger.accessTimes = 1;
    await world.restart();
    world.ledger.failures.push("unavailable", "unavailable");
    expect((await world.access.reconcile()).accesses).toEqual({ finished: 0, voided: 0, open: 2 });
    expect((await world.access.reconcile()).accesses).toEqual({ finished: 1, voided: 1, open: 0 });
    expect((await world.access.reconcile()).accesses).toEqual({ finished: 0, voided: 0, open: 0 });
    expect((await world.as(world.consumer).listAccessRecords({})).records).toHaveLength(1);
  });
});

describe("access records (C9, DSAM7)", () => {
  test("a consumer gets, lists, annotates and archives its own", async () => {
    await start({ accessTimes: 10 });
    const ids: string[] = [];
    for (let count = 0; count < 5; count++) ids.push((await ask()).record?.accessId ?? "");
    await ask(world.request(world.other), world.other);
    const client = world.as(world.consumer);
    const first = await client.listAccessRecords({ pageSize: 2 });
    const second = await client.listAccessRecords({ pageSize: 2, pageToken: first.nextPageToken });
    const third = await client.listAccessRecords({ pageSize: 2, pageToken: second.nextPageToken });
    const listed = [first, second, third].flatMap(({ records }) => records.map(({ accessId }) => accessId));
    expect(listed).toEqual(ids);
    expect(third.nextPageToken).toBe("");

    const [accessId = ""] = ids;
    const { record } = await client.updateAccessRecord({ accessId, note: "done", archived: true });
    expect(record).toMatchObject({ accessId, note: "done", archived: true });
    const remaining = await client.listAccessRecords({});
    expect(remaining.records.map((each) => each.accessId)).toEqual(ids.slice(1));
    expect((await client.listAccessRecords({ includeArchived: true })).records).toHaveLength(5);
    await world.restart();
    const got = await world.as(world.consumer).getAccessRecord({ accessId });
    expect(got.record).toMatchObject({ note: "done", archived: true });
    expect(got.proof?.transaction.length).toBeGreaterThan(0);
    expect(got.openings.map(({ name }) => name)).toEqual(["access-request", "record"]);
    expect(millisecondsOf(got.record?.accessedAt)).toBe(START);
    const elsewhere = `x1410://dlt.net/contracts/${"0".repeat(32)}`;
    expect((await world.as(world.consumer).listAccessRecords({ contractAddress: elsewhere })).records).toEqual([]);
    const broken = world.as(world.consumer).listAccessRecords({ pageToken: "../" });
    await refused(broken, Code.InvalidArgument, ErrorReason.REQUEST_INVALID);
  });

  test("another's record and no record give the same refusal", async () => {
    await start();
    const { record } = await ask();
    for (const accessId of [record?.accessId ?? "", "0".repeat(32)]) {
      const client = world.as(world.other);
      const reason = ErrorReason.ACCESS_RECORD_NOT_FOUND;
      await refused(client.getAccessRecord({ accessId }), Code.NotFound, reason);
      await refused(client.updateAccessRecord({ accessId, note: "mine" }), Code.NotFound, reason);
    }
  });

  test("one that is still open is not shown", async () => {
    await start();
    world.ledger.failures.push("lost");
    await refused(ask(), Code.Unavailable, ErrorReason.OUTCOME_UNKNOWN);
    const accessId = world.ledger.accesses()[0]?.accessId ?? "";
    const call = world.as(world.consumer).getAccessRecord({ accessId });
    await refused(call, Code.NotFound, ErrorReason.ACCESS_RECORD_NOT_FOUND);
  });
});
