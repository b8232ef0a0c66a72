// Data-sharing policy management (DSPM, clauses 6.2.2 and 7.3.1): the life of a policy and its notifications.
import { type ContractNotification, PolicyState } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { PendingStorage, type WatchNotificationsResponse } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { updateOnLedger } from "../procedures/ledger-evidence.ts";
import { expect } from "../procedures/procedure.ts";
import { expectRecent } from "../procedures/recent-time.ts";
import { expectRefusal } from "../refusal.ts";
import { DataProvider } from "../roles/data-provider.ts";
import { dataStorage } from "./dss-stored-package.ts";
import {
  currentPolicy,
  draft,
  fill,
  policies,
  published,
  signedUpdate,
  signedWithdrawal,
  submit,
} from "./dssm-policy-draft.ts";
import { keyStorage } from "./kss-stored-key.ts";
import { type Purpose, purpose } from "./purpose.ts";
import { firstOf } from "./session-gate.ts";

const dspm = { clause: "7.3.1", capabilities: ["DSPM1", "DSPM3", "DSPM4"] } as const;
const managed = { clause: "6.2.1", capabilities: ["P10", "DSPM5"] } as const;
const silent = () => {};

/** Notifications from a position on, until `enough` of this policy have come. */
async function notifications(
  provider: DataProvider,
  policyId: string,
  enough: number,
  afterPosition = 0n,
): Promise<{ readonly position: bigint; readonly notification: ContractNotification }[]> {
  const left = new AbortController();
  const told: { position: bigint; notification: ContractNotification }[] = [];
  try {
    const stream: AsyncIterable<WatchNotificationsResponse> = policies(provider).watchNotifications(
      { afterPosition },
      { ...provider.inSession, signal: left.signal },
    );
    for await (const { position, notification } of stream) {
      if (notification?.policyId === policyId) told.push({ position, notification });
      if (told.length === enough) break;
    }
    return told;
  } finally {
    left.abort();
  }
}

const withdraw = (provider: DataProvider, policyId: string, version = 1n) =>
  policies(provider).withdrawPolicy({ withdrawal: signedWithdrawal(provider, policyId, version) }, provider.inSession);

