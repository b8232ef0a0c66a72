import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import vectors from "../../conformance/vectors/chunked-encryption.json" with { type: "json" };
import { decryptBytes, encryptBytes } from "./encrypt-bytes.ts";
import { decrypt, encrypt, encryptAgain } from "./encrypt-stream.ts";
import { generateInputKey, MessageKey } from "./message-key.ts";
import { ciphertextLength, plaintextLength } from "./message-layout.ts";
import { RandomAccessMessage } from "./random-access.ts";
import { SymmetricEncryptionError } from "./symmetric-encryption-error.ts";

const key = Buffer.from(vectors.key, "hex");
const salt = Buffer.from(vectors.salt, "hex");
const context = Buffer.from("key-1");
const SEALED = 16_400;

describe("golden vectors", () => {
  test.each(vectors.valid)("$name", (vector) => {
    const { ciphertext, commitment } = packageOf(vector);
    expect(hex(commitment)).toBe(vector.commitment);
    expect(ciphertext.length).toBe(vector.ciphertextBytes);
    expect(ciphertextLength(vector.plaintextBytes)).toBe(vector.ciphertextBytes);
    expect(plaintextLength(vector.ciphertextBytes)).toBe(vector.plaintextBytes);
    expect(sha256(ciphertext)).toBe(vector.ciphertextSha256);
    if (vector.ciphertext !== undefined) expect(hex(ciphertext)).toBe(vector.ciphertext);
    const plaintext = decryptBytes(ciphertext, key, Buffer.from(vector.contextUtf8), commitment);
    expect(sha256(plaintext)).toBe(vector.plaintextSha256);
  });

  test.each(vectors.invalid)("$name: $code", async (vector) => {
    const valid = vectors.valid.find(({ name }) => name === vector.of);
    if (valid === undefined) throw new Error(`no vector ${vector.of}`);
    const edit = vector.edit as Edit;
    const ciphertext = edited(packageOf(valid).ciphertext, edit);
    const options = {
      key: edit.key === undefined ? key : Buffer.from(edit.key, "hex"),
      context: Buffer.from(edit.contextUtf8 ?? valid.contextUtf8),
    };
    expect(codeOf(() => decryptBytes(ciphertext, options.key, options.context))).toBe(vector.code);
    for (const pieceSize of [1000, SEALED, 100_000]) {
      const stream = decrypt(inPieces(ciphertext, pieceSize), options);
      expect(await rejectionCode(collect(stream.output))).toBe(vector.code);
      expect(await rejectionCode(stream.summary)).toBe(vector.code);
    }
  });
});

