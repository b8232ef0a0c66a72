import { randomBytes } from "node:crypto";
import { readdirSync } from "node:fs";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { afterAll, describe, expect, test } from "vitest";
import type { RequestAccessResponse } from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import { type RequestedPermission, UsageKind } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { reasonOf, refusal } from "../communications/refusal.ts";
import type { Offer } from "../data-provider/offer.ts";
import { DataProvider } from "../data-provider/provider.ts";
import { EvidenceError } from "../user/evidence.ts";
import { Sharing } from "../user/sharing.fixture.ts";
import { failureOf, impatient, userFixture } from "../user/user.fixture.ts";
import { DataConsumer } from "./consumer.ts";
import { GrantError } from "./grant.ts";
import { UnwrappingError, type UnwrappingSession } from "./unwrapping.ts";

const fixture = userFixture();
afterAll(() => fixture.remove());
const plaintext = randomBytes(60_000);
const attributes = { category: "records", introduction: "for tests" };
const permission = { accessTimes: 5, expiration: new Date(Date.now() + 3_600_000), readOnly: true };
const away = () => refusal(ErrorReason.PEER_UNAVAILABLE);

async function* data() {
  yield plaintext;
}

/** Something published, and a consumer. */
async function setting(offer: Offer = { attributes, permission }) {
  const sharing = new Sharing(fixture);
  const services = sharing.services();
  const provider = new DataProvider({
    user: fixture.user("provider", services),
    state: fixture.state(),
    patience: impatient,
  });
  const { contractAddress, packageId } = await provider.publish(data(), offer);
  const state = fixture.state();
  const consumer = (minutesLater = 0) =>
    new DataConsumer({
      user: fixture.user("consumer", services),
      state,
      patience: impatient,
      now: () => new Date(Date.now() + minutesLater * 60_000),
    });
  return { sharing, state, contractAddress, packageId, consumer };
}

async function read(session: UnwrappingSession): Promise<Buffer> {
  const parts: Buffer[] = [];
  await session.present((bytes) => void parts.push(Buffer.from(bytes)));
  await session.close();
  return Buffer.concat(parts);
}

describe("finding", () => {
  test("search and a forwarded address lead to what the provider signed", async () => {
    const { consumer, contractAddress } = await setting();
    const found: string[] = [];
    for await (const published of consumer().search({ text: "records" })) found.push(published.contractAddress);
    expect(found).toEqual([contractAddress]);
    const { signed } = await consumer().lookUp(contractAddress);
    expect(signed.information.attributes?.introduction).toBe("for tests");
  });

  test("an address that leads nowhere is refused", async () => {
    const { consumer } = await setting();
    const nowhere = `x1410://dlt.test/contracts/${"0".repeat(32)}`;
    expect(reasonOf(await failureOf(consumer().lookUp(nowhere)))).toBe(ErrorReason.INFORMATION_NOT_FOUND);
  });

  test("information that the provider did not sign is left out of a search and refused by address", async () => {
    const { sharing, consumer, contractAddress } = await setting();
    const published = sharing.published.bind(sharing);
    sharing.published = (address) => {
      const information = published(address);
      if (information.information?.attributes) information.information.attributes.usage = "whatever you like";
      return information;
    };
    const found: unknown[] = [];
    for await (const one of consumer().search()) found.push(one);
    expect(found).toEqual([]);
    expect(await failureOf(consumer().lookUp(contractAddress))).toBeInstanceOf(GrantError);
  });
});

