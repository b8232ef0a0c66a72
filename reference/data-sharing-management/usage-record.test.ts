import { createHash } from "node:crypto";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { UsageKind, type UsageReport } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { AccessWorld, Cast, CONTRACT_ADDRESS, millisecondsOf, refused, START } from "./data-sharing-access.fixture.ts";

let cast: Cast;
let world: AccessWorld;
let accessId: string;

beforeAll(() => {
  cast = new Cast();
});
afterAll(() => cast.remove());
beforeEach(async () => {
  world = new AccessWorld(cast);
  world.publish({ accessTimes: 3 });
  await world.open();
  const { record } = await world.as(world.consumer).requestAccess({ request: world.request(world.consumer) });
  accessId = record?.accessId ?? "";
});
afterEach(() => world.close());

const report = (kind: UsageKind, change?: Parameters<AccessWorld["report"]>[3]) =>
  send(world.report(world.consumer, accessId, kind, change));
const send = (signed: ReturnType<AccessWorld["report"]>, user = world.consumer) =>
  world.as(user).reportUsage({ report: signed });
const list = (user = world.consumer, options: { pageSize?: number; pageToken?: string } = {}) =>
  world.as(user).listUsageRecords({ contractAddress: CONTRACT_ADDRESS, ...options });
const kindsOf = (records: readonly { readonly kind: UsageKind }[]) => records.map(({ kind }) => kind);
const usagesOnLedger = () =>
  world.ledger.transactions.flatMap(({ action }) => (action.case === "recordUsage" ? [action.value] : []));

describe("a usage report (UR2)", () => {
  test("becomes a record based on the requested permission, with a commitment on the ledger", async () => {
    world.time += 5000;
    const { record } = await report(UsageKind.OPENED, (message) => {
      message.remark = "opened by the session";
    });
    expect(record).toMatchObject({
      accessId,
      contractAddress: CONTRACT_ADDRESS,
      kind: UsageKind.OPENED,
      consumerIdentity: world.consumer.identity,
      remark: "opened by the session",
    });
    expect(millisecondsOf(record?.occurredAt)).toBe(START + 5000);
    expect(record?.requestedPermission?.payload.length).toBeGreaterThan(0);
    const [usage] = usagesOnLedger();
    expect(usage).toMatchObject({ usageId: record?.usageId, accessId });
    expect(usage?.commitments.map(({ name }) => name)).toEqual(["usage"]);
    const committed = [...world.ledger.committed.values()].at(-1)?.envelope ?? new Uint8Array();
    expect(Buffer.from(committed).toString("latin1")).not.toContain(world.consumer.identity);
    expect(Buffer.from(usage?.commitments[0]?.digest ?? [])).not.toEqual(createHash("sha256").digest());
  });

  test("follows the life of an access: opened, refused, closed", async () => {
    await report(UsageKind.OPENED);
    await report(UsageKind.REFUSED);
    await report(UsageKind.REFUSED);
    await report(UsageKind.CLOSED);
    const { records } = await list();
    const { GRANTED, OPENED, REFUSED, CLOSED } = UsageKind;
    expect(kindsOf(records)).toEqual([GRANTED, OPENED, REFUSED, REFUSED, CLOSED]);
  });

  test("that contradicts the record is refused", async () => {
    const invalid = (call: Promise<unknown>) => refused(call, Code.FailedPrecondition, ErrorReason.USAGE_INVALID);
    const at = (time: number) => (message: UsageReport) => {
      message.occurredAt = timestampFromMs(time);
    };
    await invalid(report(UsageKind.CLOSED));
    await invalid(report(UsageKind.OPENED, at(START - 60_001)));
    await invalid(report(UsageKind.OPENED, at(START + 60_001)));
    await report(UsageKind.OPENED, at(START + 30_000));
    await invalid(report(UsageKind.OPENED));
    await invalid(report(UsageKind.CLOSED, at(START + 29_999)));
    await report(UsageKind.CLOSED, at(START + 30_000));
    await invalid(report(UsageKind.CLOSED, at(START + 30_000)));
    expect(usagesOnLedger()).toHaveLength(2);
  });

  test("of an access for which nothing was given out is refused", async () => {
    const request = world.request(world.consumer);
    world.failing.add("createToken");
    await refused(world.as(world.consumer).requestAccess({ request }), Code.Unavailable, ErrorReason.PEER_UNAVAILABLE);
    const { records } = await world.as(world.consumer).listAccessRecords({});
    const signed = () => world.report(world.consumer, records[1]?.accessId ?? "", UsageKind.OPENED);
    await refused(send(signed()), Code.FailedPrecondition, ErrorReason.USAGE_INVALID);
    await world.as(world.consumer).requestAccess({ request });
    await expect(send(signed())).resolves.toBeDefined();
  });

  test("of another consumer's access, of none, or signed by another is refused", async () => {
    const foreign = world.report(world.other, accessId, UsageKind.OPENED);
    await refused(send(foreign, world.other), Code.NotFound, ErrorReason.ACCESS_RECORD_NOT_FOUND);
    const none = world.report(world.consumer, "0".repeat(32), UsageKind.OPENED);
    await refused(send(none), Code.NotFound, ErrorReason.ACCESS_RECORD_NOT_FOUND);
    const signed = world.report(world.consumer, accessId, UsageKind.OPENED);
    await refused(send(signed, world.other), Code.PermissionDenied, ErrorReason.SIGNER_NOT_CALLER);
    const granted = world.report(world.consumer, accessId, UsageKind.GRANTED);
    await refused(send(granted), Code.InvalidArgument, ErrorReason.PAYLOAD_MALFORMED);
    const call = world.as(world.consumer, {}).reportUsage({ report: signed });
    await refused(call, Code.Unauthenticated, ErrorReason.SESSION_REQUIRED);
    await expect(send(signed)).resolves.toBeDefined();
  });
});