describe("streams", () => {
  test("any sizes of pieces give the one-shot package and back, with both digests", async () => {
    const sizes = fc.oneof(fc.nat(40), fc.constantFrom(16383, 16384, 16385, 32768, 50_000));
    await fc.assert(
      fc.asyncProperty(sizes, fc.integer({ min: 1, max: 40_000 }), fc.nat(), async (length, piece, seed) => {
        const plaintext = patterned(length, seed);
        const encrypted = encrypt(inPieces(plaintext, piece), { key, context });
        const ciphertext = await collect(encrypted.output);
        expect(ciphertext.equals(encryptBytes(plaintext, key, context, encrypted.salt).ciphertext)).toBe(true);
        expect(await encrypted.summary).toEqual({
          salt: encrypted.salt,
          commitment: encrypted.commitment,
          plaintextBytes: length,
          plaintextSha256: digest(plaintext),
          ciphertextBytes: ciphertext.length,
          ciphertextSha256: digest(ciphertext),
        });
        const { commitment } = encrypted;
        const decrypted = decrypt(inPieces(ciphertext, piece), { key, context, commitment });
        expect((await collect(decrypted.output)).equals(plaintext)).toBe(true);
        expect(await decrypted.summary).toEqual(await encrypted.summary);
      }),
      { numRuns: 60, seed: 1 },
    );
  });

  test("every message gets its own salt, and so its own commitment", () => {
    const options = { key, context };
    const [one, two] = [encrypt(inPieces(key, 1), options), encrypt(inPieces(key, 1), options)];
    expect(hex(one.salt)).not.toBe(hex(two.salt));
    expect(hex(one.commitment)).not.toBe(hex(two.commitment));
  });

  test("a commitment other than the announced one is refused before any plaintext", async () => {
    const { ciphertext, commitment } = encryptBytes(patterned(20_000, 1), key, context);
    const announced = Uint8Array.from(commitment);
    announced[31] = (announced[31] ?? 0) ^ 1;
    const stream = decrypt(inPieces(ciphertext, 5000), { key, context, commitment: announced });
    expect(await rejectionCode(collect(stream.output))).toBe("commitment_mismatch");
    expect(codeOf(() => decryptBytes(ciphertext, key, context, announced.subarray(1)))).toBe("commitment_mismatch");
    expect(decryptBytes(ciphertext, key, context, commitment)).toHaveLength(20_000);
  });

  test("an alteration late in a message comes after authenticated plaintext, never with its own", async () => {
    const plaintext = patterned(40_000, 3);
    const { ciphertext } = encryptBytes(plaintext, key, context);
    ciphertext[56 + SEALED] = (ciphertext[56 + SEALED] ?? 0) ^ 1;
    const received: Uint8Array[] = [];
    const stream = decrypt(inPieces(ciphertext, SEALED), { key, context });
    const reading = (async () => {
      for await (const bytes of stream.output) received.push(bytes);
    })();
    expect(await rejectionCode(reading)).toBe("altered");
    expect(Buffer.concat(received).equals(plaintext.subarray(0, 16_384))).toBe(true);
  });

  test("giving a stream up rejects its summary", async () => {
    const { output, summary } = encrypt(inPieces(patterned(100_000, 1), 1000), { key, context });
    for await (const _ of output) break;
    expect(await rejectionCode(summary)).toBe("truncated");
  });

  test("an error of the source passes through", async () => {
    // biome-ignore lint/correctness/useYield: a source that fails at once
    async function* failing(): AsyncGenerator<Uint8Array> {
      throw new RangeError("disk");
    }
    const { output, summary } = encrypt(failing(), { key, context });
    await expect(collect(output)).rejects.toThrow("disk");
    await expect(summary).rejects.toThrow("disk");
  });
});

describe("encrypting again (X8)", () => {
  const plaintext = patterned(33_000, 9);
  const first = encryptBytes(plaintext, key, context);
  const again = { key, context, salt: first.salt, plaintextSha256: digest(plaintext) };

  test("gives the identical package", async () => {
    const stream = await encryptAgain(() => inPieces(plaintext, 777), again);
    expect((await collect(stream.output)).equals(first.ciphertext)).toBe(true);
    expect(hex(stream.commitment)).toBe(hex(first.commitment));
  });

  test("refuses a changed plaintext before a byte leaves", async () => {
    const changed = Uint8Array.from(plaintext);
    changed[32_999] = (changed[32_999] ?? 0) ^ 1;
    expect(await rejectionCode(encryptAgain(() => inPieces(changed, 777), again))).toBe("plaintext_changed");
  });
});

describe("random access", () => {
  const plaintext = patterned(50_000, 5);
  const { ciphertext, commitment } = encryptBytes(plaintext, key, context);

  test.each([
    [0, 0],
    [0, 50_000],
    [16_383, 16_385],
    [16_384, 32_768],
    [49_999, 50_000],
    [50_000, 50_000],
    [20_000, 49_200],
  ])("bytes %i to %i", async (start, end) => {
    const message = await RandomAccessMessage.open(sourceOf(ciphertext), { key, context, commitment });
    expect(message.plaintextBytes).toBe(50_000);
    expect(Buffer.from(await message.read(start, end)).equals(plaintext.subarray(start, end))).toBe(true);
  });

  test.each([
    [-1, 5],
    [6, 5],
    [0, 50_001],
    [0.5, 2],
  ])("refuses %d to %d", async (start, end) => {
    const message = await RandomAccessMessage.open(sourceOf(ciphertext), { key, context });
    expect(await rejectionCode(message.read(start, end))).toBe("out_of_range");
  });

  test("authenticates the length when it opens, and each chunk when it reads", async () => {
    const wrongKey = { key: generateInputKey(), context };
    expect(await rejectionCode(RandomAccessMessage.open(sourceOf(ciphertext), wrongKey))).toBe("wrong_key");
    const cut = ciphertext.subarray(0, 56 + SEALED + 500);
    expect(await rejectionCode(RandomAccessMessage.open(sourceOf(cut), { key, context }))).toBe("altered");
    const atBorder = ciphertext.subarray(0, 56 + SEALED);
    expect(await rejectionCode(RandomAccessMessage.open(sourceOf(atBorder), { key, context }))).toBe("truncated");
    const altered = Uint8Array.from(ciphertext);
    altered[60] = (altered[60] ?? 0) ^ 1;
    const message = await RandomAccessMessage.open(sourceOf(altered), { key, context });
    expect(await rejectionCode(message.read(10, 20))).toBe("altered");
    expect(Buffer.from(await message.read(16_384, 16_390)).equals(plaintext.subarray(16_384, 16_390))).toBe(true);
  });

  test("refuses a source that answers less than asked", async () => {
    const source = sourceOf(ciphertext);
    const short = { size: source.size, read: (start: number, end: number) => source.read(start, end - 1) };
    expect(await rejectionCode(RandomAccessMessage.open(short, { key, context }))).toBe("truncated");
  });
});

