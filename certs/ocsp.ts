import { createHash, type KeyObject } from "node:crypto";
import * as asn1js from "asn1js";
import * as pkijs from "pkijs";
import type { ParsedCertificate } from "./certificate.ts";
import { block, decodeDer, encodeDer, parseAs, serialHex, wholeSeconds } from "./der.ts";
import { OID } from "./extensions.ts";
import { REVOCATION_REASONS, type RevocationReason } from "./issuance-log.ts";
import { publicKeyDer } from "./key-pair.ts";
import { seal } from "./signature-algorithm.ts";

/** What an authority knows about one serial number of its own. */
export type CertificateStatus =
  | { status: "good" }
  | { status: "revoked"; revokedAt: Date; reason: RevocationReason }
  | { status: "unknown" };

export type OcspSigner = {
  /** The authority itself, or a responder that it has certified with OCSPSigning (RFC 6960 4.2.2.2). */
  certificate: ParsedCertificate;
  privateKey: KeyObject;
  /** Of its key, by which an answer names it. */
  keyIdentifier: Uint8Array;
};

/** What one answer is made of. */
export type OcspKnowledge = {
  signer: OcspSigner;
  statusOf(serialNumber: string): CertificateStatus;
  /** How many certificates are revoked: with another number an answer may be another. */
  revocations: number;
  now: Date;
};

const UNKNOWN: CertificateStatus = { status: "unknown" };

const HASHES: ReadonlyMap<string, string> = new Map([
  ["1.3.14.3.2.26", "sha1"],
  ["2.16.840.1.101.3.4.2.1", "sha256"],
  ["2.16.840.1.101.3.4.2.2", "sha384"],
  ["2.16.840.1.101.3.4.2.3", "sha512"],
]);

/** Until when a client may rely on an answer. */
const ANSWER_MS = 60 * 60 * 1000;
const MAX_REQUEST_BYTES = 16 * 1024;
/** Four questions with nonce and preferred algorithms have 60; asn1js is not to build trees of thousands for a stranger. */
const MAX_REQUEST_NODES = 256;
/** Whoever verifies a path asks about its few certificates, mostly one by one (RFC 5019 allows no second). */
const MAX_QUESTIONS = 4;
const MAX_KEPT_ANSWERS = 1024;
/** RFC 9654 2.1 */
const MAX_NONCE_BYTES = 128;
/** OCSPResponseStatus malformedRequest, RFC 6960 4.2.1 */
const MALFORMED_REQUEST = encodeDer(new asn1js.Sequence({ value: [new asn1js.Enumerated({ value: 1 })] }));

type IssuerHashes = { name: Buffer; key: Buffer };
type OcspQuestions = { certificates: pkijs.CertID[]; nonce?: pkijs.Extension };

/**
 * Answers OCSP requests (RFC 6960) about the certificates of one authority, DER to DER. Anyone may ask without being
 * known, so a request costs a bounded parse and one signature at most: the authority's hashes are computed once, and an
 * answer without a nonce is kept for half of its validity, unless somebody is revoked meanwhile (RFC 6960 2.5).
 */
export class OcspResponder {
  readonly #issuer: ReadonlyMap<string, IssuerHashes>;
  readonly #answers = new Map<string, { der: Uint8Array; producedAt: Date }>();
  #revocations = 0;