describe("access", () => {
  test("takes the steps of Figure 4 in their order and gives the provider's plaintext", async () => {
    const { sharing, consumer, contractAddress } = await setting();
    const before = sharing.calls.length;
    const steps: string[] = [];
    const session = await consumer().access(contractAddress, { seen: (step) => void steps.push(step) });
    expect(Buffer.compare(await read(session), plaintext)).toBe(0);
    expect(sharing.calls.slice(before)).toEqual([
      "RequestAccess",
      "GetKey",
      "GetPackage",
      "ReportUsage",
      "ReportUsage",
    ]);
    expect([...new Set(steps)]).toEqual(["F4.1", "F4.11", "F4.14", "F4.17", "F4.18"]);
    const { accessId } = session;
    expect(sharing.usages).toEqual([
      { accessId, kind: UsageKind.OPENED },
      { accessId, kind: UsageKind.CLOSED },
    ]);
  });

  test("without an access permission gives it as Annex A.2 has it", async () => {
    const { consumer, contractAddress } = await setting({ attributes });
    expect(Buffer.compare(await read(await consumer().access(contractAddress)), plaintext)).toBe(0);
  });

  test("a second access is another grant, and the package is not fetched again", async () => {
    const { sharing, consumer, contractAddress } = await setting();
    const own = consumer();
    const first = await own.access(contractAddress);
    await first.close();
    const second = await own.access(contractAddress);
    expect(second.accessId).not.toBe(first.accessId);
    expect(Buffer.compare(await read(second), plaintext)).toBe(0);
    expect(sharing.calls.filter((call) => call === "GetPackage")).toHaveLength(1);
  });

  test("two at once do not disturb each other", async () => {
    const { consumer, contractAddress } = await setting();
    const own = consumer();
    const sessions = await Promise.all([own.access(contractAddress), own.access(contractAddress)]);
    for (const session of sessions) expect(Buffer.compare(await read(session), plaintext)).toBe(0);
  });

  test("leaves the package and nothing else", async () => {
    const { state, consumer, contractAddress, packageId } = await setting();
    await read(await consumer().access(contractAddress));
    expect(readdirSync(state.directory("packages").path)).toEqual([packageId]);
    expect(readdirSync(state.directory("accesses").path)).toEqual([]);
    expect(readdirSync(state.directory("reports").path)).toEqual([]);
  });
});

describe("lost answers", () => {
  test.each(["RequestAccess", "GetKey", "GetPackage", "ReportUsage"])("that of %s costs no access", async (method) => {
    const { sharing, consumer, contractAddress } = await setting();
    sharing.fail(method, refusal(ErrorReason.OUTCOME_UNKNOWN), "after");
    const session = await consumer().access(contractAddress);
    expect(Buffer.compare(await read(session), plaintext)).toBe(0);
    const requests = sharing.payloads.get("RequestAccess") ?? [];
    expect(new Set(requests.map((bytes) => Buffer.from(bytes).toString("hex"))).size).toBe(1);
    expect(new Set(sharing.keyRequests).size).toBe(1);
  });

  test.each(["RequestAccess", "GetKey", "GetPackage"])(
    "an access broken off at %s is taken up by the next process",
    async (method) => {
      const { sharing, consumer, contractAddress } = await setting();
      for (let attempt = 0; attempt < impatient.attempts; attempt++) sharing.fail(method, away(), "after");
      expect(reasonOf(await failureOf(consumer().access(contractAddress)))).toBe(ErrorReason.PEER_UNAVAILABLE);
      const session = await consumer().access(contractAddress);
      expect(Buffer.compare(await read(session), plaintext)).toBe(0);
      const requests = sharing.payloads.get("RequestAccess") ?? [];
      expect(new Set(requests.map((bytes) => Buffer.from(bytes).toString("hex"))).size).toBe(1);
      expect(new Set(sharing.keyRequests).size).toBe(1);
    },
  );

  test("one broken off so long ago that its signature is over is begun anew", async () => {
    const { sharing, consumer, contractAddress } = await setting();
    for (let attempt = 0; attempt < impatient.attempts; attempt++) sharing.fail("RequestAccess", away());
    await failureOf(consumer().access(contractAddress));
    await read(await consumer(10).access(contractAddress));
    expect(sharing.payloads.get("RequestAccess")).toHaveLength(1);
  });

  test("reports that could not be sent go out with the next access, in their order", async () => {
    const { sharing, consumer, contractAddress } = await setting();
    for (let attempt = 0; attempt < 4; attempt++) sharing.fail("ReportUsage", away());
    const first = await consumer().access(contractAddress);
    await first.close();
    expect(sharing.usages).toEqual([]);
    const second = await consumer().access(contractAddress);
    const of = ({ accessId }: UnwrappingSession, kind: UsageKind) => ({ accessId, kind });
    expect(sharing.usages).toEqual([
      of(first, UsageKind.OPENED),
      of(first, UsageKind.CLOSED),
      of(second, UsageKind.OPENED),
    ]);
  });
});

