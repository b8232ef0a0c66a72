// Whole messages in memory; larger ones go through encrypt-stream.ts.
import { MessageDecryptor } from "./message-decryptor.ts";
import { MessageEncryptor } from "./message-encryptor.ts";

export interface EncryptedBytes {
  readonly ciphertext: Uint8Array;
  readonly salt: Uint8Array;
  readonly commitment: Uint8Array;
}

/**
 * Encrypts `plaintext` under a 32-byte key, bound to `context` (the key id, in this protocol). `salt` is given only to
 * encrypt an unchanged plaintext again to the identical package (X8), see `MessageEncryptor`.
 */
export function encryptBytes(
  plaintext: Uint8Array,
  key: Uint8Array,
  context: Uint8Array,
  salt?: Uint8Array,
): EncryptedBytes {
  const encryptor = new MessageEncryptor(key, context, salt);
  const ciphertext = Buffer.concat([encryptor.header, encryptor.update(plaintext), encryptor.final()]);
  return { ciphertext, salt: encryptor.salt, commitment: encryptor.commitment };
}

/** Decrypts what `encryptBytes` or `encrypt` made; refuses like `MessageDecryptor`, and then answers nothing at all. */
export function decryptBytes(
  ciphertext: Uint8Array,
  key: Uint8Array,
  context: Uint8Array,
  commitment?: Uint8Array,
): Uint8Array {
  const decryptor = new MessageDecryptor(key, context, commitment);
  return Buffer.concat([decryptor.update(ciphertext), decryptor.final()]);
}
