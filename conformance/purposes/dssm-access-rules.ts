// Data-sharing access management (DSAM, clauses 6.2.2, 7.2.3 and 7.3.2): whom a contract admits, for what, how often and until when.
import { clone } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type AccessRequest,
  AccessRequestSchema,
  type AllowedParties,
  type PolicySubmission,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { expect } from "../procedures/procedure.ts";
import type { DataConsumer, Found } from "../roles/data-consumer.ts";
import type { TestCase } from "../test-case.ts";
import { atOnce } from "./at-once.ts";
import { type Draft, draft, informationOf, policies, published, signedWithdrawal } from "./dssm-policy-draft.ts";
import { sharedData } from "./dssm-shared-data.ts";
import { freshId } from "./malformed-field.ts";
import { type Purpose, type PurposeId, purpose } from "./purpose.ts";

const requested = {
  clause: "7.3.2",
  steps: ["F4.3", "F4.4"],
  capabilities: ["DSAM1"],
  methods: ["DataSharingAccessService/RequestAccess"],
} as const;

/** A contract whose submission `edit` has had, and what a consumer finds at its address. */
async function contract(
  t: TestCase,
  edit: (submission: PolicySubmission) => void,
  accessTimes = 5,
): Promise<{ readonly made: Draft; readonly policyId: string; readonly found: Found }> {
  const made = await draft(t, { accessTimes, readOnly: true });
  edit(made.submission);
  const { contractAddress, policyId } = await published(t, made);
  await t.inSession(t.consumer);
  return { made, policyId, found: t.consumer.checkPublication(await t.consumer.lookUp(contractAddress)) };
}

function access(consumer: DataConsumer, found: Found, spoil: (request: AccessRequest) => void = () => {}) {
  const request = clone(AccessRequestSchema, consumer.accessRequest(found));
  spoil(request);
  return consumer.requestAccess(consumer.signRequest(request));
}

const allow = (allowed: Partial<Pick<AllowedParties, "industries" | "countries" | "users">>) => (s: PolicySubmission) =>
  void Object.assign(informationOf(s).allowed ?? {}, allowed);

interface NotAllowed {
  readonly id: PurposeId;
  readonly what: string;
  readonly reason: ErrorReason;
  readonly right: (t: TestCase) => Parameters<typeof allow>[0];
  readonly wrong: Parameters<typeof allow>[0];
  readonly likelyMistake: string;
}

// The kit's accounts have the industry isic:j61 and the country CH.
const notAllowed: readonly NotAllowed[] = [
  {
    id: "TP/DSSM/DSAM/BI-80",
    what: "an industry",
    reason: ErrorReason.INDUSTRY_NOT_ALLOWED,
    right: () => ({ industries: ["isic:a01", "isic:j61"] }),
    wrong: { industries: ["isic:z99"] },
    likelyMistake: "the industry is taken from the request, or not looked at",
  },
  {
    id: "TP/DSSM/DSAM/BI-81",
    what: "a country",
    reason: ErrorReason.COUNTRY_NOT_ALLOWED,
    right: () => ({ countries: ["LI", "CH"] }),
    wrong: { countries: ["LI"] },
    likelyMistake: "the country is taken from the request or the certificate, or not looked at",
  },
  {
    id: "TP/DSSM/DSAM/BI-82",
    what: "a user",
    reason: ErrorReason.USER_NOT_ALLOWED,
    right: (t) => ({ users: [t.consumer.identity] }),
    wrong: { users: ["urn:x1410:user:somebody-else"] },
    likelyMistake: "the list of users is stored and never looked at",
  },
];

interface Mismatch {
  readonly id: PurposeId;
  readonly title: string;
  readonly stimulus: string;
  readonly reason: ErrorReason;
  readonly likelyMistake: string;
  readonly spoil: (request: AccessRequest, t: TestCase) => void;
}

