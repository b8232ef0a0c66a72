// Data encryption against what its parts cost: plain AES-256-GCM over the same buffer, and AES-256-GCM with the two
// SHA-256 digests that the streams compute in passing. Interleaved rounds of one run, medians; only ratios travel
// between machines. Usage: node bench/encryption.ts [MiB]
import { createCipheriv, createHash, randomBytes } from "node:crypto";
import { encryptBytes } from "../reference/symmetric-encryption/encrypt-bytes.ts";
import { decrypt, encrypt } from "../reference/symmetric-encryption/encrypt-stream.ts";
import { MessageEncryptor } from "../reference/symmetric-encryption/message-encryptor.ts";

const ROUNDS = 7;
const PIECE = 1 << 20;
const mebibytes = Number(process.argv[2] ?? 64);
const plaintext = randomBytes(mebibytes << 20);
const options = { key: randomBytes(32), context: Buffer.from("bench") };
const { ciphertext } = encryptBytes(plaintext, options.key, options.context);

const contenders: Record<string, () => Promise<void>> = {
  "AES-256-GCM, one message": async () => {
    const cipher = createCipheriv("aes-256-gcm", options.key, randomBytes(12), { authTagLength: 16 });
    for await (const piece of pieces(plaintext)) cipher.update(piece);
    cipher.final();
  },
  "AES-256-GCM and two SHA-256": async () => {
    const cipher = createCipheriv("aes-256-gcm", options.key, randomBytes(12), { authTagLength: 16 });
    const [before, after] = [createHash("sha256"), createHash("sha256")];
    for await (const piece of pieces(plaintext)) after.update(cipher.update(before.update(piece) && piece));
    cipher.final();
  },
  "chunked encryption, no digests": async () => {
    const encryptor = new MessageEncryptor(options.key, options.context);
    for await (const piece of pieces(plaintext)) encryptor.update(piece);
    encryptor.final();
  },
  "encrypt(), with both digests": async () => drain(encrypt(pieces(plaintext), options).output),
  "decrypt(), with both digests": async () => drain(decrypt(pieces(ciphertext), options).output),
};

const times = new Map(Object.keys(contenders).map((name) => [name, [] as number[]]));
for (let round = 0; round <= ROUNDS; round++)
  for (const [name, run] of Object.entries(contenders)) {
    const begun = performance.now();
    await run();
    if (round > 0) times.get(name)?.push(performance.now() - begun);
  }

const medians = [...times].map(([name, list]) => ({ name, ms: list.toSorted((a, b) => a - b)[ROUNDS >> 1] ?? 0 }));
const [gcm, digested] = medians.map(({ ms }) => ms);
console.log(`${mebibytes} MiB in pieces of 1 MiB, median of ${ROUNDS} interleaved rounds, Node ${process.version}`);
for (const { name, ms } of medians) {
  const rate = (plaintext.length / 1e3 / ms).toFixed(0).padStart(6);
  const ratios = `${((gcm ?? 0) / ms).toFixed(2)} of GCM, ${((digested ?? 0) / ms).toFixed(2)} of GCM with digests`;
  console.log(`${name.padEnd(32)} ${rate} MB/s  ${ratios}`);
}

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += PIECE) yield bytes.subarray(at, at + PIECE);
}

async function drain(stream: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const _ of stream);
}
