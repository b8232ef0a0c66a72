// Data-sharing access management with usage record (DSAM, clauses 6.2.2 and 7.2.4): executes smart contracts for consumers (Figure 4,
// Annex A.2), and lets them manage their access records and report usage.
import { create, equals, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Client, HandlerContext } from "@connectrpc/connect";
import type { AccessPermissionService } from "../../gen/x1410/v1/access_permission_pb.ts";
import {
  DataSharingAccessService,
  GetAccessRecordResponseSchema,
  ListAccessRecordsResponseSchema,
  ListUsageRecordsResponseSchema,
  ReportUsageResponseSchema,
  type RequestAccessResponse,
  RequestAccessResponseSchema,
  UpdateAccessRecordResponseSchema,
} from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import {
  type AccessRequest,
  AccessRequestSchema,
  PolicyState,
  UsageRecordSchema,
  UsageReportSchema,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { type Entity, PublicKeySchema } from "../../gen/x1410/v1/identity_pb.ts";
import type { TokenService } from "../../gen/x1410/v1/token_pb.ts";
import { parseContractAddress, parseStorageAddress } from "../communications/address.ts";
import { peerKey } from "../communications/peer.ts";
import { reasonOf, refusal } from "../communications/refusal.ts";
import { implement, type Registration } from "../communications/service.ts";
import { AnswerStore } from "../envelope/answer-store.ts";
import { openSignedRequest, type SignedRequest } from "../envelope/signed-request.ts";
import type { Signer } from "../envelope/signer.ts";
import type { Trust } from "../envelope/verify.ts";
import type { LedgerEngine } from "../ledger/engine.ts";
import { messageTable, type Store } from "../store/durable-batch.ts";
import { decideAccess, endOf } from "./access-decision.ts";
import { type Access, AccessRecords, type Reconciliation, recordOf } from "./access-records.ts";
import type { Contracts, SharedContract } from "./contracts.ts";
import { idForRequest } from "./dlt-transaction.ts";
import type { AuthenticatedUser, SessionGate } from "./session-gate.ts";
import { type DataStorageServers, storedPackages } from "./stored-packages.ts";
import { UsageRecords } from "./usage-record.ts";

const DEFAULT_PAGE_SIZE = 100;

export interface DataSharingAccessDependencies {
  /** Of access management alone. */
  readonly store: Store;
  /** The management: signs transactions, and is the audience of requests. */
  readonly signer: Signer;
  readonly trust: Trust;
  readonly gate: SessionGate;
  readonly contracts: Contracts;
  readonly engine: LedgerEngine;
  readonly tokens: Pick<Client<typeof TokenService>, "createToken">;
  readonly permissions: Pick<Client<typeof AccessPermissionService>, "createRequestedPermission">;
  /** Registry of the network (U4). */
  readonly entities: { find(identity: string): Entity | undefined };
  readonly storage: DataStorageServers;
  readonly now: () => Date;
}

export interface DataSharingAccess {
  readonly registration: Registration<typeof DataSharingAccessService>;
  /** Finishes or voids what a crash or an unknown outcome has left open; called at start, before the first request. */
  reconcile(): Promise<{ accesses: Reconciliation; usages: Reconciliation }>;
}

export function createDataSharingAccess(dependencies: DataSharingAccessDependencies): DataSharingAccess {
  const { store, signer, trust, gate, contracts, engine, tokens, permissions, entities, now } = dependencies;
  const records = new AccessRecords({ store, signer, engine, now });
  const usages = new UsageRecords({ store, signer, engine, now });
  const answers = new AnswerStore(messageTable(store, "answers"), now);
  const describe = storedPackages(dependencies.storage);

  const signedRules = (context: HandlerContext) => ({
    caller: context.values.get(peerKey),
    audience: signer.identity,
    now,
    trust,
  });

  const contractAt = async (address: string): Promise<SharedContract> => {
    const { networkId, contractId } = parseContractAddress(address);
    const contract = networkId === engine.info.networkId ? await contracts.get(contractId) : undefined;
    if (contract === undefined) throw refusal(ErrorReason.CONTRACT_NOT_FOUND, contractId);
    return contract;
  };

  const entityOf = (storageAddress: string): Entity => {
    const { entity: identity } = parseStorageAddress(storageAddress);
    const entity = entities.find(identity);
    if (entity === undefined) throw refusal(ErrorReason.PEER_UNAVAILABLE, identity);
    return entity;
  };

  /** F4.4: decides, and records the access. The answer but for token and permission, which no store keeps. */
  const execute = async (
    request: SignedRequest<AccessRequest>,
    envelope: SignedEnvelope,
    user: AuthenticatedUser,
  ): Promise<RequestAccessResponse> => {
    const { message, signer: consumer, answerKey } = request;
    const contract = await contractAt(message.contractAddress);
    const { information } = contract;
    const accessId = idForRequest(contract.salt, "access", consumer.identity, answerKey.payloadSha256);
    // Begun by an earlier attempt with these bytes, it has been decided on.
    const begun = await records.resume(accessId);
    if (begun === undefined)
      decideAccess(contract, { sharedData: message.sharedData, account: user.account, at: now() });
    // All that the answer needs is at hand before the consumer is debited.
    const key = {
      keyId: information.keyId,
      keyAddress: information.keyAddress,
      server: entityOf(information.keyAddress),
    };
    const { size, sha256 } = await describe(contract);
    const { packageId, packageAddress } = information;
    const package_ = { packageId, packageAddress, server: entityOf(packageAddress), size, sha256 };
    const access =
      begun ??
      (await records.record({
        accessId,
        contract,
        consumer: consumer.identity,
        // Where the connection has no certificate (pre-shared key), the consumer redeems the token with the one that it signed with.
        fingerprint: user.fingerprint === "" ? consumer.fingerprint : user.fingerprint,
        purpose: message.purpose,
        request: envelope,
      }));
    return create(RequestAccessResponseSchema, {
      record: recordOf(access),
      key,
      package: package_,
      information: {
        contractAddress: contract.contractAddress,
        information,
        signedPolicy: contract.signedPolicy,
        withAccessPermission: contract.accessPermission !== undefined,
        policyVersion: contract.version,
        withdrawn: contract.state === PolicyState.WITHDRAWN,
      },
      openings: access.evidence.openings,
      ...(access.evidence.proof === undefined ? {} : { proof: access.evidence.proof }),
    });
  };

  /** F4.5 to F4.7: token management makes the token, the same one for the same access. */
  const orderToken = async (access: Access, answer: RequestAccessResponse): Promise<string> => {
    const contract = await contractAt(recordOf(access).contractAddress);
    const notAfter = endOf(contract);
    const { accessToken } = await tokens
      .createToken({
        accessId: access.accessId,
        contractAddress: contract.contractAddress,
        consumerIdentity: access.consumer,
        consumerCertificateSha256: Buffer.from(access.fingerprint, "hex"),
        keyId: answer.key?.keyId ?? "",
        keyServerIdentity: answer.key?.server?.identity ?? "",
        packageId: answer.package?.packageId ?? "",
        ...(notAfter === undefined ? {} : { notAfter }),
      })
      .catch(componentFailed("token management"));
    return accessToken;
  };

  /** F4.8 to F4.10: access permission management generates what this access allows. Annex A has no permission. */
  const orderPermission = async (
    access: Access,
    answer: RequestAccessResponse,
  ): Promise<SignedEnvelope | undefined> => {
    if (answer.information?.withAccessPermission !== true) return undefined;
    const { requestedPermission } = await permissions
      .createRequestedPermission({
        accessId: access.accessId,
        contractAddress: recordOf(access).contractAddress,
        consumerIdentity: access.consumer,
        accessNumber: access.accessNumber,
      })
      .catch(componentFailed("access permission management"));
    return requestedPermission;
  };

  const own = async (accessId: string, user: AuthenticatedUser): Promise<Access> => {
    const access = await records.find(accessId);
    if (access?.consumer !== user.identity) throw refusal(ErrorReason.ACCESS_RECORD_NOT_FOUND, accessId);
    return access;
  };

  const registration = implement(DataSharingAccessService, {
    async requestAccess({ request }, context) {
      // F4.2.2, A2.2: the user is authenticated and has the right to access.
      const user = await gate.require(context, "access");
      // F4.3, A2.3: identity and data-sharing information, signed.
      const signed = openSignedRequest<typeof AccessRequestSchema>(request, AccessRequestSchema, {
        ...signedRules(context),
        party: ({ consumer }) => [consumer?.identity ?? ""],
      });
      const named = signed.message.consumer?.publicKey;
      if (request === undefined || named === undefined || !equals(PublicKeySchema, named, signed.signer.publicKey)) {
        throw refusal(ErrorReason.PARTY_NOT_SIGNER, "consumer.public_key");
      }
      // F4.4, A2.4: the policy is checked and the access recorded; identical bytes find the access that they brought about.
      const first = await answers.once(signed.answerKey, async () =>
        toBinary(RequestAccessResponseSchema, await execute(signed, request, user)),
      );
      const answer = fromBinary(RequestAccessResponseSchema, first);
      const access = await own(answer.record?.accessId ?? "", user);
      // F4.5 to F4.7, A2.5 to A2.7.
      const accessToken = await orderToken(access, answer);
      // F4.8 to F4.10.
      const requestedPermission = await orderPermission(access, answer);
      // F4.11, A2.8: the usage is recorded, then the consumer gets everything.
      await usages.grant(access, requestedPermission);
      return { ...answer, accessToken, ...(requestedPermission === undefined ? {} : { requestedPermission }) };
    },

    async getAccessRecord({ accessId }, context) {
      const user = await gate.require(context);
      const { evidence } = await own(accessId, user);
      return create(GetAccessRecordResponseSchema, evidence);
    },

    async listAccessRecords(request, context) {
      const { contractAddress, includeArchived, pageSize } = request;
      const { identity } = await gate.require(context);
      const page = await records.page(identity, {
        after: pageToken(request.pageToken),
        limit: pageSize === 0 ? DEFAULT_PAGE_SIZE : pageSize,
        accept: (access) => {
          const record = recordOf(access);
          return (
            (contractAddress === "" || record.contractAddress === contractAddress) &&
            (includeArchived || !record.archived)
          );
        },
      });
      return create(ListAccessRecordsResponseSchema, {
        records: page.accesses.map(recordOf),
        nextPageToken: page.next,
      });
    },

    async updateAccessRecord({ accessId, note, archived }, context) {
      const user = await gate.require(context);
      const changed = await records.annotate(await own(accessId, user), { note, archived });
      return create(UpdateAccessRecordResponseSchema, { record: recordOf(changed) });
    },

    async reportUsage({ report }, context) {
      const user = await gate.require(context);
      const signed = openSignedRequest<typeof UsageReportSchema>(report, UsageReportSchema, {
        ...signedRules(context),
        party: () => [],
      });
      const record = await answers.once(signed.answerKey, async () => {
        const access = await own(signed.message.accessId, user);
        const contract = await contractAt(recordOf(access).contractAddress);
        const usageId = idForRequest(contract.salt, "usage", user.identity, signed.answerKey.payloadSha256);
        return toBinary(UsageRecordSchema, await usages.report({ usageId, access, report: signed.message }));
      });
      return create(ReportUsageResponseSchema, { record: fromBinary(UsageRecordSchema, record) });
    },

    async listUsageRecords(request, context) {
      const { identity } = await gate.require(context);
      const { contractId, information } = await contractAt(request.contractAddress);
      const page = await usages.page(contractId, {
        after: pageToken(request.pageToken),
        limit: request.pageSize === 0 ? DEFAULT_PAGE_SIZE : request.pageSize,
        // The provider tracks all usage of its shared data; everyone else sees its own.
        ...(information.providerIdentity === identity ? {} : { consumer: identity }),
      });
      return create(ListUsageRecordsResponseSchema, { records: page.records, nextPageToken: page.next });
    },
  });

  return {
    registration,
    reconcile: async () => ({ accesses: await records.reconcile(), usages: await usages.reconcile() }),
  };
}

/** A place that an earlier page has ended at. */
function pageToken(token: string): string {
  if (!/^[0-9a-f]*$/.test(token)) throw refusal(ErrorReason.REQUEST_INVALID, "page_token");
  return token;
}

/** The access stands; what its component could not give now it gives for the identical request later. */
function componentFailed(component: string): (cause: unknown) => never {
  return (cause) => {
    const reason = reasonOf(cause);
    if (reason === ErrorReason.CONTRACT_EXPIRED || reason === ErrorReason.ACCESS_TIMES_EXHAUSTED) throw cause;
    throw refusal(ErrorReason.PEER_UNAVAILABLE, component);
  };
}