const mismatches: readonly Mismatch[] = [
  {
    id: "TP/DSSM/DSAM/BI-83",
    title: "grants no access to another key than the contract's",
    stimulus: "shared_data.key_id another id",
    reason: ErrorReason.INFORMATION_MISMATCH,
    likelyMistake: "the token is made for the key that the request names",
    spoil: ({ sharedData: shared }, t) => {
      if (shared) shared.keyId = freshId(t);
    },
  },
  {
    id: "TP/DSSM/DSAM/BI-84",
    title: "grants no access to another package than the contract's",
    stimulus: "shared_data.package_id another id",
    reason: ErrorReason.INFORMATION_MISMATCH,
    likelyMistake: "only the contract's address is looked at, and what the consumer has signed means nothing",
    spoil: ({ sharedData: shared }, t) => {
      if (shared) shared.packageId = freshId(t);
    },
  },
  {
    id: "TP/DSSM/DSAM/BI-85",
    title: "grants no access to data of another provider than the contract's",
    stimulus: "shared_data.provider_identity another user",
    reason: ErrorReason.INFORMATION_MISMATCH,
    likelyMistake: "only the contract's address is looked at, and what the consumer has signed means nothing",
    spoil: ({ sharedData: shared }, t) => {
      if (shared) shared.providerIdentity = t.secondProvider.identity;
    },
  },
  {
    id: "TP/DSSM/DSAM/BI-86",
    title: "grants no access in another consumer's name",
    stimulus: "consumer.identity another user, rightly signed by the caller",
    reason: ErrorReason.PARTY_NOT_SIGNER,
    likelyMistake: "the record is written in the name of whom the payload names",
    spoil: ({ consumer }, t) => {
      if (consumer) consumer.identity = t.secondConsumer.identity;
    },
  },
  {
    id: "TP/DSSM/DSAM/BI-87",
    title: "grants no access under another public key than the signer's",
    stimulus: "consumer.public_key that of another user",
    reason: ErrorReason.PARTY_NOT_SIGNER,
    likelyMistake: "the public key is recorded as given",
    spoil: (request, t) => {
      if (request.consumer) request.consumer.publicKey = t.secondConsumer.signer.publicKey;
    },
  },
  {
    id: "TP/DSSM/DSAM/BI-88",
    title: "knows no contract that was never made",
    stimulus: "contract_address with an id that nobody has",
    reason: ErrorReason.CONTRACT_NOT_FOUND,
    likelyMistake: "an absent contract has no conditions, so that all of them hold",
    spoil: (request, t) => {
      request.contractAddress = request.contractAddress.replace(/[0-9a-f]{32}$/, freshId(t));
    },
  },
  {
    id: "TP/DSSM/DSAM/BI-89",
    title: "knows no contract of another ledger",
    stimulus: "contract_address on another network, with the right id",
    reason: ErrorReason.CONTRACT_NOT_FOUND,
    likelyMistake: "the id is cut off the address and the network is not looked at",
    spoil: (request) => {
      request.contractAddress = request.contractAddress.replace(/dlt\.[^/]+/, "dlt.some-other-network");
    },
  },
];

