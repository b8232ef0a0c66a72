// Checking signed messages: signature over the bytes received first, then parsing, then the rules of the message; never serialised again.
import type { KeyObject } from "node:crypto";
import { create, type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { type PublicKey, PublicKeySchema, SignatureAlgorithm } from "../../gen/x1410/v1/identity_pb.ts";
import { brokenField } from "../communications/field-rules.ts";
import { refusal } from "../communications/refusal.ts";

import { algorithmOf, isAvailable, verifyBytes } from "./algorithm.ts";
import { preAuthenticationEncoding } from "./pae.ts";
import { payloadTypeOf } from "./sign.ts";

/** What a trust store says of a certificate that it believes. */
export interface TrustedCertificate {
  /** The one URI among the subject alternative names. */
  readonly identity: string;
  readonly publicKey: KeyObject;
  /** SHA-256 of the DER, lower-case hexadecimal. */
  readonly fingerprint: string;
}

/** Trust anchors and revocation lists of now; certs' ChainVerifier is one. */
export interface Trust {
  /** @throws an error where the certificate is not to be believed, for whatever reason */
  verify(leafDer: Uint8Array, intermediates: readonly Uint8Array[]): TrustedCertificate;
}

export interface VerifiedSigner {
  readonly identity: string;
  readonly publicKey: PublicKey;
  /** SHA-256 of the certificate in DER, lower-case hexadecimal. */
  readonly fingerprint: string;
}

const publicKeys = new WeakMap<KeyObject, PublicKey>();

/**
 * Verifies an envelope and answers the message inside and who signed it.
 * @throws ConnectError SIGNATURE_MISSING, PAYLOAD_TYPE_MISMATCH, ALGORITHM_NOT_ALLOWED, SIGNER_UNTRUSTED, SIGNATURE_INVALID,
 * PAYLOAD_MALFORMED, in this order
 */
export function verifyEnvelope<Desc extends DescMessage>(
  envelope: SignedEnvelope,
  schema: Desc,
  trust: Trust,
): { message: MessageShape<Desc>; signer: VerifiedSigner } {
  const signer = verifySignature(envelope, payloadTypeOf(schema), trust);
  return { message: parsePayload(envelope.payload, schema), signer };
}

/** The first half: everything about the signature, nothing about the payload. */
export function verifySignature(envelope: SignedEnvelope, payloadType: string, trust: Trust): VerifiedSigner {
  const [signature, second] = envelope.signatures;
  if (signature === undefined) throw refusal(ErrorReason.SIGNATURE_MISSING, "signatures");
  if (second !== undefined) throw refusal(ErrorReason.REQUEST_INVALID, "signatures");
  if (envelope.payloadType !== payloadType) throw refusal(ErrorReason.PAYLOAD_TYPE_MISMATCH, "payload_type");
  const { algorithm, value, certificate } = signature;
  if (!isAvailable(algorithm)) throw refusal(ErrorReason.ALGORITHM_NOT_ALLOWED, "algorithm");
  const trusted = believe(certificate?.certificates ?? [], trust);
  if (algorithmOf(trusted.publicKey) !== algorithm) throw refusal(ErrorReason.ALGORITHM_NOT_ALLOWED, "algorithm");
  if (!verifyBytes(preAuthenticationEncoding(payloadType, envelope.payload), trusted.publicKey, value)) {
    throw refusal(ErrorReason.SIGNATURE_INVALID, "signatures");
  }
  return { identity: trusted.identity, fingerprint: trusted.fingerprint, publicKey: publicKeyOf(trusted.publicKey) };
}

/** The second half, for bytes whose signature holds. @throws ConnectError PAYLOAD_MALFORMED naming the field where a rule is broken */
export function parsePayload<Desc extends DescMessage>(payload: Uint8Array, schema: Desc): MessageShape<Desc> {
  let message: MessageShape<Desc>;
  try {
    message = fromBinary(schema, payload);
  } catch {
    throw refusal(ErrorReason.PAYLOAD_MALFORMED, schema.typeName);
  }
  const field = brokenField(schema, message);
  if (field !== undefined) throw refusal(ErrorReason.PAYLOAD_MALFORMED, field);
  return message;
}

function believe([leaf, ...intermediates]: readonly Uint8Array[], trust: Trust): TrustedCertificate {
  if (leaf === undefined) throw refusal(ErrorReason.SIGNER_UNTRUSTED, "certificate");
  try {
    return trust.verify(leaf, intermediates);
  } catch (cause) {
    // Fail closed on anything; only the stable code of the PKI's own errors is told, never its text.
    const code = cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : "";
    throw refusal(ErrorReason.SIGNER_UNTRUSTED, code === "" ? "certificate" : `certificate: ${code}`);
  }
}

function publicKeyOf(key: KeyObject): PublicKey {
  const known = publicKeys.get(key);
  if (known !== undefined) return known;
  const spki = new Uint8Array(key.export({ type: "spki", format: "der" }));
  const made = create(PublicKeySchema, { spki, algorithm: algorithmOf(key) ?? SignatureAlgorithm.UNSPECIFIED });
  publicKeys.set(key, made);
  return made;
}
