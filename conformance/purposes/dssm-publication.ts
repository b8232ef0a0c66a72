// Information publication and subscription (PUB, SUB; clauses 6.2.2, 7.3.1 and 7.3.2) of a data-sharing service management.
import type { PublishedInformation } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { InformationPublicationService } from "../../gen/x1410/v1/information_publication_pb.ts";
import { InformationSubscriptionService } from "../../gen/x1410/v1/information_subscription_pb.ts";
import { reasonOf } from "../../reference/communications/refusal.ts";
import { expect } from "../procedures/procedure.ts";
import { DataConsumer } from "../roles/data-consumer.ts";
import type { User } from "../roles/user.ts";
import type { TestCase } from "../test-case.ts";
import {
  type Draft,
  draft,
  informationOf,
  policies,
  published,
  signedUpdate,
  signedWithdrawal,
} from "./dssm-policy-draft.ts";
import { noContract } from "./dssm-sessions.ts";
import { type MalformedField, malformedField } from "./malformed-field.ts";
import { type Purpose, purpose } from "./purpose.ts";
import { untilSo } from "./revocation-refresh.ts";
import { firstOf } from "./session-gate.ts";

const found = { clause: "7.3.2", steps: ["F3.10", "F4.1", "A2.1"], capabilities: ["PUB2", "C3"] } as const;
const told = {
  clause: "7.3.1",
  steps: ["F3.11", "F3.12", "A1.12"],
  capabilities: ["PUB3", "SUB1", "SUB2", "C1", "U5"],
} as const;

/** More streams than a user may hold (Subscribe in information_subscription.proto), fewer than a connection carries. */
const FLOOD = 90;

const publication = (user: User) => user.client(InformationPublicationService, "dssm");
const subscription = (user: User) => user.client(InformationSubscriptionService, "dssm");

interface Offered {
  readonly made: Draft;
  readonly policyId: string;
  readonly address: string;
}

/** A policy that is published, under a category of this purpose alone; the consumer is in session. */
async function offered(t: TestCase, category: string, provider = t.provider): Promise<Offered> {
  await t.inSession(t.consumer);
  const made = await draft(t, undefined, provider);
  const { attributes } = informationOf(made.submission);
  if (attributes) attributes.category = category;
  const { policyId, contractAddress: address } = await published(t, made);
  return { made, policyId, address };
}

async function withdrawn({ made: { provider }, policyId }: Offered): Promise<void> {
  const withdrawal = signedWithdrawal(provider, policyId);
  await policies(provider).withdrawPolicy({ withdrawal }, provider.inSession);
}

async function search(t: TestCase, filter: Record<string, string>, consumer: DataConsumer = t.consumer) {
  const { information } = await publication(consumer).searchInformation({ filter }, consumer.inSession);
  return information.map(({ contractAddress }) => contractAddress);
}

interface News {
  readonly position: bigint;
  readonly information: PublishedInformation;
}

/** What a subscription to the category tells from a position on, until `enough` has come. */
async function news(t: TestCase, category: string, enough: number, afterPosition = 0n): Promise<News[]> {
  const left = new AbortController();
  const list: News[] = [];
  const { inSession } = t.consumer;
  try {
    const options = { ...inSession, signal: left.signal };
    for await (const { position, information } of subscription(t.consumer).subscribe(
      { afterPosition, category },
      options,
    )) {
      if (information !== undefined) list.push({ position, information });
      if (list.length === enough) break;
    }
    return list;
  } finally {
    left.abort();
  }
}

