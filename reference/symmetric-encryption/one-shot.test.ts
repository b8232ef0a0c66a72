// The golden vectors against a second implementation of the specification, which shares nothing with the reference:
// HKDF-Expand by the steps of RFC 5869, the counter as a big integer, everything at once.
import { createCipheriv, createHash, createHmac } from "node:crypto";
import { describe, expect, test } from "vitest";
import vectors from "../../conformance/vectors/chunked-encryption.json" with { type: "json" };

describe("golden vectors of chunked-encryption, by an independent one-shot implementation", () => {
  test.each(vectors.valid)("$name", (vector) => {
    const key = Buffer.from(vectors.key, "hex");
    const salt = Buffer.from(vectors.salt, "hex");
    const plaintext = Buffer.from(Array.from({ length: vector.plaintextBytes }, (_, i) => (i * 7 + (i >> 8)) & 255));
    const okm = hkdfExpand(key, `${label}${salt.toString("latin1")}${vector.contextUtf8}`, 76);
    expect(okm.subarray(0, 32).toString("hex")).toBe(vector.messageKey);
    expect(okm.subarray(32, 44).toString("hex")).toBe(vector.baseNonce);
    expect(okm.subarray(44).toString("hex")).toBe(vector.commitment);

    const chunks: Buffer[] = [];
    for (let at = 0n; at <= BigInt(plaintext.length); at += 16384n) {
      const nonce = BigInt(`0x${vector.baseNonce}`) ^ (at / 16384n);
      const iv = Buffer.from(nonce.toString(16).padStart(24, "0"), "hex");
      const cipher = createCipheriv("aes-256-gcm", okm.subarray(0, 32), iv);
      const body = cipher.update(plaintext.subarray(Number(at), Number(at) + 16384));
      chunks.push(Buffer.concat([body, cipher.final(), cipher.getAuthTag()]));
    }
    expect(chunks.map((chunk) => chunk.subarray(-16).toString("hex"))).toEqual(vector.tags);
    const ciphertext = Buffer.concat([salt, okm.subarray(44), ...chunks]);
    expect(ciphertext.length).toBe(vector.ciphertextBytes);
    expect(createHash("sha256").update(ciphertext).digest("hex")).toBe(vector.ciphertextSha256);
  });
});

const label = "c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0";

function hkdfExpand(prk: Buffer, info: string, length: number): Buffer {
  let okm = Buffer.alloc(0);
  let t = Buffer.alloc(0);
  for (let n = 1; okm.length < length; n++) {
    const input = Buffer.concat([t, Buffer.from(info, "latin1"), Buffer.of(n)]);
    t = createHmac("sha512", prk).update(input).digest();
    okm = Buffer.concat([okm, t]);
  }
  return okm.subarray(0, length);
}
