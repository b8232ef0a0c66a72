// Faulty user authentication, policy management, publication and subscription (clause 6.2.2).
import { create } from "@bufbuild/protobuf";
import type { PublishedInformation } from "../../gen/x1410/v1/data_sharing_pb.ts";
import {
  ConfirmStorageResponseSchema,
  DataSharingPolicyService,
  type PolicyRecord,
  SubmitPolicyResponseSchema,
} from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { RightsSchema } from "../../gen/x1410/v1/identity_pb.ts";
import { InformationPublicationService } from "../../gen/x1410/v1/information_publication_pb.ts";
import { InformationSubscriptionService } from "../../gen/x1410/v1/information_subscription_pb.ts";
import { Finality } from "../../gen/x1410/v1/ledger_pb.ts";
import { UserAuthenticationService } from "../../gen/x1410/v1/user_authentication_pb.ts";
import { refusal } from "../../reference/communications/refusal.ts";
import { accepting } from "./accepting.ts";
import { type Alteration, type Mutant, streaming, unary } from "./mutant.ts";

const { completeAuthentication } = UserAuthenticationService.method;
const { submitPolicy, confirmStorage, watchNotifications } = DataSharingPolicyService.method;
const { searchInformation, getInformation } = InformationPublicationService.method;
const { subscribe } = InformationSubscriptionService.method;