describe("a management that lies is not believed", () => {
  const spoiling = (change: (answer: RequestAccessResponse) => void) => (sharing: Sharing) => {
    sharing.spoil = change;
  };
  const narrowing = (change: (permission: RequestedPermission) => void) => (sharing: Sharing) => {
    sharing.narrow = change;
  };

  test.each([
    ["no proof", spoiling((answer) => Reflect.deleteProperty(answer, "proof")), EvidenceError],
    [
      "an opening that opens something else",
      spoiling(({ openings: [first] }) => Object.assign(first ?? {}, { value: randomBytes(8) })),
      EvidenceError,
    ],
    [
      "a record that is not on the ledger",
      spoiling(({ record }) => Object.assign(record ?? {}, { accessNumber: 9 })),
      EvidenceError,
    ],
    [
      "the access of another consumer",
      spoiling(({ record }) => Object.assign(record ?? {}, { consumerIdentity: "urn:x1410:user:other" })),
      GrantError,
    ],
    [
      "another key than the provider signed",
      spoiling(({ key }) => Object.assign(key ?? {}, { keyId: "0".repeat(32) })),
      GrantError,
    ],
    [
      "no requested permission where there is an access permission",
      spoiling((answer) => Reflect.deleteProperty(answer, "requestedPermission")),
      GrantError,
    ],
    [
      "a requested permission of another access",
      narrowing((permission) => Object.assign(permission, { accessId: "0".repeat(32) })),
      GrantError,
    ],
  ])("%s", async (_, lie, kind) => {
    const { sharing, consumer, contractAddress } = await setting();
    lie(sharing);
    expect(await failureOf(consumer().access(contractAddress))).toBeInstanceOf(kind);
    expect(sharing.calls).not.toContain("GetKey");
  });

  test("a permission that is wider than the provider's does not widen it", async () => {
    const { sharing, consumer, contractAddress } = await setting();
    sharing.narrow = (own) => {
      own.readOnly = false;
    };
    const session = await consumer().access(contractAddress);
    expect(session.readOnly).toBe(true);
  });

  test("a permission that is narrower holds", async () => {
    const { sharing, consumer, contractAddress } = await setting({
      attributes,
      permission: { ...permission, readOnly: false },
    });
    sharing.narrow = (own) => {
      own.expiration = timestampFromDate(new Date(Date.now() - 1000));
    };
    const cause = await failureOf(consumer().access(contractAddress));
    expect(cause instanceof UnwrappingError && cause.code).toBe("expired");
  });
});

test("a package that the data storage server has exchanged is refused, and no usage but that is reported", async () => {
  const { sharing, consumer, contractAddress, packageId } = await setting();
  const bytes = Buffer.from(sharing.packages.get(packageId) ?? []);
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
  sharing.packages.set(packageId, bytes);
  expect(await failureOf(consumer().access(contractAddress))).toMatchObject({ code: Code.DataLoss, flaw: "digest" });
  expect(sharing.usages).toEqual([]);
});

test("once the data storage server has mended the package, the same access goes on", async () => {
  const { sharing, consumer, contractAddress, packageId } = await setting();
  const good = sharing.packages.get(packageId) ?? Buffer.alloc(0);
  sharing.spoil = () => void sharing.packages.set(packageId, good.subarray(0, -1));
  expect(await failureOf(consumer().access(contractAddress))).toMatchObject({ code: Code.DataLoss });
  sharing.packages.set(packageId, good);
  const session = await consumer().access(contractAddress);
  expect(Buffer.compare(await read(session), plaintext)).toBe(0);
  const [first, second] = sharing.payloads.get("RequestAccess") ?? [];
  expect(second).toEqual(first);
});

test("an access that was refused for good is not taken up again", async () => {
  const { sharing, state, consumer, contractAddress } = await setting();
  sharing.fail("RequestAccess", refusal(ErrorReason.ACCESS_TIMES_EXHAUSTED));
  expect(reasonOf(await failureOf(consumer().access(contractAddress)))).toBe(ErrorReason.ACCESS_TIMES_EXHAUSTED);
  expect(readdirSync(state.directory("accesses").path)).toEqual([]);
});

test("an access record is shown with its evidence checked", async () => {
  const { consumer, contractAddress } = await setting();
  const session = await consumer().access(contractAddress);
  await session.close();
  const { record, blockHeight } = await consumer().record(session.accessId);
  expect(record.accessId).toBe(session.accessId);
  expect(blockHeight).toBe(1n);
});
