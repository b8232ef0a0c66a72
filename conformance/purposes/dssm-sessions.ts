// Every method of a data-sharing service management that needs a session of the user (AAU2, clause 6.2.2).
import { create } from "@bufbuild/protobuf";
import { DataSharingAccessService } from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import { AccessRequestSchema, UsageReportSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { DataSharingPolicyService } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { InformationPublicationService } from "../../gen/x1410/v1/information_publication_pb.ts";
import { InformationSubscriptionService } from "../../gen/x1410/v1/information_subscription_pb.ts";
import { newContext, signMessage } from "../../reference/envelope/sign.ts";
import type { DataProvider } from "../roles/data-provider.ts";
import type { TestCase } from "../test-case.ts";
import { draft, signedUpdate, signedWithdrawal } from "./dssm-policy-draft.ts";
import { refusedUse } from "./dssm-signed-requests.ts";
import { freshId } from "./malformed-field.ts";
import type { Purpose } from "./purpose.ts";
import { firstOf, type GatedMethod, gatedPurposes } from "./session-gate.ts";

const policies = (user: DataProvider) => user.client(DataSharingPolicyService, "dssm");
const accesses = (user: DataProvider) => user.client(DataSharingAccessService, "dssm");
const publication = (user: DataProvider) => user.client(InformationPublicationService, "dssm");

/** The address of a contract that nobody has made. */
export function noContract(t: TestCase): string {
  return `x1410://dlt.nobody/contracts/${freshId(t)}`;
}

function requestFor(t: TestCase, user: DataProvider) {
  const publicKey = user.signer.publicKey;
  const request = create(AccessRequestSchema, {
    context: newContext(user.signer, user.management, new Date()),
    consumer: { identity: user.identity, publicKey },
    sharedData: {
      providerIdentity: t.secondProvider.identity,
      providerPublicKey: t.secondProvider.signer.publicKey,
      packageId: freshId(t),
      keyId: freshId(t),
    },
    contractAddress: noContract(t),
  });
  return signMessage(user.signer, AccessRequestSchema, request);
}

const dspm = { of: "TP/DSSM/DSPM", clause: "6.2.2" } as const;
const dsam = { of: "TP/DSSM/DSAM", clause: "6.2.2" } as const;

const methods: readonly GatedMethod[] = [
  {
    ...dspm,
    number: 61,
    capabilities: ["DSPM1"],
    steps: ["F3.5", "A1.5"],
    method: "DataSharingPolicyService/SubmitPolicy",
    right: "publish",
    async call(t, user, options) {
      const { submission } = await draftOf(t, user);
      return policies(user).submitPolicy({ submission: user.sign(submission) }, options);
    },
  },
  {
    ...dspm,
    number: 64,
    capabilities: ["DSPM3"],
    method: "DataSharingPolicyService/ConfirmStorage",
    right: "publish",
    otherwise: ErrorReason.POLICY_NOT_FOUND,
    call: (t, user, options) => policies(user).confirmStorage({ policyId: freshId(t) }, options),
  },
  {
    ...dspm,
    number: 67,
    capabilities: ["P9"],
    method: "DataSharingPolicyService/WatchNotifications",
    call: (_t, user, options) =>
      firstOf((signal) => policies(user).watchNotifications({ afterPosition: 0n }, { ...options, signal })),
  },
  {
    ...dspm,
    number: 69,
    capabilities: ["P10"],
    method: "DataSharingPolicyService/GetPolicy",
    otherwise: ErrorReason.POLICY_NOT_FOUND,
    call: (t, user, options) => policies(user).getPolicy({ policyId: freshId(t) }, options),
  },
  {
    ...dspm,
    number: 71,
    capabilities: ["P10"],
    method: "DataSharingPolicyService/ListPolicies",
    call: (_t, user, options) => policies(user).listPolicies({}, options),
  },
  {
    ...dspm,
    number: 73,
    capabilities: ["P10"],
    method: "DataSharingPolicyService/UpdatePolicy",
    right: "publish",
    otherwise: ErrorReason.POLICY_NOT_FOUND,
    async call(t, user, options) {
      const update = signedUpdate(await draftOf(t, user), 2n);
      return policies(user).updatePolicy({ update }, options);
    },
  },
  {
    ...dspm,
    number: 76,
    capabilities: ["P10"],
    method: "DataSharingPolicyService/WithdrawPolicy",
    otherwise: ErrorReason.POLICY_NOT_FOUND,
    call: (t, user, options) =>
      policies(user).withdrawPolicy({ withdrawal: signedWithdrawal(user, freshId(t)) }, options),
  },
  {
    ...dsam,
    number: 61,
    capabilities: ["DSAM1"],
    steps: ["F4.3", "A2.3"],
    method: "DataSharingAccessService/RequestAccess",
    right: "access",
    otherwise: ErrorReason.CONTRACT_NOT_FOUND,
    call: (t, user, options) => accesses(user).requestAccess({ request: requestFor(t, user) }, options),
  },
  {
    ...dsam,
    number: 64,
    capabilities: ["DSAM7"],
    method: "DataSharingAccessService/GetAccessRecord",
    otherwise: ErrorReason.ACCESS_RECORD_NOT_FOUND,
    call: (t, user, options) => accesses(user).getAccessRecord({ accessId: freshId(t) }, options),
  },
  {
    ...dsam,
    number: 66,
    capabilities: ["DSAM7"],
    method: "DataSharingAccessService/ListAccessRecords",
    call: (_t, user, options) => accesses(user).listAccessRecords({}, options),
  },
  {
    ...dsam,
    number: 68,
    capabilities: ["DSAM7"],
    method: "DataSharingAccessService/UpdateAccessRecord",
    otherwise: ErrorReason.ACCESS_RECORD_NOT_FOUND,
    call: (t, user, options) =>
      accesses(user).updateAccessRecord({ accessId: freshId(t), note: "seen", archived: false }, options),
  },
  {
    ...dsam,
    number: 70,
    capabilities: ["UR2"],
    method: "DataSharingAccessService/ReportUsage",
    otherwise: ErrorReason.ACCESS_RECORD_NOT_FOUND,
    call: (t, user, options) =>
      accesses(user).reportUsage(
        { report: signMessage(user.signer, UsageReportSchema, refusedUse(user, freshId(t))) },
        options,
      ),
  },
  {
    ...dsam,
    number: 72,
    capabilities: ["UR2"],
    method: "DataSharingAccessService/ListUsageRecords",
    otherwise: ErrorReason.CONTRACT_NOT_FOUND,
    call: (t, user, options) => accesses(user).listUsageRecords({ contractAddress: noContract(t) }, options),
  },
  {
    of: "TP/DSSM/PUB",
    clause: "7.3.2",
    number: 1,
    capabilities: ["PUB2"],
    steps: ["F4.1", "A2.1"],
    method: "InformationPublicationService/SearchInformation",
    right: "access",
    call: (_t, user, options) => publication(user).searchInformation({ pageSize: 1 }, options),
  },
  {
    of: "TP/DSSM/PUB",
    clause: "7.3.2",
    number: 4,
    capabilities: ["PUB2"],
    steps: ["F4.1", "A2.1"],
    method: "InformationPublicationService/GetInformation",
    right: "access",
    otherwise: ErrorReason.INFORMATION_NOT_FOUND,
    call: (t, user, options) => publication(user).getInformation({ contractAddress: noContract(t) }, options),
  },
  {
    of: "TP/DSSM/SUB",
    clause: "7.3.1",
    number: 1,
    capabilities: ["SUB2"],
    steps: ["F3.12", "A1.12"],
    method: "InformationSubscriptionService/Subscribe",
    right: "access",
    call: (_t, user, options) =>
      firstOf((signal) =>
        user.client(InformationSubscriptionService, "dssm").subscribe({ afterPosition: 0n }, { ...options, signal }),
      ),
  },
];

/** Each call of a purpose has a draft of its own: its signed bytes must be new. */
function draftOf(t: TestCase, user: DataProvider) {
  return draft(t, undefined, user);
}

export const sessionPurposes: readonly Purpose[] = methods.flatMap(gatedPurposes);
