import { timingSafeEqual } from "node:crypto";
import { MessageKey } from "./message-key.ts";
import {
  CHUNK_BYTES,
  COMMITMENT_BYTES,
  HEADER_BYTES,
  SALT_BYTES,
  SEALED_CHUNK_BYTES,
  TAG_BYTES,
} from "./message-layout.ts";
import { SymmetricEncryptionError } from "./symmetric-encryption-error.ts";

/**
 * Decrypts one message (U6, C8). The plaintext is what every `update` returns, then what `final` returns: authenticated,
 * but possibly cut short until `final` has returned. Refuses with `wrong_key`, `commitment_mismatch`, `altered`,
 * `truncated`; after a refusal the object is of no further use.
 */
export class MessageDecryptor {
  readonly #inputKey: Uint8Array;
  readonly #context: Uint8Array;
  readonly #announced: Uint8Array | undefined;
  readonly #held = Buffer.alloc(SEALED_CHUNK_BYTES);
  #heldBytes = 0;
  #chunk = 0;
  #key: MessageKey | undefined;
  #salt: Uint8Array | undefined;

  /** `announced` is the commitment that the signed metadata states, where the caller has it. */
  constructor(inputKey: Uint8Array, context: Uint8Array, announced?: Uint8Array) {
    this.#inputKey = inputKey;
    this.#context = context;
    this.#announced = announced;
  }

  /** The salt, once the header was read. */
  get salt(): Uint8Array {
    if (this.#salt === undefined) throw new SymmetricEncryptionError("truncated");
    return this.#salt;
  }

  /** The commitment, once the header was read and found right. */
  get commitment(): Uint8Array {
    if (this.#key === undefined) throw new SymmetricEncryptionError("truncated");
    return this.#key.commitment;
  }

  /** The plaintext of the chunks that `ciphertext` completes, possibly none. The input may be of any size. */
  update(ciphertext: Uint8Array): Uint8Array {
    const body = this.#key === undefined ? this.#readHeader(ciphertext) : ciphertext;
    const complete = Math.floor((this.#heldBytes + body.length) / SEALED_CHUNK_BYTES);
    if (this.#key === undefined || complete === 0) {
      this.#hold(body);
      return new Uint8Array(0);
    }
    const plaintext = Buffer.allocUnsafe(complete * CHUNK_BYTES);
    let read = 0;
    for (let written = 0; written < plaintext.length; written += CHUNK_BYTES) {
      const needed = SEALED_CHUNK_BYTES - this.#heldBytes;
      const part = body.subarray(read, read + needed);
      read += needed;
      if (this.#heldBytes === 0) openChunk(this.#key, this.#chunk, part, plaintext, written);
      else {
        this.#hold(part);
        openChunk(this.#key, this.#chunk, this.#held, plaintext, written);
        this.#heldBytes = 0;
      }
      this.#chunk += 1;
    }
    this.#hold(body.subarray(read));
    return plaintext;
  }

  /** The final chunk; when this returns, the message was complete. To be called once, last. */
  final(): Uint8Array {
    if (this.#key === undefined || this.#heldBytes < TAG_BYTES) throw new SymmetricEncryptionError("truncated");
    const plaintext = Buffer.allocUnsafe(this.#heldBytes - TAG_BYTES);
    openChunk(this.#key, this.#chunk, this.#held.subarray(0, this.#heldBytes), plaintext, 0);
    return plaintext;
  }

  #hold(bytes: Uint8Array): void {
    this.#held.set(bytes, this.#heldBytes);
    this.#heldBytes += bytes.length;
  }

  /** Takes the header out of what arrives and answers what follows it. */
  #readHeader(ciphertext: Uint8Array): Uint8Array {
    const missing = HEADER_BYTES - this.#heldBytes;
    if (ciphertext.length < missing) return ciphertext;
    this.#hold(ciphertext.subarray(0, missing));
    const header = Uint8Array.from(this.#held.subarray(0, HEADER_BYTES));
    this.#heldBytes = 0;
    this.#key = openHeader(this.#inputKey, this.#context, header, this.#announced);
    this.#salt = header.subarray(0, SALT_BYTES);
    return ciphertext.subarray(missing);
  }
}

/** The key of the message with this header; its commitment is compared in constant time before any chunk is touched. */
export function openHeader(
  inputKey: Uint8Array,
  context: Uint8Array,
  header: Uint8Array,
  announced?: Uint8Array,
): MessageKey {
  const commitment = header.subarray(SALT_BYTES);
  if (announced !== undefined && (announced.length !== COMMITMENT_BYTES || !timingSafeEqual(commitment, announced)))
    throw new SymmetricEncryptionError("commitment_mismatch");
  const key = new MessageKey(inputKey, header.subarray(0, SALT_BYTES), context);
  if (!timingSafeEqual(commitment, key.commitment)) throw new SymmetricEncryptionError("wrong_key");
  return key;
}

/** Decrypts one sealed chunk into `target` at `at`; refuses with `altered` and leaves nothing of it there. */
export function openChunk(key: MessageKey, chunk: number, sealed: Uint8Array, target: Buffer, at: number): void {
  const body = sealed.length - TAG_BYTES;
  const decipher = key.decipher(chunk);
  decipher.setAuthTag(sealed.subarray(body));
  const plaintext = decipher.update(sealed.subarray(0, body));
  try {
    decipher.final();
  } catch (cause) {
    plaintext.fill(0);
    throw new SymmetricEncryptionError("altered", { cause });
  }
  target.set(plaintext, at);
}
