import { createHash, createPublicKey, type KeyObject, randomBytes, X509Certificate } from "node:crypto";
import * as pkijs from "pkijs";
import { block, decodeDer, parseAs, serialHex, time, unsignedInteger } from "./der.ts";
import { type DistinguishedName, encodeName, nameDer, nameFromDer } from "./distinguished-name.ts";
import {
  authorityKeyIdentifierExtension,
  type BasicConstraints,
  basicConstraintsExtension,
  crlDistributionPointsExtension,
  type ExtendedKeyUsage,
  type ExtensionValues,
  extendedKeyUsageExtension,
  type KeyUsage,
  keyUsageExtension,
  ocspAccessExtension,
  ocspNoCheckExtension,
  readExtensions,
  type SubjectAltName,
  subjectAltNameExtension,
  subjectKeyIdentifierExtension,
} from "./extensions.ts";
import { publicKeyDer } from "./key-pair.ts";
import { PkiError } from "./pki-error.ts";
import { seal, signatureAlgorithmOf } from "./signature-algorithm.ts";

/**
 * Everything that a certificate says. The builder checks no policy: the authority does that before it calls, and a
 * conformance kit needs certificates that break the rules one at a time.
 */
export type CertificateSpec = {
  subject: DistinguishedName;
  publicKey: KeyObject;
  /** The signing key, with the issuer's certificate; without a certificate the result is self-issued by `subject`. */
  issuer: { privateKey: KeyObject; certificate?: Uint8Array };
  notBefore: Date;
  notAfter: Date;
  /** Hexadecimal; random when absent. */
  serialNumber?: string;
  /** Absent: no such extension (also for the following). */
  basicConstraints?: BasicConstraints;
  keyUsage?: readonly KeyUsage[];
  /** Names or object identifiers. */
  extendedKeyUsage?: readonly (ExtendedKeyUsage | string)[];
  subjectAltNames?: readonly SubjectAltName[];
  crlUris?: readonly string[];
  ocspUris?: readonly string[];
  ocspNoCheck?: boolean;
  /** `value` is the DER inside the extension's octet string. */
  otherExtensions?: readonly { oid: string; critical: boolean; value: Uint8Array }[];
};

/** 127 random bits, positive and of constant length (CA/Browser Forum asks for 64; RFC 5280 allows 20 octets). */
export function randomSerialNumber(): string {
  const octets = randomBytes(16);
  octets[0] = ((octets[0] ?? 0) & 0x3f) | 0x40;
  return octets.toString("hex");
}

/** RFC 7093 method 1 would do; RFC 5280 4.2.1.2 method 1 (SHA-1 of the key bits) is what every tool computes. */
export function keyIdentifier(publicKey: KeyObject): Uint8Array {
  const info = new pkijs.PublicKeyInfo({ schema: block(publicKeyDer(publicKey)) });
  return new Uint8Array(createHash("sha1").update(info.subjectPublicKey.valueBlock.valueHexView).digest());
}

