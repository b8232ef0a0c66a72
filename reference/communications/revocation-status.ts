// Whether a certificate that passed the handshake still stands: expiry and revocation, looked at again on every call, since a connection
// may outlive its certificate (clause 7.2.5).
import { type ParsedCertificate, parseCertificate } from "../../certs/certificate.ts";
import { fromPem } from "../../certs/der.ts";
import { RevocationList } from "../../certs/revocation-list.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { refusal } from "./refusal.ts";
import type { TlsCredentials, TrustOnly } from "./tls-credentials.ts";

/** What is known about one certificate path, in the form that a call can afford to check. */
export interface Standing {
  /** Milliseconds since the epoch: the narrowest validity on the path. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly revoked: boolean;
  /** When the first revocation list that vouches for the path goes out of date; Infinity where revocation is not checked. */
  readonly vouchedUntil: number;
  /** False where an authority on the path came with the handshake only, so that whether a later list revokes it cannot be told. */
  readonly complete: boolean;
}

/** What CERTIFICATE_REVOKED concerns where nobody says that the certificate was revoked, but nobody vouches for it either. */
export const LIST_OUT_OF_DATE = "revocation list out of date";

/** @throws ConnectError CERTIFICATE_EXPIRED, CERTIFICATE_REVOKED */
export function assertStanding(standing: Standing, now: number): void {
  if (now > standing.notAfter || now < standing.notBefore) throw refusal(ErrorReason.CERTIFICATE_EXPIRED);
  if (standing.revoked) throw refusal(ErrorReason.CERTIFICATE_REVOKED);
  if (now > standing.vouchedUntil) throw refusal(ErrorReason.CERTIFICATE_REVOKED, LIST_OUT_OF_DATE);
}

/** The authorities and revocation lists of one set of credentials. */
export class RevocationStatus {
  readonly #authorities: readonly ParsedCertificate[];
  readonly #lists: readonly RevocationList[];

  /** @throws PkiError where an authority or a list does not parse */
  constructor(credentials: TlsCredentials | TrustOnly) {
    const { authorities, revocationLists = [] } = credentials;
    // Peers of the same network mostly share the own intermediates.
    const own = "certificateChain" in credentials ? fromPem("CERTIFICATE", credentials.certificateChain).slice(1) : [];
    this.#authorities = [...authorities.flatMap((pem) => fromPem("CERTIFICATE", pem)), ...own].map((der) =>
      parseCertificate(der),
    );
    this.#lists = revocationLists.flatMap((pem) => fromPem("X509 CRL", pem)).map((der) => new RevocationList(der));
  }

  /** How the path of an end-entity certificate stands by these lists. TLS has verified the path itself. */
  standingOf(der: Uint8Array): Standing {
    const { path, complete } = this.#pathOf(parseCertificate(der));
    const lists = this.#lists.length === 0 ? [] : path.map((certificate) => this.#listFor(certificate));
    return {
      notBefore: Math.max(...path.map(({ notBefore }) => notBefore.getTime())),
      notAfter: Math.min(...path.map(({ notAfter }) => notAfter.getTime())),
      revoked: path.some((certificate, level) => lists[level]?.revokedAt(certificate.serialNumber) !== undefined),
      vouchedUntil: Math.min(
        Number.POSITIVE_INFINITY,
        // A level without a list is not vouched for at all.
        ...lists.map((list) => (list === undefined ? 0 : (list.nextUpdate?.getTime() ?? Number.POSITIVE_INFINITY))),
      ),
      complete,
    };
  }

  /** From the end entity up to, without, the root. Node tells the peer's own certificate only; the rest comes from the store. */
  #pathOf(endEntity: ParsedCertificate): { readonly path: ParsedCertificate[]; readonly complete: boolean } {
    const path: ParsedCertificate[] = [];
    let next: ParsedCertificate | undefined = endEntity;
    while (next !== undefined && !next.selfIssued && path.length < 8) {
      const certificate: ParsedCertificate = next;
      path.push(certificate);
      next = this.#authorities.find((authority) => isIssuedBy(certificate, authority));
    }
    return {
      path: path.length === 0 ? [endEntity] : path,
      complete: this.#lists.length === 0 || next?.selfIssued === true,
    };
  }

  #listFor(certificate: ParsedCertificate): RevocationList | undefined {
    const named = this.#lists.filter(({ issuerDer }) => Buffer.compare(issuerDer, certificate.issuerDer) === 0);
    // Of two lists of one issuer the newer counts.
    return named.sort((left, right) => right.thisUpdate.getTime() - left.thisUpdate.getTime())[0];
  }
}

function isIssuedBy({ x509, issuerDer }: ParsedCertificate, authority: ParsedCertificate): boolean {
  return Buffer.compare(issuerDer, authority.subjectDer) === 0 && x509.verify(authority.publicKey);
}