export const accessRulePurposes: readonly Purpose[] = [
  ...notAllowed.map(({ id, what, reason, right, wrong, likelyMistake }) =>
    purpose({
      ...requested,
      id,
      title: `grants no access to ${what} that the provider does not allow`,
      initialState: `two contracts: one allows ${what} of the consumer's, the other ${what} that is not the consumer's`,
      stimulus: "RequestAccess to the other",
      expected: { reason },
      twin: "RequestAccess to the one",
      likelyMistake,
      async run(t) {
        const allowed = await contract(t, allow(right(t)));
        const forbidden = await contract(t, allow(wrong));
        await t.positiveTwin("allowed", () => access(t.consumer, allowed.found));
        await t.expectRefusal(() => access(t.consumer, forbidden.found));
      },
    }),
  ),
  ...mismatches.map(({ spoil, reason, ...spec }) =>
    purpose({
      ...requested,
      ...spec,
      initialState: "data shared",
      expected: { reason },
      twin: "RequestAccess with nothing wrong",
      async run(t) {
        const { found } = await sharedData(t, { accessTimes: 2, readOnly: true });
        await t.positiveTwin("nothing wrong", () => access(t.consumer, found));
        await t.expectRefusal(() => access(t.consumer, found, (request) => spoil(request, t)));
      },
    }),
  ),
  purpose({
    ...requested,
    id: "TP/DSSM/DSAM/BV-04",
    title: "grants exactly one of many accesses that come at once with one left",
    clause: "7.2.1",
    steps: ["F4.4", "F4.9"],
    capabilities: ["DSAM1", "DSAM3", "APM5"],
    initialState: "data shared with one access",
    stimulus: "RequestAccess sixteen times at once, each newly signed",
    expected: "one grant, fifteen times ACCESS_TIMES_EXHAUSTED",
    likelyMistake: "what is left is read before it is written, with nothing to keep two requests apart",
    async run(t) {
      const { found } = await sharedData(t, { accessTimes: 1, readOnly: true });
      const { accepted, refused } = await atOnce(Array.from({ length: 16 }, () => () => access(t.consumer, found)));
      expect(accepted.length === 1, `one grant (got ${accepted.length})`);
      expect(
        refused.every((reason) => reason === ErrorReason.ACCESS_TIMES_EXHAUSTED),
        "the others refused with ACCESS_TIMES_EXHAUSTED",
      );
    },
  }),
  purpose({
    ...requested,
    id: "TP/DSSM/DSAM/BV-05",
    title: "counts accesses for each consumer apart",
    clause: "7.2.1",
    capabilities: ["DSAM1", "APM5"],
    initialState: "data shared with one access",
    stimulus: "RequestAccess by two consumers",
    expected: "access number 1 of 1, in permission and record, to both",
    likelyMistake: "accesses are counted for the contract: the first consumer locks out all others",
    async run(t) {
      const { found } = await sharedData(t, { accessTimes: 1, readOnly: true });
      for (const consumer of [t.consumer, await t.inSession(t.secondConsumer)]) {
        const grant = await access(consumer, found);
        const permission = consumer.requestedPermission(grant);
        expect(permission.accessNumber === 1 && permission.accessTimes === 1, `access 1 of 1 to ${consumer.identity}`);
        expect(grant.record?.accessNumber === 1, `access 1 in the record of ${consumer.identity}`);
      }
    },
  }),
  purpose({
    ...requested,
    id: "TP/DSSM/DSAM/BV-06",
    title: "signs a requested permission with the terms that the provider set",
    clause: "7.2.3",
    steps: ["F4.8", "F4.9", "F4.10", "F4.11"],
    capabilities: ["APM2", "APM3", "APM4", "APM5", "APM6", "DSAM6"],
    initialState: "data shared with three accesses",
    stimulus: "RequestAccess twice",
    expected:
      "permissions signed by the management: access 1 and 2 of 3, read-only, key, package and expiration as set",
    likelyMistake: "the permission is a copy of the first one, its access number the same",
    async run(t) {
      const { found, key, stored } = await sharedData(t, { accessTimes: 3, readOnly: true });
      for (const number of [1, 2]) {
        const permission = t.consumer.requestedPermission(await access(t.consumer, found));
        expect(permission.accessNumber === number && permission.accessTimes === 3, `access ${number} of 3`);
        expect(permission.readOnly, "read-only");
        expect(permission.keyId === key.id && permission.keyAddress === key.address, "the key and its address");
        expect(permission.packageId === stored.id && permission.packageAddress === stored.address, "the package");
        expect(permission.contractAddress === found.contractAddress, "the contract");
        const left = Number(permission.expiration?.seconds ?? 0n) - Date.now() / 1000;
        expect(left > 3000 && left < 3700, "the expiration that the provider set, an hour ahead");
      }
    },
  }),
  purpose({
    ...requested,
    id: "TP/DSSM/DSAM/BV-07",
    title: "grants access without a permission in Annex A, as often as it is asked for",
    steps: ["A2.3", "A2.4", "A2.8"],
    capabilities: ["DSAM1", "DSAM6"],
    initialState: "data shared after Annex A.1",
    stimulus: "RequestAccess twice",
    expected: "two records, tokens for key and package, and no requested permission",
    likelyMistake: "an absent permission is taken for one with no accesses",
    async run(t) {
      const { found } = await sharedData(t, undefined);
      const [one, other] = [await access(t.consumer, found), await access(t.consumer, found)];
      expect(one.record !== undefined && one.record.accessId !== other.record?.accessId, "two records");
      for (const grant of [one, other])
        expect(grant.requestedPermission === undefined && grant.accessToken !== "", "a token and no permission");
    },
  }),
  purpose({
    ...requested,
    id: "TP/DSSM/DSAM/BO-02",
    title: "grants no access after the provider has ended the policy",
    capabilities: ["DSAM1", "DSPM5"],
    initialState: "data shared",
    stimulus: "WithdrawPolicy by the provider; RequestAccess",
    expected: { reason: ErrorReason.CONTRACT_WITHDRAWN },
    twin: "RequestAccess before",
    likelyMistake: "the policy is marked and the contract goes on",
    async run(t) {
      const { found, policyId, made } = await contract(t, () => {});
      const { provider } = made;
      await t.positiveTwin("before", () => access(t.consumer, found));
      const withdrawal = signedWithdrawal(provider, policyId);
      await policies(provider).withdrawPolicy({ withdrawal }, provider.inSession);
      await t.expectRefusal(() => access(t.consumer, found));
    },
  }),
  purpose({
    ...requested,
    id: "TP/DSSM/DSAM/BO-03",
    title: "grants no access after the permission's expiration",
    clause: "7.2.1",
    capabilities: ["DSAM1", "APM5"],
    initialState: "two contracts: one whose permission expired a minute ago when it was signed, and one that goes on",
    stimulus: "RequestAccess to the one that is over",
    expected: { reason: ErrorReason.CONTRACT_EXPIRED },
    twin: "RequestAccess to the one that goes on",
    likelyMistake: "the expiration is handed to the consumer and checked by nobody else",
    async run(t) {
      const live = await contract(t, () => {});
      const over = await contract(t, ({ accessPermission }) => {
        if (accessPermission) accessPermission.expiration = timestampFromDate(new Date(Date.now() - 60_000));
      });
      await t.positiveTwin("the one that goes on", () => access(t.consumer, live.found));
      await t.expectRefusal(() => access(t.consumer, over.found));
    },
  }),
  purpose({
    ...requested,
    id: "TP/DSSM/DSAM/BO-04",
    title: "gives the first answer to identical bytes though the accesses are used up since",
    clause: "7.2.1",
    initialState: "data shared with one access, which has been granted",
    stimulus: "a second request, which is refused; then the first one's bytes again",
    expected: { reason: ErrorReason.ACCESS_TIMES_EXHAUSTED },
    twin: "the first request",
    likelyMistake: "the repetition is decided anew: a lost answer costs the consumer its only access",
    async run(t) {
      const { found } = await sharedData(t, { accessTimes: 1, readOnly: true });
      const first = t.consumer.signRequest(t.consumer.accessRequest(found));
      const grant = await t.positiveTwin("the first request", () => t.consumer.requestAccess(first));
      await t.expectRefusal(() => access(t.consumer, found));
      const again = await t.consumer.requestAccess(first);
      expect(again.record?.accessId === grant.record?.accessId, "the first access, again");
    },
  }),
];
