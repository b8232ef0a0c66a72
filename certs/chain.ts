import type { KeyObject } from "node:crypto";
import { type ParsedCertificate, parseCertificate } from "./certificate.ts";
import { EXTENDED_KEY_USAGES, type ExtendedKeyUsage, type ExtensionValues, OID } from "./extensions.ts";
import { fingerprintOf } from "./identity.ts";
import { assertAcceptableKey, type KeyPolicy } from "./key-pair.ts";
import { PkiError } from "./pki-error.ts";
import type { RevocationList } from "./revocation-list.ts";
import { assertAcceptableAlgorithm } from "./signature-algorithm.ts";

/** Signed messages come from certificates a few levels below the root; a longer path is somebody's game. */
const MAX_PATH = 8;
/** Signature checks per path search: cross-certified authorities must not multiply the work without end. */
const MAX_SIGNATURE_CHECKS = 64;
/** Peers' clocks may differ by this much (design: 60 s). */
const SKEW_MS = 60_000;

const UNDERSTOOD: ReadonlySet<string> = new Set([
  OID.basicConstraints,
  OID.keyUsage,
  OID.extendedKeyUsage,
  OID.subjectAltName,
]);

/** Extensions that narrow what a certificate is good for, and which nobody here processes: refused, critical or not. */
const NARROWING: ReadonlySet<string> = new Set([OID.nameConstraints, OID.proxyCertInfo, OID.netscapeCertType]);

export type ChainRules = {
  /** Certificates that are trusted as they are: roots, or an authority in the middle. */
  trustAnchors: readonly ParsedCertificate[];
  intermediates: readonly ParsedCertificate[];
  crls: readonly RevocationList[];
  /** The instant to judge, such as now, or the time of the block that holds an old signature. */
  at: Date;
  /**
   * The instant at which lists must be current; `at` by default. Where it is later than `at`, the past is judged: a
   * revocation counts only if it had happened by `at`.
   */
  crlsAt?: Date;
  /** By how much later than its date a revocation counts; 0 by default. For records that all must judge alike, whenever they learn of it. */
  revocationGraceMs?: number;
  /** Default true: every issuer on the path must have a current list. */
  crlsRequired?: boolean;
  requiredEku?: ExtendedKeyUsage;
  keyPolicy?: KeyPolicy;
};

/** A signer that may be believed, and until when without asking again. */
export type VerifiedCertificate = {
  /** The one SAN URI. */
  identity: string;
  publicKey: KeyObject;
  notAfter: Date;
  /** SHA-256 of the DER, lower-case hexadecimal. */
  fingerprint: string;
  serialNumber: string;
  /** From the signer to the trust anchor. */
  chain: readonly ParsedCertificate[];
  /** The verdict holds until the first certificate or list on the path runs out. */
  validUntil: Date;
};

/**
 * Verifies a certificate that signs messages (RFC 5280 clause 6, less policies, which are refused where critical, and
 * name constraints, which are refused). Native code does the signatures; the rules that pkijs's engine leaves out (path length, extended key
 * usage, key usage, a list at every level) are explicit here.
 * @throws PkiError of the path and revocation groups
 */
export function verifyCertificateChain(leafDer: Uint8Array, rules: ChainRules): VerifiedCertificate {
  const leaf = parseCertificate(leafDer);
  const identity = assertSigner(leaf, rules);
  const path = findPath(leaf, rules);
  let validUntil = leaf.notAfter;
  const until = (date: Date): void => {
    if (date < validUntil) validUntil = date;
  };
  for (const [depth, certificate] of path.entries()) {
    const issuer = path[depth + 1];
    assertCertificate(certificate, rules);
    until(certificate.notAfter);
    if (depth > 0) assertAuthority(path, depth, rules);
    if (issuer !== undefined) {
      const listEnds = assertNotRevoked(certificate, issuer, rules);
      if (listEnds !== undefined) until(listEnds);
    }
  }
  return {
    identity,
    publicKey: leaf.publicKey,
    notAfter: leaf.notAfter,
    fingerprint: fingerprintOf(leaf.der),
    serialNumber: leaf.serialNumber,
    chain: path,
    validUntil,
  };
}

/** The one URI among the names. @throws PkiError no_identity, several_identities */
function soleIdentity(extensions: ExtensionValues): string {
  const uris = (extensions.subjectAltNames ?? []).filter(({ type }) => type === "uri");
  const [uri, second] = uris;
  if (uri === undefined) throw new PkiError("no_identity");
  if (second !== undefined) throw new PkiError("several_identities");
  return uri.value;
}

function assertSigner(leaf: ParsedCertificate, { requiredEku }: ChainRules): string {
  const { basicConstraints, keyUsage, extendedKeyUsage } = leaf.extensions;
  if (basicConstraints?.ca) throw new PkiError("ca_as_end_entity");
  if (!keyUsage?.has("digitalSignature")) throw new PkiError("wrong_key_usage", "digitalSignature is missing");
  if (requiredEku !== undefined && !(extendedKeyUsage ?? []).includes(EXTENDED_KEY_USAGES[requiredEku])) {
    throw new PkiError("wrong_extended_key_usage", `${requiredEku} is missing`);
  }
  return soleIdentity(leaf.extensions);
}