export const policyManagementMutants: readonly Mutant[] = [
  {
    id: "aau-does-not-prove-itself",
    clause: "6.2.2",
    breaks: "the management's statement carries no signature (AAU1)",
    foundBy: ["TP/DSSM/AAU/BV-01"],
    alterations: [
      unary(completeAuthentication, (original) => async (request, context) => {
        const answer = await original(request, context);
        return { ...answer, ...(answer.statement && { statement: { ...answer.statement, signatures: [] } }) };
      }),
    ],
  },
  {
    id: "aau-reflects",
    clause: "6.2.2",
    breaks: "the user's own statement comes back as the management's",
    foundBy: ["TP/DSSM/AAU/BV-01"],
    alterations: [
      unary(completeAuthentication, (original) => async (request, context) => ({
        ...(await original(request, context)),
        ...(request.statement && { statement: request.statement }),
      })),
    ],
  },
  {
    id: "aau-grants-no-right",
    clause: "7.3.1",
    breaks: "an account with the right to publish and to access is told that it has none (AAU2)",
    foundBy: ["TP/DSSM/AAU/BV-01"],
    alterations: [
      unary(completeAuthentication, (original) => async (request, context) => ({
        ...(await original(request, context)),
        rights: create(RightsSchema),
      })),
    ],
  },
  {
    id: "dspm-accepts-altered-submission",
    clause: "7.3.1",
    breaks: "the signature of a policy is not verified (DSPM1)",
    foundBy: ["TP/DSSM/DSPM/BI-02"],
    alterations: [
      unary(
        submitPolicy,
        (original) => (request, context) =>
          accepting(original(request, context), ErrorReason.SIGNATURE_INVALID, () =>
            create(SubmitPolicyResponseSchema, { policy: {} }),
          ),
      ),
    ],
  },
  {
    id: "dspm-refuses-for-another-reason",
    clause: "7.3.1",
    breaks: "an altered policy is refused, but as one that does not parse",
    foundBy: ["TP/DSSM/DSPM/BI-02"],
    alterations: [
      unary(
        submitPolicy,
        (original) => (request, context) =>
          accepting(original(request, context), ErrorReason.SIGNATURE_INVALID, () => {
            throw refusal(ErrorReason.PAYLOAD_MALFORMED);
          }),
      ),
    ],
  },
  {
    id: "dspm-asks-for-nothing",
    clause: "7.3.1",
    breaks: "the provider is not told that key and package are still to be stored",
    foundBy: ["TP/DSSM/DSPM/BV-04"],
    alterations: [onSubmitted((policy) => ({ ...policy, pending: [] }))],
  },
  {
    id: "dspm-confirms-what-is-not-there",
    clause: "7.3.1",
    breaks: "storage is confirmed while key and package are absent",
    foundBy: ["TP/DSSM/DSPM/BO-01"],
    alterations: [
      unary(
        confirmStorage,
        (original) => (request, context) =>
          accepting(original(request, context), ErrorReason.STORAGE_INCOMPLETE, () =>
            create(ConfirmStorageResponseSchema, { policy: {} }),
          ),
      ),
    ],
  },
  {
    id: "dspm-does-not-wait-for-finality",
    clause: "7.3.1",
    breaks: "the contract is reported before its block is final",
    foundBy: ["TP/ALL/F3/BV-01"],
    alterations: [
      onConfirmed((policy) => ({
        ...policy,
        ...(policy.receipt && { receipt: { ...policy.receipt, finality: Finality.INCLUDED } }),
      })),
    ],
  },
  {
    id: "dspm-proves-another-transaction",
    clause: "6",
    breaks: "the inclusion proof does not lead to the root that the block signs",
    foundBy: ["TP/ALL/F3/BV-01"],
    alterations: [
      onConfirmed((policy) => ({
        ...policy,
        ...(policy.proof && { proof: { ...policy.proof, path: [...policy.proof.path, Buffer.alloc(32)] } }),
      })),
    ],
  },
  {
    id: "dspm-alters-the-block",
    clause: "6.1",
    breaks: "the header of the block is not what the proposer signed",
    foundBy: ["TP/ALL/F3/BV-01"],
    alterations: [
      onConfirmed((policy) => {
        const header = policy.proof?.header;
        if (policy.proof === undefined || header === undefined) return policy;
        const payload = Buffer.from(header.payload);
        payload[payload.length - 1] = (payload[payload.length - 1] ?? 0) ^ 1;
        return { ...policy, proof: { ...policy.proof, header: { ...header, payload } } };
      }),
    ],
  },
  {
    id: "dspm-opens-nothing",
    clause: "6",
    breaks: "the commitments on the ledger are not opened to the provider",
    foundBy: ["TP/ALL/F3/BV-01", "TP/ALL/A1/BV-01"],
    alterations: [onConfirmed((policy) => ({ ...policy, openings: [] }))],
  },
  {
    id: "dspm-notifies-another-address",
    clause: "7.3.1",
    breaks: "the notification carries an address that is not the contract's",
    foundBy: ["TP/DSSM/DSPM/BV-07"],
    alterations: [
      streaming(
        watchNotifications,
        (original) =>
          async function* (request, context) {
            for await (const event of original(request, context))
              yield {
                ...event,
                ...(event.notification && {
                  notification: { ...event.notification, contractAddress: "x1410://dlt.other/contracts/0" },
                }),
              };
          },
      ),
    ],
  },
  {
    id: "dspm-ends-the-notifications",
    clause: "7.3.1",
    breaks: "the stream of notifications ends before the contract",
    foundBy: ["TP/DSSM/DSPM/BV-07"],
    alterations: [
      streaming(
        watchNotifications,
        (original) =>
          async function* (request, context) {
            for await (const event of original(request, context))
              if (event.notification === undefined) return yield event;
          },
      ),
    ],
  },
  {
    id: "pub-finds-nothing",
    clause: "6.2.2",
    breaks: "published information is not found by a search (PUB2)",
    foundBy: ["TP/DSSM/PUB/BV-01"],
    alterations: [
      unary(searchInformation, (original) => async (request, context) => ({
        ...(await original(request, context)),
        information: [],
      })),
    ],
  },
  {
    id: "pub-publishes-unsigned",
    clause: "6.2.2",
    breaks: "information comes without what its provider signed",
    foundBy: ["TP/DSSM/PUB/BV-03"],
    alterations: [onLookUp(({ signedPolicy: _, ...information }) => information)],
  },
  {
    id: "pub-publishes-altered",
    clause: "6.2.2",
    breaks: "the information is not what its provider signed",
    foundBy: ["TP/DSSM/PUB/BV-03"],
    alterations: [
      onLookUp((published) => ({
        ...published,
        ...(published.information && { information: { ...published.information, packageId: "0".repeat(32) } }),
      })),
    ],
  },
  {
    id: "sub-sends-another-address",
    clause: "7.3.1",
    breaks: "subscribers get an address that is not the contract's",
    foundBy: ["TP/DSSM/SUB/BV-01"],
    alterations: [
      streaming(
        subscribe,
        (original) =>
          async function* (request, context) {
            for await (const event of original(request, context))
              yield {
                ...event,
                ...(event.information && {
                  information: { ...event.information, contractAddress: "x1410://dlt.other/contracts/0" },
                }),
              };
          },
      ),
    ],
  },
  {
    id: "sub-ends",
    clause: "6.2.2",
    breaks: "the subscription ends before the news (SUB2)",
    foundBy: ["TP/DSSM/SUB/BV-02"],
    alterations: [
      streaming(
        subscribe,
        () =>
          async function* () {
            // Nothing is sent.
          },
      ),
    ],
  },
];

function onSubmitted(alter: (policy: PolicyRecord) => PolicyRecord): Alteration {
  return unary(submitPolicy, (original) => async (request, context) => {
    const answer = await original(request, context);
    return answer.policy === undefined ? answer : { ...answer, policy: alter(answer.policy) };
  });
}

function onConfirmed(alter: (policy: PolicyRecord) => PolicyRecord): Alteration {
  return unary(confirmStorage, (original) => async (request, context) => {
    const answer = await original(request, context);
    return answer.policy === undefined ? answer : { ...answer, policy: alter(answer.policy) };
  });
}

function onLookUp(alter: (information: PublishedInformation) => PublishedInformation): Alteration {
  return unary(getInformation, (original) => async (request, context) => {
    const answer = await original(request, context);
    return answer.information === undefined ? answer : { ...answer, information: alter(answer.information) };
  });
}
