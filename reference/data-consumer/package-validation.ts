// Validating a package before anything of it is decrypted (clause 7.2.2, X5): framing, the provider's signature over the metadata, and that
// the ciphertext is the very one that was signed. Read as a stream, whatever its size.
import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { fromBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  type DataSharingInformation,
  type EncryptedData,
  type PackageMetadata,
  PackageMetadataSchema,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import { type SignedEnvelope, SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import { fileBytes } from "../data-provider/wrapping.ts";
import { type Trust, verifyEnvelope } from "../envelope/verify.ts";
import { COMMITMENT_BYTES, HEADER_BYTES, SALT_BYTES } from "../symmetric-encryption/message-layout.ts";

/** What is wrong with a package. */
export type Flaw =
  /** It is not the two fields of a package, each once, in their order. */
  | "framing"
  /** It ends early. */
  | "truncated"
  /** There is more than there should be. */
  | "extended"
  /** The metadata's signature does not hold. */
  | "signature"
  /** The provider of the data did not sign it. */
  | "signer"
  /** It is another package, or under another key. */
  | "substituted"
  /** The ciphertext is not the one that was signed. */
  | "digest";

/** A package that is refused, as DATA_LOSS. `flaw` is stable. */
export class PackageError extends ConnectError {
  readonly flaw: Flaw;

  constructor(flaw: Flaw, text: string, cause?: unknown) {
    super(`the package is refused (${flaw}): ${text}`, Code.DataLoss, undefined, undefined, cause);
    // Its name stays: by the name Connect tells its errors, and their codes, from others.
    this.flaw = flaw;
  }

  /** As for any class: what ConnectError hands down takes every ConnectError for one of these. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return Function.prototype[Symbol.hasInstance].call(PackageError, value);
  }
}

/** A ciphertext on disk that is what its provider signed. */
export interface ValidPackage {
  readonly path: string;
  /** Where the ciphertext begins in the file: after the framed metadata, in Annex A at 0. */
  readonly ciphertextStart: number;
  readonly keyId: string;
  readonly packageId: string;
  readonly encryptedData: EncryptedData;
  readonly salt: Uint8Array;
}

/** Of the published information, what a package is held against. */
export type Expected = Pick<DataSharingInformation, "packageId" | "keyId" | "providerIdentity">;

/** Longest metadata read into memory: an envelope with its certificates is a few KiB, and the payload at most 1 MiB. */
const METADATA_MAX = 2 << 20;

/** Validates a package (W6). @throws PackageError */
export async function validatePackage(path: string, expected: Expected, trust: Trust): Promise<ValidPackage> {
  const { envelope, ciphertextStart, ciphertextEnd } = await readFraming(path);
  const metadata = checkMetadata(envelope, expected, trust);
  return checkCiphertext({ path, ciphertextStart, ciphertextEnd }, expected, metadata.encryptedData);
}

/** Validates a bare ciphertext against what the provider signed in its information (Annex A). @throws PackageError */
export async function validateCiphertext(
  path: string,
  expected: Expected,
  encryptedData: EncryptedData | undefined,
): Promise<ValidPackage> {
  const ciphertextEnd = await sizeOf(path);
  return checkCiphertext({ path, ciphertextStart: 0, ciphertextEnd }, expected, encryptedData);
}

interface Framing {
  readonly envelope: SignedEnvelope;
  readonly ciphertextStart: number;
  readonly ciphertextEnd: number;
}

async function readFraming(path: string): Promise<Framing> {
  const size = await sizeOf(path);
  const file = await open(path, "r");
  try {
    const read = async (position: number, length: number) => {
      const bytes = new Uint8Array(Math.min(length, Math.max(0, size - position)));
      for (let at = 0; at < bytes.length; ) {
        const { bytesRead } = await file.read(bytes, at, bytes.length - at, position + at);
        if (bytesRead === 0) throw new PackageError("truncated", "the file has become shorter");
        at += bytesRead;
      }
      return bytes;
    };
    const metadata = fieldHeader(await read(0, FIELD_HEADER_MAX), 1);
    if (metadata.length > METADATA_MAX) throw new PackageError("framing", "its metadata is too long");
    const bytes = await read(metadata.headerBytes, metadata.length);
    if (bytes.length < metadata.length) throw new PackageError("truncated", "it ends inside its metadata");
    const second = metadata.headerBytes + metadata.length;
    const ciphertext = fieldHeader(await read(second, FIELD_HEADER_MAX), 2);
    const ciphertextStart = second + ciphertext.headerBytes;
    const ciphertextEnd = ciphertextStart + ciphertext.length;
    if (size < ciphertextEnd) throw new PackageError("truncated", `${ciphertextEnd - size} bytes are missing`);
    if (size > ciphertextEnd) throw new PackageError("extended", `${size - ciphertextEnd} bytes follow its end`);
    return { envelope: parseEnvelope(bytes), ciphertextStart, ciphertextEnd };
  } finally {
    await file.close();
  }
}

/** One byte of tag, at most ten of length. */
const FIELD_HEADER_MAX = 11;

/** Tag and length of a length-delimited field. */
function fieldHeader(bytes: Uint8Array, field: number): { readonly headerBytes: number; readonly length: number } {
  if (bytes.length === 0) throw new PackageError("truncated", `it ends before field ${field}`);
  if (bytes[0] !== field * 8 + 2) throw new PackageError("framing", `field ${field} is not where it belongs`);
  let length = 0n;
  for (const [at, byte] of bytes.subarray(1).entries()) {
    length += BigInt(byte & 0x7f) << BigInt(7 * at);
    if ((byte & 0x80) !== 0) continue;
    if (length > BigInt(Number.MAX_SAFE_INTEGER)) throw new PackageError("framing", `field ${field} is too long`);
    return { headerBytes: at + 2, length: Number(length) };
  }
  if (bytes.length < FIELD_HEADER_MAX)
    throw new PackageError("truncated", `it ends inside the length of field ${field}`);
  throw new PackageError("framing", `the length of field ${field} does not end`);
}

function parseEnvelope(bytes: Uint8Array): SignedEnvelope {
  try {
    return fromBinary(SignedEnvelopeSchema, bytes);
  } catch (cause) {
    throw new PackageError("framing", "its metadata does not parse", cause);
  }
}

function checkMetadata(envelope: SignedEnvelope, expected: Expected, trust: Trust): PackageMetadata {
  const { message, signer } = verified(envelope, trust);
  const { providerIdentity, providerPublicKey, packageId, keyId } = message;
  const isProvider = signer.identity === providerIdentity && providerIdentity === expected.providerIdentity;
  if (!isProvider) throw new PackageError("signer", `it is signed by ${signer.identity}`);
  const sameKey = providerPublicKey && Buffer.compare(providerPublicKey.spki, signer.publicKey.spki) === 0;
  if (!sameKey) throw new PackageError("signer", "its metadata names another public key than that of its signer");
  if (packageId !== expected.packageId) throw new PackageError("substituted", `it is package ${packageId}`);
  if (keyId !== expected.keyId) throw new PackageError("substituted", `it is encrypted under key ${keyId}`);
  return message;
}

function verified(envelope: SignedEnvelope, trust: Trust) {
  try {
    return verifyEnvelope(envelope, PackageMetadataSchema, trust);
  } catch (cause) {
    const why = cause instanceof ConnectError ? cause.rawMessage : "its metadata cannot be verified";
    throw new PackageError("signature", why, cause);
  }
}

/** Size, SHA-256 and commitment of the ciphertext in the file. */
async function checkCiphertext(
  place: { readonly path: string; readonly ciphertextStart: number; readonly ciphertextEnd: number },
  { packageId, keyId }: Expected,
  encryptedData: EncryptedData | undefined,
): Promise<ValidPackage> {
  if (encryptedData === undefined) throw new PackageError("signature", "the provider has not signed what it contains");
  const { path, ciphertextStart, ciphertextEnd } = place;
  const missing = Number(encryptedData.size) - (ciphertextEnd - ciphertextStart);
  if (missing > 0) throw new PackageError("truncated", `${missing} bytes of ciphertext are missing`);
  if (missing < 0) throw new PackageError("extended", `${-missing} bytes of ciphertext too many`);
  const hash = createHash("sha256");
  let header = Buffer.alloc(0);
  for await (const bytes of fileBytes(path, ciphertextStart, ciphertextEnd)) {
    if (header.length < HEADER_BYTES) header = Buffer.concat([header, bytes.subarray(0, HEADER_BYTES - header.length)]);
    hash.update(bytes);
  }
  if (!hash.digest().equals(encryptedData.sha256))
    throw new PackageError("digest", "its ciphertext is not the one that the provider signed");
  const commitment = header.subarray(SALT_BYTES, SALT_BYTES + COMMITMENT_BYTES);
  if (!commitment.equals(encryptedData.commitment))
    throw new PackageError("digest", "its key commitment is not the one that the provider signed");
  const salt = Uint8Array.from(header.subarray(0, SALT_BYTES));
  return { path, ciphertextStart, keyId, packageId, encryptedData, salt };
}

async function sizeOf(path: string): Promise<number> {
  const file = await open(path, "r");
  try {
    return (await file.stat()).size;
  } finally {
    await file.close();
  }
}
