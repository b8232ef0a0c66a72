import { createHash, type KeyObject } from "node:crypto";
import * as asn1js from "asn1js";
import * as pkijs from "pkijs";
import { keyIdentifier, type ParsedCertificate } from "./certificate.ts";
import { block, decodeDer, encodeDer, parseAs, serialHex, wholeSeconds } from "./der.ts";
import { OID } from "./extensions.ts";
import { REVOCATION_REASONS, type RevocationReason } from "./issuance-log.ts";
import { seal } from "./signature-algorithm.ts";

/** What the responder knows about one serial number of its issuer. */
export type CertificateStatus =
  | { status: "good" }
  | { status: "revoked"; revokedAt: Date; reason: RevocationReason }
  | { status: "unknown" };

export type OcspResponder = {
  /** The authority whose certificates are asked about. */
  issuer: ParsedCertificate;
  /** The authority itself, or a responder that it has certified with OCSPSigning (RFC 6960 4.2.2.2). */
  signer: { certificate: ParsedCertificate; privateKey: KeyObject };
  statusOf(serialNumber: string): CertificateStatus;
  producedAt: Date;
  /** Until when a client may rely on the answer. */
  nextUpdate: Date;
};

const HASHES: ReadonlyMap<string, string> = new Map([
  ["1.3.14.3.2.26", "sha1"],
  ["2.16.840.1.101.3.4.2.1", "sha256"],
  ["2.16.840.1.101.3.4.2.2", "sha384"],
  ["2.16.840.1.101.3.4.2.3", "sha512"],
]);

const MAX_REQUEST_BYTES = 16 * 1024;
const MAX_REQUESTS = 100;
/** RFC 9654 2.1 */
const MAX_NONCE_BYTES = 128;
/** OCSPResponseStatus malformedRequest, RFC 6960 4.2.1 */
const MALFORMED_REQUEST = 1;

/**
 * Answers one OCSP request (RFC 6960), DER to DER. It never throws on a bad request: the protocol has an unsigned
 * answer for it. Certificates of other issuers are "unknown". A nonce comes back as sent.
 */
export function respondToOcspRequest(requestDer: Uint8Array, responder: OcspResponder): Uint8Array {
  const request = readRequest(requestDer);
  if (request === undefined) {
    return encodeDer(new asn1js.Sequence({ value: [new asn1js.Enumerated({ value: MALFORMED_REQUEST })] }));
  }
  const thisUpdate = wholeSeconds(responder.producedAt);
  const data = new pkijs.ResponseData({
    responderID: new asn1js.OctetString({ valueHex: keyIdentifier(responder.signer.certificate.publicKey) }),
    producedAt: thisUpdate,
    responses: request.certificates.map(
      (certID) =>
        new pkijs.SingleResponse({
          certID,
          certStatus: statusBlock(
            asksAbout(certID, responder.issuer)
              ? responder.statusOf(serialHex(certID.serialNumber))
              : { status: "unknown" },
          ),
          thisUpdate,
          nextUpdate: wholeSeconds(responder.nextUpdate),
        }),
    ),
  });
  if (request.nonce !== undefined) data.responseExtensions = [request.nonce];
  const sealed = block(seal(data.toSchema(true) as asn1js.Sequence, responder.signer.privateKey)) as asn1js.Sequence;
  const certificates = new asn1js.Sequence({ value: [block(responder.signer.certificate.der)] });
  const basic = new asn1js.Sequence({
    value: [
      ...sealed.valueBlock.value,
      new asn1js.Constructed({ idBlock: { tagClass: 3, tagNumber: 0 }, value: [certificates] }),
    ],
  });
  const response = new pkijs.OCSPResponse({
    responseStatus: new asn1js.Enumerated({ value: 0 }),
    responseBytes: new pkijs.ResponseBytes({
      responseType: pkijs.id_PKIX_OCSP_Basic,
      response: new asn1js.OctetString({ valueHex: encodeDer(basic) }),
    }),
  });
  return encodeDer(response.toSchema());
}

function readRequest(der: Uint8Array): { certificates: pkijs.CertID[]; nonce?: pkijs.Extension } | undefined {
  try {
    const code = "malformed_request";
    const { tbsRequest } = parseAs(
      code,
      () => new pkijs.OCSPRequest({ schema: decodeDer(der, code, { maxBytes: MAX_REQUEST_BYTES }) }),
    );
    const certificates = tbsRequest.requestList.map(({ reqCert }) => reqCert);
    if (certificates.length === 0 || certificates.length > MAX_REQUESTS) return undefined;
    const nonces = (tbsRequest.requestExtensions ?? []).filter(({ extnID }) => extnID === OID.ocspNonce);
    const [nonce] = nonces;
    if (nonce === undefined) return { certificates };
    const octets = decodeDer(nonce.extnValue.valueBlock.valueHexView, code);
    const length = octets instanceof asn1js.OctetString ? octets.valueBlock.valueHexView.byteLength : 0;
    if (nonces.length > 1 || length < 1 || length > MAX_NONCE_BYTES) return undefined;
    return { certificates, nonce };
  } catch {
    return undefined;
  }
}

function asksAbout(certID: pkijs.CertID, issuer: ParsedCertificate): boolean {
  const hash = HASHES.get(certID.hashAlgorithm.algorithmId);
  if (hash === undefined) return false;
  const spki = new pkijs.Certificate({ schema: block(issuer.der) }).subjectPublicKeyInfo;
  const digest = (bytes: Uint8Array) => createHash(hash).update(bytes).digest();
  return (
    digest(issuer.subjectDer).equals(certID.issuerNameHash.valueBlock.valueHexView) &&
    digest(spki.subjectPublicKey.valueBlock.valueHexView).equals(certID.issuerKeyHash.valueBlock.valueHexView)
  );
}

function statusBlock(status: CertificateStatus): asn1js.BaseBlock {
  switch (status.status) {
    case "good":
      return new asn1js.Primitive({ idBlock: { tagClass: 3, tagNumber: 0 } });
    case "unknown":
      return new asn1js.Primitive({ idBlock: { tagClass: 3, tagNumber: 2 } });
    case "revoked":
      return new asn1js.Constructed({
        idBlock: { tagClass: 3, tagNumber: 1 },
        value: [
          new asn1js.GeneralizedTime({ valueDate: wholeSeconds(status.revokedAt) }),
          new asn1js.Constructed({
            idBlock: { tagClass: 3, tagNumber: 0 },
            value: [new asn1js.Enumerated({ value: REVOCATION_REASONS[status.reason] })],
          }),
        ],
      });
  }
}