describe("a lost answer costs nothing", () => {
  test("identical bytes get the first record: again, at once, after a restart", async () => {
    const signed = world.report(world.consumer, accessId, UsageKind.OPENED);
    const answers = await Promise.all([send(signed), send(signed), send(signed)]);
    await world.restart();
    answers.push(await send(signed));
    expect(new Set(answers.map(({ record }) => record?.usageId)).size).toBe(1);
    expect(usagesOnLedger()).toHaveLength(1);
  });

  test("of two openings at once one is recorded", async () => {
    const calls = [report(UsageKind.OPENED), report(UsageKind.OPENED)];
    const outcomes = await Promise.allSettled(calls);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(usagesOnLedger()).toHaveLength(1);
  });

  test("where the ledger is not available nothing is recorded", async () => {
    world.ledger.failures.push("unavailable");
    const signed = world.report(world.consumer, accessId, UsageKind.OPENED);
    await refused(send(signed), Code.Unavailable, ErrorReason.LEDGER_UNAVAILABLE);
    expect(kindsOf((await list()).records)).toEqual([UsageKind.GRANTED]);
    await expect(send(signed)).resolves.toBeDefined();
  });

  test("where the outcome is unknown the identical report finds the one record", async () => {
    const signed = world.report(world.consumer, accessId, UsageKind.OPENED);
    world.ledger.failures.push("lost", "unavailable");
    await refused(send(signed), Code.Unavailable, ErrorReason.OUTCOME_UNKNOWN);
    await refused(send(signed), Code.Unavailable, ErrorReason.OUTCOME_UNKNOWN);
    const { record } = await send(signed);
    expect(usagesOnLedger().map(({ usageId }) => usageId)).toEqual([record?.usageId]);
  });

  test("a crash in between is mended at the start", async () => {
    world.time += 1;
    world.ledger.failures.push("lost");
    await refused(report(UsageKind.OPENED), Code.Unavailable, ErrorReason.OUTCOME_UNKNOWN);
    await world.restart();
    world.ledger.failures.push("unavailable");
    expect((await world.access.reconcile()).usages).toEqual({ finished: 0, voided: 0, open: 1 });
    expect((await world.access.reconcile()).usages).toEqual({ finished: 1, voided: 0, open: 0 });
    expect(kindsOf((await list()).records)).toEqual([UsageKind.GRANTED, UsageKind.OPENED]);
    await report(UsageKind.CLOSED);
  });
});

describe("listing (clause 7.2.4)", () => {
  test("the provider sees all usage of its contract, a consumer its own", async () => {
    await world.as(world.other).requestAccess({ request: world.request(world.other) });
    await report(UsageKind.OPENED);
    const who = (records: readonly { readonly consumerIdentity: string }[]) =>
      records.map(({ consumerIdentity }) => consumerIdentity);
    const { consumer, other, provider } = world;
    expect(who((await list(provider)).records)).toEqual([consumer.identity, other.identity, consumer.identity]);
    expect(who((await list(consumer)).records)).toEqual([consumer.identity, consumer.identity]);
    expect(who((await list(other)).records)).toEqual([other.identity]);
  });

  test.each(["provider", "consumer"] as const)("pages to a %s are in order and whole", async (role) => {
    await report(UsageKind.OPENED);
    for (let count = 0; count < 3; count++) await report(UsageKind.REFUSED);
    const all = (await list(world[role])).records.map(({ usageId }) => usageId);
    const paged: string[] = [];
    let pageToken = "";
    do {
      const page = await list(world[role], { pageSize: 2, pageToken });
      expect(page.records.length).toBeLessThanOrEqual(2);
      paged.push(...page.records.map(({ usageId }) => usageId));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(paged).toEqual(all);
    expect(all).toHaveLength(5);
    await refused(list(world[role], { pageToken: "/" }), Code.InvalidArgument, ErrorReason.REQUEST_INVALID);
  });

  test("an unknown contract is not found", async () => {
    const contractAddress = `x1410://dlt.net/contracts/${"0".repeat(32)}`;
    const call = world.as(world.consumer).listUsageRecords({ contractAddress });
    await refused(call, Code.NotFound, ErrorReason.CONTRACT_NOT_FOUND);
  });
});
