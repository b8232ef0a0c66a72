// Faulty transactions (clause 6), as the management shows them with its proofs; what it says of the ledger; signature algorithms.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { DataSharingAccessService } from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import { DataSharingPolicyService } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { SignatureAlgorithm } from "../../gen/x1410/v1/identity_pb.ts";
import { type InclusionProof, TransactionSchema } from "../../gen/x1410/v1/ledger_pb.ts";
import { GetNodeStatusResponseSchema, SystemManagementService } from "../../gen/x1410/v1/ledger_service_pb.ts";
import { peerKey } from "../../reference/communications/peer.ts";
import { refusal } from "../../reference/communications/refusal.ts";
import type { PurposeId } from "../purposes/purpose.ts";
import { type Mutant, unary } from "./mutant.ts";

const { getPolicy, submitPolicy } = DataSharingPolicyService.method;
const { requestAccess } = DataSharingAccessService.method;
const { getNodeStatus } = SystemManagementService.method;

/** The transaction with further bytes behind it, in a field that nobody knows. */
function naming(proof: InclusionProof | undefined, text: string): { proof?: InclusionProof } {
  if (proof === undefined) return {};
  const field = Buffer.concat([Buffer.from([0xfa, 0x3f, text.length]), Buffer.from(text)]);
  return { proof: { ...proof, transaction: Buffer.concat([proof.transaction, field]) } };
}

/** Of the algorithm, none verifies. */
function knowsNo(name: string, algorithm: SignatureAlgorithm, foundBy: PurposeId): Mutant {
  return {
    id: `dspm-knows-no-${name}`,
    clause: "6.2.1",
    breaks: `what is signed with ${name} is refused, and the algorithm is claimed`,
    foundBy: [foundBy],
    alterations: [
      unary(submitPolicy, (original) => (request, context) => {
        if (request.submission?.signatures[0]?.algorithm === algorithm)
          throw refusal(ErrorReason.ALGORITHM_NOT_ALLOWED, "algorithm");
        return original(request, context);
      }),
    ],
  };
}

export const ledgerEvidenceMutants: readonly Mutant[] = [
  {
    id: "dspm-names-the-provider-on-the-ledger",
    clause: "6",
    breaks: "the transaction of a contract carries its provider's identity (S1)",
    foundBy: ["TP/DSSM/DSPM/BV-13"],
    alterations: [
      unary(getPolicy, (original) => async (request, context) => {
        const answer = await original(request, context);
        const { policy } = answer;
        if (policy === undefined) return answer;
        return { ...answer, policy: { ...policy, ...naming(policy.proof, context.values.get(peerKey).identity) } };
      }),
    ],
  },
  {
    id: "dsam-names-the-consumer-on-the-ledger",
    clause: "6",
    breaks: "the transaction of an access carries the consumer's identity (S1)",
    foundBy: ["TP/DSSM/DSAM/BV-12"],
    alterations: [
      unary(requestAccess, (original) => async (request, context) => {
        const answer = await original(request, context);
        return { ...answer, ...naming(answer.proof, context.values.get(peerKey).identity) };
      }),
    ],
  },
  {
    id: "dsam-gives-one-pseudonym",
    clause: "6",
    breaks: "every access is under the same pseudonym, whatever the contract",
    foundBy: ["TP/DSSM/DSAM/BV-13"],
    alterations: [
      unary(requestAccess, (original) => async (request, context) => {
        const answer = await original(request, context);
        if (answer.proof === undefined) return answer;
        const envelope = fromBinary(SignedEnvelopeSchema, answer.proof.transaction);
        const transaction = fromBinary(TransactionSchema, envelope.payload);
        if (transaction.action.case === "recordAccess")
          transaction.action.value.consumerPseudonym = Buffer.alloc(32, 1);
        envelope.payload = toBinary(TransactionSchema, transaction);
        return { ...answer, proof: { ...answer.proof, transaction: toBinary(SignedEnvelopeSchema, envelope) } };
      }),
    ],
  },
  {
    id: "dssm-tells-an-old-height",
    clause: "6.1",
    breaks: "the height of the ledger is that of its start",
    foundBy: ["TP/DSSM/API/CA-06"],
    alterations: [unary(getNodeStatus, () => async () => create(GetNodeStatusResponseSchema, { accepting: true }))],
  },
  knowsNo("ecdsa-p256", SignatureAlgorithm.ECDSA_P256_SHA256, "TP/DSSM/DSPM/BV-21"),
  knowsNo("ed25519", SignatureAlgorithm.ED25519, "TP/DSSM/DSPM/BV-22"),
  knowsNo("rsa-pss", SignatureAlgorithm.RSA_PSS_SHA256, "TP/DSSM/DSPM/BV-23"),
  knowsNo("ml-dsa-65", SignatureAlgorithm.ML_DSA_65, "TP/DSSM/DSPM/BV-24"),
];
