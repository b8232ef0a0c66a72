// A data provider under test before servers of the kit, and what it has published there.
import { fromBinary } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import {
  type DataSharingPackage,
  DataSharingPackageSchema,
  type PolicySubmission,
  PolicySubmissionSchema,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import { DataSharingPolicyService, type SubmitPolicyRequest } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { DataStorageService, type StorePackageRequest } from "../../gen/x1410/v1/data_storage_pb.ts";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { KeyStorageService, type StoreKeyRequest } from "../../gen/x1410/v1/key_storage_pb.ts";
import { type VerifiedSigner, verifyEnvelope } from "../../reference/envelope/verify.ts";
import { decryptBytes } from "../../reference/symmetric-encryption/encrypt-bytes.ts";
import { expect, expectFirst } from "../procedures/procedure.ts";
import { same } from "../roles/user.ts";
import type { TestCase } from "../test-case.ts";
import { type ClientUnderTest, expectAccepted, type Outcome } from "./client-under-test.ts";
import type { ClientCommand, Values } from "./command-template.ts";
import { byTheKit } from "./consumer-scene.ts";
import type { ObservedCall } from "./observation.ts";
import { differenceText } from "./outcome-text.ts";

export interface ProviderScene {
  readonly client: ClientUnderTest;
  readonly plaintext: Uint8Array;
  /** Of the permission that the client is asked to grant; whole seconds. */
  readonly terms: { readonly accessTimes: number; readonly expiration: Date };
  readonly values: Values;
}

/** Bytes that occur nowhere by chance. */
const PLAINTEXT_BYTES = 4_000;

export async function publicationOf(t: TestCase, content?: Uint8Array): Promise<ProviderScene> {
  const client = await byTheKit(() => t.client());
  const plaintext = content ?? t.seeded(PLAINTEXT_BYTES);
  const expiration = new Date(Math.ceil(Date.now() / 1000) * 1000 + 2 * 60 * 60_000);
  const terms = { accessTimes: 2 + t.seededNumber(5), expiration };
  return {
    client,
    plaintext,
    terms,
    values: {
      input: await client.file("input", plaintext),
      accessTimes: String(terms.accessTimes),
      expiration: expiration.toISOString(),
    },
  };
}

export function publish(scene: ProviderScene, command: ClientCommand = "publish"): Promise<Outcome> {
  return scene.client.perform(command, scene.values);
}

/** Everything of a publication that went over the wire. */
export interface Published {
  readonly submission: PolicySubmission;
  readonly signer: VerifiedSigner;
  readonly envelope: SignedEnvelope;
  readonly key: Uint8Array;
  readonly keyId: string;
  readonly packageId: string;
  /** As it was uploaded. */
  readonly stored: Uint8Array;
  readonly contractAddress: string;
}

/** What a client that ended well has sent. @throws Deviation where a part of it is missing */
export function publishedBy(t: TestCase, outcome: Outcome): Published {
  expectAccepted(outcome);
  const submitted = lastOf(outcome, DataSharingPolicyService.method.submitPolicy);
  const { submission: envelope } = submitted.requests[0] as SubmitPolicyRequest;
  expectFirst(envelope !== undefined, "a signed policy");
  const { message: submission, signer } = verifyEnvelope(envelope, PolicySubmissionSchema, t.trust);
  const { key, keyId } = lastOf(outcome, KeyStorageService.method.storeKey).requests[0] as StoreKeyRequest;
  const parts = lastOf(outcome, DataStorageService.method.storePackage).requests as StorePackageRequest[];
  const opening = parts[0]?.part;
  expectFirst(opening?.case === "open", "an upload that says first what comes");
  const stored = Buffer.concat(parts.map(({ part }) => (part.case === "data" ? part.value : new Uint8Array())));
  const confirmed = lastOf(outcome, DataSharingPolicyService.method.confirmStorage);
  const { policy } = confirmed.responses[0] as { policy?: { contractAddress: string } };
  expectFirst(confirmed.code === "OK" && policy !== undefined, "a confirmation that key and package are stored");
  const { packageId } = opening.value;
  return { submission, signer, envelope, key, keyId, packageId, stored, contractAddress: policy.contractAddress };
}

/** The last call of a method that was answered; the client may have repeated it. */
function lastOf({ calls }: Outcome, method: ObservedCall["method"]): ObservedCall {
  const made = calls.filter((call) => call.method === method);
  const call = made.findLast(({ code }) => code === "OK") ?? made.at(-1);
  expectFirst(call !== undefined, `a call of ${method.parent.name}/${method.name}`);
  return call;
}

function parsed(stored: Uint8Array): DataSharingPackage {
  try {
    return fromBinary(DataSharingPackageSchema, stored);
  } catch {
    expectFirst(false, "a package of metadata and encrypted data (what was stored does not parse)");
  }
}

/** The package as its two fields. */
export function opened({ stored }: Pick<Published, "stored">): DataSharingPackage {
  const message = parsed(stored);
  expectFirst(
    message.metadata !== undefined && message.encryptedData.length > 0,
    "a package of metadata and encrypted data",
  );
  return message;
}

export function decrypted(ciphertext: Uint8Array, { key, keyId }: Pick<Published, "key" | "keyId">): Uint8Array {
  try {
    return decryptBytes(ciphertext, key, Buffer.from(keyId, "ascii"));
  } catch {
    expect(false, "a ciphertext in the published format under the stored key, its context the key's id");
  }
}

export function expectPlaintext(
  ciphertext: Uint8Array,
  published: Pick<Published, "key" | "keyId">,
  plaintext: Uint8Array,
): void {
  const found = decrypted(ciphertext, published);
  if (same(found, plaintext)) return;
  expectFirst(false, "the plaintext of {input}, byte for byte", differenceText(found, plaintext));
}

export function expirationOf({ accessPermission }: PolicySubmission): Date | undefined {
  return accessPermission?.expiration && timestampDate(accessPermission.expiration);
}

/** The client publishes where nothing is wrong: without that, a refusal of the wrong would prove nothing. */
export function providerTwin(t: TestCase): Promise<void> {
  return t.positiveTwin("a publication with nothing wrong", () =>
    t.bench.twin("publish", async () => {
      const published = publishedBy(t, await publish(await publicationOf(t)));
      expect(published.contractAddress !== "", "a contract");
    }),
  );
}
