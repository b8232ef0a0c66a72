// The closed list of signature algorithms (identity.proto) in terms of node:crypto. ECDSA stays in DER as OpenSSL makes it: converting
// by `dsaEncoding` doubles its cost.
import { constants, generateKeyPairSync, type KeyObject, sign, verify } from "node:crypto";
import { SignatureAlgorithm } from "../../gen/x1410/v1/identity_pb.ts";

const RSA_BITS = 3072;
const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 };

const fits = new WeakMap<KeyObject, SignatureAlgorithm | undefined>();

/** The one algorithm of the list that a key (public or private) signs with, or undefined where there is none. */
export function algorithmOf(key: KeyObject): SignatureAlgorithm | undefined {
  if (!fits.has(key)) fits.set(key, judge(key));
  return fits.get(key);
}

/** Whether this runtime has the algorithm at all: older versions of Node have no ML-DSA. */
export function isAvailable(algorithm: SignatureAlgorithm): boolean {
  switch (algorithm) {
    case SignatureAlgorithm.ECDSA_P256_SHA256:
    case SignatureAlgorithm.ED25519:
    case SignatureAlgorithm.RSA_PSS_SHA256:
      return true;
    case SignatureAlgorithm.ML_DSA_65:
      return mlDsaAvailable();
    default:
      return false;
  }
}

/** Signs with the algorithm that fits the key. The caller has made sure that there is one. */
export function signBytes(bytes: Uint8Array, privateKey: KeyObject): Uint8Array {
  switch (algorithmOf(privateKey)) {
    case SignatureAlgorithm.ECDSA_P256_SHA256:
      return sign("sha256", bytes, privateKey);
    case SignatureAlgorithm.RSA_PSS_SHA256:
      return sign("sha256", bytes, { key: privateKey, ...pss });
    default:
      return sign(null, bytes, privateKey);
  }
}

/** Whether `signature` is one over exactly these bytes, by the algorithm that fits the key. */
export function verifyBytes(bytes: Uint8Array, publicKey: KeyObject, signature: Uint8Array): boolean {
  switch (algorithmOf(publicKey)) {
    case SignatureAlgorithm.ECDSA_P256_SHA256:
      return verify("sha256", bytes, publicKey, signature);
    case SignatureAlgorithm.RSA_PSS_SHA256:
      return verify("sha256", bytes, { key: publicKey, ...pss }, signature);
    case undefined:
      return false;
    default:
      return verify(null, bytes, publicKey, signature);
  }
}

function judge(key: KeyObject): SignatureAlgorithm | undefined {
  const details = key.asymmetricKeyDetails;
  switch (key.asymmetricKeyType as string | undefined) {
    case "ec":
      return details?.namedCurve === "prime256v1" ? SignatureAlgorithm.ECDSA_P256_SHA256 : undefined;
    case "ed25519":
      return SignatureAlgorithm.ED25519;
    case "rsa":
      return (details?.modulusLength ?? 0) >= RSA_BITS ? SignatureAlgorithm.RSA_PSS_SHA256 : undefined;
    case "ml-dsa-65":
      return SignatureAlgorithm.ML_DSA_65;
    default:
      return undefined;
  }
}

let mlDsa: boolean | undefined;

function mlDsaAvailable(): boolean {
  if (mlDsa === undefined) {
    try {
      generateKeyPairSync("ml-dsa-65");
      mlDsa = true;
    } catch {
      mlDsa = false;
    }
  }
  return mlDsa;
}
