// Information publication (PUB; clauses 6.2.2, 7.3.1 and 7.3.2) of a data-sharing service management.
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { InformationPublicationService } from "../../gen/x1410/v1/information_publication_pb.ts";
import { expect } from "../procedures/procedure.ts";
import type { DataConsumer } from "../roles/data-consumer.ts";
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

const found = { clause: "7.3.2", steps: ["F3.10", "F4.1", "A2.1"], capabilities: ["PUB2", "C3"] } as const;
const publication = (user: User) => user.client(InformationPublicationService, "dssm");

interface Offered {
  readonly made: Draft;
  readonly policyId: string;
  readonly address: string;
}

/** A policy that is published, under a category of this purpose alone; the consumer is in session. */
export async function offered(t: TestCase, category: string, provider = t.provider): Promise<Offered> {
  await t.inSession(t.consumer);
  const made = await draft(t, undefined, provider);
  const { attributes } = informationOf(made.submission);
  if (attributes) attributes.category = category;
  const { policyId, contractAddress: address } = await published(t, made);
  return { made, policyId, address };
}

export async function withdrawn({ made: { provider }, policyId }: Offered): Promise<void> {
  const withdrawal = signedWithdrawal(provider, policyId);
  await policies(provider).withdrawPolicy({ withdrawal }, provider.inSession);
}

async function search(t: TestCase, filter: Record<string, string>, consumer: DataConsumer = t.consumer) {
  const { information } = await publication(consumer).searchInformation({ filter }, consumer.inSession);
  return information.map(({ contractAddress }) => contractAddress);
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
];