/** Depth-first search for a trust anchor; signatures decide among issuers of the same name. */
function findPath(leaf: ParsedCertificate, rules: ChainRules): ParsedCertificate[] {
  let checks = 0;
  let forged = false;
  const search = (path: ParsedCertificate[]): ParsedCertificate[] | undefined => {
    const last = path.at(-1) as ParsedCertificate;
    if (path.length > MAX_PATH) return undefined;
    for (const [candidates, trusted] of [
      [rules.trustAnchors, true],
      [rules.intermediates, false],
    ] as const) {
      for (const candidate of candidates) {
        if (Buffer.compare(candidate.subjectDer, last.issuerDer) !== 0 || path.includes(candidate)) continue;
        if (checks++ >= MAX_SIGNATURE_CHECKS) throw new PkiError("unknown_issuer", "too many candidates");
        assertAcceptableAlgorithm(last.signatureOid);
        if (!last.x509.verify(candidate.publicKey)) {
          forged = true;
          continue;
        }
        const longer = [...path, candidate];
        const found = trusted ? longer : search(longer);
        if (found !== undefined) return found;
      }
    }
    return undefined;
  };
  const path = search([leaf]);
  if (path === undefined) throw new PkiError(forged ? "bad_signature" : "unknown_issuer");
  return path;
}

function assertCertificate(certificate: ParsedCertificate, { at, keyPolicy }: ChainRules): void {
  const name = certificate.x509.subject.replaceAll("\n", ", ");
  if (at.getTime() + SKEW_MS < certificate.notBefore.getTime()) {
    throw new PkiError("not_yet_valid", `${name}, from ${certificate.notBefore.toISOString()}`);
  }
  if (at > certificate.notAfter) throw new PkiError("expired", `${name}, ${certificate.notAfter.toISOString()}`);
  assertAcceptableKey(certificate.publicKey, keyPolicy);
  for (const oid of certificate.extensions.critical) {
    if (!UNDERSTOOD.has(oid)) throw new PkiError("unknown_critical_extension", `${oid} in ${name}`);
  }
  for (const oid of certificate.extensions.present) {
    if (NARROWING.has(oid)) throw new PkiError("unprocessed_constraint", `${oid} in ${name}`);
  }
}

function assertAuthority(path: readonly ParsedCertificate[], depth: number, { requiredEku }: ChainRules): void {
  const { basicConstraints, keyUsage, extendedKeyUsage } = (path[depth] as ParsedCertificate).extensions;
  if (!basicConstraints?.ca) throw new PkiError("not_a_ca");
  if (!keyUsage?.has("keyCertSign")) throw new PkiError("wrong_key_usage", "an issuer lacks keyCertSign");
  // An authority with extended key usages certifies for these alone, as every TLS library has it.
  if (requiredEku !== undefined && extendedKeyUsage?.includes(EXTENDED_KEY_USAGES[requiredEku]) === false) {
    throw new PkiError("wrong_extended_key_usage", `an issuer lacks ${requiredEku}`);
  }
  // RFC 5280 4.2.1.9: the authorities between this one and the end entity, self-issued ones not counted.
  const between = path.slice(1, depth).filter(({ selfIssued }) => !selfIssued).length;
  if (basicConstraints.pathLength !== undefined && between > basicConstraints.pathLength) {
    throw new PkiError(
      "path_length_exceeded",
      `${between} authorities below one that allows ${basicConstraints.pathLength}`,
    );
  }
}

/** Until when the list that cleared the certificate is current; nothing where lists are not required and none is there. */
function assertNotRevoked(
  certificate: ParsedCertificate,
  issuer: ParsedCertificate,
  { crls, at, crlsAt = at, crlsRequired = true, revocationGraceMs = 0 }: ChainRules,
): Date | undefined {
  const lists = crls.filter((list) => list.verifiedBy(issuer));
  // Even a list that is out of date proves a revocation; only its silence proves nothing.
  for (const list of lists) {
    const revokedAt = list.revokedAt(certificate.serialNumber);
    if (revokedAt === undefined) continue;
    const judgesNow = crlsAt <= at && revocationGraceMs === 0;
    if (judgesNow || revokedAt.getTime() + revocationGraceMs <= at.getTime()) {
      throw new PkiError("revoked", `serial number ${certificate.serialNumber} at ${revokedAt.toISOString()}`);
    }
  }
  const current = lists.filter(
    ({ thisUpdate, nextUpdate }) =>
      thisUpdate.getTime() <= crlsAt.getTime() + SKEW_MS && nextUpdate !== undefined && crlsAt <= nextUpdate,
  );
  const ends = current
    .map(({ nextUpdate }) => nextUpdate as Date)
    .sort((left, right) => left.getTime() - right.getTime());
  const latest = ends.at(-1);
  if (latest === undefined && crlsRequired) throw new PkiError(lists.length > 0 ? "crl_stale" : "crl_missing");
  return latest;
}
