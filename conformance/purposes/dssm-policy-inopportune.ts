import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { expect } from "../procedures/procedure.ts";
import type { DataProvider } from "../roles/data-provider.ts";
import {
  currentPolicy,
  draft,
  endAfterwards,
  policies,
  policyOf,
  published,
  signedUpdate,
  signedWithdrawal,
  submit,
} from "./dssm-policy-draft.ts";
import { freshId } from "./malformed-field.ts";
import { type Purpose, purpose } from "./purpose.ts";
import { leavingUnchanged } from "./unchanged-state.ts";

const dspm = { clause: "7.3.1", capabilities: ["DSPM1", "DSPM3", "DSPM4"] } as const;
const managed = { clause: "6.2.1", capabilities: ["P10", "DSPM5"] } as const;
const silent = () => {};

const withdraw = (provider: DataProvider, policyId: string, version = 1n) =>
  policies(provider).withdrawPolicy({ withdrawal: signedWithdrawal(provider, policyId, version) }, provider.inSession);

export const policyInopportunePurposes: readonly Purpose[] = [
  purpose({
    ...dspm,
    id: "TP/DSSM/DSPM/BO-01",
    title: "makes no contract while key or package is missing",
    steps: ["F3.7"],
    methods: ["DataSharingPolicyService/ConfirmStorage", "DataSharingPolicyService/GetPolicy"],
    initialState: "a policy submitted, nothing stored; another complete",
    stimulus: "ConfirmStorage of the one whose storage is missing; GetPolicy",
    expected: { reason: ErrorReason.STORAGE_INCOMPLETE },
    twin: "ConfirmStorage of the complete one",
    likelyMistake: "the provider's word is taken for it, and consumers find an address that leads to nothing",
    async run(t) {
      const [complete, missing] = [await draft(t), await draft(t)];
      const { policyId } = await published(t, complete);
      const { provider } = complete;
      await t.positiveTwin("the complete one", () => provider.confirmStorage(policyId));
      const waiting = await submit(missing);
      await t.expectRefusal(() => provider.confirmStorage(waiting.policyId));
      const { contractAddress, receipt } = await currentPolicy(provider, waiting.policyId);
      expect(contractAddress === "" && receipt === undefined, "no contract");
    },
  }),
  purpose({
    ...managed,
    id: "TP/DSSM/DSPM/BO-02",
    title: "answers another provider's policy like one that does not exist",
    methods: [
      "DataSharingPolicyService/GetPolicy",
      "DataSharingPolicyService/ConfirmStorage",
      "DataSharingPolicyService/UpdatePolicy",
      "DataSharingPolicyService/WithdrawPolicy",
    ],
    initialState: "a policy published by another provider",
    stimulus: "GetPolicy, ConfirmStorage, UpdatePolicy and WithdrawPolicy by the provider, each rightly signed",
    expected: { reason: ErrorReason.POLICY_NOT_FOUND },
    twin: "GetPolicy by the owner",
    likelyMistake: "the signature is good, so the policy is changed, whoever's it is",
    async run(t) {
      const foreign = await draft(t, undefined, t.secondProvider);
      const { policyId } = await published(t, foreign);
      const thief = await t.inSession(t.provider);
      const policy = () => currentPolicy(foreign.provider, policyId);
      await t.positiveTwin("the owner is answered", policy);
      const update = signedUpdate({ ...foreign, provider: thief }, 2n);
      await leavingUnchanged("the policy to its owner", policy, async () => {
        await t.expectRefusal(() => currentPolicy(thief, policyId));
        await t.expectRefusal(() => thief.confirmStorage(policyId));
        await t.expectRefusal(() => policies(thief).updatePolicy({ update }, thief.inSession));
        await t.expectRefusal(() => withdraw(thief, policyId));
      });
    },
  }),
  purpose({
    ...dspm,
    id: "TP/DSSM/DSPM/BO-03",
    title: "takes no policy under an id that is taken",
    steps: ["F3.5"],
    methods: ["DataSharingPolicyService/SubmitPolicy"],
    initialState: "a policy of another provider",
    stimulus: "SubmitPolicy of another policy under the same policy id",
    expected: { reason: ErrorReason.POLICY_STATE_INVALID },
    twin: "SubmitPolicy of that policy under an id of its own",
    likelyMistake: "the second submission replaces the first, and its contract changes hands",
    async run(t) {
      const foreign = await draft(t, undefined, t.secondProvider);
      const { policyId } = await submit(foreign);
      const made = await draft(t);
      await t.positiveTwin("under an id of its own", () => submit(made));
      const other = await draft(t);
      policyOf(other.submission).policyId = policyId;
      await leavingUnchanged(
        "the policy that was there",
        () => currentPolicy(foreign.provider, policyId),
        () => t.expectRefusal(() => submit(other)),
      );
    },
  }),
  purpose({
    ...managed,
    id: "TP/DSSM/DSPM/BO-04",
    title: "changes no policy before it is recorded, and none after its end",
    methods: ["DataSharingPolicyService/UpdatePolicy", "DataSharingPolicyService/ConfirmStorage"],
    initialState: "three policies: published, submitted, and ended",
    stimulus: "UpdatePolicy of the one submitted; UpdatePolicy and ConfirmStorage of the one ended",
    expected: { reason: ErrorReason.POLICY_STATE_INVALID },
    twin: "UpdatePolicy of the one published",
    likelyMistake: "an update brings an ended policy back to life",
    async run(t) {
      const [live, waiting, ended] = [await draft(t), await draft(t), await draft(t)];
      const { provider } = live;
      const update = (made: typeof live) =>
        policies(provider).updatePolicy({ update: signedUpdate(made, 2n) }, provider.inSession);
      await published(t, live);
      const { policyId: waitingId } = await submit(waiting);
      const { policyId } = await published(t, ended);
      await withdraw(provider, policyId);
      await t.positiveTwin("the one published", () => update(live));
      const both = () => Promise.all([waitingId, policyId].map((id) => currentPolicy(provider, id)));
      await leavingUnchanged("the two policies", both, async () => {
        await t.expectRefusal(() => update(waiting));
        await t.expectRefusal(() => update(ended));
        await t.expectRefusal(() => provider.confirmStorage(policyId));
      });
    },
  }),
  purpose({
    ...managed,
    id: "TP/DSSM/DSPM/BO-05",
    title: "ends no policy on the ground of a version that is over",
    methods: ["DataSharingPolicyService/WithdrawPolicy"],
    initialState: "a policy of version 2, another of version 1",
    stimulus: "WithdrawPolicy that names version 1 of the one of version 2",
    expected: { reason: ErrorReason.POLICY_VERSION_STALE },
    twin: "WithdrawPolicy that names version 1 of the one of version 1",
    likelyMistake: "the version is not compared: a withdrawal meant for the old terms ends the new ones",
    async run(t) {
      const [first, second] = [await draft(t), await draft(t)];
      const { provider } = first;
      const { policyId } = await submit(first);
      const { policyId: updated } = await published(t, second);
      await policies(provider).updatePolicy({ update: signedUpdate(second, 2n) }, provider.inSession);
      await t.positiveTwin("the current version", () => withdraw(provider, policyId));
      await leavingUnchanged(
        "the policy of version 2",
        () => currentPolicy(provider, updated),
        () => t.expectRefusal(() => withdraw(provider, updated)),
      );
    },
  }),
  purpose({
    ...dspm,
    id: "TP/DSSM/DSPM/BO-06",
    title: "publishes no data that is not what the provider has signed",
    clause: "7.3.1",
    steps: ["A1.6", "A1.7"],
    methods: ["DataSharingPolicyService/SubmitPolicy"],
    initialState: "key and ciphertext stored; the signed information states another SHA-256",
    stimulus: "SubmitPolicy after Annex A.1 with encrypted_data of another ciphertext",
    expected: { reason: ErrorReason.STORAGE_MISMATCH },
    twin: "SubmitPolicy with the encrypted_data of what is stored",
    likelyMistake: "that something is stored is enough, whatever it is: every consumer will refuse it",
    async run(t) {
      const made = await draft(t);
      const { provider, key, stored } = made;
      const secret = t.random(32);
      const encrypted = provider.encrypt(t.seeded(500), secret, key);
      await provider.storeKey(key, secret, silent);
      await provider.storePackage(stored, encrypted, silent);
      const stating = (sha256: Uint8Array) => {
        const encryptedData = { ...encrypted.encryptedData, sha256 };
        const submission = provider.submission(provider.information(key, stored, encryptedData));
        endAfterwards(t, provider, policyOf(submission).policyId);
        return { ...made, submission };
      };
      await t.positiveTwin("what is stored", () => submit(stating(encrypted.encryptedData.sha256)));
      await t.expectRefusal(() => submit(stating(t.random(32))));
    },
  }),
  purpose({
    ...managed,
    id: "TP/DSSM/DSPM/BO-07",
    title: "knows no policy that was never submitted",
    methods: ["DataSharingPolicyService/GetPolicy", "DataSharingPolicyService/ConfirmStorage"],
    initialState: "a policy submitted",
    stimulus: "GetPolicy, ConfirmStorage, WithdrawPolicy of an id that nobody has",
    expected: { reason: ErrorReason.POLICY_NOT_FOUND },
    twin: "GetPolicy of the one submitted",
    likelyMistake: "an empty record is answered",
    async run(t) {
      const made = await draft(t);
      const { policyId } = await submit(made);
      await t.positiveTwin("the one submitted", () => currentPolicy(made.provider, policyId));
      const nobodys = freshId(t);
      await t.expectRefusal(() => currentPolicy(made.provider, nobodys));
      await t.expectRefusal(() => made.provider.confirmStorage(nobodys));
      await t.expectRefusal(() => withdraw(made.provider, nobodys));
    },
  }),
];
