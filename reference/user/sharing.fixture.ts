// The servers that providers and consumers talk to, in memory and without rules of their own, for tests of the users' sides. Each call is
// noted; a fault that a test plans is thrown once, before the call has an effect or after it, as when only the answer is lost.
import { createHash, randomBytes } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { DataDistributionService } from "../../gen/x1410/v1/data_distribution_pb.ts";
import {
  DataSharingAccessService,
  type RequestAccessResponse,
  RequestAccessResponseSchema,
} from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import {
  AccessRecordSchema,
  AccessRequestSchema,
  PolicyState,
  PolicySubmissionSchema,
  type PublishedInformation,
  PublishedInformationSchema,
  type RequestedPermission,
  RequestedPermissionSchema,
  type UsageKind,
  UsageReportSchema,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import {
  DataSharingPolicyService,
  type PolicyRecord,
  PolicyRecordSchema,
} from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { DataStorageService, PackageState } from "../../gen/x1410/v1/data_storage_pb.ts";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { InformationPublicationService } from "../../gen/x1410/v1/information_publication_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { CreateContractSchema, RecordAccessSchema } from "../../gen/x1410/v1/ledger_pb.ts";
import { LedgerService, SmartContractService } from "../../gen/x1410/v1/ledger_service_pb.ts";
import { contractAddress, keyAddress, packageAddress, parseContractAddress } from "../communications/address.ts";
import { refusal } from "../communications/refusal.ts";
import { implement, type Registration } from "../communications/service.ts";
import { newContext, signMessage } from "../envelope/sign.ts";
import { dataStorage, keyStorage, ledgerNode, management, type UserFixture } from "./user.fixture.ts";

type Moment = "before" | "after";

export class Sharing {
  readonly calls: string[] = [];
  readonly keys = new Map<string, Uint8Array>();
  readonly packages = new Map<string, Buffer>();
  /** Payloads of signed requests as they came, by method. */
  readonly payloads = new Map<string, Uint8Array[]>();
  readonly usages: { readonly accessId: string; readonly kind: UsageKind }[] = [];
  /** Request ids of GetKey as they came. */
  readonly keyRequests: string[] = [];
  /** Changes what a management answers to an access request, for managements that lie. */
  spoil: (answer: RequestAccessResponse) => void = () => {};
  /** Changes the requested permission before it is signed. */
  narrow: (permission: RequestedPermission) => void = () => {};
  /** Which contract a ledger node shows when asked for one, for nodes that lie. */
  shown: (contractId: string) => string = (contractId) => contractId;
  readonly #fixture: UserFixture;
  readonly #faults = new Map<string, { readonly moment: Moment; readonly cause: Error }[]>();
  readonly #registrations = new Map<string, string>();
  readonly #policies = new Map<string, PolicyRecord>();
  readonly #accesses = new Map<string, RequestAccessResponse>();

  constructor(fixture: UserFixture) {
    this.#fixture = fixture;
  }

  /** The next call of the method fails. */
  fail(method: string, cause: Error, moment: Moment = "before"): void {
    this.#faults.set(method, [...(this.#faults.get(method) ?? []), { moment, cause }]);
  }

  services(): Record<string, readonly Registration[]> {
    return {
      [keyStorage]: [implement(KeyStorageService, this.#keyStorage()) as Registration],
      [dataStorage]: [
        implement(DataStorageService, this.#dataStorage()) as Registration,
        implement(DataDistributionService, this.#distribution()) as Registration,
      ],
      [management]: [
        implement(DataSharingPolicyService, this.#policyManagement()) as Registration,
        implement(InformationPublicationService, this.#publication()) as Registration,
        implement(DataSharingAccessService, this.#accessManagement()) as Registration,
      ],
      [ledgerNode]: this.#ledger(),
    };
  }

  published(address: string): PublishedInformation {
    const policy = [...this.#policies.values()].find((found) => found.contractAddress === address);
    if (policy?.signedPolicy === undefined) throw refusal(ErrorReason.INFORMATION_NOT_FOUND);
    const { information, accessPermission } = fromBinary(PolicySubmissionSchema, policy.signedPolicy.payload);
    return create(PublishedInformationSchema, {
      contractAddress: address,
      ...(information && { information }),
      signedPolicy: policy.signedPolicy,
      withAccessPermission: accessPermission !== undefined,
      policyVersion: policy.version,
    });
  }

  async #call<T>(method: string, effect: () => T | Promise<T>): Promise<T> {
    this.calls.push(method);
    const [fault] = this.#faults.get(method)?.splice(0, 1) ?? [];
    if (fault?.moment === "before") throw fault.cause;
    const answer = await effect();
    if (fault !== undefined) throw fault.cause;
    return answer;
  }

  /** The id of a registration; the same for the same request id. */
  #register(requestId: Uint8Array): string {
    const request = Buffer.from(requestId).toString("hex");
    const id = this.#registrations.get(request) ?? randomBytes(16).toString("hex");
    this.#registrations.set(request, id);
    return id;
  }

  #keyStorage(): Partial<ServiceImpl<typeof KeyStorageService>> {
    return {
      registerKey: ({ requestId }) =>
        this.#call("RegisterKey", () => {
          const keyId = this.#register(requestId);
          return { keyId, keyAddress: keyAddress(keyStorage, keyId) };
        }),
      // Copied: the caller wipes its own.
      storeKey: ({ keyId, key }) =>
        this.#call("StoreKey", () => {
          this.keys.set(keyId, Uint8Array.from(key));
          return { storedAt: timestampFromDate(new Date()) };
        }),
      getKey: ({ keyId, requestId }) =>
        this.#call("GetKey", () => {
          this.keyRequests.push(Buffer.from(requestId).toString("hex"));
          const key = this.keys.get(keyId);
          if (key === undefined) throw refusal(ErrorReason.KEY_NOT_FOUND);
          return { key: Uint8Array.from(key) };
        }),
    };
  }

  #dataStorage(): Partial<ServiceImpl<typeof DataStorageService>> {
    return {
      registerPackage: ({ requestId }) =>
        this.#call("RegisterPackage", () => {
          const packageId = this.#register(requestId);
          return { packageId, packageAddress: packageAddress(dataStorage, packageId) };
        }),
      getPackageStatus: ({ packageId }) => {
        const bytes = this.packages.get(packageId);
        if (bytes === undefined) return { state: PackageState.REGISTERED };
        return { state: PackageState.STORED, size: BigInt(bytes.length), sha256: sha256(bytes) };
      },
      storePackage: async (messages) =>
        this.#call("StorePackage", async () => {
          const parts: Uint8Array[] = [];
          let packageId = "";
          for await (const { part } of messages) {
            if (part.case === "open") packageId = part.value.packageId;
            else if (part.case === "data") parts.push(part.value);
          }
          const bytes = Buffer.concat(parts);
          this.packages.set(packageId, bytes);
          return { size: BigInt(bytes.length), sha256: sha256(bytes) };
        }),
    };
  }

  #distribution(): Partial<ServiceImpl<typeof DataDistributionService>> {
    const { packages } = this;
    const call = (effect: () => Buffer) => this.#call("GetPackage", effect);
    return {
      async *getPackage({ packageId, offset }) {
        const bytes = await call(() => packages.get(packageId) ?? Buffer.alloc(0));
        yield { part: { case: "description", value: { size: BigInt(bytes.length), sha256: sha256(bytes), offset } } };
        yield { part: { case: "data", value: bytes.subarray(Number(offset)) } };
      },
    };
  }

  #policyManagement(): Partial<ServiceImpl<typeof DataSharingPolicyService>> {
    return {
      submitPolicy: ({ submission }) =>
        this.#call("SubmitPolicy", () => {
          const signedPolicy = this.#noted("SubmitPolicy", submission);
          const { policy } = fromBinary(PolicySubmissionSchema, signedPolicy.payload);
          const policyId = policy?.policyId ?? "";
          const record = create(PolicyRecordSchema, {
            policyId,
            state: PolicyState.AWAITING_STORAGE,
            version: 1n,
            signedPolicy,
          });
          this.#policies.set(policyId, record);
          return { policy: record };
        }),
      getPolicy: ({ policyId }) => this.#call("GetPolicy", () => ({ policy: this.#policy(policyId) })),
      confirmStorage: ({ policyId }) =>
        this.#call("ConfirmStorage", () => {
          const record = this.#policy(policyId);
          if (record.signedPolicy !== undefined)
            Object.assign(record, contractEvidence(this.#fixture, policyId, record.signedPolicy));
          record.state = PolicyState.PUBLISHED;
          record.contractAddress = contractAddress("test", policyId);
          return { policy: record };
        }),
    };
  }

  #publication(): Partial<ServiceImpl<typeof InformationPublicationService>> {
    return {
      searchInformation: () => ({
        information: [...this.#policies.values()].map((policy) => this.published(policy.contractAddress)),
      }),
      getInformation: ({ contractAddress: address }) => ({ information: this.published(address) }),
    };
  }

  /** The transaction that created a contract is, here, called by the contract's id twice. */
  #ledger(): readonly Registration[] {
    return [
      implement(SmartContractService, {
        getContract: ({ contractAddress: address }) => {
          const { contractId } = parseContractAddress(address);
          return { contract: { contractId, createdBy: contractId.repeat(2) } };
        },
      }) as Registration,
      implement(LedgerService, {
        getTransaction: ({ transactionId }) =>
          this.#call("GetTransaction", () => {
            const { proof } = this.#policy(this.shown(transactionId.slice(0, 32)));
            return { ...(proof && { proof }) };
          }),
      }) as Registration,
    ];
  }

  #accessManagement(): Partial<ServiceImpl<typeof DataSharingAccessService>> {
    return {
      requestAccess: ({ request }) =>
        this.#call("RequestAccess", () => {
          const signed = this.#noted("RequestAccess", request);
          const key = Buffer.from(signed.payload).toString("base64");
          const answer = this.#accesses.get(key) ?? this.#grant(signed);
          this.#accesses.set(key, answer);
          return answer;
        }),
      getAccessRecord: ({ accessId }) => {
        const found = [...this.#accesses.values()].find(({ record }) => record?.accessId === accessId);
        const { record, proof, openings = [] } = found ?? {};
        return { ...(record && { record }), ...(proof && { proof }), openings };
      },
      reportUsage: ({ report }) =>
        this.#call("ReportUsage", () => {
          const { accessId, kind } = fromBinary(UsageReportSchema, this.#noted("ReportUsage", report).payload);
          this.usages.push({ accessId, kind });
          return {};
        }),
    };
  }

  #grant(request: SignedEnvelope): RequestAccessResponse {
    const { consumer, contractAddress: address } = fromBinary(AccessRequestSchema, request.payload);
    const published = this.published(address);
    const {
      keyId = "",
      keyAddress: keyAt = "",
      packageId = "",
      packageAddress: packageAt = "",
    } = published.information ?? {};
    const accessNumber = this.#accesses.size + 1;
    const record = create(AccessRecordSchema, {
      accessId: randomBytes(16).toString("hex"),
      contractAddress: address,
      consumerIdentity: consumer?.identity ?? "",
      accessNumber,
    });
    const contractId = address.slice(-32);
    const evidence = this.#fixture.recorded(
      {
        case: "recordAccess",
        value: create(RecordAccessSchema, {
          accessId: record.accessId,
          contractId,
          consumerPseudonym: randomBytes(32),
        }),
      },
      { record: toBinary(AccessRecordSchema, record), "access-request": request.payload },
    );
    const signer = this.#fixture.signer("dssm", "one");
    const terms = fromBinary(
      PolicySubmissionSchema,
      published.signedPolicy?.payload ?? new Uint8Array(),
    ).accessPermission;
    const permission = create(RequestedPermissionSchema, {
      context: newContext(signer, record.consumerIdentity, new Date()),
      accessId: record.accessId,
      contractAddress: address,
      accessNumber,
      accessTimes: terms?.accessTimes ?? 1,
      ...(terms?.expiration && { expiration: terms.expiration }),
      readOnly: terms?.readOnly ?? false,
      keyId,
      packageId,
    });
    this.narrow(permission);
    const stored = this.packages.get(packageId) ?? Buffer.alloc(0);
    const answer = create(RequestAccessResponseSchema, {
      record,
      accessToken: "token",
      ...(terms && { requestedPermission: signMessage(signer, RequestedPermissionSchema, permission) }),
      key: { keyId, keyAddress: keyAt },
      package: { packageId, packageAddress: packageAt, size: BigInt(stored.length), sha256: sha256(stored) },
      information: published,
      ...evidence,
    });
    this.spoil(answer);
    return answer;
  }

  #policy(policyId: string): PolicyRecord {
    const record = this.#policies.get(policyId);
    if (record === undefined) throw refusal(ErrorReason.POLICY_NOT_FOUND, policyId);
    return record;
  }

  #noted(method: string, envelope: SignedEnvelope | undefined): SignedEnvelope {
    if (envelope === undefined) throw refusal(ErrorReason.REQUEST_INVALID);
    this.payloads.set(method, [...(this.payloads.get(method) ?? []), envelope.payload]);
    return envelope;
  }
}

/** What is on the ledger once a contract is: a commitment to what was signed. */
export function contractEvidence(fixture: UserFixture, contractId: string, signed: SignedEnvelope) {
  return fixture.recorded(
    { case: "createContract", value: create(CreateContractSchema, { contractId }) },
    { "signed-policy": signed.payload },
  );
}

function sha256(bytes: Uint8Array): Uint8Array {
  return createHash("sha256").update(bytes).digest();
}
