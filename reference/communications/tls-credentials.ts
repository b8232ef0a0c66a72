// What an entity shows and whom it trusts on a TLS connection (clause 7.2.5, AAC1, AAC2).
import { constants } from "node:crypto";
import type { SecureContextOptions, SecureVersion } from "node:tls";

/** All PEM. Immutable: a change is a new object, handed to `reload`. */
export interface TlsCredentials {
  /** Private key, PKCS#8. */
  readonly privateKey: string;
  /** Own certificate, then the intermediates up to, without, the root. */
  readonly certificateChain: string;
  /** Trusted roots, and intermediates that peers may leave out of what they send; one certificate or several in each string. */
  readonly authorities: readonly string[];
  /**
   * Revocation lists. With any given, every certificate on a peer's path needs a current list of its issuer, else the handshake fails;
   * with none, revocation is not checked.
   */
  readonly revocationLists?: readonly string[];
  /** TLSv1.3 unless 1.2 is allowed explicitly. */
  readonly minVersion?: Extract<SecureVersion, "TLSv1.3" | "TLSv1.2">;
}

/** Credentials without a key and certificate: a client before its enrolment. */
export type TrustOnly = Pick<TlsCredentials, "authorities" | "revocationLists" | "minVersion">;

/**
 * Every way to a TLS context, at start and at reload, goes through here, so that neither the lists nor the versions get lost on the way.
 * Session tickets are off: a resumed session would skip the check of chain and revocation.
 */
export function secureContextOptions(credentials: TlsCredentials | TrustOnly): SecureContextOptions {
  const { authorities, revocationLists = [], minVersion = "TLSv1.3" } = credentials;
  return {
    ...("privateKey" in credentials ? { key: credentials.privateKey, cert: credentials.certificateChain } : {}),
    ca: [...authorities],
    // Node reads one list from each string, and all certificates.
    ...(revocationLists.length === 0 ? {} : { crl: revocationLists.flatMap(separateLists) }),
    minVersion,
    maxVersion: "TLSv1.3",
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

/** The credentials inside what the certification authority hands out. */
export function credentialsOf(material: {
  readonly privateKeyPem: string;
  readonly chainPem: string;
  readonly caPem: string;
  readonly crlPem: string;
}): TlsCredentials {
  const { privateKeyPem, chainPem, caPem, crlPem } = material;
  return {
    privateKey: privateKeyPem,
    certificateChain: chainPem,
    authorities: [caPem],
    revocationLists: [crlPem],
  };
}

function separateLists(pem: string): string[] {
  return pem.match(/-----BEGIN X509 CRL-----[^-]*-----END X509 CRL-----/g) ?? [pem];
}
