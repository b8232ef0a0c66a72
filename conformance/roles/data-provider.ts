// A data provider (clause 6.2.1, 7.2.1), played by the kit one arrow at a time.
import { createHash, randomBytes } from "node:crypto";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { DataSharingAccessService } from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import {
  type AccessPermission,
  AccessPermissionSchema,
  type ContractNotification,
  type DataSharingInformation,
  DataSharingInformationSchema,
  DataSharingPackageSchema,
  DataSharingPolicySchema,
  type EncryptedData,
  PackageMetadataSchema,
  type PolicySubmission,
  PolicySubmissionSchema,
  PolicyWithdrawalSchema,
  type UsageRecord,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import { DataSharingPolicyService, type PolicyRecord } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { DataStorageService, type StorePackageRequestSchema } from "../../gen/x1410/v1/data_storage_pb.ts";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { keyAddress, packageAddress } from "../../reference/communications/address.ts";
import { newContext, signMessage } from "../../reference/envelope/sign.ts";
import { encryptBytes } from "../../reference/symmetric-encryption/encrypt-bytes.ts";
import { expect } from "../procedures/procedure.ts";
import { firstIn } from "./stream.ts";
import { type Seen, same, User } from "./user.ts";

/** An id and an address at a storage server (W2, W3). */
export interface Registered {
  readonly id: string;
  readonly address: string;
}

/** What is to be stored at the data storage server: a package, in Annex A a bare ciphertext. */
export interface Wrapped {
  readonly bytes: Uint8Array;
  readonly encryptedData: EncryptedData;
}

export interface Terms {
  readonly accessTimes: number;
  readonly readOnly: boolean;
}

/** What to take away from the target afterwards. */
export type Leftovers = (() => Promise<void>)[];

/** Data that has been shared, with what only the kit knows of it. */
export interface Shared {
  readonly contractAddress: string;
  readonly key: Registered;
  readonly stored: Registered;
  readonly secret: Uint8Array;
  readonly plaintext: Uint8Array;
}

const chunkBytes = 1 << 20;

export class DataProvider extends User {
  /** F3.2.2, A1.2.2. Registered twice under one request id: a lost answer must cost nothing. */
  async registerKey(seen: Seen): Promise<Registered> {
    const client = this.client(KeyStorageService, "kss");
    const request = { requestId: randomBytes(16), managementIdentity: this.management };
    const { keyId, keyAddress: address } = await client.registerKey(request);
    const again = await client.registerKey(request);
    expect(
      address === keyAddress(this.target.entities.kss.identity, keyId),
      "an address made of the server's identity and the key id",
    );
    expect(again.keyId === keyId, "the same registration for the same request id");
    seen(address);
    return { id: keyId, address };
  }

  /** F3.2.4, A1.2.3, A1.2.4. */
  async registerPackage(seen: Seen): Promise<Registered> {
    const client = this.client(DataStorageService, "dss");
    const request = { requestId: randomBytes(16), managementIdentity: this.management };
    const { packageId, packageAddress: address } = await client.registerPackage(request);
    const again = await client.registerPackage(request);
    expect(
      address === packageAddress(this.target.entities.dss.identity, packageId),
      "an address made of the server's identity and the package id",
    );
    expect(again.packageId === packageId, "the same registration for the same request id");
    seen(address);
    return { id: packageId, address };
  }

  /** F3.3.1, A1.3: P6 in full. */
  information(key: Registered, stored: Registered, encryptedData?: EncryptedData): DataSharingInformation {
    return create(DataSharingInformationSchema, {
      providerIdentity: this.identity,
      providerPublicKey: this.signer.publicKey,
      packageId: stored.id,
      packageAddress: stored.address,
      keyId: key.id,
      keyAddress: key.address,
      allowed: {},
      attributes: {
        category: "subscriber-records",
        introduction: "Subscriber records, desensitized, for the replay of a procedure",
        usage: "conformance testing",
        price: { currency: "EUR", amountMicros: 0n },
        mediaType: "text/csv",
        keywords: ["conformance", stored.id],
      },
      ...(encryptedData && { encryptedData }),
    });
  }

  /** F3.3.3: W4 in full. */
  permission(key: Registered, stored: Registered, terms: Terms): AccessPermission {
    return create(AccessPermissionSchema, {
      ...terms,
      expiration: timestampFromDate(new Date(Date.now() + 60 * 60 * 1000)),
      keyId: key.id,
      keyAddress: key.address,
      packageId: stored.id,
      packageAddress: stored.address,
    });
  }

  /** P3: the plaintext under the key, in the published format, its context the key id. */
  encrypt(plaintext: Uint8Array, secret: Uint8Array, key: Registered): Wrapped {
    const { ciphertext, commitment } = encryptBytes(plaintext, secret, Buffer.from(key.id, "ascii"));
    const encryptedData = { sha256: sha256(ciphertext), size: BigInt(ciphertext.length), commitment };
    return { bytes: ciphertext, encryptedData: encryptedData as EncryptedData };
  }

  /** F3.3.4: W5, signed. */
  metadata(key: Registered, stored: Registered, encryptedData: EncryptedData): SignedEnvelope {
    return signMessage(
      this.signer,
      PackageMetadataSchema,
      create(PackageMetadataSchema, {
        packageId: stored.id,
        providerIdentity: this.identity,
        providerPublicKey: this.signer.publicKey,
        keyId: key.id,
        encryptedData,
      }),
    );
  }

  /** F3.3.5: W6. */
  package(metadata: SignedEnvelope, encrypted: Wrapped): Wrapped {
    const message = create(DataSharingPackageSchema, { metadata, encryptedData: encrypted.bytes });
    return { bytes: toBinary(DataSharingPackageSchema, message), encryptedData: encrypted.encryptedData };
  }

  /** P7: information, policy and permission under one signature. */
  submission(information: DataSharingInformation, accessPermission?: AccessPermission): PolicySubmission {
    return create(PolicySubmissionSchema, {
      context: newContext(this.signer, this.management, new Date()),
      information,
      policy: create(DataSharingPolicySchema, {
        policyId: randomBytes(16).toString("hex"),
        version: 1n,
        managementIdentity: this.management,
        terms: "For conformance testing only.",
      }),
      ...(accessPermission && { accessPermission }),
    });
  }

  sign(submission: PolicySubmission): SignedEnvelope {
    return signMessage(this.signer, PolicySubmissionSchema, submission);
  }

  /** F3.5, A1.5. */
  async submit(submission: SignedEnvelope): Promise<PolicyRecord> {
    const { policy } = await this.client(DataSharingPolicyService, "dssm").submitPolicy({ submission }, this.inSession);
    expect(policy !== undefined, "the policy's state");
    return policy;
  }

  /** F3.7.2, A1.7.1. Stored twice: the same key again is confirmed. */
  async storeKey(key: Registered, secret: Uint8Array, seen: Seen): Promise<void> {
    const client = this.client(KeyStorageService, "kss");
    const { storedAt } = await client.storeKey({ keyId: key.id, key: secret });
    expect(storedAt !== undefined, "a notification with the time of storage");
    await client.storeKey({ keyId: key.id, key: secret });
    seen("stored and confirmed");
  }

  /** F3.7.4, A1.7.2. */
  async storePackage(stored: Registered, { bytes }: Wrapped, seen: Seen): Promise<void> {
    const answer = await this.client(DataStorageService, "dss").storePackage(upload(stored.id, bytes));
    expect(
      answer.size === BigInt(bytes.length) && same(answer.sha256, sha256(bytes)),
      "the size and SHA-256 of what was sent",
    );
    seen(`${bytes.length} bytes stored and confirmed`);
  }

  /** F3.7, A1.7. */
  async confirmStorage(policyId: string): Promise<PolicyRecord> {
    const { policy } = await this.client(DataSharingPolicyService, "dssm").confirmStorage({ policyId }, this.inSession);
    expect(policy !== undefined, "the policy's state");
    return policy;
  }

  /** F3.9.1, A1.9.1: the first notification of a contract that this provider has not been told of yet. */
  async awaitContract(policyId: string, timeoutMs = 20_000): Promise<ContractNotification> {
    const policies = this.client(DataSharingPolicyService, "dssm");
    const open = (signal: AbortSignal) =>
      policies.watchNotifications({ afterPosition: 0n }, { ...this.inSession, timeoutMs, signal });
    return firstIn(open, timeoutMs, "the contract in the stream of notifications", ({ notification }) =>
      notification?.policyId === policyId ? notification : undefined,
    );
  }

  /** Clause 7.2.4: what the provider learns of the usage of its shared data. */
  async usageOf(contractAddress: string): Promise<UsageRecord[]> {
    const { records } = await this.client(DataSharingAccessService, "dssm").listUsageRecords(
      { contractAddress },
      this.inSession,
    );
    return records;
  }

  /** The whole of Figure 3, or without terms of Annex A.1, as the state from which another procedure starts. */
  async share(plaintext: Uint8Array, terms: Terms | undefined, leftovers: Leftovers): Promise<Shared> {
    const silent = () => {};
    // A management may end a user's oldest session for a further one, and the oldest is that which purposes share.
    if (this.session === "") await this.logIn();
    const key = await this.registerKey(silent);
    const stored = await this.registerPackage(silent);
    const secret = randomBytes(32);
    const encrypted = this.encrypt(plaintext, secret, key);
    const { encryptedData } = encrypted;
    const wrapped =
      terms === undefined ? encrypted : this.package(this.metadata(key, stored, encryptedData), encrypted);
    const submission = this.submission(
      this.information(key, stored, terms === undefined ? encryptedData : undefined),
      terms && this.permission(key, stored, terms),
    );
    const { policyId } = await this.submit(this.sign(submission));
    leftovers.push(() => this.withdraw(policyId, key, stored));
    await this.storeKey(key, secret, silent);
    await this.storePackage(stored, wrapped, silent);
    const { contractAddress } = await this.confirmStorage(policyId);
    return { contractAddress, key, stored, secret, plaintext };
  }

  /** Leaves nothing behind: ends the policy, deletes key and package. */
  async withdraw(policyId: string, key: Registered, stored: Registered): Promise<void> {
    const withdrawal = create(PolicyWithdrawalSchema, {
      context: newContext(this.signer, this.management, new Date()),
      policyId,
      version: 1n,
      reason: "the replay is over",
    });
    await this.client(DataSharingPolicyService, "dssm").withdrawPolicy(
      { withdrawal: signMessage(this.signer, PolicyWithdrawalSchema, withdrawal) },
      this.inSession,
    );
    await this.client(KeyStorageService, "kss").deleteKey({ keyId: key.id });
    await this.client(DataStorageService, "dss").deletePackage({ packageId: stored.id });
  }
}

export function sha256(bytes: Uint8Array): Uint8Array {
  return createHash("sha256").update(bytes).digest();
}

async function* upload(
  packageId: string,
  bytes: Uint8Array,
): AsyncGenerator<MessageInitShape<typeof StorePackageRequestSchema>> {
  yield { part: { case: "open", value: { packageId, size: BigInt(bytes.length), sha256: sha256(bytes), offset: 0n } } };
  for (let at = 0; at < bytes.length; at += chunkBytes)
    yield { part: { case: "data", value: bytes.subarray(at, at + chunkBytes) } };
}
