// What one message is encrypted under: HKDF-Expand-SHA-512 of the input key gives a key, a base nonce and a commitment
// that are used for no other message. The input key is uniformly random, so RFC 5869's extract step is not needed.
import {
  type CipherGCM,
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  type DecipherGCM,
  type KeyObject,
  randomBytes,
} from "node:crypto";
import { CHUNKS_MAX, COMMITMENT_BYTES, INPUT_KEY_BYTES, SALT_BYTES, TAG_BYTES } from "./message-layout.ts";
import { SymmetricEncryptionError } from "./symmetric-encryption-error.ts";

const INFO_PREFIX = Buffer.from("c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0", "latin1");
const ALGORITHM = "aes-256-gcm";
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
// OpenSSL takes any tag length from 4 bytes on unless told which one is right.
const AEAD_OPTIONS = { authTagLength: TAG_BYTES };

/** A fresh input key (P2): 32 bytes of the operating system's randomness. */
export function generateInputKey(): Uint8Array {
  return randomBytes(INPUT_KEY_BYTES);
}

/** Key, nonces and commitment of one message. */
export class MessageKey {
  readonly commitment: Uint8Array;
  readonly #key: KeyObject;
  readonly #baseNonce: Buffer;
  readonly #nonce: Buffer;

  constructor(inputKey: Uint8Array, salt: Uint8Array, context: Uint8Array) {
    if (inputKey.length !== INPUT_KEY_BYTES) throw new SymmetricEncryptionError("invalid_key");
    if (salt.length !== SALT_BYTES) throw new SymmetricEncryptionError("invalid_salt");
    const okm = expand(inputKey, Buffer.concat([INFO_PREFIX, salt, context]));
    this.#key = createSecretKey(okm.subarray(0, KEY_BYTES));
    this.#baseNonce = Buffer.from(okm.subarray(KEY_BYTES, KEY_BYTES + NONCE_BYTES));
    this.commitment = Uint8Array.from(okm.subarray(KEY_BYTES + NONCE_BYTES));
    this.#nonce = Buffer.from(this.#baseNonce);
    okm.fill(0);
  }

  cipher(chunk: number): CipherGCM {
    return createCipheriv(ALGORITHM, this.#key, this.#nonceOf(chunk), AEAD_OPTIONS);
  }

  decipher(chunk: number): DecipherGCM {
    return createDecipheriv(ALGORITHM, this.#key, this.#nonceOf(chunk), AEAD_OPTIONS);
  }

  /** The base nonce XOR the chunk's number as a big-endian integer; OpenSSL copies it, so one buffer serves all chunks. */
  #nonceOf(chunk: number): Buffer {
    if (chunk >= CHUNKS_MAX) throw new SymmetricEncryptionError("too_long");
    const base = this.#baseNonce;
    this.#nonce.writeUInt32BE((base.readUInt32BE(8) ^ chunk) >>> 0, 8);
    this.#nonce.writeUInt8(base.readUInt8(7) ^ Math.floor(chunk / 2 ** 32), 7);
    return this.#nonce;
  }
}

/** HKDF-Expand of RFC 5869 clause 2.3; 76 bytes are two blocks of SHA-512. */
function expand(inputKey: Uint8Array, info: Uint8Array): Buffer {
  const first = createHmac("sha512", inputKey).update(info).update(Uint8Array.of(1)).digest();
  const second = createHmac("sha512", inputKey).update(first).update(info).update(Uint8Array.of(2)).digest();
  const okm = Buffer.concat([first, second], KEY_BYTES + NONCE_BYTES + COMMITMENT_BYTES);
  first.fill(0);
  second.fill(0);
  return okm;
}
