import type { KeyObject } from "node:crypto";
import { join } from "node:path";
import {
  buildCertificate,
  type CertificateSpec,
  keyIdentifier,
  type ParsedCertificate,
  parseCertificate,
  randomSerialNumber,
} from "./certificate.ts";
import { verifyCertificationRequest } from "./certification-request.ts";
import { derOf, normalizeSerial, toPem, wholeSeconds } from "./der.ts";
import type { DistinguishedName } from "./distinguished-name.ts";
import { PRIVATE_FILE, PUBLIC_FILE, readIfPresent, writeDurably } from "./durable-file.ts";
import { fingerprintOf, identityOf, parseIdentity } from "./identity.ts";
import {
  type IssuanceLog,
  type IssuedRecord,
  isRevocationReason,
  type RevocationReason,
  type RevocationRecord,
} from "./issuance-log.ts";
import { assertAcceptableKey, generateKeyPair, type KeyPolicy, parsePrivateKey, privateKeyPem } from "./key-pair.ts";
import { type CertificateStatus, OcspResponder, type OcspSigner } from "./ocsp.ts";
import { PkiError } from "./pki-error.ts";
import { assertWithinGrant, type Grant, grantedSubject } from "./profile.ts";
import { buildRevocationList, RevocationList } from "./revocation-list.ts";

const DAY_MS = 24 * 60 * 60 * 1000;
/** Validity starts this much earlier, for peers whose clock is behind (the profile's skew). */
export const CLOCK_SKEW_MS = 60_000;
const RESPONDER_VALIDITY_MS = 30 * DAY_MS;
const RESPONDER_FILES = { key: "ocsp-key.pem", certificate: "ocsp-certificate.pem" } as const;

export type AuthorityOptions = {
  /** Clock; every date on what is issued comes from it. */
  now?: () => Date;
  /** Lifetime of end-entity certificates. Default 90 days; never beyond the authority's own. */
  leafValidityMs?: number;
  /** Time from thisUpdate to nextUpdate. Default 7 days; a new list is made at half of it. */
  crlValidityMs?: number;
  /** Where certificates issued here say that the revocation list is (CRL distribution point). */
  crlUris?: readonly string[];
  /** Where certificates issued here say that the OCSP responder is (authority information access). */
  ocspUris?: readonly string[];
  keyPolicy?: KeyPolicy;
};

export type AuthorityMaterial = {
  directory: string;
  privateKey: KeyObject;
  certificate: ParsedCertificate;
  /** DER of the authorities above, nearest first, the root last; empty for a root. */
  issuers: readonly Uint8Array[];
  log: IssuanceLog;
};

export type IssuedCertificate = {
  der: Uint8Array;
  pem: string;
  /** Lower-case hexadecimal. */
  serialNumber: string;
  /** SHA-256 of the DER, lower-case hexadecimal. */
  fingerprint: string;
  notAfter: Date;
};

export type IssuedEntry = IssuedRecord & { revocation?: RevocationRecord };

/**
 * One certification authority (catalogue U1): issues from requests, revokes, signs revocation lists, answers OCSP.
 * Its key and memory live in a directory; see `openOrCreateAuthority`. Nothing is handed out before it is durable.
 */
export class Authority {
  readonly certificate: ParsedCertificate;
  readonly issuers: readonly Uint8Array[];
  readonly directory: string;
  readonly #privateKey: KeyObject;
  readonly #log: IssuanceLog;
  readonly #options: AuthorityOptions;
  readonly #now: () => Date;
  #list: RevocationList | undefined;
  #ocspSigner: OcspSigner | undefined;
  readonly #ocspResponder: OcspResponder;

  constructor(material: AuthorityMaterial, options: AuthorityOptions) {
    this.directory = material.directory;
    this.certificate = material.certificate;
    this.issuers = material.issuers;
    this.#privateKey = material.privateKey;
    this.#log = material.log;
    this.#options = options;
    this.#now = options.now ?? (() => new Date());
    this.#ocspResponder = new OcspResponder(material.certificate);
  }

  get pem(): string {
    return toPem("CERTIFICATE", this.certificate.der);
  }

