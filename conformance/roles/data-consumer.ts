// A data consumer (clause 6.2.1, 7.2.2), played by the kit one arrow at a time.
import { randomBytes } from "node:crypto";
import { create, equals, fromBinary } from "@bufbuild/protobuf";
import { timestampFromDate, timestampMs } from "@bufbuild/protobuf/wkt";
import { DataDistributionService, type PackageDescription } from "../../gen/x1410/v1/data_distribution_pb.ts";
import { DataSharingAccessService, type RequestAccessResponse } from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import {
  type AccessRequest,
  AccessRequestSchema,
  type DataSharingInformation,
  DataSharingInformationSchema,
  DataSharingPackageSchema,
  type EncryptedData,
  type PackageMetadata,
  PackageMetadataSchema,
  PolicySubmissionSchema,
  PolicyUpdateSchema,
  type PublishedInformation,
  type RequestedPermission,
  RequestedPermissionSchema,
  type UsageKind,
  UsageReportSchema,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { InformationPublicationService } from "../../gen/x1410/v1/information_publication_pb.ts";
import { InformationSubscriptionService } from "../../gen/x1410/v1/information_subscription_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { newContext, payloadTypeOf, signMessage } from "../../reference/envelope/sign.ts";
import { verifyEnvelope } from "../../reference/envelope/verify.ts";
import { decryptBytes, encryptBytes } from "../../reference/symmetric-encryption/encrypt-bytes.ts";
import { expect } from "../procedures/procedure.ts";
import { expectRecent } from "../procedures/recent-time.ts";
import { sha256 } from "./data-provider.ts";
import { firstIn } from "./stream.ts";
import { type Seen, same, User } from "./user.ts";

/** How a consumer comes to know of shared data (F4.1, A2.1). */
export interface Found {
  readonly contractAddress: string;
  readonly information: DataSharingInformation;
}

export class DataConsumer extends User {
  /** Searching the publication. */
  async search(text: string): Promise<PublishedInformation | undefined> {
    const answer = await this.client(InformationPublicationService, "dssm").searchInformation(
      { filter: { text } },
      this.inSession,
    );
    return answer.information[0];
  }

  /** An address forwarded by others. */
  async lookUp(contractAddress: string): Promise<PublishedInformation> {
    const { information } = await this.client(InformationPublicationService, "dssm").getInformation(
      { contractAddress },
      this.inSession,
    );
    expect(information !== undefined, "the information of the contract");
    return information;
  }

  /** The published information whose package is `packageId`, as a subscription delivers it within `timeoutMs`. */
  async awaitPublication(packageId: string, timeoutMs = 20_000): Promise<PublishedInformation> {
    const subscription = this.client(InformationSubscriptionService, "dssm");
    const open = (signal: AbortSignal) =>
      subscription.subscribe({ afterPosition: 0n }, { ...this.inSession, timeoutMs, signal });
    return firstIn(open, timeoutMs, "the publication in the subscription", ({ information }) =>
      information?.information?.packageId === packageId && !information.withdrawn ? information : undefined,
    );
  }

  /** Who said it: the published information is what the provider signed, when it submitted the policy or last updated it. */
  checkPublication(published: PublishedInformation): Found {
    const { information, signedPolicy, contractAddress } = published;
    expect(information !== undefined && signedPolicy !== undefined, "the information and the provider's signed policy");
    const updated = signedPolicy.payloadType === payloadTypeOf(PolicyUpdateSchema);
    const { message, signer } = verifyEnvelope(
      signedPolicy,
      updated ? PolicyUpdateSchema : PolicySubmissionSchema,
      this.trust,
    );
    expect(
      signer.identity === information.providerIdentity,
      "a policy signed by the provider that the information names",
    );
    expect(
      message.information !== undefined && equals(DataSharingInformationSchema, message.information, information),
      "the information that the provider signed",
    );
    return { contractAddress, information };
  }

  accessRequest({ contractAddress, information }: Found): AccessRequest {
    return create(AccessRequestSchema, {
      context: newContext(this.signer, this.management, new Date()),
      consumer: { identity: this.identity, publicKey: this.signer.publicKey },
      sharedData: {
        providerIdentity: information.providerIdentity,
        ...(information.providerPublicKey && { providerPublicKey: information.providerPublicKey }),
        packageId: information.packageId,
        keyId: information.keyId,
      },
      contractAddress,
      purpose: "conformance testing",
    });
  }

  /** F4.3, A2.3: executes the smart contract. */
  requestAccess(request: SignedEnvelope): Promise<RequestAccessResponse> {
    return this.client(DataSharingAccessService, "dssm").requestAccess({ request }, this.inSession);
  }

  signRequest(request: AccessRequest): SignedEnvelope {
    return signMessage(this.signer, AccessRequestSchema, request);
  }

  /** X2: what the management has signed for this access. */
  requestedPermission(grant: RequestAccessResponse): RequestedPermission {
    expect(grant.requestedPermission !== undefined, "a requested permission");
    const { message, signer } = verifyEnvelope(grant.requestedPermission, RequestedPermissionSchema, this.trust);
    expect(signer.identity === this.management, "a requested permission signed by the management");
    expect(message.accessId === grant.record?.accessId, "a requested permission of this access");
    return message;
  }

  /** F4.12.2 to F4.14, A2.9 to A2.12. Asked for twice under one request id: a lost answer must cost nothing. */
  async getKey(accessToken: string, keyId: string, seen: Seen): Promise<Uint8Array> {
    const client = this.client(KeyStorageService, "kss");
    const request = { accessToken, keyId, requestId: randomBytes(16) };
    const { key } = await client.getKey(request);
    const again = await client.getKey(request);
    expect(key.length === 32, "a key of 32 bytes");
    expect(same(key, again.key), "the same key for the same request id");
    seen("a key of 32 bytes");
    return key;
  }

  /** F4.15.2 to F4.17, A2.13 to A2.15. */
  async getPackage(packageId: string, seen: Seen): Promise<Uint8Array> {
    let description: PackageDescription | undefined;
    const parts: Uint8Array[] = [];
    for await (const { part } of this.client(DataDistributionService, "dss").getPackage({ packageId })) {
      if (part.case === "description") description = part.value;
      else if (part.case === "data") parts.push(part.value);
    }
    const bytes = Buffer.concat(parts);
    expect(description !== undefined, "a description before the data");
    expect(description.size === BigInt(bytes.length) && same(description.sha256, sha256(bytes)), "the bytes described");
    seen(`${bytes.length} bytes, SHA-256 as described`);
    return bytes;
  }

  /** X5: metadata signed by the provider, over the encrypted data that came with it. */
  validate(
    bytes: Uint8Array,
    information: DataSharingInformation,
  ): { metadata: PackageMetadata; ciphertext: Uint8Array } {
    const { metadata: envelope, encryptedData: ciphertext } = fromBinary(DataSharingPackageSchema, bytes);
    expect(envelope !== undefined, "a package with metadata");
    const { message: metadata, signer } = verifyEnvelope(envelope, PackageMetadataSchema, this.trust);
    expect(signer.identity === information.providerIdentity, "metadata signed by the provider");
    expect(
      metadata.packageId === information.packageId && metadata.keyId === information.keyId,
      "metadata of this package",
    );
    this.checkCiphertext(ciphertext, metadata.encryptedData);
    return { metadata, ciphertext };
  }

  /** The bytes are those that the provider's signature covers. */
  checkCiphertext(ciphertext: Uint8Array, encryptedData: EncryptedData | undefined): void {
    expect(encryptedData !== undefined, "a signed statement of the encrypted data");
    expect(
      encryptedData.size === BigInt(ciphertext.length) && same(encryptedData.sha256, sha256(ciphertext)),
      "encrypted data with the size and SHA-256 that the provider signed",
    );
  }

  /** X6. */
  decrypt(ciphertext: Uint8Array, key: Uint8Array, keyId: string): Uint8Array {
    return decryptBytes(ciphertext, key, Buffer.from(keyId, "ascii"));
  }

  /** X8: encrypted again as the provider did, which gives the identical bytes. */
  encryptAgain(plaintext: Uint8Array, key: Uint8Array, keyId: string, ciphertext: Uint8Array): Uint8Array {
    return encryptBytes(plaintext, key, Buffer.from(keyId, "ascii"), ciphertext.subarray(0, 24)).ciphertext;
  }

  async reportUsage(accessId: string, kind: UsageKind, remark: string): Promise<void> {
    const at = new Date();
    const report = create(UsageReportSchema, {
      context: newContext(this.signer, this.management, at),
      accessId,
      kind,
      occurredAt: timestampFromDate(at),
      remark,
    });
    const { record } = await this.client(DataSharingAccessService, "dssm").reportUsage(
      { report: signMessage(this.signer, UsageReportSchema, report) },
      this.inSession,
    );
    expect(record?.kind === kind && record.accessId === accessId, "the usage as reported");
    expect(record.remark === remark && record.consumerIdentity === this.identity, "the remark, and who reported it");
    expect(
      record.occurredAt !== undefined && timestampMs(record.occurredAt) === at.getTime(),
      "the time that was reported",
    );
    expectRecent(record.recordedAt, "recorded_at of the usage record", at.getTime());
  }
}
