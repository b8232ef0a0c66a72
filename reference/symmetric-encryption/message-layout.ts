// Sizes of C2SP chunked-encryption (c2sp.org/chunked-encryption), instantiation Cobblestone-256:
// salt ‖ commitment ‖ sealed chunks, each chunk 16 KiB of plaintext and a tag, the last one shorter and possibly empty.
import { SymmetricEncryptionError } from "./symmetric-encryption-error.ts";

export const INPUT_KEY_BYTES = 32;
export const SALT_BYTES = 24;
export const COMMITMENT_BYTES = 32;
export const HEADER_BYTES = SALT_BYTES + COMMITMENT_BYTES;
export const CHUNK_BYTES = 16_384;
export const TAG_BYTES = 16;
export const SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES;
/** The counter stays below this, so that the base nonce keeps 58 bits which no counter touches. */
export const CHUNKS_MAX = 2 ** 38;

/** Bytes of the package that `plaintextBytes` of plaintext become. */
export function ciphertextLength(plaintextBytes: number): number {
  const chunks = Math.floor(plaintextBytes / CHUNK_BYTES) + 1;
  return HEADER_BYTES + plaintextBytes + chunks * TAG_BYTES;
}

/** Bytes of plaintext inside a package of `ciphertextBytes`; refuses a length that no package has (`truncated`). */
export function plaintextLength(ciphertextBytes: number): number {
  const body = ciphertextBytes - HEADER_BYTES;
  const finalChunk = body % SEALED_CHUNK_BYTES;
  if (body < TAG_BYTES || finalChunk < TAG_BYTES) throw new SymmetricEncryptionError("truncated");
  return body - (Math.floor(body / SEALED_CHUNK_BYTES) + 1) * TAG_BYTES;
}
