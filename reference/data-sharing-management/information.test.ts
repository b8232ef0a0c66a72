// Publication and subscription (PUB1-3, SUB1-2; F3.9.2 to F3.12, F4.1 by search, by address and by subscription).
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { PublishedInformationSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import type { InformationFilterSchema } from "../../gen/x1410/v1/information_publication_pb.ts";
import type { SubscribeResponse } from "../../gen/x1410/v1/information_subscription_pb.ts";
import { directPeer } from "../communications/direct-binding.ts";
import { hexId, PolicyRig, refused, type User } from "./policy-management.fixture.ts";
import { MANAGEMENT } from "./policy-peers.fixture.ts";

let rig: PolicyRig;
let provider: User;
let consumer: User;

beforeEach(async () => {
  rig = await PolicyRig.open();
  provider = await rig.user("provider", { publish: true });
  consumer = await rig.user("consumer", { access: true });
});
afterEach(() => rig.close());

const management = { peer: directPeer(MANAGEMENT) };
const publication = (as: Pick<User, "peer"> = management) => rig.as(as, rig.components.publication.registration);
const subscription = (as: Pick<User, "peer"> = consumer) => rig.as(as, rig.components.subscription);
const address = (id: string) => `x1410://dlt.net/contracts/${id}`;

interface Entry {
  readonly id?: string;
  readonly version?: bigint;
  readonly withdrawn?: boolean;
  readonly category?: string;
  readonly introduction?: string;
  readonly keywords?: string[];
  readonly usage?: string;
  readonly payload?: number;
}

function information(entry: Entry) {
  const {
    id = hexId(),
    version = 1n,
    withdrawn = false,
    category = "records",
    introduction = "",
    payload = 10,
  } = entry;
  const { keywords = [], usage = "" } = entry;
  return create(PublishedInformationSchema, {
    contractAddress: address(id),
    information: { providerIdentity: provider.identity, attributes: { category, introduction, keywords, usage } },
    signedPolicy: { payload: new Uint8Array(payload), payloadType: "t" },
    policyVersion: version,
    withdrawn,
  });
}

const publish = async (entry: Entry) =>
  (await publication().publishInformation({ information: information(entry) })).position;

async function search(filter: MessageInitShape<typeof InformationFilterSchema> = {}) {
  const { information: found } = await publication(consumer).searchInformation({ filter }, consumer.inSession);
  return found.map(({ contractAddress }) => contractAddress.slice(-32));
}

async function subscribed(count: number, request: { afterPosition?: bigint; category?: string } = {}) {
  const seen: SubscribeResponse[] = [];
  for await (const message of subscription().subscribe(request, consumer.inSession)) {
    seen.push(message);
    if (seen.length > count) break;
  }
  return seen.map(({ position, information: told }) => [position, told?.contractAddress.slice(-32)]);
}

describe("PublishInformation", () => {
  test("is idempotent by contract and version, and positions grow by each version", async () => {
    const id = hexId();
    expect(await publish({ id })).toBe(1n);
    expect(await publish({ id })).toBe(1n);
    expect(await publish({})).toBe(2n);
    expect(await publish({ id, version: 2n })).toBe(3n);
    expect(await publish({ id, version: 1n })).toBe(3n);
    expect(await publish({ id, version: 2n, withdrawn: true })).toBe(4n);
    expect(await publish({ id, version: 3n })).toBe(4n);
    const got = await publication(consumer).getInformation({ contractAddress: address(id) }, consumer.inSession);
    expect(got.information).toMatchObject({ policyVersion: 2n, withdrawn: true });
  });

  test("ten at once are ten positions", async () => {
    const positions = await Promise.all(Array.from({ length: 10 }, () => publish({})));
    expect(positions.map(Number).sort((one, other) => one - other)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  test("stands while subscription is out of reach, which is told later, in order, over a restart", async () => {
    rig.broken.add("notifyPublished");
    const ids = [hexId(), hexId(), hexId()];
    await publish({ id: ids[0] ?? "" });
    await publish({ id: ids[1] ?? "" });
    expect(await search()).toHaveLength(2);
    rig.restart();
    await expect(rig.components.publication.deliver()).rejects.toThrow();
    rig.broken.clear();
    await publish({ id: ids[2] ?? "" });
    expect(await subscribed(3)).toEqual([
      [3n, undefined],
      [1n, ids[0]],
      [2n, ids[1]],
      [3n, ids[2]],
    ]);
  });
});

describe("SearchInformation", () => {
  test("finds newest first by words, category and provider, and leaves out what is withdrawn", async () => {
    const ids = [hexId(), hexId(), hexId()] as const;
    await publish({ id: ids[0], introduction: "Subscribers of Bavaria", keywords: ["telecom"] });
    await publish({ id: ids[1], category: "traffic", usage: "research only" });
    await publish({ id: ids[2], introduction: "bavarian traffic" });
    expect(await search()).toEqual([ids[2], ids[1], ids[0]]);
    expect(await search({ text: "BAVARIA" })).toEqual([ids[2], ids[0]]);
    expect(await search({ text: "bavaria telecom" })).toEqual([ids[0]]);
    expect(await search({ text: "research" })).toEqual([ids[1]]);
    expect(await search({ category: "traffic" })).toEqual([ids[1]]);
    expect(await search({ providerIdentity: provider.identity })).toHaveLength(3);
    expect(await search({ providerIdentity: consumer.identity })).toEqual([]);
    await publish({ id: ids[0], version: 2n, introduction: "Bavaria again" });
    expect(await search({ text: "bavaria" })).toEqual([ids[0], ids[2]]);
    await publish({ id: ids[2], withdrawn: true });
    expect(await search()).toEqual([ids[0], ids[1]]);
  });

  test("pages through everything once, also where single entries are large", async () => {
    const ids = Array.from({ length: 7 }, hexId);
    for (const id of ids) await publish({ id, payload: 900_000 });
    const seen: string[] = [];
    const sizes: number[] = [];
    let pageToken = "";
    do {
      const page = await publication(consumer).searchInformation({ pageSize: 5, pageToken }, consumer.inSession);
      seen.push(...page.information.map(({ contractAddress }) => contractAddress.slice(-32)));
      sizes.push(page.information.length);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(seen).toEqual(ids.reverse());
    expect(Math.max(...sizes)).toBe(3);
  });

  test("needs the right to access", async () => {
    await refused(ErrorReason.SESSION_REQUIRED, publication(consumer).searchInformation({}));
    await refused(ErrorReason.RIGHT_MISSING, publication(provider).searchInformation({}, provider.inSession));
    const request = { contractAddress: address(hexId()) };
    await refused(ErrorReason.SESSION_REQUIRED, publication(consumer).getInformation(request));
    await refused(ErrorReason.RIGHT_MISSING, publication(provider).getInformation(request, provider.inSession));
    await refused(ErrorReason.INFORMATION_NOT_FOUND, publication(consumer).getInformation(request, consumer.inSession));
    const page = { pageToken: "zz" };
    await refused(ErrorReason.REQUEST_INVALID, publication(consumer).searchInformation(page, consumer.inSession));
  });
});

describe("Subscribe", () => {
  test("starts with a snapshot of what is published, then follows", async () => {
    const ids = [hexId(), hexId(), hexId(), hexId()] as const;
    await publish({ id: ids[0] });
    await publish({ id: ids[1] });
    await publish({ id: ids[2] });
    await publish({ id: ids[0], version: 2n });
    await publish({ id: ids[1], withdrawn: true });
    const stream = subscription().subscribe({}, consumer.inSession)[Symbol.asyncIterator]();
    const seen: unknown[] = [];
    for (let count = 0; count < 3; count++) {
      const { value } = await stream.next();
      seen.push([value?.position, value?.information?.contractAddress.slice(-32)]);
    }
    expect(seen).toEqual([
      [5n, undefined],
      [3n, ids[2]],
      [4n, ids[0]],
    ]);
    const next = stream.next();
    await publish({ id: ids[3] });
    expect((await next).value).toMatchObject({ position: 6n, information: { contractAddress: address(ids[3]) } });
  });

  test("resumes after a position with every event since, withdrawals included, over a restart", async () => {
    const ids = [hexId(), hexId()] as const;
    await publish({ id: ids[0] });
    await publish({ id: ids[1] });
    await publish({ id: ids[0], withdrawn: true });
    rig.restart();
    expect(await subscribed(2, { afterPosition: 1n })).toEqual([
      [3n, undefined],
      [2n, ids[1]],
      [3n, ids[0]],
    ]);
  });

  test("sends one category alone", async () => {
    const ids = [hexId(), hexId()] as const;
    await publish({ id: ids[0], category: "traffic" });
    await publish({});
    await publish({ id: ids[1], category: "traffic" });
    expect((await subscribed(2, { category: "traffic" })).slice(1)).toEqual([
      [1n, ids[0]],
      [3n, ids[1]],
    ]);
  });

  test("refuses a position that is no longer kept; the snapshot still tells everything", async () => {
    const ids = Array.from({ length: 60 }, hexId);
    for (const id of ids) await publish({ id });
    await refused(ErrorReason.POSITION_EXPIRED, subscribed(1, { afterPosition: 5n }));
    await refused(ErrorReason.POSITION_EXPIRED, subscribed(1, { afterPosition: 61n }));
    expect((await subscribed(60)).slice(1).map(([, id]) => id)).toEqual(ids);
    expect(await subscribed(1, { afterPosition: 59n })).toEqual([
      [60n, undefined],
      [60n, ids[59]],
    ]);
  });

  test("needs session and right, and refuses a flood", async () => {
    const open = (user: User, options: object = user.inSession) =>
      subscription(user).subscribe({}, options)[Symbol.asyncIterator]().next();
    await refused(ErrorReason.SESSION_REQUIRED, open(consumer, {}));
    await refused(ErrorReason.SESSION_INVALID, open(consumer, provider.inSession));
    await refused(ErrorReason.RIGHT_MISSING, open(provider));
    const stop = new AbortController();
    const options = { ...consumer.inSession, signal: stop.signal };
    await Promise.all(Array.from({ length: 16 }, () => open(consumer, options)));
    await refused(ErrorReason.SUBSCRIPTION_LIMIT, open(consumer, options));
    stop.abort();
    expect((await open(consumer)).done).toBe(false);
  });

  test("takes news once, whoever repeats it", async () => {
    const told = information({});
    for (let count = 0; count < 3; count++) {
      await subscription(management).notifyPublished({ position: 1n, information: told });
    }
    expect(await subscribed(1)).toEqual([
      [1n, undefined],
      [1n, told.contractAddress.slice(-32)],
    ]);
  });
});
