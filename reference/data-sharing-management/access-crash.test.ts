// A management that dies at any write of a request, before it is on disk or just after: what the identical request finds afterwards.
import { decodeJwt } from "jose";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { UsageKind } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { AccessWorld, Cast, CONTRACT_ADDRESS } from "./data-sharing-access.fixture.ts";

/** Writes of one access: intent, record, answer, token, requested permission, usage. */
const WRITES = 6;
/** Writes of one report: intent, record, answer. */
const REPORT_WRITES = 3;

let cast: Cast;
let world: AccessWorld;

beforeAll(() => {
  cast = new Cast();
});
afterAll(() => cast.remove());
beforeEach(async () => {
  world = new AccessWorld(cast);
  world.publish({ accessTimes: 1 });
  await world.open();
});
afterEach(() => world.close());

/** From the write of this number on nothing gets to disk; that one itself does where it is lost only to the process. */
function dieAt(write: number, durable: boolean): { writes: number } {
  const { level } = world;
  if (level === undefined) throw new TypeError("the world is not open");
  const seen = { writes: 0 };
  const batch = level.batch.bind(level) as (...given: unknown[]) => Promise<void>;
  const dying = async (...given: unknown[]) => {
    seen.writes++;
    if (seen.writes < write || (seen.writes === write && durable)) await batch(...given);
    if (seen.writes >= write) throw new Error("the process is gone");
  };
  level.batch = dying as unknown as typeof level.batch;
  return seen;
}

const points = (writes: number) =>
  Array.from({ length: writes }, (_, index) => index + 1).flatMap((write) => [
    { write, durable: false },
    { write, durable: true },
  ]);
const kinds = async () => {
  const { records } = await world.as(world.provider).listUsageRecords({ contractAddress: CONTRACT_ADDRESS });
  return records.map(({ kind }) => kind);
};

test("an access has as many writes as these tests go through", async () => {
  const seen = dieAt(Number.POSITIVE_INFINITY, true);
  const { record } = await world.as(world.consumer).requestAccess({ request: world.request(world.consumer) });
  expect(seen.writes).toBe(WRITES);
  const report = world.report(world.consumer, record?.accessId ?? "", UsageKind.OPENED);
  await world.as(world.consumer).reportUsage({ report });
  expect(seen.writes).toBe(WRITES + REPORT_WRITES);
});

test.each(points(WRITES))("an access interrupted at write $write (on disk: $durable) is had once", async (point) => {
  const request = world.request(world.consumer);
  const ask = () => world.as(world.consumer).requestAccess({ request });
  dieAt(point.write, point.durable);
  await expect(ask()).rejects.toThrow();
  await world.restart();
  const { accesses } = await world.access.reconcile();
  expect(accesses.voided + accesses.open).toBe(0);
  const [first, second] = [await ask(), await ask()];
  expect(first.record?.accessNumber).toBe(1);
  expect(second.record?.accessId).toBe(first.record?.accessId);
  expect(decodeJwt(second.accessToken).jti).toBe(decodeJwt(first.accessToken).jti);
  const [permission, again] = [first, second].map(({ requestedPermission }) =>
    Buffer.from(requestedPermission?.payload ?? []),
  );
  expect(again).toEqual(permission);
  expect(world.ledger.accesses().map(({ accessId }) => accessId)).toEqual([first.record?.accessId]);
  expect((await world.as(world.consumer).listAccessRecords({})).records).toHaveLength(1);
  expect(await kinds()).toEqual([UsageKind.GRANTED]);
});

test.each(points(REPORT_WRITES))(
  "a report interrupted at write $write (on disk: $durable) is kept once",
  async (point) => {
    const { record } = await world.as(world.consumer).requestAccess({ request: world.request(world.consumer) });
    world.time += 1;
    const report = world.report(world.consumer, record?.accessId ?? "", UsageKind.OPENED);
    const send = () => world.as(world.consumer).reportUsage({ report });
    dieAt(point.write, point.durable);
    await expect(send()).rejects.toThrow();
    await world.restart();
    expect((await world.access.reconcile()).usages.open).toBe(0);
    const [first, second] = [await send(), await send()];
    expect(second.record?.usageId).toBe(first.record?.usageId);
    expect(world.ledger.transactions).toHaveLength(2);
    expect(await kinds()).toEqual([UsageKind.GRANTED, UsageKind.OPENED]);
  },
);
