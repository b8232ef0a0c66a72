// Every method of a data-sharing service management that takes a signed request (DSPM, DSAM; clauses 6.2.1, 6.2.2, 7.3).
import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ReportUsageResponse, RequestAccessResponse } from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import { DataSharingAccessService } from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import {
  AccessRequestSchema,
  PolicySubmissionSchema,
  PolicyUpdateSchema,
  PolicyWithdrawalSchema,
  UsageKind,
  UsageReportSchema,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import { DataSharingPolicyService, type PolicyRecord } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { newContext } from "../../reference/envelope/sign.ts";
import type { User } from "../roles/user.ts";
import type { TestCase } from "../test-case.ts";
import {
  anotherSubmission,
  currentPolicy,
  draft,
  policyOf,
  published,
  submit,
  updateOf,
  withdrawalOf,
} from "./dssm-policy-draft.ts";
import { sharedData } from "./dssm-shared-data.ts";
import type { Purpose } from "./purpose.ts";
import { signedRequestPurposes } from "./signed-request.ts";

const policies = (user: User) => user.client(DataSharingPolicyService, "dssm");
const accesses = (user: User) => user.client(DataSharingAccessService, "dssm");

function policyEssence(answer: unknown): string {
  const { policy } = answer as { policy?: PolicyRecord };
  return `${policy?.policyId} ${policy?.version} ${policy?.state} ${policy?.contractAddress}`;
}

/** A report that may be made any number of times. */
export function refusedUse(consumer: User, accessId: string, remark = "export refused") {
  return create(UsageReportSchema, {
    context: newContext(consumer.signer, consumer.management, new Date()),
    accessId,
    kind: UsageKind.REFUSED,
    occurredAt: timestampFromDate(new Date()),
    remark,
  });
}

/** An access that has been granted to the consumer. */
export async function grantedAccess(t: TestCase): Promise<RequestAccessResponse> {
  const { found } = await sharedData(t, { accessTimes: 2, readOnly: true });
  return t.consumer.requestAccess(t.consumer.signRequest(t.consumer.accessRequest(found)));
}

export const signedRequestsPurposes: readonly Purpose[] = [
  ...signedRequestPurposes({
    of: "TP/DSSM/DSPM",
    from: 1,
    idempotencyNumber: 1,
    clause: "7.3.1",
    steps: ["F3.5", "F3.6", "A1.5", "A1.6"],
    capabilities: ["DSPM1", "DSPM2"],
    method: "DataSharingPolicyService/SubmitPolicy",
    schema: PolicySubmissionSchema,
    initialState: "key and package registered",
    async prepare(t) {
      const made = await draft(t);
      const second = anotherSubmission(t, made);
      return {
        signer: made.provider,
        other: await t.inSession(t.secondProvider),
        first: made.submission,
        second,
        state: () => currentPolicy(made.provider, policyOf(second).policyId),
        send: (submission: SignedEnvelope, as) => policies(as).submitPolicy({ submission }, as.inSession),
      };
    },
    essence: policyEssence,
  }),
  ...signedRequestPurposes({
    of: "TP/DSSM/DSPM",
    from: 21,
    idempotencyNumber: 2,
    clause: "6.2.1",
    steps: [],
    capabilities: ["P10", "DSPM5"],
    method: "DataSharingPolicyService/UpdatePolicy",
    schema: PolicyUpdateSchema,
    initialState: "a policy published",
    async prepare(t) {
      const made = await draft(t);
      const { policyId } = await published(t, made);
      return {
        state: () => currentPolicy(made.provider, policyId),
        signer: made.provider,
        other: await t.inSession(t.secondProvider),
        first: updateOf(made, 2n),
        second: updateOf(made, 3n),
        send: (update: SignedEnvelope, as) => policies(as).updatePolicy({ update }, as.inSession),
      };
    },
    essence: policyEssence,
  }),
  ...signedRequestPurposes({
    of: "TP/DSSM/DSPM",
    from: 41,
    idempotencyNumber: 3,
    clause: "6.2.2",
    steps: [],
    capabilities: ["P10", "DSPM5"],
    method: "DataSharingPolicyService/WithdrawPolicy",
    schema: PolicyWithdrawalSchema,
    initialState: "two policies submitted",
    async prepare(t) {
      const made = await draft(t);
      const another = { ...made, submission: anotherSubmission(t, made) };
      await submit(made);
      await submit(another);
      const withdrawal = ({ submission }: typeof made) => withdrawalOf(made.provider, policyOf(submission).policyId);
      return {
        state: () => currentPolicy(made.provider, policyOf(another.submission).policyId),
        signer: made.provider,
        other: await t.inSession(t.secondProvider),
        first: withdrawal(made),
        second: withdrawal(another),
        send: (envelope: SignedEnvelope, as) => policies(as).withdrawPolicy({ withdrawal: envelope }, as.inSession),
      };
    },
    essence: policyEssence,
  }),
  ...signedRequestPurposes(
    {
      of: "TP/DSSM/DSAM",
      from: 11,
      idempotencyNumber: 2,
      clause: "7.3.2",
      steps: ["F4.3", "F4.4", "A2.3", "A2.4"],
      capabilities: ["C4", "DSAM1"],
      method: "DataSharingAccessService/RequestAccess",
      schema: AccessRequestSchema,
      initialState: "data shared with two accesses",
      async prepare(t) {
        const { found } = await sharedData(t, { accessTimes: 2, readOnly: true });
        return {
          signer: t.consumer,
          other: await t.inSession(t.secondConsumer),
          first: t.consumer.accessRequest(found),
          // Made in the same millisecond and under the same nonce, the two must still be other bytes.
          second: { ...t.consumer.accessRequest(found), purpose: "something else" },
          state: () => t.provider.usageOf(found.contractAddress),
          send: (request: SignedEnvelope, as) => accesses(as).requestAccess({ request }, as.inSession),
        };
      },
      essence: (answer) => {
        const { record, accessToken } = answer as RequestAccessResponse;
        const [, claims = ""] = accessToken.split(".");
        const { jti } = JSON.parse(Buffer.from(claims, "base64url").toString()) as { jti: string };
        return `${record?.accessId} ${record?.accessNumber} ${jti}`;
      },
    },
    ["whose payload was altered"],
  ),
  ...signedRequestPurposes({
    of: "TP/DSSM/DSAM",
    from: 31,
    idempotencyNumber: 3,
    clause: "7.2.4",
    steps: ["F4.18", "A2.16"],
    capabilities: ["UR2"],
    method: "DataSharingAccessService/ReportUsage",
    schema: UsageReportSchema,
    initialState: "an access granted",
    async prepare(t) {
      const { record } = await grantedAccess(t);
      const { accessId = "", contractAddress = "" } = record ?? {};
      return {
        state: () => t.provider.usageOf(contractAddress),
        signer: t.consumer,
        other: await t.inSession(t.secondConsumer),
        first: refusedUse(t.consumer, accessId, "export refused"),
        second: refusedUse(t.consumer, accessId, "change refused"),
        send: (report: SignedEnvelope, as) => accesses(as).reportUsage({ report }, as.inSession),
      };
    },
    essence: (answer) => (answer as ReportUsageResponse).record?.usageId ?? "",
  }),
];
