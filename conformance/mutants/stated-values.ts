// What a server states, there and of the right form, and not true: evidence, certificates, times, purposes. Who only looks whether a field
// is there finds none of these.
import type { Message } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { DataSharingAccessService } from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import type { AccessRecord } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { DataSharingPolicyService, type PolicyRecord } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { DataStorageService } from "../../gen/x1410/v1/data_storage_pb.ts";
import type { Entity } from "../../gen/x1410/v1/identity_pb.ts";
import { InformationSubscriptionService } from "../../gen/x1410/v1/information_subscription_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { SystemManagementService } from "../../gen/x1410/v1/ledger_service_pb.ts";
import { type Alteration, type Mutant, streaming, unary } from "./mutant.ts";

const { getPolicy, listPolicies, submitPolicy, watchNotifications } = DataSharingPolicyService.method;
const { requestAccess, getAccessRecord, listUsageRecords, reportUsage } = DataSharingAccessService.method;
const { getNetworkParameters } = SystemManagementService.method;

const longAgo = timestampFromMs(0);

function bare(entity: Entity): Entity {
  const { certificate } = entity;
  return { ...entity, ...(certificate && { certificate: { ...certificate, certificates: [Buffer.from([1, 2, 3])] } }) };
}

/** The servers that RequestAccess names, altered. */
function onServers(alter: (kss: Entity, dss: Entity) => readonly [Entity, Entity]): Alteration {
  return unary(requestAccess, (original) => async (request, context) => {
    const grant = await original(request, context);
    const { key, package: stored } = grant;
    if (key?.server === undefined || stored?.server === undefined) return grant;
    const [kss, dss] = alter(key.server, stored.server);
    return { ...grant, key: { ...key, server: kss }, package: { ...stored, server: dss } };
  });
}

/** The access record, wherever it is shown. */
function onRecord(alter: (record: AccessRecord) => AccessRecord): Alteration[] {
  return [requestAccess, getAccessRecord].map((method) => ({
    method,
    wrap: (original) => async (input, context) => {
      const answer = (await original(input, context)) as { record?: AccessRecord };
      return answer.record === undefined ? answer : { ...answer, record: alter(answer.record) };
    },
  }));
}

/** The policy's state, wherever it is shown. */
const onPolicies = (alter: (policy: PolicyRecord) => PolicyRecord): Alteration[] => [
  ...[submitPolicy, getPolicy].map(
    (method): Alteration => ({
      method,
      wrap: (original) => async (input, context) => {
        const answer = (await original(input, context)) as { policy?: PolicyRecord };
        return answer.policy === undefined ? answer : { ...answer, policy: alter(answer.policy) };
      },
    }),
  ),
  unary(listPolicies, (original) => async (request, context) => {
    const answer = await original(request, context);
    return { ...answer, policies: answer.policies.map(alter) };
  }),
];

let lastAccess: Message | undefined;
const firstProof = new Map<string, Pick<PolicyRecord, "proof" | "openings">>();
let asked = 0;

/** Later each time it is asked for. */
const anotherTime = () => timestampFromMs(Date.now() + 1000 * ++asked);