/** Builds and signs one certificate. Deterministic up to the serial number and the signature's own randomness. */
export function buildCertificate(spec: CertificateSpec): Uint8Array {
  const subject = encodeName(spec.subject);
  const issuer = spec.issuer.certificate === undefined ? undefined : parseCertificate(spec.issuer.certificate);
  const issuerKey = issuer?.publicKey ?? createPublicKey(spec.issuer.privateKey);
  const extensions: pkijs.Extension[] = [];
  if (spec.basicConstraints !== undefined) extensions.push(basicConstraintsExtension(spec.basicConstraints));
  if (spec.keyUsage !== undefined) extensions.push(keyUsageExtension(spec.keyUsage));
  if (spec.extendedKeyUsage !== undefined) extensions.push(extendedKeyUsageExtension(spec.extendedKeyUsage));
  if (spec.subjectAltNames !== undefined) extensions.push(subjectAltNameExtension(spec.subjectAltNames));
  extensions.push(subjectKeyIdentifierExtension(keyIdentifier(spec.publicKey)));
  extensions.push(
    authorityKeyIdentifierExtension(
      issuer?.extensions.subjectKeyIdentifier === undefined
        ? keyIdentifier(issuerKey)
        : Buffer.from(issuer.extensions.subjectKeyIdentifier, "hex"),
    ),
  );
  if (spec.crlUris !== undefined && spec.crlUris.length > 0) {
    extensions.push(crlDistributionPointsExtension(spec.crlUris));
  }
  if (spec.ocspUris !== undefined && spec.ocspUris.length > 0) extensions.push(ocspAccessExtension(spec.ocspUris));
  if (spec.ocspNoCheck) extensions.push(ocspNoCheckExtension());
  for (const { oid, critical, value } of spec.otherExtensions ?? []) {
    extensions.push(new pkijs.Extension({ extnID: oid, critical, extnValue: new Uint8Array(value).buffer }));
  }
  const certificate = new pkijs.Certificate({
    version: 2, // X.509 v3
    serialNumber: unsignedInteger(spec.serialNumber ?? randomSerialNumber()),
    signature: signatureAlgorithmOf(spec.issuer.privateKey),
    issuer: nameFromDer(issuer?.subjectDer ?? subject),
    notBefore: time(spec.notBefore),
    notAfter: time(spec.notAfter),
    subject: nameFromDer(subject),
    subjectPublicKeyInfo: new pkijs.PublicKeyInfo({ schema: block(publicKeyDer(spec.publicKey)) }),
    extensions,
  });
  return seal(certificate.encodeTBS(), spec.issuer.privateKey);
}

/** A certificate as the verifier and the authority need it: native object for the arithmetic, fields for the rules. */
export type ParsedCertificate = Readonly<{
  der: Uint8Array;
  x509: X509Certificate;
  publicKey: KeyObject;
  /** Lower-case hexadecimal without leading zeros. */
  serialNumber: string;
  subjectDer: Uint8Array;
  issuerDer: Uint8Array;
  selfIssued: boolean;
  notBefore: Date;
  notAfter: Date;
  signatureOid: string;
  extensions: Readonly<ExtensionValues>;
}>;

/** A deployment has some dozens of entities and authorities, which come again with every connection and every signature. */
const MAX_REMEMBERED = 256;
const remembered = new Map<string, ParsedCertificate>();

/**
 * What it says, not whether it is to be believed. The same octets give the same object, which nobody may change.
 * @throws PkiError malformed_certificate, unsupported_key
 */
export function parseCertificate(der: Uint8Array): ParsedCertificate {
  const octets = Buffer.from(der.buffer, der.byteOffset, der.byteLength).toString("latin1");
  const parsed = remembered.get(octets) ?? parse(der);
  remembered.delete(octets);
  remembered.set(octets, parsed);
  for (const oldest of remembered.keys()) {
    if (remembered.size <= MAX_REMEMBERED) break;
    remembered.delete(oldest);
  }
  return parsed;
}

function parse(der: Uint8Array): ParsedCertificate {
  const code = "malformed_certificate";
  const certificate = parseAs(code, () => new pkijs.Certificate({ schema: decodeDer(der, code) }));
  const x509 = parseAs(code, () => new X509Certificate(der));
  const subjectDer = nameDer(certificate.subject);
  const issuerDer = nameDer(certificate.issuer);
  let publicKey: KeyObject;
  try {
    publicKey = x509.publicKey;
  } catch (error) {
    throw new PkiError("unsupported_key", "the certificate's key does not parse", { cause: error });
  }
  return {
    der: new Uint8Array(der),
    x509,
    publicKey,
    serialNumber: serialHex(certificate.serialNumber),
    subjectDer,
    issuerDer,
    selfIssued: Buffer.compare(subjectDer, issuerDer) === 0,
    notBefore: certificate.notBefore.value,
    notAfter: certificate.notAfter.value,
    signatureOid: certificate.signatureAlgorithm.algorithmId,
    extensions: readExtensions(certificate.extensions ?? [], code),
  };
}