  /**
   * Issues a certificate for what is granted, to whoever proves to hold the key of the request (DER or PEM).
   * @throws PkiError of the request, key, grant and storage groups
   */
  issue(request: Uint8Array | string, grant: Grant, options: { validityMs?: number } = {}): IssuedCertificate {
    const granted = grantedSubject(grant);
    const verified = verifyCertificationRequest(request);
    assertAcceptableKey(verified.publicKey, this.#options.keyPolicy);
    assertWithinGrant(verified, granted);
    const validityMs = options.validityMs ?? this.#options.leafValidityMs ?? 90 * DAY_MS;
    return this.#sign(
      {
        subject: { organization: "X.1410", commonName: granted.name.slice(0, 64) },
        publicKey: verified.publicKey,
        basicConstraints: { ca: false },
        keyUsage: ["digitalSignature"],
        extendedKeyUsage: granted.profile.extendedKeyUsage,
        subjectAltNames: granted.subjectAltNames,
      },
      { profile: granted.profile.role, validityMs, identity: grant.identity },
    );
  }

  /**
   * Issues a successor with the same names as a certificate of this authority that is still good, for the same or a
   * new key. That the sender holds the current key is for the caller to see to: it comes over mutual TLS.
   * @throws PkiError as `issue`, and unknown_certificate, revoked, expired
   */
  renew(request: Uint8Array | string, current: Uint8Array | string): IssuedCertificate {
    const certificate = parseCertificate(derOf("CERTIFICATE", current, "malformed_certificate"));
    this.#log.refresh();
    const record = this.#log.issued(fingerprintOf(certificate.der));
    const identity = identityOf(certificate.x509);
    const role = identity === undefined ? undefined : parseIdentity(identity)?.role;
    if (record === undefined || identity === undefined || role === undefined) {
      throw new PkiError("unknown_certificate");
    }
    if (this.#log.revocation(record.serialNumber) !== undefined) throw new PkiError("revoked", record.serialNumber);
    if (certificate.notAfter < this.#now()) throw new PkiError("expired", `since ${record.notAfter}`);
    const dnsNames = (certificate.extensions.subjectAltNames ?? [])
      .filter(({ type }) => type === "dns" || type === "ip")
      .map(({ value }) => value);
    return this.issue(request, { role, identity, dnsNames });
  }

  /** Certifies the key of an authority below this one. @throws PkiError path_length_forbids_authority */
  certifyAuthority(spec: {
    publicKey: KeyObject;
    subject: DistinguishedName;
    pathLength?: number;
    validityMs: number;
  }): IssuedCertificate {
    const own = this.certificate.extensions.basicConstraints?.pathLength ?? Number.POSITIVE_INFINITY;
    const pathLength = spec.pathLength ?? (Number.isFinite(own) ? own - 1 : 0);
    if (pathLength < 0 || pathLength >= own) throw new PkiError("path_length_forbids_authority", `it is ${own}`);
    assertAcceptableKey(spec.publicKey, this.#options.keyPolicy);
    return this.#sign(
      {
        subject: spec.subject,
        publicKey: spec.publicKey,
        basicConstraints: { ca: true, pathLength },
        keyUsage: ["keyCertSign", "cRLSign"],
      },
      { profile: "authority", validityMs: spec.validityMs },
    );
  }

  /**
   * Revokes by serial number or SHA-256 fingerprint, both hexadecimal with or without colons.
   * @throws PkiError unknown_certificate, already_revoked, unknown_reason
   */
  revoke(selector: string, reason: RevocationReason = "unspecified"): RevocationRecord {
    if (!isRevocationReason(reason)) throw new PkiError("unknown_reason", JSON.stringify(reason));
    const record = this.find(selector);
    if (record === undefined) throw new PkiError("unknown_certificate", JSON.stringify(selector));
    if (record.revocation !== undefined) {
      throw new PkiError("already_revoked", `since ${record.revocation.revokedAt}`);
    }
    return this.#revoke(record, reason);
  }

  /**
   * Revokes every certificate of an identity that has not expired: whoever has its key may have had it renewed meanwhile.
   * @returns all that have not expired, those that were revoked before included
   * @throws PkiError unknown_certificate where none was ever issued to it, unknown_reason
   */
  revokeIdentity(identity: string, reason: RevocationReason = "unspecified"): IssuedEntry[] {
    if (!isRevocationReason(reason)) throw new PkiError("unknown_reason", JSON.stringify(reason));
    const issued = () => this.list().filter((entry) => entry.identity === identity);
    if (issued().length === 0) throw new PkiError("unknown_certificate", `none of ${identity}`);
    for (;;) {
      const standing = issued().filter(
        ({ notAfter }) => this.#now().getTime() <= new Date(notAfter).getTime() + CLOCK_SKEW_MS,
      );
      const good = standing.filter(({ revocation }) => revocation === undefined);
      if (good.length === 0) return standing;
      for (const entry of good) this.#revoke(entry, reason);
      // Another process may have renewed one in between: looked at again.
    }
  }

  #revoke({ serialNumber }: IssuedRecord, reason: RevocationReason): RevocationRecord {
    const revokedAt = wholeSeconds(this.#now()).toISOString();
    this.#log.appendRevoked({ serialNumber, reason, revokedAt });
    return { serialNumber, reason, revokedAt };
  }

  /**
   * The current revocation list: a new one after every revocation and at half of the validity, else the one at hand.
   * It also lies in the directory as crl.der and crl.pem.
   */
  crl(): RevocationList {
    this.#log.refresh();
    const latest = this.#log.latestCrl();
    const now = this.#now();
    const validityMs = this.#options.crlValidityMs ?? 7 * DAY_MS;
    if (this.#list?.number !== latest.number) this.#list = this.#storedList(latest.number);
    if (
      this.#list !== undefined &&
      latest.revocations === this.#log.revocationCount &&
      now.getTime() < this.#list.thisUpdate.getTime() + CLOCK_SKEW_MS + validityMs / 2 &&
      now >= this.#list.thisUpdate
    ) {
      return this.#list;
    }
    const { number, revocations } = this.#log.nextCrlNumber();
    const der = buildRevocationList({
      issuer: this.certificate,
      privateKey: this.#privateKey,
      number,
      thisUpdate: new Date(now.getTime() - CLOCK_SKEW_MS),
      nextUpdate: new Date(now.getTime() + validityMs),
      entries: revocations.map((entry) => ({ ...entry, revokedAt: new Date(entry.revokedAt) })),
    });
    writeDurably(join(this.directory, "crl.der"), der, PUBLIC_FILE);
    writeDurably(join(this.directory, "crl.pem"), toPem("X509 CRL", der), PUBLIC_FILE);
    this.#list = new RevocationList(der);
    return this.#list;
  }

  get crlPem(): string {
    return toPem("X509 CRL", this.crl().der);
  }

  /** The state of a serial number, as OCSP tells it. */
  statusOf(serialNumber: string): CertificateStatus {
    this.#log.refresh();
    return this.#statusOf(normalizeSerial(serialNumber));
  }

  #statusOf(serial: string): CertificateStatus {
    const revocation = this.#log.revocation(serial);
    if (revocation !== undefined) {
      return { status: "revoked", reason: revocation.reason, revokedAt: new Date(revocation.revokedAt) };
    }
    return this.#log.issued(serial) === undefined ? { status: "unknown" } : { status: "good" };
  }

  /** One certificate of this authority, by serial number or fingerprint. */
  find(selector: string): IssuedEntry | undefined {
    this.#log.refresh();
    const hex = selector.replaceAll(":", "").toLowerCase();
    const record = this.#log.issued(hex.length === 64 ? hex : normalizeSerial(hex));
    return record === undefined ? undefined : this.#entry(record);
  }

  /** All certificates of this authority, in the order of issue. */
  list(): IssuedEntry[] {
    this.#log.refresh();
    return this.#log.allIssued().map((record) => this.#entry(record));
  }

  /** Answers an OCSP request about this authority's certificates, signed by a responder certified for nothing else. */
  ocsp(request: Uint8Array): Uint8Array {
    const signer = this.#currentOcspSigner();
    this.#log.refresh();
    return this.#ocspResponder.answer(request, {
      signer,
      statusOf: (serialNumber) => this.#statusOf(serialNumber),
      revocations: this.#log.revocationCount,
      now: this.#now(),
    });
  }

