// CMS SignedData (RFC 5652) in one form: one signer with its certificates, the content inside, and the signed attributes content type,
// signing time and message digest. Whatever is not byte for byte what this file would have written is refused, so that no bit of a seal is
// left that could be changed unnoticed.
import { createHash, type KeyObject } from "node:crypto";
import * as asn1js from "asn1js";
import * as pkijs from "pkijs";
import { type ParsedCertificate, parseCertificate } from "../../certs/certificate.ts";
import { decodeDer, encodeDer, time } from "../../certs/der.ts";
import { signatureAlgorithmOf, signTbs, verifyTbs } from "../../certs/signature-algorithm.ts";
import { EvidenceError } from "./evidence-error.ts";

const OID = {
  data: "1.2.840.113549.1.7.1",
  signedData: "1.2.840.113549.1.7.2",
  contentType: "1.2.840.113549.1.9.3",
  messageDigest: "1.2.840.113549.1.9.4",
  signingTime: "1.2.840.113549.1.9.5",
} as const;

export interface SealingIdentity {
  readonly privateKey: KeyObject;
  /** DER, the signer's first. */
  readonly chain: readonly Uint8Array[];
}

export interface OpenedSeal {
  readonly content: Uint8Array;
  /** As the signer states it. */
  readonly signedAt: Date;
  readonly signer: ParsedCertificate;
  /** DER of the certificates that came with it, the signer's not among them. */
  readonly others: readonly Uint8Array[];
}

/** Ed25519 goes with SHA-512 (RFC 8419, 3.1), everything else here with SHA-256. */
function digestOf(key: KeyObject): { readonly name: "sha256" | "sha512"; readonly oid: string } {
  return key.asymmetricKeyType === "ed25519"
    ? { name: "sha512", oid: "2.16.840.1.101.3.4.2.3" }
    : { name: "sha256", oid: "2.16.840.1.101.3.4.2.1" };
}

/** @throws PkiError where key or certificate do not serve; TypeError where they do not belong together */
export function seal(content: Uint8Array, { privateKey, chain }: SealingIdentity, at: Date): Uint8Array {
  const [first] = chain;
  if (first === undefined) throw new TypeError("the chain is empty");
  const signer = parseCertificate(first);
  if (!signer.x509.checkPrivateKey(privateKey))
    throw new TypeError("the key is not that of the chain's first certificate");
  const attributes = attributesOf(content, signer.publicKey, at);
  return encoded(content, signer, chain, attributes, signTbs(encodeDer(setOf(attributes)), privateKey));
}

/** @throws EvidenceError seal_malformed, seal_broken */
export function open(der: Uint8Array): OpenedSeal {
  try {
    return opened(der);
  } catch (cause) {
    // Whatever the bytes of strangers make of the parsers: an algorithm that nobody knows, a time that cannot be written.
    if (cause instanceof EvidenceError) throw cause;
    throw new EvidenceError("seal_broken", (cause as Error).message, { cause });
  }
}

function opened(der: Uint8Array): OpenedSeal {
  const { content, certificates, signedAt, issuer, serialNumber, signature } = parsed(der);
  const signer = certificates.find(
    (one) => sameBytes(one.issuerDer, issuer) && one.x509.serialNumber.toLowerCase() === serialNumber,
  );
  if (signer === undefined) throw new EvidenceError("seal_malformed", "it lacks the signer's certificate");
  const attributes = attributesOf(content, signer.publicKey, signedAt);
  const chain = certificates.map((one) => one.der);
  if (!sameBytes(encoded(content, signer, chain, attributes, signature), der))
    throw new EvidenceError("seal_broken", "its bytes do not follow from its content");
  const algorithm = signatureAlgorithmOf(signer.publicKey).algorithmId;
  const value = new asn1js.BitString({ valueHex: signature });
  if (!verifyTbs(encodeDer(setOf(attributes)), algorithm, value, signer.publicKey))
    throw new EvidenceError("seal_broken", "the signature does not verify");
  return { content, signedAt, signer, others: chain.filter((one) => one !== signer.der) };
}

