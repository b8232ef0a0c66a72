import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { describe, expect, test } from "vitest";
import { assertAcceptableKey, generateKeyPair, parsePrivateKey, privateKeyPem } from "./key-pair.ts";

const rsa = (modulusLength: number, publicExponent = 65_537) =>
  generateKeyPairSync("rsa", { modulusLength, publicExponent }).publicKey;

const mlDsa = (() => {
  try {
    return generateKeyPairSync("ml-dsa-65") !== undefined;
  } catch {
    return false;
  }
})();

describe("keys accepted", () => {
  test.each(["p256", "ed25519"] as const)("%s", (algorithm) => {
    const { privateKey, publicKey } = generateKeyPair(algorithm);
    expect(() => assertAcceptableKey(publicKey)).not.toThrow();
    expect(privateKeyPem(privateKey)).toMatch(/^-----BEGIN PRIVATE KEY-----\n/);
    const read = createPublicKey(parsePrivateKey(privateKeyPem(privateKey)));
    expect(read.equals(publicKey)).toBe(true);
  });

  test.runIf(mlDsa)("ML-DSA-65", () => {
    const { publicKey } = generateKeyPairSync("ml-dsa-65");
    expect(() => assertAcceptableKey(publicKey)).not.toThrow();
  });

  test("RSA with 2048 bits only where the policy says so", () => {
    const key = rsa(2048);
    expect(() => assertAcceptableKey(key)).toThrow(expect.objectContaining({ code: "weak_key" }));
    expect(() => assertAcceptableKey(key, { allowRsa2048: true })).not.toThrow();
  });
});

describe("keys refused", () => {
  test("RSA with 1024 bits, whatever the policy", () => {
    const key = rsa(1024);
    expect(() => assertAcceptableKey(key)).toThrow(expect.objectContaining({ code: "weak_key" }));
    expect(() => assertAcceptableKey(key, { allowRsa2048: true })).toThrow(
      expect.objectContaining({ code: "weak_key" }),
    );
  });

  test("RSA with exponent 3", () => {
    expect(() => assertAcceptableKey(rsa(2048, 3), { allowRsa2048: true })).toThrow(
      expect.objectContaining({ code: "weak_key" }),
    );
  });

  test.each([
    ["another curve", generateKeyPairSync("ec", { namedCurve: "secp256k1" }).publicKey],
    ["Ed448", generateKeyPairSync("ed448").publicKey],
    ["a key that cannot sign", generateKeyPairSync("x25519").publicKey],
  ])("%s", (_, key) => {
    expect(() => assertAcceptableKey(key)).toThrow(expect.objectContaining({ code: "unsupported_key" }));
  });

  test("text that is no key, without repeating it", () => {
    const secret = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
    expect(() => parsePrivateKey(secret)).toThrow(expect.objectContaining({ code: "malformed_key" }));
    expect(() => parsePrivateKey(secret)).not.toThrow(/c2VjcmV0/);
  });
});