const malformed: readonly MalformedField[] = [
  {
    id: "TP/DSSM/PUB/BI-07",
    method: "InformationPublicationService/SearchInformation",
    field: "page_size",
    holds: "1001",
    likelyMistake: "a page is as long as is asked for: one call makes the server build them all in memory",
    async requests(t) {
      const { inSession } = await t.inSession(t.consumer);
      const page = (pageSize: number) => publication(t.consumer).searchInformation({ pageSize }, inSession);
      return { right: () => page(1), wrong: () => page(1001) };
    },
  },
  {
    id: "TP/DSSM/PUB/BI-08",
    method: "InformationPublicationService/SearchInformation",
    field: "page_token",
    holds: "no token that a page ended with",
    likelyMistake: "a token that does not parse is taken for the beginning: a client loops for ever",
    async requests(t) {
      const { inSession } = await t.inSession(t.consumer);
      const page = (pageToken: string) =>
        publication(t.consumer).searchInformation({ pageSize: 1, pageToken }, inSession);
      return { right: () => page(""), wrong: () => page("not/a/token") };
    },
  },
  {
    id: "TP/DSSM/PUB/BI-09",
    method: "InformationPublicationService/GetInformation",
    field: "contract_address",
    holds: "the address of a package",
    likelyMistake: "an id is cut off whatever address comes",
    async requests(t) {
      const { address, made } = await offered(t, t.freshName("category"));
      const get = (contractAddress: string) =>
        publication(t.consumer).getInformation({ contractAddress }, t.consumer.inSession);
      return { right: () => get(address), wrong: () => get(made.stored.address) };
    },
  },
  {
    id: "TP/DSSM/SUB/BI-04",
    method: "InformationSubscriptionService/Subscribe",
    field: "category",
    holds: "129 characters",
    likelyMistake: "rules are checked for single requests and not for those that open a stream",
    async requests(t) {
      const { inSession } = await t.inSession(t.consumer);
      const open = (category: string) =>
        firstOf((signal) => subscription(t.consumer).subscribe({ category }, { ...inSession, signal }));
      return { right: () => open("x".repeat(128)), wrong: () => open("x".repeat(129)) };
    },
  },
];

