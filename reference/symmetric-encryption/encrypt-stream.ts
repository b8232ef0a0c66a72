// Messages of any size in constant memory: streams in, streams out, both digests computed in passing.
import { createHash } from "node:crypto";
import { MessageDecryptor } from "./message-decryptor.ts";
import { MessageEncryptor } from "./message-encryptor.ts";
import { SymmetricEncryptionError } from "./symmetric-encryption-error.ts";

// Larger inputs are taken in pieces of this size, so that the output held at a time stays as small.
const PIECE_BYTES = 1 << 20;

/** What is known about a message when all of it has passed. */
export interface MessageSummary {
  readonly salt: Uint8Array;
  readonly commitment: Uint8Array;
  readonly plaintextBytes: number;
  readonly plaintextSha256: Uint8Array;
  readonly ciphertextBytes: number;
  readonly ciphertextSha256: Uint8Array;
}

export interface EncryptedStream {
  readonly salt: Uint8Array;
  readonly commitment: Uint8Array;
  /** The package; to be read once. */
  readonly output: AsyncIterable<Uint8Array>;
  /** Settles with `output`: rejects where that fails or is given up. */
  readonly summary: Promise<MessageSummary>;
}

export interface DecryptedStream {
  /** Authenticated plaintext; complete only when the iteration ends without an error. To be read once. */
  readonly output: AsyncIterable<Uint8Array>;
  /** Settles with `output`: rejects where that fails or is given up. */
  readonly summary: Promise<MessageSummary>;
}

/** Encrypts a stream (P3) under a 32-byte key, bound to `context` (the key id, in this protocol), with a fresh salt. */
export function encrypt(
  input: AsyncIterable<Uint8Array>,
  options: { readonly key: Uint8Array; readonly context: Uint8Array },
): EncryptedStream {
  return encryptUnder(new MessageEncryptor(options.key, options.context), input);
}

/**
 * Encrypts again as the provider did (X8): same key, context and salt, so the identical package. The plaintext is read
 * twice, first to compare its SHA-256: another plaintext under the same nonces would betray both, so nothing leaves
 * before the digest is known to be right (`plaintext_changed`).
 */
export async function encryptAgain(
  open: () => AsyncIterable<Uint8Array>,
  options: {
    readonly key: Uint8Array;
    readonly context: Uint8Array;
    readonly salt: Uint8Array;
    readonly plaintextSha256: Uint8Array;
  },
): Promise<EncryptedStream> {
  const hash = createHash("sha256");
  for await (const bytes of open()) hash.update(bytes);
  if (!hash.digest().equals(options.plaintextSha256)) throw new SymmetricEncryptionError("plaintext_changed");
  return encryptUnder(new MessageEncryptor(options.key, options.context, options.salt), open());
}

/**
 * Decrypts a stream (C8). `commitment`, from the signed metadata, is compared with the package's own. A wrong key is
 * refused before any chunk is touched; an alteration, before any plaintext of its chunk is given out.
 */
export function decrypt(
  input: AsyncIterable<Uint8Array>,
  options: { readonly key: Uint8Array; readonly context: Uint8Array; readonly commitment?: Uint8Array },
): DecryptedStream {
  const decryptor = new MessageDecryptor(options.key, options.context, options.commitment);
  const plaintext = new Digest();
  const ciphertext = new Digest();
  return passing(
    async function* () {
      for await (const piece of pieces(input)) {
        ciphertext.add(piece);
        const opened = decryptor.update(piece);
        if (opened.length > 0) yield plaintext.add(opened);
      }
      const last = decryptor.final();
      if (last.length > 0) yield plaintext.add(last);
    },
    () => summaryOf(decryptor, plaintext, ciphertext),
  );
}

function encryptUnder(encryptor: MessageEncryptor, input: AsyncIterable<Uint8Array>): EncryptedStream {
  const plaintext = new Digest();
  const ciphertext = new Digest();
  const stream = passing(
    async function* () {
      try {
        yield ciphertext.add(encryptor.header);
        for await (const piece of pieces(input)) {
          plaintext.add(piece);
          const sealed = encryptor.update(piece);
          if (sealed.length > 0) yield ciphertext.add(sealed);
        }
        yield ciphertext.add(encryptor.final());
      } finally {
        encryptor.wipe();
      }
    },
    () => summaryOf(encryptor, plaintext, ciphertext),
  );
  return { salt: encryptor.salt, commitment: encryptor.commitment, ...stream };
}

/** A stream and the promise of its summary, which is never left pending once the stream was touched. */
function passing(
  run: () => AsyncGenerator<Uint8Array, void>,
  summarise: () => MessageSummary,
): { output: AsyncIterable<Uint8Array>; summary: Promise<MessageSummary> } {
  const { promise, resolve, reject } = Promise.withResolvers<MessageSummary>();
  // Whoever reads only the output learns of a failure there.
  promise.catch(() => undefined);
  async function* output() {
    try {
      yield* run();
      resolve(summarise());
    } catch (error) {
      reject(error);
      throw error;
    } finally {
      reject(new SymmetricEncryptionError("truncated"));
    }
  }
  return { output: output(), summary: promise };
}

async function* pieces(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  for await (const bytes of input)
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) yield bytes.subarray(at, at + PIECE_BYTES);
}

class Digest {
  readonly #hash = createHash("sha256");
  bytes = 0;

  add(bytes: Uint8Array): Uint8Array {
    this.#hash.update(bytes);
    this.bytes += bytes.length;
    return bytes;
  }

  sha256(): Uint8Array {
    return Uint8Array.from(this.#hash.digest());
  }
}

function summaryOf(
  message: { readonly salt: Uint8Array; readonly commitment: Uint8Array },
  plaintext: Digest,
  ciphertext: Digest,
): MessageSummary {
  return {
    salt: message.salt,
    commitment: message.commitment,
    plaintextBytes: plaintext.bytes,
    plaintextSha256: plaintext.sha256(),
    ciphertextBytes: ciphertext.bytes,
    ciphertextSha256: ciphertext.sha256(),
  };
}
