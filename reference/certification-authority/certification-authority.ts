// Certification authority (CA, 3.1.3, clause 6.2.1, Annex A): enrols, issues, renews and revokes over the two-level PKI of the deployment.
import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { Authority, IssuedEntry } from "../../certs/authority.ts";
import { fingerprintOf, parseIdentity } from "../../certs/identity.ts";
import type { RevocationReason } from "../../certs/issuance-log.ts";
import type { Pki } from "../../certs/pki.ts";
import { PkiError, type PkiErrorCode } from "../../certs/pki-error.ts";
import { grantedSubject } from "../../certs/profile.ts";
import {
  CertificationAuthorityService,
  CreateEnrolmentResponseSchema,
  GetCertificationPathResponseSchema,
  GetRevocationListsResponseSchema,
  IssueCertificateResponseSchema,
  RevocationReason as Reason,
  RevokeCertificateResponseSchema,
  RevokeIdentityResponseSchema,
} from "../../gen/x1410/v1/certification_authority_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { type Peer, peerKey } from "../communications/peer.ts";
import { refusal } from "../communications/refusal.ts";
import { implement, type Registration } from "../communications/service.ts";
import type { Enrolled, Enrolments } from "./enrolment.ts";

export interface CertificationAuthorityDependencies {
  readonly pki: Pki;
  readonly enrolments: Enrolments;
}

const reasons: Readonly<Record<Reason, RevocationReason>> = {
  [Reason.UNSPECIFIED]: "unspecified",
  [Reason.KEY_COMPROMISE]: "keyCompromise",
  [Reason.AFFILIATION_CHANGED]: "affiliationChanged",
  [Reason.SUPERSEDED]: "superseded",
  [Reason.CESSATION_OF_OPERATION]: "cessationOfOperation",
};

/** How the PKI's refusals of a request read on the wire. All others are faults of the authority. */
const refusals: Readonly<Partial<Record<PkiErrorCode, ErrorReason>>> = {
  malformed_request: ErrorReason.CSR_INVALID,
  bad_proof_of_possession: ErrorReason.CSR_INVALID,
  ca_true_requested: ErrorReason.CSR_INVALID,
  forbidden_extended_key_usage: ErrorReason.CSR_INVALID,
  malformed_key: ErrorReason.CSR_INVALID,
  weak_signature: ErrorReason.CSR_INVALID,
  unsupported_algorithm: ErrorReason.CSR_INVALID,
  weak_key: ErrorReason.CSR_WEAK_KEY,
  unsupported_key: ErrorReason.CSR_WEAK_KEY,
  foreign_subject_alt_name: ErrorReason.CSR_IDENTITY_MISMATCH,
  wildcard_subject_alt_name: ErrorReason.CSR_IDENTITY_MISMATCH,
  // Of the certificate that asks for its renewal.
  revoked: ErrorReason.CERTIFICATE_REVOKED,
  expired: ErrorReason.CERTIFICATE_EXPIRED,
  unknown_certificate: ErrorReason.ENROLMENT_INVALID,
};