export const publicationPurposes: readonly Purpose[] = [
  ...malformed.map((row) => malformedField(row, { clause: "7.3.2", capabilities: ["PUB2"] })),
  purpose({
    ...found,
    id: "TP/DSSM/PUB/BV-01",
    title: "finds what is published by category, by provider and by words in any case",
    capabilities: [...found.capabilities, "API1"],
    methods: ["InformationPublicationService/SearchInformation"],
    initialState: "information of two providers published under one category",
    stimulus:
      "SearchInformation by category; by category and provider; by a keyword in capitals; by a word that is nowhere",
    expected: "both, newest first; the one; the one; none",
    likelyMistake: "what is set in a filter is taken as alternatives, or words are compared with their case",
    async run(t) {
      const category = t.freshName("category");
      const one = await offered(t, category);
      const other = await offered(t, category, t.secondProvider);
      const both = await search(t, { category });
      expect(both.join() === [other.address, one.address].join(), "both, newest first");
      const providerIdentity = t.secondProvider.identity;
      expect((await search(t, { category, providerIdentity })).join() === other.address, "the other provider's");
      const text = one.made.stored.id.toUpperCase();
      expect((await search(t, { text })).join() === one.address, "the one with the keyword");
      expect((await search(t, { category, text: t.freshName("nowhere") })).length === 0, "none");
    },
  }),
  purpose({
    ...found,
    id: "TP/DSSM/PUB/BV-02",
    title: "gives a search page by page, each find once",
    methods: ["InformationPublicationService/SearchInformation"],
    initialState: "three published under one category",
    stimulus: "SearchInformation in pages of one",
    expected: "the three, newest first, one a page",
    likelyMistake: "pages are counted off over what is published meanwhile",
    async run(t) {
      const category = t.freshName("category");
      const addresses: string[] = [];
      for (let count = 0; count < 3; count++) addresses.unshift((await offered(t, category)).address);
      const seen: string[] = [];
      let pageToken = "";
      do {
        const page = await publication(t.consumer).searchInformation(
          { filter: { category }, pageSize: 1, pageToken },
          t.consumer.inSession,
        );
        expect(page.information.length <= 1, "one a page at most");
        seen.push(...page.information.map(({ contractAddress }) => contractAddress));
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
      expect(seen.join() === addresses.join(), "the three, newest first");
    },
  }),
  purpose({
    ...found,
    id: "TP/DSSM/PUB/BV-03",
    title: "publishes what the provider signed, and after an update what it signed then",
    capabilities: ["PUB2", "C3", "DSPM5"],
    methods: ["InformationPublicationService/GetInformation"],
    initialState: "information published",
    stimulus: "GetInformation; UpdatePolicy; GetInformation",
    expected: "the submission byte for byte, version 1; then the update byte for byte, version 2",
    likelyMistake: "the policy is serialised again, and its signature no longer fits",
    async run(t) {
      const { address, made } = await offered(t, t.freshName("category"));
      const first = await t.consumer.lookUp(address);
      t.consumer.checkPublication(first);
      expect(first.policyVersion === 1n && first.withAccessPermission, "version 1, with an access permission");
      const update = signedUpdate(made, 2n);
      await policies(made.provider).updatePolicy({ update }, made.provider.inSession);
      const second = await t.consumer.lookUp(address);
      expect(second.policyVersion === 2n, "version 2");
      expect(
        Buffer.compare(second.signedPolicy?.payload ?? new Uint8Array(), update.payload) === 0,
        "the update, byte for byte",
      );
      t.consumer.checkPublication(second);
    },
  }),
  purpose({
    ...found,
    id: "TP/DSSM/PUB/BO-01",
    title: "leaves what has been withdrawn out of every search, and says so at its address",
    methods: ["InformationPublicationService/SearchInformation", "InformationPublicationService/GetInformation"],
    initialState: "information published, then withdrawn",
    stimulus: "SearchInformation; GetInformation",
    expected: "nothing; the information, marked as withdrawn",
    twin: "SearchInformation and GetInformation before, which have the information, not marked",
    likelyMistake: "the index keeps what has ended: consumers ask for it and are refused",
    async run(t) {
      const category = t.freshName("category");
      const offer = await offered(t, category);
      await t.positiveTwin("before, it is found and not marked", async () => {
        expect((await search(t, { category })).length === 1, "found before");
        expect(!(await t.consumer.lookUp(offer.address)).withdrawn, "not marked before");
      });
      await withdrawn(offer);
      expect((await search(t, { category })).length === 0, "not found any more");
      expect((await t.consumer.lookUp(offer.address)).withdrawn, "marked as withdrawn");
    },
  }),
  purpose({
    ...found,
    id: "TP/DSSM/PUB/BO-02",
    title: "publishes nothing before the contract is recorded",
    methods: ["InformationPublicationService/GetInformation"],
    initialState: "one policy published, one submitted whose key and package are missing",
    stimulus: "GetInformation at the address that the second would have; at one that nobody has",
    expected: { reason: ErrorReason.INFORMATION_NOT_FOUND },
    twin: "GetInformation at the address of the first",
    likelyMistake: "information is published when it is submitted",
    async run(t) {
      const { address, policyId } = await offered(t, t.freshName("category"));
      const waiting = await draft(t);
      const { policyId: pending } = await waiting.provider.submit(waiting.provider.sign(waiting.submission));
      await t.positiveTwin("the one that is recorded", () => t.consumer.lookUp(address));
      await t.expectRefusal(() => t.consumer.lookUp(address.replace(policyId, pending)));
      await t.expectRefusal(() => t.consumer.lookUp(noContract(t)));
    },
  }),
  purpose({
    ...told,
    id: "TP/DSSM/SUB/BV-01",
    title: "tells a standing subscription of what is published, changed and ended, in order",
    methods: ["InformationSubscriptionService/Subscribe"],
    initialState: "a subscription to one category stands",
    stimulus: "publication, update, withdrawal, of that category; a publication of another before",
    expected: "version 1, version 2, withdrawn, under rising positions; nothing of the other category",
    likelyMistake: "subscriptions tell of new addresses only, or the filter is forgotten for what comes later",
    async run(t) {
      const category = t.freshName("category");
      await t.inSession(t.consumer);
      const standing = Promise.withResolvers<void>();
      const left = new AbortController();
      const list: News[] = [];
      const listening = (async () => {
        const options = { ...t.consumer.inSession, signal: left.signal };
        for await (const { position, information } of subscription(t.consumer).subscribe({ category }, options)) {
          standing.resolve();
          if (information !== undefined) list.push({ position, information });
          if (list.length === 3) break;
        }
      })();
      try {
        await Promise.race([standing.promise, listening]);
        await offered(t, t.freshName("category"));
        const offer = await offered(t, category);
        const { provider } = offer.made;
        const update = signedUpdate(offer.made, 2n, ({ information }) => {
          if (information.attributes) information.attributes.category = category;
        });
        await policies(provider).updatePolicy({ update }, provider.inSession);
        const withdrawal = signedWithdrawal(provider, offer.policyId, 2n);
        await policies(provider).withdrawPolicy({ withdrawal }, provider.inSession);
        await listening;
        expect(
          list.every(({ information }) => information.contractAddress === offer.address),
          "news of the category subscribed to alone",
        );
        expect(
          list[0]?.information.policyVersion === 1n && list[1]?.information.policyVersion === 2n,
          "version 1, then version 2",
        );
        expect(list[2]?.information.withdrawn === true, "the end last");
        expect(
          list.every(({ position }, index) => index === 0 || position > (list[index - 1]?.position ?? position)),
          "rising positions",
        );
      } finally {
        left.abort();
      }
    },
  }),
  purpose({
    ...told,
    id: "TP/DSSM/SUB/BV-02",
    title: "begins with all that is published at that time, and nothing that has ended",
    methods: ["InformationSubscriptionService/Subscribe"],
    initialState: "three published under one category, the second withdrawn since",
    stimulus: "Subscribe from position 0",
    expected: "the first and the third, in the order of their publication",
    likelyMistake: "a new subscriber is told what happens from now on only, or of offers that are over",
    async run(t) {
      const category = t.freshName("category");
      const [first, second, third] = [
        await offered(t, category),
        await offered(t, category),
        await offered(t, category),
      ];
      await withdrawn(second);
      const addresses = (await news(t, category, 2)).map(({ information }) => information.contractAddress);
      expect(addresses.join() === [first.address, third.address].join(), "the first and the third");
    },
  }),
  purpose({
    ...told,
    id: "TP/DSSM/SUB/BV-03",
    title: "goes on after a position, with nothing lost and nothing told twice",
    methods: ["InformationSubscriptionService/Subscribe"],
    initialState: "a subscription that was left after the first of three publications",
    stimulus: "Subscribe after the position of the first",
    expected: "the second and the third under the positions that they had",
    likelyMistake: "what is published between two connections is lost",
    async run(t) {
      const category = t.freshName("category");
      const first = await offered(t, category);
      const [seen] = await news(t, category, 1);
      expect(seen?.information.contractAddress === first.address, "the first");
      const [second, third] = [await offered(t, category), await offered(t, category)];
      const later = await news(t, category, 2, seen.position);
      const addresses = later.map(({ information }) => information.contractAddress);
      expect(addresses.join() === [second.address, third.address].join(), "the second and the third");
      const again = await news(t, category, 1, later[0]?.position);
      expect(again[0]?.position === later[1]?.position, "the third under the position that it had");
    },
  }),
  purpose({
    ...told,
    id: "TP/DSSM/SUB/BO-01",
    title: "refuses a position that it has never given out",
    methods: ["InformationSubscriptionService/Subscribe"],
    initialState: "a consumer in session",
    stimulus: "Subscribe after the largest position that there is",
    expected: { reason: ErrorReason.POSITION_EXPIRED },
    twin: "Subscribe from position 0",
    likelyMistake: "the stream stands and stays silent for ever",
    async run(t) {
      const { inSession } = await t.inSession(t.consumer);
      const open = (afterPosition: bigint) =>
        firstOf((signal) => subscription(t.consumer).subscribe({ afterPosition }, { ...inSession, signal }));
      await t.positiveTwin("from the beginning", () => open(0n));
      await t.expectRefusal(() => open((1n << 64n) - 1n));
    },
  }),
  purpose({
    ...told,
    id: "TP/DSSM/SUB/BO-02",
    title: "keeps one user's flood of subscriptions from costing others theirs",
    methods: ["InformationSubscriptionService/Subscribe"],
    initialState: `a consumer of this purpose alone, in session; a user may hold fewer than ${FLOOD} streams (SUBSCRIPTION_LIMIT in error.proto)`,
    stimulus: `Subscribe ${FLOOD} times at once by one consumer; once by another`,
    expected: "SUBSCRIPTION_LIMIT to some of the first, a place again when one is left, and a stream for the other",
    twin: "Subscribe once by the first",
    likelyMistake: "streams are counted for all users together, or not at all",
    async run(t) {
      const flooder = await t.freshUser(DataConsumer);
      await flooder.logIn();
      await t.inSession(t.consumer);
      const category = t.freshName("category");
      const open = (user: DataConsumer, signal: AbortSignal) =>
        subscription(user)
          .subscribe({ category }, { ...user.inSession, signal })
          [Symbol.asyncIterator]()
          .next();
      const one = (user: DataConsumer) =>
        firstOf((signal) => subscription(user).subscribe({ category }, { ...user.inSession, signal }));
      await t.positiveTwin("once", () => one(flooder));
      const left = new AbortController();
      const outcomes = await Promise.allSettled(Array.from({ length: FLOOD }, () => open(flooder, left.signal)));
      const reasons = outcomes.flatMap((each) => (each.status === "rejected" ? [reasonOf(each.reason)] : []));
      expect(
        reasons.length > 0 && reasons.every((reason) => reason === ErrorReason.SUBSCRIPTION_LIMIT),
        `SUBSCRIPTION_LIMIT to some of ${FLOOD} (got ${reasons.length} refusals)`,
      );
      t.seen(`${FLOOD - reasons.length} at once, then SUBSCRIPTION_LIMIT`);
      await one(t.consumer);
      left.abort();
      const again = () =>
        one(flooder).then(
          () => true,
          () => false,
        );
      expect(await untilSo(5_000, again), "a place again for the first, when the others are left");
    },
  }),
];
