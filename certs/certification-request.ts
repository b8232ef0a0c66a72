import { createPublicKey, type KeyObject } from "node:crypto";
import * as asn1js from "asn1js";
import * as pkijs from "pkijs";
import { block, decodeDer, derOf, parseAs } from "./der.ts";
import { type DistinguishedName, encodeName, nameFromDer } from "./distinguished-name.ts";
import {
  type BasicConstraints,
  basicConstraintsExtension,
  type ExtendedKeyUsage,
  type ExtensionValues,
  extendedKeyUsageExtension,
  extensionsBlock,
  type KeyUsage,
  keyUsageExtension,
  OID,
  readExtensions,
  type SubjectAltName,
  subjectAltNameExtension,
} from "./extensions.ts";
import { publicKeyDer } from "./key-pair.ts";
import { PkiError } from "./pki-error.ts";
import { seal, verifyTbs } from "./signature-algorithm.ts";

/** What a PKCS#10 request asks for (U1). As with certificates, the builder itself refuses nothing. */
export type CertificationRequestSpec = {
  subject: DistinguishedName;
  privateKey: KeyObject;
  /** Another key than the one that signs, to show that possession is checked. */
  publicKey?: KeyObject;
  subjectAltNames?: readonly SubjectAltName[];
  basicConstraints?: BasicConstraints;
  keyUsage?: readonly KeyUsage[];
  extendedKeyUsage?: readonly (ExtendedKeyUsage | string)[];
};

/** DER of a signed certification request (RFC 2986). */
export function buildCertificationRequest(spec: CertificationRequestSpec): Uint8Array {
  const extensions: pkijs.Extension[] = [];
  if (spec.basicConstraints !== undefined) extensions.push(basicConstraintsExtension(spec.basicConstraints));
  if (spec.keyUsage !== undefined) extensions.push(keyUsageExtension(spec.keyUsage));
  if (spec.extendedKeyUsage !== undefined) extensions.push(extendedKeyUsageExtension(spec.extendedKeyUsage));
  if (spec.subjectAltNames !== undefined) extensions.push(subjectAltNameExtension(spec.subjectAltNames));
  const attributes =
    extensions.length === 0
      ? []
      : [new pkijs.Attribute({ type: OID.extensionRequest, values: [extensionsBlock(extensions)] }).toSchema()];
  const key = spec.publicKey ?? createPublicKey(spec.privateKey);
  const info = new asn1js.Sequence({
    value: [
      new asn1js.Integer({ value: 0 }),
      nameFromDer(encodeName(spec.subject)).toSchema(),
      block(publicKeyDer(key)),
      new asn1js.Constructed({ idBlock: { tagClass: 3, tagNumber: 0 }, value: attributes }),
    ],
  });
  return seal(info, spec.privateKey);
}

/** A request whose sender has proved to hold the private key. */
export type VerifiedRequest = { publicKey: KeyObject; extensions: ExtensionValues };

/**
 * Parses a request (DER or PEM) and verifies the proof of possession over exactly the bytes received.
 * The subject's distinguished name is not read: names come from the grant, never from the request.
 * @throws PkiError malformed_request, unsupported_key, weak_signature, unsupported_algorithm, bad_proof_of_possession
 */
export function verifyCertificationRequest(input: Uint8Array | string): VerifiedRequest {
  const code = "malformed_request";
  const der = derOf("CERTIFICATE REQUEST", input, code);
  const request = parseAs(code, () => new pkijs.CertificationRequest({ schema: decodeDer(der, code) }));
  let publicKey: KeyObject;
  try {
    const spki = Buffer.from(request.subjectPublicKeyInfo.toSchema().toBER(false));
    publicKey = createPublicKey({ key: spki, format: "der", type: "spki" });
  } catch (error) {
    throw new PkiError("unsupported_key", "the request's key does not parse", { cause: error });
  }
  if (!verifyTbs(request.tbsView, request.signatureAlgorithm.algorithmId, request.signatureValue, publicKey)) {
    throw new PkiError("bad_proof_of_possession");
  }
  return { publicKey, extensions: readExtensions(requestedExtensions(request), code) };
}

function requestedExtensions(request: pkijs.CertificationRequest): pkijs.Extension[] {
  const attributes = (request.attributes ?? []).filter(({ type }) => type === OID.extensionRequest);
  if (attributes.length === 0) return [];
  const [attribute, ...others] = attributes;
  if (others.length > 0 || attribute?.values.length !== 1) {
    throw new PkiError("malformed_request", "more than one extension request");
  }
  return parseAs("malformed_request", () => new pkijs.Extensions({ schema: attribute.values[0] }).extensions);
}
