import { createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { PkiError } from "./pki-error.ts";

/** Algorithms for new key pairs. ECDSA on P-256 is the default; both it and Ed25519 are mandatory in the profile. */
export const KEY_ALGORITHMS = ["p256", "ed25519", "rsa3072"] as const;
export type KeyAlgorithm = (typeof KEY_ALGORITHMS)[number];

export type KeyPair = { privateKey: KeyObject; publicKey: KeyObject };

/** What keys an authority or a verifier accepts. RSA below 3072 bits needs an explicit decision, below 2048 none helps. */
export type KeyPolicy = { allowRsa2048?: boolean };

export function generateKeyPair(algorithm: KeyAlgorithm = "p256"): KeyPair {
  switch (algorithm) {
    case "p256":
      return generateKeyPairSync("ec", { namedCurve: "P-256" });
    case "ed25519":
      return generateKeyPairSync("ed25519");
    case "rsa3072":
      return generateKeyPairSync("rsa", { modulusLength: 3072, publicExponent: 0x10001 });
  }
}

/**
 * Refuses a public key that the profile does not take.
 * @throws PkiError weak_key, unsupported_key
 */
export function assertAcceptableKey(key: KeyObject, policy: KeyPolicy = {}): void {
  const details = key.asymmetricKeyDetails;
  switch (key.asymmetricKeyType) {
    case "ed25519":
    // For certificates that sign messages; authorities and TLS do not use it, and older runtimes know no such key.
    case "ml-dsa-65":
      return;
    case "ec":
      if (details?.namedCurve === "prime256v1") return;
      throw new PkiError("unsupported_key", `curve ${details?.namedCurve ?? "with explicit parameters"}`);
    case "rsa": {
      const bits = details?.modulusLength ?? 0;
      const least = policy.allowRsa2048 ? 2048 : 3072;
      if (bits < least) throw new PkiError("weak_key", `RSA with ${bits} bits, at least ${least} are required`);
      // A small exponent makes padding mistakes exploitable; NIST SP 800-56B asks for more than 2^16.
      if ((details?.publicExponent ?? 0n) < 65_537n) throw new PkiError("weak_key", "RSA with a small public exponent");
      return;
    }
    default:
      throw new PkiError("unsupported_key", key.asymmetricKeyType ?? "not an asymmetric key");
  }
}

/** PKCS#8 PEM, unencrypted: it goes to files of mode 0600 only. */
export function privateKeyPem(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }) as string;
}

/** @throws PkiError malformed_key, without a word of the key in its text */
export function parsePrivateKey(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    throw new PkiError("malformed_key", "not a private key in PKCS#8 PEM");
  }
}

export function publicKeyDer(key: KeyObject): Uint8Array {
  return new Uint8Array(key.export({ type: "spki", format: "der" }));
}