  constructor(issuer: ParsedCertificate) {
    const spki = new pkijs.PublicKeyInfo({ schema: block(publicKeyDer(issuer.publicKey)) });
    const key = spki.subjectPublicKey.valueBlock.valueHexView;
    this.#issuer = new Map(
      [...HASHES].map(([oid, hash]) => {
        const digest = (bytes: Uint8Array) => createHash(hash).update(bytes).digest();
        return [oid, { name: digest(issuer.subjectDer), key: digest(key) }];
      }),
    );
  }

  /**
   * Never throws on a bad request: the protocol has an unsigned answer for it. Certificates of other issuers are
   * "unknown". A nonce comes back as sent.
   */
  answer(requestDer: Uint8Array, knowledge: OcspKnowledge): Uint8Array {
    if (requestDer.byteLength > MAX_REQUEST_BYTES) return MALFORMED_REQUEST;
    const name = createHash("sha256").update(requestDer).digest("base64");
    const kept = this.#kept(name, knowledge);
    if (kept !== undefined) return kept;
    const questions = readRequest(requestDer);
    if (questions === undefined) return MALFORMED_REQUEST;
    const statuses = questions.certificates.map((certID) =>
      this.#asksAboutIssuer(certID) ? knowledge.statusOf(serialHex(certID.serialNumber)) : UNKNOWN,
    );
    const der = signedAnswer(questions, statuses, knowledge);
    // There is no end of nonces and of serial numbers that nobody issued: kept, they would displace what is asked again.
    if (questions.nonce === undefined && statuses.every(({ status }) => status !== "unknown")) {
      this.#keep(name, der, knowledge.now);
    }
    return der;
  }

  #kept(name: string, { revocations, now }: OcspKnowledge): Uint8Array | undefined {
    if (revocations !== this.#revocations) this.#answers.clear();
    this.#revocations = revocations;
    const answer = this.#answers.get(name);
    if (answer === undefined) return undefined;
    const age = now.getTime() - answer.producedAt.getTime();
    return age >= 0 && age < ANSWER_MS / 2 ? answer.der : undefined;
  }

  #keep(name: string, der: Uint8Array, producedAt: Date): void {
    this.#answers.delete(name);
    this.#answers.set(name, { der, producedAt });
    for (const oldest of this.#answers.keys()) {
      if (this.#answers.size <= MAX_KEPT_ANSWERS) break;
      this.#answers.delete(oldest);
    }
  }

  #asksAboutIssuer({ hashAlgorithm, issuerNameHash, issuerKeyHash }: pkijs.CertID): boolean {
    const issuer = this.#issuer.get(hashAlgorithm.algorithmId);
    return (
      issuer?.name.equals(issuerNameHash.valueBlock.valueHexView) === true &&
      issuer.key.equals(issuerKeyHash.valueBlock.valueHexView)
    );
  }
}

function signedAnswer(
  { certificates, nonce }: OcspQuestions,
  statuses: readonly CertificateStatus[],
  { signer, now }: OcspKnowledge,
): Uint8Array {
  const thisUpdate = wholeSeconds(now);
  const nextUpdate = wholeSeconds(new Date(now.getTime() + ANSWER_MS));
  const data = new pkijs.ResponseData({
    responderID: new asn1js.OctetString({ valueHex: signer.keyIdentifier }),
    producedAt: thisUpdate,
    responses: certificates.map(
      (certID, index) =>
        new pkijs.SingleResponse({
          certID,
          certStatus: statusBlock(statuses[index] ?? UNKNOWN),
          thisUpdate,
          nextUpdate,
        }),
    ),
  });
  if (nonce !== undefined) data.responseExtensions = [nonce];
  const sealed = block(seal(data.toSchema(true) as asn1js.Sequence, signer.privateKey)) as asn1js.Sequence;
  const chain = new asn1js.Sequence({ value: [block(signer.certificate.der)] });
  const basic = new asn1js.Sequence({
    value: [
      ...sealed.valueBlock.value,
      new asn1js.Constructed({ idBlock: { tagClass: 3, tagNumber: 0 }, value: [chain] }),
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

function readRequest(der: Uint8Array): OcspQuestions | undefined {
  try {
    const code = "malformed_request";
    const { tbsRequest } = parseAs(
      code,
      () => new pkijs.OCSPRequest({ schema: decodeDer(der, code, { maxNodes: MAX_REQUEST_NODES }) }),
    );
    const certificates = tbsRequest.requestList.map(({ reqCert }) => reqCert);
    if (certificates.length === 0 || certificates.length > MAX_QUESTIONS) return undefined;
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