function parsed(der: Uint8Array) {
  try {
    const info = new pkijs.ContentInfo({ schema: decodeDer(der, "malformed_certificate") });
    const data = new pkijs.SignedData({ schema: info.content });
    const [signerInfo] = data.signerInfos;
    const stated = signerInfo?.signedAttrs?.attributes.find(({ type }) => type === OID.signingTime)?.values[0];
    const { sid } = signerInfo ?? {};
    const octets = data.encapContentInfo.eContent?.valueBlock.valueHexView;
    if (signerInfo === undefined || !(sid instanceof pkijs.IssuerAndSerialNumber) || octets === undefined)
      throw new TypeError("no signer, or no content");
    if (!(stated instanceof asn1js.UTCTime)) throw new TypeError("no signing time");
    const certificates = (data.certificates ?? []).map((one) =>
      parseCertificate(encodeDer((one as pkijs.Certificate).toSchema(false))),
    );
    return {
      content: new Uint8Array(octets),
      certificates,
      signedAt: stated.toDate(),
      issuer: encodeDer(sid.issuer.toSchema()),
      serialNumber: Buffer.from(sid.serialNumber.valueBlock.valueHexView)
        .toString("hex")
        .replace(/^00(?=.)/, ""),
      signature: new Uint8Array(signerInfo.signature.valueBlock.valueHexView),
    };
  } catch (cause) {
    throw new EvidenceError("seal_malformed", (cause as Error).message, { cause });
  }
}

function encoded(
  content: Uint8Array,
  signer: ParsedCertificate,
  chain: readonly Uint8Array[],
  attributes: readonly pkijs.Attribute[],
  signature: Uint8Array,
): Uint8Array {
  const certificate = certificateOf(signer.der);
  const digest = () => new pkijs.AlgorithmIdentifier({ algorithmId: digestOf(signer.publicKey).oid });
  const contentInfo = new pkijs.EncapsulatedContentInfo({ eContentType: OID.data });
  // Given to the constructor, it would be cut into pieces, which DER does not allow.
  contentInfo.eContent = new asn1js.OctetString({ valueHex: content });
  const data = new pkijs.SignedData({
    version: 1,
    digestAlgorithms: [digest()],
    encapContentInfo: contentInfo,
    certificates: chain.toSorted(Buffer.compare).map(certificateOf),
    signerInfos: [
      new pkijs.SignerInfo({
        version: 1,
        sid: new pkijs.IssuerAndSerialNumber({ issuer: certificate.issuer, serialNumber: certificate.serialNumber }),
        digestAlgorithm: digest(),
        signedAttrs: new pkijs.SignedAndUnsignedAttributes({ type: 0, attributes: [...attributes] }),
        signatureAlgorithm: signatureAlgorithmOf(signer.publicKey),
        signature: new asn1js.OctetString({ valueHex: signature }),
      }),
    ],
  });
  return encodeDer(new pkijs.ContentInfo({ contentType: OID.signedData, content: data.toSchema(true) }).toSchema());
}

/** In the order of a DER SET OF. */
function attributesOf(content: Uint8Array, key: KeyObject, at: Date): pkijs.Attribute[] {
  const digest = createHash(digestOf(key).name).update(content).digest();
  const attribute = (type: string, value: asn1js.BaseBlock) => new pkijs.Attribute({ type, values: [value] });
  return [
    attribute(OID.contentType, new asn1js.ObjectIdentifier({ value: OID.data })),
    attribute(OID.signingTime, time(at).toSchema()),
    attribute(OID.messageDigest, new asn1js.OctetString({ valueHex: digest })),
  ].toSorted((left, right) => Buffer.compare(encodeDer(left.toSchema()), encodeDer(right.toSchema())));
}

/** What is signed: the attributes under the tag of a SET, not the implicit one that they have in the structure (RFC 5652, 5.4). */
function setOf(attributes: readonly pkijs.Attribute[]): asn1js.Set {
  return new asn1js.Set({ value: attributes.map((attribute) => attribute.toSchema()) });
}

function certificateOf(der: Uint8Array): pkijs.Certificate {
  return new pkijs.Certificate({ schema: decodeDer(der, "malformed_certificate") });
}

function sameBytes(left: Uint8Array, right: Uint8Array): boolean {
  return Buffer.compare(left, right) === 0;
}
