// Ranges of a large package without decrypting all of it.
import { openChunk, openHeader } from "./message-decryptor.ts";
import type { MessageKey } from "./message-key.ts";
import { CHUNK_BYTES, HEADER_BYTES, plaintextLength, SEALED_CHUNK_BYTES, TAG_BYTES } from "./message-layout.ts";
import { SymmetricEncryptionError } from "./symmetric-encryption-error.ts";

/** Where a package lies: `read` answers exactly the bytes [start, end). */
export interface PackageSource {
  readonly size: number;
  read(start: number, end: number): Promise<Uint8Array>;
}

/** A package whose commitment and whose length are authenticated. */
export class RandomAccessMessage {
  readonly plaintextBytes: number;
  readonly #source: PackageSource;
  readonly #key: MessageKey;

  private constructor(source: PackageSource, key: MessageKey) {
    this.#source = source;
    this.#key = key;
    this.plaintextBytes = plaintextLength(source.size);
  }

  /**
   * Checks the commitment, then authenticates the length by opening the final chunk. Refuses with `wrong_key`,
   * `commitment_mismatch`, `truncated`, `altered`.
   */
  static async open(
    source: PackageSource,
    options: { readonly key: Uint8Array; readonly context: Uint8Array; readonly commitment?: Uint8Array },
  ): Promise<RandomAccessMessage> {
    plaintextLength(source.size);
    const header = await source.read(0, HEADER_BYTES);
    if (header.length !== HEADER_BYTES) throw new SymmetricEncryptionError("truncated");
    const message = new RandomAccessMessage(
      source,
      openHeader(options.key, options.context, header, options.commitment),
    );
    const last = Math.floor(message.plaintextBytes / CHUNK_BYTES);
    await message.#openChunks(last, last);
    return message;
  }

  /** The plaintext bytes [start, end), each chunk authenticated; refuses with `out_of_range`, `altered`. */
  async read(start: number, end: number): Promise<Uint8Array> {
    const whole = Number.isSafeInteger(start) && Number.isSafeInteger(end);
    if (!whole || start < 0 || end < start || end > this.plaintextBytes)
      throw new SymmetricEncryptionError("out_of_range");
    if (start === end) return new Uint8Array(0);
    const first = Math.floor(start / CHUNK_BYTES);
    const last = Math.floor((end - 1) / CHUNK_BYTES);
    const plaintext = await this.#openChunks(first, last);
    return plaintext.subarray(start - first * CHUNK_BYTES, end - first * CHUNK_BYTES);
  }

  async #openChunks(first: number, last: number): Promise<Uint8Array> {
    const from = HEADER_BYTES + first * SEALED_CHUNK_BYTES;
    const to = Math.min(HEADER_BYTES + (last + 1) * SEALED_CHUNK_BYTES, this.#source.size);
    const sealed = await this.#source.read(from, to);
    if (sealed.length !== to - from) throw new SymmetricEncryptionError("truncated");
    const plaintext = Buffer.allocUnsafe(sealed.length - (last - first + 1) * TAG_BYTES);
    for (let chunk = first; chunk <= last; chunk++) {
      const at = (chunk - first) * SEALED_CHUNK_BYTES;
      const part = sealed.subarray(at, at + SEALED_CHUNK_BYTES);
      openChunk(this.#key, chunk, part, plaintext, (chunk - first) * CHUNK_BYTES);
    }
    return plaintext;
  }
}