export const statedValueMutants: readonly Mutant[] = [
  {
    id: "dsam-sends-three-bytes-for-certificates",
    clause: "7.3.2",
    breaks: "the certificates of key and data storage server are no certificates",
    foundBy: ["TP/ALL/F4/BV-01", "TP/ALL/A2/BV-01"],
    expectation: "under the trust anchors",
    alterations: [onServers((kss, dss) => [bare(kss), bare(dss)])],
  },
  {
    id: "dsam-mixes-certificates",
    clause: "7.3.2",
    breaks: "the certificate of the data storage server is that of the key storage server",
    foundBy: ["TP/ALL/F4/BV-01", "TP/ALL/A2/BV-01"],
    expectation: "under the trust anchors",
    alterations: [
      onServers(({ certificate, ...kss }, dss) => [
        { ...kss, ...(certificate && { certificate }) },
        { ...dss, ...(certificate && { certificate }) },
      ]),
    ],
  },
  {
    id: "dssm-tells-three-bytes-for-certificates",
    clause: "6.2.1",
    breaks: "the certificates of the registry are no certificates",
    foundBy: ["TP/DSSM/API/CA-01"],
    expectation: "under the trust anchors",
    alterations: [
      unary(getNetworkParameters, (original) => async (request, context) => {
        const answer = await original(request, context);
        const { parameters } = answer;
        return {
          ...answer,
          ...(parameters && { parameters: { ...parameters, entities: parameters.entities.map(bare) } }),
        };
      }),
    ],
  },
  {
    id: "dsam-proves-another-access",
    clause: "6.2.2",
    breaks: "receipt, proof and openings are those of another access",
    foundBy: ["TP/DSSM/DSAM/BV-08"],
    expectation: "a record of this access",
    alterations: [
      unary(getAccessRecord, (original) => async (request, context) => {
        const answer = await original(request, context);
        const other = (lastAccess ?? answer) as typeof answer;
        lastAccess = answer;
        const { record } = answer;
        const receipt = other.record?.receipt;
        return { ...other, ...(record && { record: { ...record, ...(receipt && { receipt }) } }) };
      }),
    ],
  },
  {
    id: "dsam-dates-the-record-anew",
    clause: "6.2.2",
    breaks: "GetAccessRecord has another time of the access than RequestAccess",
    foundBy: ["TP/DSSM/DSAM/BV-08"],
    expectation: "the record as answered by RequestAccess",
    alterations: onRecord((record) => ({ ...record, accessedAt: anotherTime() })),
  },
  {
    id: "dsam-records-1970",
    clause: "6.2.2",
    breaks: "every access was in 1970",
    foundBy: ["TP/DSSM/DSAM/BV-08", "TP/ALL/F4/BV-01", "TP/ALL/A2/BV-01"],
    expectation: "accessed_at",
    alterations: onRecord((record) => ({ ...record, accessedAt: longAgo })),
  },
  {
    id: "dsam-loses-the-purpose",
    clause: "6.2.2",
    breaks: "what the consumer wants the data for is not in the record",
    foundBy: ["TP/DSSM/DSAM/BV-08", "TP/ALL/F4/BV-01", "TP/ALL/A2/BV-01"],
    expectation: "the purpose that the consumer stated",
    alterations: onRecord((record) => ({ ...record, purpose: "" })),
  },
  {
    id: "dsam-dates-usage-1970",
    clause: "7.2.4",
    breaks: "every use was in 1970",
    foundBy: ["TP/DSSM/DSAM/BV-11", "TP/ALL/F4/BV-01"],
    expectation: "occurred_at",
    alterations: [
      unary(listUsageRecords, (original) => async (request, context) => {
        const answer = await original(request, context);
        return { ...answer, records: answer.records.map((record) => ({ ...record, occurredAt: longAgo })) };
      }),
    ],
  },
  {
    id: "dsam-notes-usage-in-1970",
    clause: "7.2.4",
    breaks: "every use was recorded in 1970",
    foundBy: ["TP/DSSM/DSAM/BV-11", "TP/ALL/F4/BV-01"],
    expectation: "recorded_at",
    alterations: [
      unary(listUsageRecords, (original) => async (request, context) => {
        const answer = await original(request, context);
        return { ...answer, records: answer.records.map((record) => ({ ...record, recordedAt: longAgo })) };
      }),
    ],
  },
  {
    id: "dsam-notes-another-time-of-use",
    clause: "7.2.4",
    breaks: "a reported use is recorded under another time than was reported",
    foundBy: ["TP/ALL/F4/BV-01"],
    expectation: "the time that was reported",
    alterations: [
      unary(reportUsage, (original) => async (request, context) => {
        const answer = await original(request, context);
        return { ...answer, ...(answer.record && { record: { ...answer.record, occurredAt: anotherTime() } }) };
      }),
    ],
  },
  {
    id: "dspm-was-told-in-1970",
    clause: "6.2.1",
    breaks: "every policy was submitted in 1970",
    foundBy: ["TP/DSSM/DSPM/BV-10", "TP/ALL/F3/BV-01", "TP/ALL/A1/BV-01"],
    expectation: "submitted_at",
    alterations: onPolicies((policy) => ({ ...policy, submittedAt: longAgo })),
  },
  {
    id: "dspm-notifies-1970",
    clause: "7.3.1",
    breaks: "every notification is of 1970",
    foundBy: ["TP/ALL/F3/BV-01", "TP/ALL/A1/BV-01"],
    expectation: "notified_at",
    alterations: [
      streaming(
        watchNotifications,
        (original) =>
          async function* (request, context) {
            for await (const { notification, ...each } of original(request, context))
              yield { ...each, ...(notification && { notification: { ...notification, notifiedAt: longAgo } }) };
          },
      ),
    ],
  },
  {
    id: "sub-publishes-1970",
    clause: "7.3.1",
    breaks: "all information was published in 1970",
    foundBy: ["TP/ALL/F3/BV-01", "TP/ALL/A1/BV-01"],
    expectation: "published_at",
    alterations: [
      streaming(
        InformationSubscriptionService.method.subscribe,
        (original) =>
          async function* (request, context) {
            for await (const { information, ...each } of original(request, context))
              yield { ...each, ...(information && { information: { ...information, publishedAt: longAgo } }) };
          },
      ),
    ],
  },
  {
    id: "dspm-proves-the-first-version",
    clause: "6.2.1",
    breaks: "after an update the proof is still that of the first version",
    foundBy: ["TP/DSSM/DSPM/BV-11"],
    expectation: "that the receipt names",
    alterations: onPolicies((policy) => {
      const { proof, openings } = policy;
      const first = firstProof.get(policy.policyId) ?? { ...(proof && { proof }), openings };
      if (proof !== undefined) firstProof.set(policy.policyId, first);
      return { ...policy, ...first };
    }),
  },
  {
    id: "kss-stores-at-another-time",
    clause: "7.3.1",
    breaks: "the key was stored at another time whenever one asks",
    foundBy: ["TP/KSS/KSM/BV-02"],
    expectation: "the time of storage in the answer to StoreKey",
    alterations: [
      unary(KeyStorageService.method.getKeyStatus, (original) => async (request, context) => {
        const answer = await original(request, context);
        return answer.storedAt === undefined ? answer : { ...answer, storedAt: anotherTime() };
      }),
    ],
  },
  {
    id: "dss-stores-at-another-time",
    clause: "7.3.1",
    breaks: "the package was stored at another time whenever one asks",
    foundBy: ["TP/DSS/DSM/BV-01"],
    expectation: "the time of storage in the answer to StorePackage",
    alterations: [
      unary(DataStorageService.method.getPackageStatus, (original) => async (request, context) => {
        const answer = await original(request, context);
        return answer.storedAt === undefined ? answer : { ...answer, storedAt: anotherTime() };
      }),
    ],
  },
];
