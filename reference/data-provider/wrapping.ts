// Wrapping data with an access permission (clause 7.2.1, W1 to W6): any amount of plaintext in constant memory. The ciphertext goes to a
// spool file; the package is the framed metadata followed by that file, and is never assembled anywhere.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open, rm } from "node:fs/promises";
import { create, toBinary } from "@bufbuild/protobuf";
import { type EncryptedData, EncryptedDataSchema, PackageMetadataSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { type SignedEnvelope, SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import { signMessage } from "../envelope/sign.ts";
import type { Signer } from "../envelope/signer.ts";
import { encrypt } from "../symmetric-encryption/encrypt-stream.ts";

/** Bytes read, written and sent at a time. */
export const CHUNK_BYTES = 1 << 20;

/** Encrypted in the published format under the key, bound to the key's id. */
export interface EncryptionTerms {
  readonly key: Uint8Array;
  readonly keyId: string;
}

/** P3: encrypts a stream into a new file of mode 0600, digests taken in passing; durable when it resolves, gone when it fails. */
export async function encryptToFile(
  plaintext: AsyncIterable<Uint8Array>,
  { key, keyId }: EncryptionTerms,
  path: string,
): Promise<EncryptedData> {
  const { output, summary } = encrypt(plaintext, { key, context: Buffer.from(keyId, "ascii") });
  const file = await open(path, "w", 0o600);
  try {
    for await (const bytes of output) await writeWhole(file, bytes);
    await file.datasync();
  } catch (cause) {
    await rm(path, { force: true });
    throw cause;
  } finally {
    await file.close();
  }
  const { ciphertextSha256, ciphertextBytes, commitment } = await summary;
  return create(EncryptedDataSchema, { sha256: ciphertextSha256, size: BigInt(ciphertextBytes), commitment });
}

/** W5, F3.3.4: package id, provider, its public key and the encrypted data under the provider's signature. */
export function signMetadata(
  signer: Signer,
  { packageId, keyId, encryptedData }: { packageId: string; keyId: string; encryptedData: EncryptedData },
): SignedEnvelope {
  const metadata = create(PackageMetadataSchema, {
    packageId,
    providerIdentity: signer.identity,
    providerPublicKey: signer.publicKey,
    keyId,
    encryptedData,
  });
  return signMessage(signer, PackageMetadataSchema, metadata);
}

/** W6, F3.3.5: what stands before the ciphertext in a package, field 1 whole and the tag and length of field 2. */
export function packageHead(metadata: SignedEnvelope, ciphertextBytes: number): Uint8Array {
  const envelope = toBinary(SignedEnvelopeSchema, metadata);
  return Buffer.concat([tag(1), varint(envelope.length), envelope, tag(2), varint(ciphertextBytes)]);
}

/** What the data storage server gets: a package, or in Annex A, with an empty head, the bare ciphertext. */
export class StoredObject {
  readonly size: number;
  readonly sha256: Uint8Array;
  readonly #head: Uint8Array;
  readonly #path: string;

  constructor(head: Uint8Array, ciphertextPath: string, whole: { readonly size: number; readonly sha256: Uint8Array }) {
    this.#head = head;
    this.#path = ciphertextPath;
    this.size = whole.size;
    this.sha256 = whole.sha256;
  }

  /** Reads the whole once for its SHA-256, which an upload announces before the first byte. */
  static async of(head: Uint8Array, ciphertextPath: string, encryptedData: EncryptedData): Promise<StoredObject> {
    const size = head.length + Number(encryptedData.size);
    if (head.length === 0) return new StoredObject(head, ciphertextPath, { size, sha256: encryptedData.sha256 });
    const hash = createHash("sha256").update(head);
    for await (const bytes of fileBytes(ciphertextPath, 0)) hash.update(bytes);
    return new StoredObject(head, ciphertextPath, { size, sha256: new Uint8Array(hash.digest()) });
  }

  /** The bytes from `offset` on, at most `CHUNK_BYTES` at a time. */
  async *from(offset: number): AsyncGenerator<Uint8Array, void> {
    for (let at = offset; at < this.#head.length; at += CHUNK_BYTES) yield this.#head.subarray(at, at + CHUNK_BYTES);
    yield* fileBytes(this.#path, Math.max(0, offset - this.#head.length));
  }
}

/** The bytes of a file from `start` to `end`, exclusive, read ahead by one chunk at most. */
export async function* fileBytes(path: string, start: number, end?: number): AsyncGenerator<Uint8Array, void> {
  if (end !== undefined && end <= start) return;
  const last = end === undefined ? {} : { end: end - 1 };
  yield* createReadStream(path, { start, ...last, highWaterMark: CHUNK_BYTES });
}

export async function writeWhole(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let written = 0; written < bytes.length; )
    written += (await file.write(bytes, written, bytes.length - written)).bytesWritten;
}

/** Of a length-delimited field. */
function tag(field: number): Uint8Array {
  return varint(field * 8 + 2);
}

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) + 0x80);
  bytes.push(rest);
  return Uint8Array.from(bytes);
}