export const policyOrderPurposes: readonly Purpose[] = [
  purpose({
    ...dspm,
    id: "TP/DSSM/DSPM/BV-04",
    title: "says what is still to be stored, and goes on when it is",
    steps: ["F3.5", "F3.7", "F3.8", "F3.9.1"],
    methods: ["DataSharingPolicyService/SubmitPolicy", "DataSharingPolicyService/ConfirmStorage"],
    initialState: "key and package registered, nothing stored",
    stimulus: "SubmitPolicy; StoreKey; ConfirmStorage; StorePackage; ConfirmStorage",
    expected: "key and package pending; then STORAGE_INCOMPLETE; then published, with an address and a receipt",
    likelyMistake: "pending is computed once and never asked for again",
    async run(t) {
      const made = await draft(t);
      const { provider, key, stored } = made;
      const record = await submit(made);
      expect(record.state === PolicyState.AWAITING_STORAGE, "the state AWAITING_STORAGE");
      expect(
        [PendingStorage.KEY, PendingStorage.PACKAGE].every((what) => record.pending.includes(what)),
        "key and package pending",
      );
      expect(record.contractAddress === "", "no address yet");
      const secret = t.random(32);
      await provider.storeKey(key, secret, silent);
      await expectRefusal(() => provider.confirmStorage(record.policyId), ErrorReason.STORAGE_INCOMPLETE);
      const encrypted = provider.encrypt(t.seeded(300), secret, key);
      const wrapped = provider.package(provider.metadata(key, stored, encrypted.encryptedData), encrypted);
      await provider.storePackage(stored, wrapped, silent);
      const confirmed = await provider.confirmStorage(record.policyId);
      expect(confirmed.contractAddress.endsWith(record.policyId), "an address with the policy's id");
      expect(confirmed.receipt !== undefined && confirmed.pending.length === 0, "a receipt, and nothing pending");
    },
  }),
  purpose({
    ...dspm,
    id: "TP/DSSM/DSPM/BV-05",
    title: "records at once where key and package are stored already",
    steps: ["F3.5", "F3.7", "F3.8"],
    methods: ["DataSharingPolicyService/SubmitPolicy"],
    initialState: "key and package stored",
    stimulus: "SubmitPolicy, and nothing else",
    expected: "an address and a receipt in the answer, nothing pending",
    likelyMistake: "the policy waits for a ConfirmStorage that the figure does not have in this case",
    async run(t) {
      const made = await draft(t);
      const record = await published(t, made);
      expect(record.contractAddress !== "" && record.receipt !== undefined, "an address and a receipt");
      expect(record.pending.length === 0, "nothing pending");
    },
  }),
  purpose({
    ...dspm,
    id: "TP/DSSM/DSPM/BV-06",
    title: "records once of many confirmations, and notifies once",
    steps: ["F3.8", "F3.9.1"],
    methods: ["DataSharingPolicyService/ConfirmStorage", "DataSharingPolicyService/WatchNotifications"],
    initialState: "a policy submitted, key and package stored since",
    stimulus: "ConfirmStorage eight times at once, then once more; then another change, to end the wait",
    expected: "one contract address and one receipt; one notification of the creation",
    likelyMistake: "each confirmation makes a transaction of its own",
    async run(t) {
      const made = await draft(t);
      const { provider } = made;
      const { policyId } = await submit(made);
      await fill(t, made);
      const answers = await Promise.all(Array.from({ length: 8 }, () => provider.confirmStorage(policyId)));
      answers.push(await provider.confirmStorage(policyId));
      const receipts = new Set(answers.map(({ receipt }) => Buffer.from(receipt?.transactionId ?? []).toString("hex")));
      expect(receipts.size === 1, `one transaction (got ${receipts.size})`);
      await withdraw(provider, policyId);
      const told = await notifications(provider, policyId, 2);
      expect(told[1]?.notification.state === PolicyState.WITHDRAWN, "one notification of the creation, then the end");
    },
  }),
  purpose({
    ...dspm,
    id: "TP/DSSM/DSPM/BV-07",
    title: "notifies of creation, change and end in their order, each once, from any position",
    steps: ["F3.9.1", "A1.9.1"],
    capabilities: ["DSPM4", "P9", "U5"],
    methods: ["DataSharingPolicyService/WatchNotifications"],
    initialState: "a policy published, updated and withdrawn",
    stimulus: "WatchNotifications from the start, then after the position of the first notification",
    expected:
      "created, changed, ended, each with the contract's address, under rising positions; then the last two under the same positions",
    likelyMistake: "positions are counted for each stream, or the one named is told again",
    async run(t) {
      const made = await draft(t);
      const { policyId, contractAddress } = await published(t, made);
      const { provider } = made;
      await policies(provider).updatePolicy({ update: signedUpdate(made, 2n) }, provider.inSession);
      await withdraw(provider, policyId, 2n);
      const told = await notifications(provider, policyId, 3);
      const addresses = new Set(told.map(({ notification }) => notification.contractAddress));
      expect(addresses.size === 1 && addresses.has(contractAddress), "the address of the contract, each time");
      const versions = told.map(({ notification }) => notification.policyVersion);
      expect(versions[0] === 1n && versions[1] === 2n, "version 1, then version 2");
      expect(told[2]?.notification.state === PolicyState.WITHDRAWN, "the end last");
      const positions = told.map(({ position }) => position);
      expect(
        positions.every((position, index) => index === 0 || position > (positions[index - 1] ?? position)),
        "rising positions",
      );
      const again = await notifications(provider, policyId, 2, positions[0]);
      expect(
        again.every(({ position }, index) => position === positions[index + 1]),
        "the later two under the same positions",
      );
    },
  }),
  purpose({
    ...dspm,
    id: "TP/DSSM/DSPM/BV-08",
    title: "tells a provider nothing of other providers' policies",
    steps: ["F3.9.1"],
    capabilities: ["DSPM4", "P9"],
    methods: ["DataSharingPolicyService/WatchNotifications"],
    initialState: "a policy of another provider published, then one of the provider's own",
    stimulus: "WatchNotifications by the provider, until its own is told",
    expected: "its own policy, and none of the other's before it",
    likelyMistake: "all notifications go to all who listen",
    async run(t) {
      const others = await draft(t, undefined, t.secondProvider);
      const { policyId: foreign } = await published(t, others);
      const own = await draft(t);
      const { policyId } = await published(t, own);
      const seen: string[] = [];
      const left = new AbortController();
      const options = { ...own.provider.inSession, signal: left.signal };
      try {
        for await (const { notification } of policies(own.provider).watchNotifications(
          { afterPosition: 0n },
          options,
        )) {
          if (notification !== undefined) seen.push(notification.policyId);
          if (notification?.policyId === policyId) break;
        }
      } finally {
        left.abort();
      }
      expect(!seen.includes(foreign), "no notification of another provider's policy");
    },
  }),
  purpose({
    ...dspm,
    id: "TP/DSSM/DSPM/BV-09",
    title: "says at once that the stream of notifications stands",
    steps: ["F3.9.1"],
    capabilities: ["U5", "P9"],
    methods: ["DataSharingPolicyService/WatchNotifications"],
    initialState: "a provider in session",
    stimulus: "WatchNotifications",
    expected: "a first message without a notification",
    likelyMistake: "nothing comes before the first event: a client cannot tell a standing stream from a dead one",
    async run(t) {
      const provider = await t.inSession(t.provider);
      const first = await firstOf((signal) =>
        policies(provider).watchNotifications({ afterPosition: 0n }, { ...provider.inSession, signal }),
      );
      expect(first !== undefined && first.notification === undefined, "a first message without a notification");
    },
  }),
  purpose({
    ...managed,
    id: "TP/DSSM/DSPM/BV-10",
    title: "shows a provider its policies, each once and in order, and none of others",
    methods: ["DataSharingPolicyService/ListPolicies", "DataSharingPolicyService/GetPolicy"],
    initialState: "three policies submitted by a provider, one by another",
    stimulus: "ListPolicies in pages of two",
    expected: "the three in the order of their submission, each once, with the time of it; not the other's",
    likelyMistake: "pages are counted off, or lists are not kept apart by owner",
    async run(t) {
      const beganMs = Date.now();
      const others = await submit(await draft(t, undefined, t.secondProvider));
      const own: string[] = [];
      const provider = await t.freshUser(DataProvider);
      await provider.logIn();
      for (let count = 0; count < 3; count++) own.push((await submit(await draft(t, undefined, provider))).policyId);
      const seen: string[] = [];
      let pageToken = "";
      do {
        const page = await policies(provider).listPolicies({ pageSize: 2, pageToken }, provider.inSession);
        expect(page.policies.length <= 2, "two policies a page at most");
        seen.push(...page.policies.map(({ policyId }) => policyId));
        for (const { submittedAt } of page.policies) expectRecent(submittedAt, "submitted_at", beganMs);
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
      for (const policyId of own) {
        const { submittedAt } = await currentPolicy(provider, policyId);
        expectRecent(submittedAt, "submitted_at of GetPolicy", beganMs);
      }
      expect(new Set(seen).size === seen.length && !seen.includes(others.policyId), "each once, none of another's");
      const order = seen.filter((policyId) => own.includes(policyId));
      expect(order.join() === own.join(), "the three in the order of their submission");
    },
  }),
  purpose({
    ...managed,
    id: "TP/DSSM/DSPM/BV-11",
    title: "shows a policy as it is after an update, with evidence",
    capabilities: ["P10", "DSPM5", "S4"],
    methods: ["DataSharingPolicyService/UpdatePolicy", "DataSharingPolicyService/GetPolicy"],
    initialState: "a policy published",
    stimulus: "UpdatePolicy to version 2; GetPolicy",
    expected: "version 2, another receipt, the update as signed, a proof and openings of this very update",
    likelyMistake: "the update changes the policy off the ledger alone",
    async run(t) {
      const made = await draft(t);
      const { policyId, receipt } = await published(t, made);
      const { provider } = made;
      const update = signedUpdate(made, 2n);
      await policies(provider).updatePolicy({ update }, provider.inSession);
      const policy = await currentPolicy(provider, policyId);
      expect(policy.version === 2n, "version 2");
      expect(
        Buffer.compare(policy.signedPolicy?.payload ?? new Uint8Array(), update.payload) === 0,
        "the update as signed",
      );
      const [before, after] = [receipt, policy.receipt].map((one) =>
        Buffer.from(one?.transactionId ?? []).toString("hex"),
      );
      expect(before !== after && after !== "", "a receipt of its own");
      updateOnLedger(policy, update, t.trust);
    },
  }),
  purpose({
    ...managed,
    id: "TP/DSSM/DSPM/BV-12",
    title: "frees key and package when the policy ends, and not before",
    capabilities: ["DSPM5"],
    methods: ["DataSharingPolicyService/WithdrawPolicy"],
    involves: ["dssm"],
    initialState: "a policy published",
    stimulus: "DeleteKey and DeletePackage; WithdrawPolicy; both again",
    expected: "OBJECT_IN_USE; then deleted",
    likelyMistake: "the servers are never told of the use, or never of its end",
    async run(t) {
      const made = await draft(t);
      const { policyId } = await published(t, made);
      const { provider, key, stored } = made;
      const [keyId, packageId] = [key.id, stored.id];
      await expectRefusal(() => keyStorage(provider).deleteKey({ keyId }), ErrorReason.OBJECT_IN_USE);
      await expectRefusal(() => dataStorage(provider).deletePackage({ packageId }), ErrorReason.OBJECT_IN_USE);
      await withdraw(provider, policyId);
      await keyStorage(provider).deleteKey({ keyId });
      await dataStorage(provider).deletePackage({ packageId });
    },
  }),
];
