// A management that refuses or loses what it should do (clauses 6.2.2 and 7.2.4): of accounts, sessions, policies, accesses, publication.
import { randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { DataSharingAccessService } from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import {
  DataSharingPolicyService,
  PendingStorage,
  type PolicyRecord,
} from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { AccountSchema } from "../../gen/x1410/v1/identity_pb.ts";
import { InformationPublicationService } from "../../gen/x1410/v1/information_publication_pb.ts";
import { InformationSubscriptionService } from "../../gen/x1410/v1/information_subscription_pb.ts";
import { SystemManagementService } from "../../gen/x1410/v1/ledger_service_pb.ts";
import { UpdateAccountResponseSchema, UserAccountService } from "../../gen/x1410/v1/user_account_pb.ts";
import { EndSessionResponseSchema, UserAuthenticationService } from "../../gen/x1410/v1/user_authentication_pb.ts";
import { peerKey } from "../../reference/communications/peer.ts";
import { refusal } from "../../reference/communications/refusal.ts";
import { acceptingAll } from "./accepting.ts";
import { type Alteration, type Mutant, streaming, unary } from "./mutant.ts";

const { createAccount, getAccount, listAccounts, updateAccount, deleteAccount } = UserAccountService.method;
const { beginAuthentication, endSession } = UserAuthenticationService.method;
const { submitPolicy, updatePolicy, withdrawPolicy, confirmStorage, getPolicy, listPolicies, watchNotifications } =
  DataSharingPolicyService.method;
const { requestAccess, getAccessRecord, updateAccessRecord, listAccessRecords, reportUsage } =
  DataSharingAccessService.method;
const { searchInformation, getInformation } = InformationPublicationService.method;
const { subscribe } = InformationSubscriptionService.method;
const { getNetworkParameters } = SystemManagementService.method;

const accounts = new Set<string>();
const deleted: string[] = [];
const submitted = new Set<string>();
const nonce = randomBytes(32);
const another = () => randomBytes(16).toString("hex");

/** The policy of an answer, altered. */
function policyOf(
  method: typeof submitPolicy | typeof updatePolicy | typeof withdrawPolicy | typeof confirmStorage | typeof getPolicy,
  alter: (policy: PolicyRecord) => PolicyRecord,
): Alteration {
  return {
    method,
    wrap: (original) => async (input, context) => {
      const answer = (await original(input, context)) as { policy?: PolicyRecord };
      return answer.policy === undefined ? answer : { ...answer, policy: alter(answer.policy) };
    },
  };
}

const otherPolicy = (policy: PolicyRecord): PolicyRecord => ({ ...policy, policyId: another() });

export const validManagementMutants: readonly Mutant[] = [
  {
    id: "uam-forgets-updates",
    clause: "6.2.2",
    breaks: "an account's update is confirmed and not kept",
    foundBy: ["TP/DSSM/UAM/BV-01", "TP/DSSM/UAM/BV-06"],
    alterations: [
      unary(
        updateAccount,
        () =>
          async ({ account }) =>
            create(UpdateAccountResponseSchema, account && { account: { ...account, version: account.version + 1n } }),
      ),
    ],
  },
  {
    id: "uam-refuses-the-repeat",
    clause: "6.2.2",
    breaks: "an account that is created again is refused",
    foundBy: ["TP/DSSM/UAM/BV-02"],
    alterations: [
      unary(createAccount, (original) => async (request, context) => {
        const identity = request.account?.identity ?? "";
        if (accounts.has(identity)) throw refusal(ErrorReason.ACCOUNT_EXISTS);
        accounts.add(identity);
        return original(request, context);
      }),
    ],
  },
  {
    id: "uam-loses-one-of-each-page",
    clause: "6.2.2",
    breaks: "the last account of each page is left out",
    foundBy: ["TP/DSSM/UAM/BV-03"],
    alterations: [
      unary(listAccounts, (original) => async (request, context) => {
        const answer = await original(request, context);
        return { ...answer, accounts: answer.accounts.slice(0, -1) };
      }),
    ],
  },
  {
    id: "uam-lists-the-deleted",
    clause: "6.2.2",
    breaks: "an account that was deleted is still listed",
    foundBy: ["TP/DSSM/UAM/BO-04"],
    alterations: [
      unary(deleteAccount, (original) => (request, context) => {
        deleted.push(request.identity);
        return original(request, context);
      }),
      unary(listAccounts, (original) => async (request, context) => {
        const answer = await original(request, context);
        const ghosts = deleted.map((identity) => create(AccountSchema, { identity }));
        return { ...answer, accounts: [...answer.accounts, ...ghosts] };
      }),
    ],
  },
  {
    id: "uam-hides-accounts-from-users",
    clause: "6.2.2",
    breaks: "a user may not see its own account",
    foundBy: ["TP/DSSM/UAM/BV-04"],
    alterations: [
      unary(getAccount, (original) => (request, context) => {
        if (context.values.get(peerKey).identity.startsWith("urn:x1410:user:"))
          throw refusal(ErrorReason.CALLER_NOT_ALLOWED);
        return original(request, context);
      }),
    ],
  },
  {
    id: "uam-counts-from-seven",
    clause: "6.2.2",
    breaks: "the version of a new account is not 1",
    foundBy: ["TP/DSSM/UAM/BV-05"],
    alterations: [
      unary(createAccount, (original) => async (request, context) => {
        const { account, ...answer } = await original(request, context);
        return { ...answer, ...(account && { account: { ...account, version: 7n } }) };
      }),
    ],
  },
  {
    id: "aau-repeats-its-nonce",
    clause: "6.2.2",
    breaks: "every challenge has the same nonce",
    foundBy: ["TP/DSSM/AAU/BV-02"],
    alterations: [
      unary(beginAuthentication, (original) => async (request, context) => ({
        ...(await original(request, context)),
        managementNonce: nonce,
      })),
    ],
  },
  {
    id: "aau-ends-nothing",
    clause: "6.2.2",
    breaks: "an ended session goes on",
    foundBy: ["TP/DSSM/AAU/BV-03"],
    alterations: [unary(endSession, () => async () => create(EndSessionResponseSchema))],
  },
  {
    id: "dspm-submits-again",
    clause: "7.3.1",
    breaks: "identical bytes make another policy",
    foundBy: ["TP/DSSM/DSPM/BV-01"],
    alterations: [policyOf(submitPolicy, otherPolicy)],
  },
  {
    id: "dspm-updates-again",
    clause: "6.2.1",
    breaks: "an identical update gets another answer",
    foundBy: ["TP/DSSM/DSPM/BV-02"],
    alterations: [policyOf(updatePolicy, otherPolicy)],
  },
  {
    id: "dspm-withdraws-again",
    clause: "6.2.1",
    breaks: "an identical withdrawal gets another answer",
    foundBy: ["TP/DSSM/DSPM/BV-03"],
    alterations: [policyOf(withdrawPolicy, otherPolicy)],
  },
  {
    id: "dsam-notes-usage-again",
    clause: "7.2.4",
    breaks: "an identical report makes another record",
    foundBy: ["TP/DSSM/DSAM/BV-03"],
    alterations: [
      unary(reportUsage, (original) => async (request, context) => {
        const { record, ...answer } = await original(request, context);
        return { ...answer, ...(record && { record: { ...record, usageId: another() } }) };
      }),
    ],
  },
  {
    id: "dspm-asks-for-what-is-there",
    clause: "7.3.1",
    breaks: "a key that is stored already is asked for",
    foundBy: ["TP/DSSM/DSPM/BV-05"],
    alterations: [policyOf(submitPolicy, (policy) => ({ ...policy, pending: [PendingStorage.KEY] }))],
  },
  {
    id: "dspm-records-each-confirmation",
    clause: "7.3.1",
    breaks: "each confirmation has a transaction of its own",
    foundBy: ["TP/DSSM/DSPM/BV-06"],
    alterations: [
      policyOf(confirmStorage, (policy) => ({
        ...policy,
        ...(policy.receipt && { receipt: { ...policy.receipt, transactionId: another() + another() } }),
      })),
    ],
  },
  {
    id: "dspm-notifies-everybody",
    clause: "7.3.1",
    breaks: "providers are told of others' policies",
    foundBy: ["TP/DSSM/DSPM/BV-08"],
    alterations: [
      policyOf(submitPolicy, (policy) => {
        submitted.add(policy.policyId);
        return policy;
      }),
      streaming(
        watchNotifications,
        (original) =>
          async function* (request, context) {
            for await (const event of original(request, context)) {
              const { notification } = event;
              if (notification !== undefined)
                for (const policyId of submitted) yield { ...event, notification: { ...notification, policyId } };
              yield event;
            }
          },
      ),
    ],
  },
  {
    id: "dspm-does-not-say-that-it-listens",
    clause: "7.3.1",
    breaks: "nobody knows when the stream of notifications stands",
    foundBy: ["TP/DSSM/DSPM/BV-09"],
    alterations: [
      streaming(
        watchNotifications,
        (original) =>
          async function* (request, context) {
            for await (const event of original(request, context)) if (event.notification !== undefined) yield event;
          },
      ),
    ],
  },
  {
    id: "dspm-lists-backwards",
    clause: "6.2.1",
    breaks: "policies are not in the order of their submission",
    foundBy: ["TP/DSSM/DSPM/BV-10"],
    alterations: [
      unary(listPolicies, (original) => async (request, context) => {
        const answer = await original(request, context);
        return { ...answer, policies: answer.policies.toReversed() };
      }),
    ],
  },
  {
    id: "dspm-shows-no-evidence",
    clause: "6",
    breaks: "a policy is shown without the proof that it is on the ledger",
    foundBy: ["TP/DSSM/DSPM/BV-11"],
    alterations: [policyOf(getPolicy, ({ proof: _, ...policy }) => policy)],
  },
  {
    id: "dsam-counts-for-all-together",
    clause: "7.2.3",
    breaks: "one consumer's access is counted for the other",
    foundBy: ["TP/DSSM/DSAM/BV-05"],
    alterations: [
      unary(requestAccess, (original) => async (request, context) => {
        const { record, ...answer } = await original(request, context);
        return { ...answer, ...(record && { record: { ...record, accessNumber: record.accessNumber + 1 } }) };
      }),
    ],
  },
  {
    id: "dsam-wants-a-permission",
    clause: "Annex A.2",
    breaks: "data shared without an access permission is not given",
    foundBy: ["TP/DSSM/DSAM/BV-07", "TP/ALL/A2/BV-01"],
    alterations: [
      unary(requestAccess, (original) => async (request, context) => {
        const answer = await original(request, context);
        if (answer.requestedPermission === undefined) throw refusal(ErrorReason.ACCESS_TIMES_EXHAUSTED);
        return answer;
      }),
    ],
  },
  {
    id: "dsam-shows-no-evidence",
    clause: "6",
    breaks: "an access is shown without the proof that it is on the ledger",
    foundBy: ["TP/DSSM/DSAM/BV-08"],
    alterations: [
      unary(getAccessRecord, (original) => async (request, context) => {
        const { proof: _, ...answer } = await original(request, context);
        return answer;
      }),
    ],
  },
  {
    id: "dsam-loses-notes",
    clause: "6.2.1",
    breaks: "the note at an access is not kept",
    foundBy: ["TP/DSSM/DSAM/BV-09"],
    alterations: [
      unary(updateAccessRecord, (original) => (request, context) => original({ ...request, note: "" }, context)),
    ],
  },
  {
    id: "dsam-lists-backwards",
    clause: "6.2.1",
    breaks: "accesses are not listed oldest first",
    foundBy: ["TP/DSSM/DSAM/BV-10"],
    alterations: [
      unary(listAccessRecords, (original) => async (request, context) => {
        const answer = await original(request, context);
        return { ...answer, records: answer.records.toReversed() };
      }),
    ],
  },
  {
    id: "pub-gives-all-at-once",
    clause: "7.3.2",
    breaks: "the size of a page is not kept",
    foundBy: ["TP/DSSM/PUB/BV-02"],
    alterations: [
      unary(searchInformation, (original) => (request, context) => original({ ...request, pageSize: 0 }, context)),
    ],
  },
  {
    id: "pub-does-not-say-that-it-is-over",
    clause: "7.3.2",
    breaks: "what has been withdrawn is not marked at its address",
    foundBy: ["TP/DSSM/PUB/BO-01"],
    alterations: [
      unary(getInformation, (original) => async (request, context) => {
        const { information, ...answer } = await original(request, context);
        return { ...answer, ...(information && { information: { ...information, withdrawn: false } }) };
      }),
    ],
  },
  {
    id: "sub-tells-everything-again",
    clause: "7.3.1",
    breaks: "the position after which to go on is not looked at",
    foundBy: ["TP/DSSM/SUB/BV-03"],
    alterations: [
      streaming(subscribe, (original) => (request, context) => original({ ...request, afterPosition: 0n }, context)),
    ],
  },
  {
    id: "sub-knows-no-limit",
    clause: "6.2.2",
    breaks: "one user may hold any number of subscriptions",
    foundBy: ["TP/DSSM/SUB/BO-02"],
    alterations: [acceptingAll(subscribe, ErrorReason.SUBSCRIPTION_LIMIT)],
  },
  {
    id: "dssm-names-without-certificates",
    clause: "6.2.1",
    breaks: "the registry has no certificates",
    foundBy: ["TP/DSSM/API/CA-01"],
    alterations: [
      unary(getNetworkParameters, (original) => async (request, context) => {
        const { parameters, ...answer } = await original(request, context);
        if (parameters === undefined) return answer;
        const entities = parameters.entities.map(({ certificate: _, ...entity }) => entity);
        return { ...answer, parameters: { ...parameters, entities } };
      }),
    ],
  },
];
