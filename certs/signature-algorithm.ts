import { type KeyObject, sign, verify } from "node:crypto";
import * as asn1js from "asn1js";
import * as pkijs from "pkijs";
import { encodeDer } from "./der.ts";
import { PkiError } from "./pki-error.ts";

type Algorithm = { keyType: "ec" | "ed25519" | "rsa"; digest: "sha256" | "sha384" | "sha512" | null };

/** Signature algorithms taken from certificates, requests and lists (RFC 5758, RFC 8410, RFC 8017). */
const ACCEPTED: ReadonlyMap<string, Algorithm> = new Map([
  ["1.2.840.10045.4.3.2", { keyType: "ec", digest: "sha256" }],
  ["1.2.840.10045.4.3.3", { keyType: "ec", digest: "sha384" }],
  ["1.2.840.10045.4.3.4", { keyType: "ec", digest: "sha512" }],
  ["1.3.101.112", { keyType: "ed25519", digest: null }],
  ["1.2.840.113549.1.1.11", { keyType: "rsa", digest: "sha256" }],
  ["1.2.840.113549.1.1.12", { keyType: "rsa", digest: "sha384" }],
  ["1.2.840.113549.1.1.13", { keyType: "rsa", digest: "sha512" }],
]);

/** MD2, MD5 and SHA-1 with RSA or ECDSA: named so that the refusal says why. */
const BROKEN_DIGESTS: ReadonlySet<string> = new Set([
  "1.2.840.113549.1.1.2",
  "1.2.840.113549.1.1.4",
  "1.2.840.113549.1.1.5",
  "1.2.840.10045.4.1",
]);

/** The algorithm that an issuer's key signs with. RSA's identifier carries NULL, the others no parameters at all. */
export function signatureAlgorithmOf(key: KeyObject): pkijs.AlgorithmIdentifier {
  switch (key.asymmetricKeyType) {
    case "ec":
      return new pkijs.AlgorithmIdentifier({ algorithmId: "1.2.840.10045.4.3.2" });
    case "ed25519":
      return new pkijs.AlgorithmIdentifier({ algorithmId: "1.3.101.112" });
    case "rsa":
      return new pkijs.AlgorithmIdentifier({
        algorithmId: "1.2.840.113549.1.1.11",
        algorithmParams: new asn1js.Null(),
      });
    default:
      throw new PkiError("unsupported_key", key.asymmetricKeyType ?? "not an asymmetric key");
  }
}

/** The signature of a to-be-signed part; ECDSA gives the DER form that X.509 carries. */
export function signTbs(tbs: Uint8Array, key: KeyObject): Uint8Array {
  return new Uint8Array(sign(key.asymmetricKeyType === "ed25519" ? null : "sha256", tbs, key));
}

/**
 * Seals what certificates, requests and lists have in common: SEQUENCE { tbs, algorithm, signature }. Node's native
 * signing stands in for pkijs's WebCrypto, so that everything here is synchronous and knows Ed25519 on every runtime.
 */
export function seal(tbs: asn1js.BaseBlock, key: KeyObject): Uint8Array {
  const signature = signTbs(encodeDer(tbs), key);
  return encodeDer(
    new asn1js.Sequence({
      value: [tbs, signatureAlgorithmOf(key).toSchema(), new asn1js.BitString({ valueHex: signature })],
    }),
  );
}

/**
 * Refuses algorithms off the list and broken digests before any arithmetic.
 * @throws PkiError weak_signature, unsupported_algorithm
 */
export function assertAcceptableAlgorithm(oid: string): Algorithm {
  if (BROKEN_DIGESTS.has(oid)) throw new PkiError("weak_signature", oid);
  const algorithm = ACCEPTED.get(oid);
  if (algorithm === undefined) throw new PkiError("unsupported_algorithm", oid);
  return algorithm;
}

/**
 * Whether the signature over exactly these bytes verifies; a key of another type than the algorithm's never does. The
 * count of unused bits is the one octet of a signed object that no signature covers, so it has to be zero.
 */
export function verifyTbs(tbs: Uint8Array, oid: string, signature: asn1js.BitString, key: KeyObject): boolean {
  const { keyType, digest } = assertAcceptableAlgorithm(oid);
  if (key.asymmetricKeyType !== keyType || signature.valueBlock.unusedBits !== 0) return false;
  return verify(digest, tbs, key, signature.valueBlock.valueHexView);
}
