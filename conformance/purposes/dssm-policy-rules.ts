// Data-sharing policy management (DSPM, clauses 6.2.2 and 7.3.1): what a submission must say, and what an update may change.
import { clone } from "@bufbuild/protobuf";
import { type PolicySubmission, PolicySubmissionSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { createSigner } from "../../reference/envelope/signer.ts";
import type { TestCase } from "../test-case.ts";
import { dataStorage } from "./dss-stored-package.ts";
import {
  anotherSubmission,
  currentPolicy,
  type Draft,
  draft,
  informationOf,
  policies,
  policyOf,
  published,
  signedUpdate,
} from "./dssm-policy-draft.ts";
import { keyStorage } from "./kss-stored-key.ts";
import { freshId } from "./malformed-field.ts";
import { type Purpose, type PurposeId, purpose } from "./purpose.ts";
import { leavingUnchanged } from "./unchanged-state.ts";

interface WrongSubmission {
  readonly id: PurposeId;
  readonly title: string;
  readonly stimulus: string;
  readonly reason: ErrorReason;
  readonly likelyMistake: string;
  readonly spoil: (submission: PolicySubmission, t: TestCase) => void | Promise<void>;
}

/** The key, in information and permission alike. */
function useKey(submission: PolicySubmission, keyId: string, keyAddress: string): void {
  for (const part of [submission.information, submission.accessPermission])
    if (part !== undefined) Object.assign(part, { keyId, keyAddress });
}

function usePackage(submission: PolicySubmission, packageId: string, packageAddress: string): void {
  for (const part of [submission.information, submission.accessPermission])
    if (part !== undefined) Object.assign(part, { packageId, packageAddress });
}

const silent = () => {};

const wrongSubmissions: readonly WrongSubmission[] = [
  {
    id: "TP/DSSM/DSPM/BI-80",
    title: "takes no policy of another provider than its signer",
    stimulus: "information.provider_identity another user",
    reason: ErrorReason.PARTY_NOT_SIGNER,
    likelyMistake: "context.signer is compared and the provider in the information is not",
    spoil: (submission, t) => {
      informationOf(submission).providerIdentity = t.secondProvider.identity;
    },
  },
  {
    id: "TP/DSSM/DSPM/BI-81",
    title: "takes no policy with another public key than its signer's",
    stimulus: "information.provider_public_key that of another user",
    reason: ErrorReason.PARTY_NOT_SIGNER,
    likelyMistake: "the key is published as given: consumers verify packages with it",
    spoil: (submission, t) => {
      informationOf(submission).providerPublicKey = createSigner(t.credential("secondProvider")).publicKey;
    },
  },
  {
    id: "TP/DSSM/DSPM/BI-82",
    title: "takes no policy that another management is to record",
    stimulus: "policy.management_identity another management",
    reason: ErrorReason.AUDIENCE_MISMATCH,
    likelyMistake: "the audience of the context is compared and the management in the policy is not",
    spoil: (submission) => {
      policyOf(submission).managementIdentity = "urn:x1410:entity:dssm:somebody-else";
    },
  },
  {
    id: "TP/DSSM/DSPM/BI-83",
    title: "takes no policy that begins with version 2",
    stimulus: "policy.version 2",
    reason: ErrorReason.PAYLOAD_MALFORMED,
    likelyMistake: "the version is stored as given, and updates count from there",
    spoil: (submission) => {
      policyOf(submission).version = 2n;
    },
  },
  {
    id: "TP/DSSM/DSPM/BI-84",
    title: "takes no permission for another key than the information's",
    stimulus: "access_permission.key_id another id",
    reason: ErrorReason.PAYLOAD_MALFORMED,
    likelyMistake: "information and permission are stored apart and never compared",
    spoil: (submission, t) => {
      if (submission.accessPermission) submission.accessPermission.keyId = freshId(t);
    },
  },
  {
    id: "TP/DSSM/DSPM/BI-85",
    title: "takes no permission for another package than the information's",
    stimulus: "access_permission.package_address another address",
    reason: ErrorReason.PAYLOAD_MALFORMED,
    likelyMistake: "information and permission are stored apart and never compared",
    spoil: (submission, t) => {
      const { accessPermission } = submission;
      if (accessPermission) accessPermission.packageAddress = `x1410://dss.somewhere/packages/${freshId(t)}`;
    },
  },
  {
    id: "TP/DSSM/DSPM/BI-86",
    title: "takes no key address that is not that of the key",
    stimulus: "key_address with another id than key_id",
    reason: ErrorReason.PAYLOAD_MALFORMED,
    likelyMistake: "the address is handed to consumers as given: it leads them elsewhere",
    spoil: (submission, t) => {
      const { keyId, keyAddress } = informationOf(submission);
      useKey(submission, keyId, keyAddress.replace(keyId, freshId(t)));
    },
  },
  {
    id: "TP/DSSM/DSPM/BI-87",
    title: "takes no address that is none",
    stimulus: "key_address https://attacker.example/keys/1",
    reason: ErrorReason.PAYLOAD_MALFORMED,
    likelyMistake: "the server dials what a user writes (server-side request forgery)",
    spoil: (submission) => useKey(submission, informationOf(submission).keyId, "https://attacker.example/keys/1"),
  },
  {
    id: "TP/DSSM/DSPM/BI-88",
    title: "takes no Annex A policy that does not say what is encrypted",
    stimulus: "neither access_permission nor encrypted_data",
    reason: ErrorReason.PAYLOAD_MALFORMED,
    likelyMistake: "both are optional fields, so that nothing says what a consumer must receive",
    spoil: (submission) => {
      delete submission.accessPermission;
    },
  },
  {
    id: "TP/DSSM/DSPM/BI-89",
    title: "takes no permission for no access at all",
    stimulus: "access_permission.access_times 0",
    reason: ErrorReason.PAYLOAD_MALFORMED,
    likelyMistake: "0 is taken for unlimited",
    spoil: (submission) => {
      if (submission.accessPermission) submission.accessPermission.accessTimes = 0;
    },
  },
  {
    id: "TP/DSSM/DSPM/BI-90",
    title: "takes no policy over a key at an entity that nobody registered",
    stimulus: "key_address at a key storage server outside the registry",
    reason: ErrorReason.ENTITY_NOT_REGISTERED,
    likelyMistake: "the name is looked up in the DNS, and a stranger is dialled",
    spoil: (submission) => {
      const { keyId } = informationOf(submission);
      useKey(submission, keyId, `x1410://kss.nobody-registered/keys/${keyId}`);
    },
  },
  {
    id: "TP/DSSM/DSPM/BI-91",
    title: "takes no policy over another provider's key",
    stimulus: "key_id and key_address of another provider's key",
    reason: ErrorReason.KEY_NOT_FOUND,
    likelyMistake: "the management may see the key, so it is shared in whoever's name",
    spoil: async (submission, t) => {
      const { id, address } = await t.secondProvider.registerKey(silent);
      t.cleanUp(() => keyStorage(t.secondProvider).deleteKey({ keyId: id }));
      useKey(submission, id, address);
    },
  },
  {
    id: "TP/DSSM/DSPM/BI-92",
    title: "takes no policy over another provider's package",
    stimulus: "package_id and package_address of another provider's package",
    reason: ErrorReason.PACKAGE_NOT_FOUND,
    likelyMistake: "the management may see the package, so it is shared in whoever's name",
    spoil: async (submission, t) => {
      const { id, address } = await t.secondProvider.registerPackage(silent);
      t.cleanUp(() => dataStorage(t.secondProvider).deletePackage({ packageId: id }));
      usePackage(submission, id, address);
    },
  },
  {
    id: "TP/DSSM/DSPM/BI-93",
    title: "takes no policy over a key that does not exist",
    stimulus: "key_id and key_address of nobody's key",
    reason: ErrorReason.KEY_NOT_FOUND,
    likelyMistake: "only storage is checked, later, and the policy waits for ever",
    spoil: (submission, t) => {
      const keyId = freshId(t);
      useKey(submission, keyId, `x1410://kss.${t.target.entities.kss.identity.split(":").at(-1)}/keys/${keyId}`);
    },
  },
];

interface WrongUpdate {
  readonly id: PurposeId;
  readonly title: string;
  readonly stimulus: string;
  readonly reason: ErrorReason;
  readonly likelyMistake: string;
  readonly update: (
    made: Draft,
    t: TestCase,
  ) => ReturnType<typeof signedUpdate> | Promise<ReturnType<typeof signedUpdate>>;
}

const wrongUpdates: readonly WrongUpdate[] = [
  {
    id: "TP/DSSM/DSPM/BI-94",
    title: "takes no update of a version that is there already",
    stimulus: "version 2 again, under new bytes",
    reason: ErrorReason.POLICY_VERSION_STALE,
    likelyMistake: "the version is stored and never compared",
    update: (made) => signedUpdate(made, 2n),
  },
  {
    id: "TP/DSSM/DSPM/BI-95",
    title: "takes no update that leaves a version out",
    stimulus: "version 4 after version 2",
    reason: ErrorReason.POLICY_VERSION_STALE,
    likelyMistake: "any higher version is taken: two providers' programs overwrite one another",
    update: (made) => signedUpdate(made, 4n),
  },
  {
    id: "TP/DSSM/DSPM/BI-96",
    title: "takes no update that shares another key",
    stimulus: "version 3 over another key of the same provider",
    reason: ErrorReason.INFORMATION_MISMATCH,
    likelyMistake: "the information is replaced as a whole: consumers with a grant get other data than they asked for",
    async update(made, t) {
      const other = await draft(t);
      return signedUpdate({ ...made, key: other.key }, 3n);
    },
  },
  {
    id: "TP/DSSM/DSPM/BI-97",
    title: "takes no update that shares another package",
    stimulus: "version 3 over another package of the same provider",
    reason: ErrorReason.INFORMATION_MISMATCH,
    likelyMistake: "the information is replaced as a whole: consumers with a grant get other data than they asked for",
    async update(made, t) {
      const other = await draft(t);
      return signedUpdate({ ...made, stored: other.stored }, 3n);
    },
  },
];

export const policyRulePurposes: readonly Purpose[] = [
  ...wrongSubmissions.map(({ spoil, reason, ...spec }) =>
    purpose({
      ...spec,
      clause: "7.3.1",
      steps: ["F3.5", "F3.6"],
      capabilities: ["DSPM1", "P6"],
      methods: ["DataSharingPolicyService/SubmitPolicy"],
      initialState: "key and package registered",
      expected: { reason },
      twin: "SubmitPolicy with nothing wrong, for the same key and package",
      async run(t) {
        const made = await draft(t);
        const { provider } = made;
        const wrong = clone(PolicySubmissionSchema, anotherSubmission(t, made));
        await t.positiveTwin("nothing wrong", () => provider.submit(provider.sign(made.submission)));
        await spoil(wrong, t);
        await leavingUnchanged(
          "what SubmitPolicy would change",
          () => currentPolicy(provider, policyOf(wrong).policyId),
          () => t.expectRefusal(() => provider.submit(provider.sign(wrong))),
        );
      },
    }),
  ),
  ...wrongUpdates.map(({ update, reason, ...spec }) =>
    purpose({
      ...spec,
      clause: "6.2.1",
      capabilities: ["P10", "DSPM5"],
      methods: ["DataSharingPolicyService/UpdatePolicy"],
      initialState: "a policy published, of version 2",
      expected: { reason },
      twin: "UpdatePolicy to version 2",
      async run(t) {
        const made = await draft(t);
        const { policyId } = await published(t, made);
        const { provider } = made;
        const send = (envelope: ReturnType<typeof signedUpdate>) =>
          policies(provider).updatePolicy({ update: envelope }, provider.inSession);
        await t.positiveTwin("version 2", () => send(signedUpdate(made, 2n)));
        const wrong = await update(made, t);
        await leavingUnchanged(
          "the policy",
          () => currentPolicy(provider, policyId),
          () => t.expectRefusal(() => send(wrong)),
        );
      },
    }),
  ),
];
