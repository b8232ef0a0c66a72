// What a provider is shown of its policy (P10, DSPM5, clause 6.2.1).
import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type PolicyRecord, PolicyRecordSchema } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import type { PolicyEntry } from "./policy-store.ts";

/** With openings and inclusion proof, unless `evidence` says without (lists). */
export function policyRecord(
  entry: PolicyEntry,
  evidence: "with evidence" | "without evidence" = "with evidence",
): PolicyRecord {
  const { policyId, state, pending, terms, receipt, proof, contractAddress, submittedAt } = entry;
  return create(PolicyRecordSchema, {
    policyId,
    state,
    pending: [...pending],
    version: terms.policy.version,
    signedPolicy: terms.signedPolicy,
    submittedAt: timestampFromDate(submittedAt),
    ...(receipt === undefined ? {} : { contractAddress, receipt }),
    ...(evidence === "without evidence"
      ? {}
      : { openings: [...terms.openings], ...(proof === undefined ? {} : { proof }) }),
  });
}