test("keys of 32 and salts of 24 bytes only", () => {
  for (const length of [0, 16, 31, 33])
    expect(codeOf(() => encryptBytes(salt, Buffer.alloc(length), context))).toBe("invalid_key");
  for (const length of [0, 23, 25])
    expect(codeOf(() => encryptBytes(salt, key, context, Buffer.alloc(length)))).toBe("invalid_salt");
  expect(generateInputKey()).toHaveLength(32);
});

test("the chunk counter is 38 bits wide and ends there", () => {
  const message = new MessageKey(key, salt, context);
  const seal = (chunk: number) => hex(message.cipher(chunk).update(Buffer.alloc(16)));
  const streams = [0, 1, 255, 256, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 38 - 1].map(seal);
  expect(new Set(streams).size).toBe(streams.length);
  expect(codeOf(() => message.cipher(2 ** 38))).toBe("too_long");
});

interface Edit {
  readonly flip?: number;
  readonly keep?: number;
  readonly append?: string;
  readonly exchange?: [number, number];
  readonly repeat?: [number, number];
  readonly remove?: number;
  readonly key?: string;
  readonly contextUtf8?: string;
}

function edited(ciphertext: Uint8Array, edit: Edit): Uint8Array {
  const bytes = Buffer.from(ciphertext);
  const chunk = (n: number) => Buffer.from(bytes.subarray(56 + n * SEALED, 56 + (n + 1) * SEALED));
  const put = (n: number, sealed: Buffer) => sealed.copy(bytes, 56 + n * SEALED);
  if (edit.flip !== undefined) bytes[edit.flip] = (bytes[edit.flip] ?? 0) ^ 1;
  if (edit.keep !== undefined) return bytes.subarray(0, edit.keep);
  if (edit.append !== undefined) return Buffer.concat([bytes, Buffer.from(edit.append, "hex")]);
  if (edit.exchange !== undefined) {
    const [a, b] = edit.exchange;
    const [first, second] = [chunk(a), chunk(b)];
    put(a, second);
    put(b, first);
  }
  if (edit.repeat !== undefined) put(edit.repeat[1], chunk(edit.repeat[0]));
  if (edit.remove !== undefined) {
    const at = 56 + edit.remove * SEALED;
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + SEALED)]);
  }
  return bytes;
}

function packageOf(vector: { plaintextBytes: number; contextUtf8: string }) {
  const plaintext = Uint8Array.from({ length: vector.plaintextBytes }, (_, i) => (7 * i + Math.floor(i / 256)) % 256);
  return encryptBytes(plaintext, key, Buffer.from(vector.contextUtf8), salt);
}

function patterned(length: number, seed: number): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 7) + seed) & 255));
}

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces);
}

function sourceOf(bytes: Uint8Array) {
  return { size: bytes.length, read: async (start: number, end: number) => bytes.subarray(start, end) };
}

function digest(bytes: Uint8Array): Uint8Array {
  return Uint8Array.from(createHash("sha256").update(bytes).digest());
}

function sha256(bytes: Uint8Array): string {
  return hex(digest(bytes));
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof SymmetricEncryptionError) return error.code;
    throw error;
  }
  return "accepted";
}

async function rejectionCode(pending: Promise<unknown>): Promise<string> {
  const [outcome] = await Promise.allSettled([pending]);
  return codeOf(() => {
    if (outcome?.status === "rejected") throw outcome.reason;
  });
}
