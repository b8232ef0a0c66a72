// Who signs (P7, C4): a private key with its certificate chain. The key stays a KeyObject, parsed once and never printed.
import { createPrivateKey, X509Certificate } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { fromPem } from "../../certs/der.ts";
import { identityOf } from "../../certs/identity.ts";
import { type SignedEnvelope, SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import {
  type CertificateChain,
  CertificateChainSchema,
  type PublicKey,
  PublicKeySchema,
  type SignatureAlgorithm,
} from "../../gen/x1410/v1/identity_pb.ts";
import { algorithmOf, isAvailable, signBytes } from "./algorithm.ts";
import { preAuthenticationEncoding } from "./pae.ts";

export interface Signer {
  /** The one URI of the certificate. */
  readonly identity: string;
  readonly algorithm: SignatureAlgorithm;
  readonly publicKey: PublicKey;
  /** End entity first, trust anchor left out. */
  readonly certificate: CertificateChain;
  /** An envelope over exactly these bytes, with one signature. */
  sign(payloadType: string, payload: Uint8Array): SignedEnvelope;
}

export interface SignerMaterial {
  /** PKCS#8, a secret. */
  readonly privateKeyPem: string;
  /** The certificate, then the intermediate authorities; a self-signed root among them is left out. */
  readonly certificateChainPem: string;
}

/** @throws TypeError where certificate and key do not belong together, or neither names one identity and a listed algorithm. */
export function createSigner({ privateKeyPem, certificateChainPem }: SignerMaterial): Signer {
  const privateKey = createPrivateKey(privateKeyPem);
  const [leaf, ...authorities] = fromPem("CERTIFICATE", certificateChainPem).map((der) => new X509Certificate(der));
  if (leaf === undefined) throw new TypeError("a signer needs its certificate");
  if (!leaf.checkPrivateKey(privateKey)) throw new TypeError("the signer's private key is not that of its certificate");
  const identity = identityOf(leaf);
  if (identity === undefined) throw new TypeError("the signer's certificate does not name exactly one URI");
  const algorithm = algorithmOf(privateKey);
  if (algorithm === undefined || !isAvailable(algorithm)) {
    throw new TypeError(`no signature algorithm for a key of type ${privateKey.asymmetricKeyType}`);
  }
  const path = [leaf, ...authorities.filter((authority) => authority.subject !== authority.issuer)];
  const certificate = create(CertificateChainSchema, { certificates: path.map(({ raw }) => new Uint8Array(raw)) });
  const spki = new Uint8Array(leaf.publicKey.export({ type: "spki", format: "der" }));
  return {
    identity,
    algorithm,
    publicKey: create(PublicKeySchema, { algorithm, spki }),
    certificate,
    sign(payloadType, payload) {
      const value = new Uint8Array(signBytes(preAuthenticationEncoding(payloadType, payload), privateKey));
      return create(SignedEnvelopeSchema, { payload, payloadType, signatures: [{ algorithm, value, certificate }] });
    },
  };
}