  #entry(record: IssuedRecord): IssuedEntry {
    const revocation = this.#log.revocation(record.serialNumber);
    return revocation === undefined ? record : { ...record, revocation };
  }

  #sign(
    spec: Omit<CertificateSpec, "issuer" | "notBefore" | "notAfter" | "serialNumber">,
    { profile, validityMs, identity }: { profile: string; validityMs: number; identity?: string },
  ): IssuedCertificate {
    const now = this.#now();
    const own = this.certificate;
    if (now < own.notBefore || now > own.notAfter) {
      throw new PkiError("authority_expired", `valid ${own.notBefore.toISOString()} to ${own.notAfter.toISOString()}`);
    }
    const notBefore = wholeSeconds(new Date(Math.max(now.getTime() - CLOCK_SKEW_MS, own.notBefore.getTime())));
    const notAfter = wholeSeconds(new Date(Math.min(now.getTime() + validityMs, own.notAfter.getTime())));
    const serialNumber = randomSerialNumber();
    const der = buildCertificate({
      ...spec,
      issuer: { privateKey: this.#privateKey, certificate: own.der },
      notBefore,
      notAfter,
      serialNumber,
      ...(this.#options.crlUris === undefined ? {} : { crlUris: this.#options.crlUris }),
      ...(this.#options.ocspUris === undefined ? {} : { ocspUris: this.#options.ocspUris }),
    });
    const fingerprint = fingerprintOf(der);
    this.#log.appendIssued({
      serialNumber,
      fingerprint,
      ...(identity === undefined ? {} : { identity }),
      profile,
      notBefore: notBefore.toISOString(),
      notAfter: notAfter.toISOString(),
      issuedAt: now.toISOString(),
      certificate: Buffer.from(der).toString("base64"),
    });
    return { der, pem: toPem("CERTIFICATE", der), serialNumber, fingerprint, notAfter };
  }

  #storedList(number: number): RevocationList | undefined {
    const der = readIfPresent(join(this.directory, "crl.der"));
    if (der === undefined) return undefined;
    try {
      const list = new RevocationList(der);
      if (!list.verifiedBy(this.certificate)) return undefined;
      if (list.number > number) this.#assertAnnounced(list.number);
      return list.number === number ? list : undefined;
    } catch (error) {
      // A damaged copy is no loss: the log is the memory, and the next list replaces it.
      if (error instanceof PkiError && error.code !== "corrupt_store") return undefined;
      throw error;
    }
  }

  /** Another process may have announced it meanwhile; else the log has lost that line, and may have lost a revocation. */
  #assertAnnounced(number: number): void {
    this.#log.refresh();
    if (this.#log.latestCrl().number >= number) return;
    const log = join(this.directory, "issued.jsonl");
    throw new PkiError("corrupt_store", `${log} lacks revocation list ${number}; restore it from a backup`);
  }

  #currentOcspSigner(): OcspSigner {
    const lasts = ({ certificate }: OcspSigner): boolean =>
      certificate.notAfter.getTime() - this.#now().getTime() > RESPONDER_VALIDITY_MS / 3;
    if (this.#ocspSigner === undefined || !lasts(this.#ocspSigner)) {
      const stored = this.#storedOcspSigner();
      this.#ocspSigner = stored !== undefined && lasts(stored) ? stored : this.#newOcspSigner();
    }
    return this.#ocspSigner;
  }

  #storedOcspSigner(): OcspSigner | undefined {
    const key = readIfPresent(join(this.directory, RESPONDER_FILES.key))?.toString();
    const pem = readIfPresent(join(this.directory, RESPONDER_FILES.certificate))?.toString();
    if (key === undefined || pem === undefined) return undefined;
    try {
      const certificate = parseCertificate(derOf("CERTIFICATE", pem, "malformed_certificate"));
      const privateKey = parsePrivateKey(key);
      return certificate.x509.checkPrivateKey(privateKey) ? ocspSigner(certificate, privateKey) : undefined;
    } catch (error) {
      // Like the list, the responder can always be made anew.
      if (error instanceof PkiError) return undefined;
      throw error;
    }
  }

  #newOcspSigner(): OcspSigner {
    const { privateKey, publicKey } = generateKeyPair();
    const issued = this.#sign(
      {
        subject: { organization: "X.1410", commonName: "OCSP responder" },
        publicKey,
        basicConstraints: { ca: false },
        keyUsage: ["digitalSignature"],
        extendedKeyUsage: ["OCSPSigning"],
        ocspNoCheck: true,
      },
      { profile: "ocsp-responder", validityMs: RESPONDER_VALIDITY_MS },
    );
    writeDurably(join(this.directory, RESPONDER_FILES.key), privateKeyPem(privateKey), PRIVATE_FILE);
    writeDurably(join(this.directory, RESPONDER_FILES.certificate), issued.pem, PUBLIC_FILE);
    return ocspSigner(parseCertificate(issued.der), privateKey);
  }
}

function ocspSigner(certificate: ParsedCertificate, privateKey: KeyObject): OcspSigner {
  return { certificate, privateKey, keyIdentifier: keyIdentifier(certificate.publicKey) };
}
