// What a provider has signed about its shared data (P7): the submission, or the update that came last.
import type {
  AccessPermission,
  DataSharingInformation,
  DataSharingPolicy,
  PolicySubmission,
  PolicyUpdate,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import { PolicySubmissionSchema, PolicyUpdateSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { refusal } from "../communications/refusal.ts";
import { payloadTypeOf } from "../envelope/sign.ts";
import { type Trust, type VerifiedSigner, verifyEnvelope } from "../envelope/verify.ts";

export interface SignedPolicy {
  readonly information: DataSharingInformation;
  readonly policy: DataSharingPolicy;
  /** Absent in Annex A. */
  readonly accessPermission: AccessPermission | undefined;
  readonly signer: VerifiedSigner;
}

/** @throws ConnectError as `verifyEnvelope`; PARTY_NOT_SIGNER where the provider named inside did not sign */
export function openSignedPolicy(envelope: SignedEnvelope, trust: Trust): SignedPolicy {
  const isUpdate = envelope.payloadType === payloadTypeOf(PolicyUpdateSchema);
  const opened: { message: PolicySubmission | PolicyUpdate; signer: VerifiedSigner } = isUpdate
    ? verifyEnvelope(envelope, PolicyUpdateSchema, trust)
    : verifyEnvelope(envelope, PolicySubmissionSchema, trust);
  const { information, policy, accessPermission } = opened.message;
  if (information === undefined || policy === undefined) throw refusal(ErrorReason.PAYLOAD_MALFORMED, "information");
  if (information.providerIdentity !== opened.signer.identity)
    throw refusal(ErrorReason.PARTY_NOT_SIGNER, "information.provider_identity");
  return { information, policy, accessPermission, signer: opened.signer };
}
