import { randomBytes } from "node:crypto";
import { MessageKey } from "./message-key.ts";
import { CHUNK_BYTES, HEADER_BYTES, SALT_BYTES, SEALED_CHUNK_BYTES, TAG_BYTES } from "./message-layout.ts";

/**
 * Encrypts one message (U6, P3) by C2SP chunked-encryption, Cobblestone-256. The package is `header`, then what every
 * `update` returns, then what `final` returns. Holds at most one chunk of plaintext, and wipes it.
 *
 * A salt that is given encrypts the same plaintext to the same package (X8). Giving it for another plaintext under the
 * same input key and context repeats nonces and betrays both plaintexts: callers compare SHA-256 first.
 */
export class MessageEncryptor {
  readonly header: Uint8Array;
  readonly salt: Uint8Array;
  readonly commitment: Uint8Array;
  readonly #key: MessageKey;
  readonly #partial = Buffer.alloc(CHUNK_BYTES);
  #held = 0;
  #chunk = 0;

  constructor(inputKey: Uint8Array, context: Uint8Array, salt: Uint8Array = randomBytes(SALT_BYTES)) {
    this.#key = new MessageKey(inputKey, salt, context);
    this.salt = Uint8Array.from(salt);
    this.commitment = this.#key.commitment;
    this.header = Buffer.concat([this.salt, this.commitment], HEADER_BYTES);
  }

  /** The chunks that `plaintext` completes, possibly none. The input may be of any size. */
  update(plaintext: Uint8Array): Uint8Array {
    const complete = Math.floor((this.#held + plaintext.length) / CHUNK_BYTES);
    const sealed = Buffer.allocUnsafe(complete * SEALED_CHUNK_BYTES);
    let read = 0;
    for (let written = 0; written < sealed.length; written += SEALED_CHUNK_BYTES) {
      const needed = CHUNK_BYTES - this.#held;
      const part = plaintext.subarray(read, read + needed);
      read += needed;
      if (this.#held === 0) this.#seal(part, sealed, written);
      else {
        this.#partial.set(part, this.#held);
        this.#seal(this.#partial, sealed, written);
        this.#held = 0;
      }
    }
    this.#partial.set(plaintext.subarray(read), this.#held);
    this.#held += plaintext.length - read;
    return sealed;
  }

  /** The short final chunk, which says that the message ends here; to be called once, last. */
  final(): Uint8Array {
    const sealed = Buffer.allocUnsafe(this.#held + TAG_BYTES);
    this.#seal(this.#partial.subarray(0, this.#held), sealed, 0);
    this.wipe();
    return sealed;
  }

  /** Overwrites the plaintext held. */
  wipe(): void {
    this.#partial.fill(0);
    this.#held = 0;
  }

  #seal(plaintext: Uint8Array, target: Buffer, at: number): void {
    const cipher = this.#key.cipher(this.#chunk++);
    target.set(cipher.update(plaintext), at);
    cipher.final();
    target.set(cipher.getAuthTag(), at + plaintext.length);
  }
}