export function createCertificationAuthority({
  pki,
  enrolments,
}: CertificationAuthorityDependencies): Registration<typeof CertificationAuthorityService> {
  const authorities: readonly Authority[] = [pki.intermediate, pki.root];
  const revocationLists = () => [pki.root.crl().der, pki.intermediate.crl().der].map(bytes);

  const issue = (csr: Uint8Array, enrolled: Enrolled): string =>
    asRefusal(() => pki.intermediate.issue(csr, grantOf(enrolled)).fingerprint);

  const renew = (csr: Uint8Array, { certificate }: Peer): string => {
    if (certificate === undefined) throw refusal(ErrorReason.ENROLMENT_INVALID);
    return asRefusal(() => pki.intermediate.renew(csr, certificate).fingerprint);
  };

  /** To a holder, another's certificate is the same as none. */
  const findRevocable = (fingerprint: string, { identity }: Peer): { authority: Authority; entry: IssuedEntry } => {
    const operator = parseIdentity(identity)?.role === "operator";
    for (const authority of authorities) {
      const entry = authority.find(fingerprint);
      if (entry !== undefined && (operator || entry.identity === identity)) return { authority, entry };
    }
    throw refusal(ErrorReason.CERTIFICATE_NOT_FOUND, fingerprint);
  };

  /** Undefined where nothing was ever issued to the identity. */
  const revokeAll = (identity: string, reason?: RevocationReason): IssuedEntry[] | undefined => {
    try {
      return pki.intermediate.revokeIdentity(identity, reason);
    } catch (cause) {
      if (cause instanceof PkiError && cause.code === "unknown_certificate") return undefined;
      throw cause;
    }
  };

  return implement(CertificationAuthorityService, {
    async createEnrolment({ identity, hosts }) {
      const enrolled = { identity, hosts };
      assertGrantable(enrolled);
      const { secret, expiresAt } = await enrolments.prepare(enrolled);
      return create(CreateEnrolmentResponseSchema, {
        secret,
        expiresAt: timestampFromDate(expiresAt),
        trustAnchorSha256: new Uint8Array(Buffer.from(fingerprintOf(pki.root.certificate.der), "hex")),
      });
    },

    async issueCertificate({ csr, secret }, context) {
      const peer = context.values.get(peerKey);
      const fingerprint =
        secret === ""
          ? await enrolments.renew(peer.fingerprint, csr, () => renew(csr, peer))
          : await enrolments.use(secret, csr, (enrolled) => issue(csr, enrolled));
      const issued = pki.intermediate.find(fingerprint);
      if (issued === undefined) throw new Error(`certificate ${fingerprint} is not in the issuance log`);
      return create(IssueCertificateResponseSchema, {
        certificate: { certificates: [bytes(Buffer.from(issued.certificate, "base64")), ...intermediatesOf(pki)] },
      });
    },

    getCertificationPath() {
      return create(GetCertificationPathResponseSchema, {
        intermediates: intermediatesOf(pki),
        trustAnchor: bytes(pki.root.certificate.der),
      });
    },

    getRevocationLists() {
      return create(GetRevocationListsResponseSchema, { revocationLists: revocationLists() });
    },

    revokeCertificate({ certificateSha256, reason }, context) {
      const fingerprint = Buffer.from(certificateSha256).toString("hex");
      const { authority, entry } = findRevocable(fingerprint, context.values.get(peerKey));
      if (entry.revocation === undefined) authority.revoke(entry.serialNumber, reasons[reason]);
      return create(RevokeCertificateResponseSchema, { revocationLists: revocationLists() });
    },

    async revokeIdentity({ identity, reason }) {
      // First: a secret that is used meanwhile has its certificate by then, and that is revoked with the others.
      const cancelled = await enrolments.cancel(identity);
      const entries = revokeAll(identity, reasons[reason]);
      if (entries === undefined && cancelled === 0) throw refusal(ErrorReason.CERTIFICATE_NOT_FOUND, "identity");
      return create(RevokeIdentityResponseSchema, {
        serialNumbers: (entries ?? []).map(({ serialNumber }) => serialNumber),
        revocationLists: revocationLists(),
      });
    },
  });
}

function intermediatesOf(pki: Pki): Uint8Array<ArrayBuffer>[] {
  return pki.intermediates.map(bytes);
}

function grantOf({ identity, hosts }: Enrolled) {
  const role = parseIdentity(identity)?.role;
  if (role === undefined) throw refusal(ErrorReason.REQUEST_INVALID, "identity");
  return { role, identity, dnsNames: hosts };
}

/** What could never be issued is refused when it is enrolled, not to the enrollee later. */
function assertGrantable(enrolled: Enrolled): void {
  try {
    grantedSubject(grantOf(enrolled));
  } catch (cause) {
    if (cause instanceof PkiError) throw refusal(ErrorReason.REQUEST_INVALID, "hosts");
    throw cause;
  }
}

function asRefusal<T>(act: () => T): T {
  try {
    return act();
  } catch (cause) {
    const reason = cause instanceof PkiError ? refusals[cause.code] : undefined;
    // The code says which check failed; it holds no name and no secret.
    if (cause instanceof PkiError && reason !== undefined) throw refusal(reason, cause.code);
    throw cause;
  }
}

/** In a buffer of its own, as messages have their bytes. */
function bytes(der: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(der);
}
