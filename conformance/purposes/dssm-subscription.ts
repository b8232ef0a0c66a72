// Information subscription (SUB; clauses 6.2.2, 7.3.1 and 7.3.2) of a data-sharing service management.
import type { PublishedInformation } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { InformationSubscriptionService } from "../../gen/x1410/v1/information_subscription_pb.ts";
import { reasonOf } from "../../reference/communications/refusal.ts";
import { expect } from "../procedures/procedure.ts";
import { DataConsumer } from "../roles/data-consumer.ts";
import type { User } from "../roles/user.ts";
import type { TestCase } from "../test-case.ts";
import { policies, signedUpdate, signedWithdrawal } from "./dssm-policy-draft.ts";
import { offered, withdrawn } from "./dssm-publication.ts";
import { type MalformedField, malformedField } from "./malformed-field.ts";
import { type Purpose, purpose } from "./purpose.ts";
import { untilSo } from "./revocation-refresh.ts";
import { firstOf } from "./session-gate.ts";

const told = {
  clause: "7.3.1",
  steps: ["F3.11", "F3.12", "A1.12"],
  capabilities: ["PUB3", "SUB1", "SUB2", "C1", "U5"],
} as const;

/** More streams than a user may hold (Subscribe in information_subscription.proto), fewer than a connection carries. */
const FLOOD = 90;

const subscription = (user: User) => user.client(InformationSubscriptionService, "dssm");

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

const malformed: MalformedField = {
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
};

export const subscriptionPurposes: readonly Purpose[] = [
  malformedField(malformed, { clause: "7.3.2", capabilities: ["PUB2"] }),
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
