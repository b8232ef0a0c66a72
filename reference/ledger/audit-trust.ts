// Whom an offline audit believes: the trust anchors given, with revocation lists as they are. It asks nobody, so that a list may be out of date;
// that says nothing about the chain. What a list proves it proves for good, and how old it is the auditor is told.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type ParsedCertificate, parseCertificate } from "../../certs/certificate.ts";
import { ChainVerifier } from "../../certs/chain-verifier.ts";
import { fromPem } from "../../certs/der.ts";
import { RevocationList } from "../../certs/revocation-list.ts";
import { AuditSourceError } from "./audit-source.ts";
import type { LedgerTrust } from "./trust-at-time.ts";

export interface TrustOptions {
  /** Data directory of a deployment, for what is not named. */
  readonly data: string;
  /** File with trust anchors and intermediates. */
  readonly anchors?: string;
  /** File with revocation lists. */
  readonly crls?: string;
}

/** Nothing that is read here is written. Tells by `notice` of lists that are out of date or missing. @throws AuditSourceError */
export function trustOf({ data, anchors, crls }: TrustOptions, notice: (line: string) => void): LedgerTrust {
  const pki = (...names: string[]): string => join(data, "pki", ...names);
  const anchorFiles = anchors === undefined ? [pki("root", "certificate.pem")] : [anchors];
  const intermediateFiles = anchors === undefined ? [pki("intermediate", "certificate.pem")] : [anchors];
  const listFiles =
    crls !== undefined ? [crls] : anchors === undefined ? [pki("root", "crl.pem"), pki("intermediate", "crl.pem")] : [];
  const trustAnchors = anchorFiles.flatMap((file) => read(file, "CERTIFICATE", "certificate"));
  const intermediates = intermediateFiles.flatMap((file) => read(file, "CERTIFICATE", "certificate"));
  const authorities = [...trustAnchors, ...intermediates].map(parseCertificate);
  const crlDers = listFiles.flatMap((file) => read(file, "X509 CRL", "revocation list"));
  const lists = crlDers.map((der) => new RevocationList(der));
  // A list of somebody else clears nobody, and would do so without a word.
  if (!lists.every((list) => authorities.some((authority) => list.verifiedBy(authority))))
    throw new AuditSourceError(`a revocation list in ${listFiles.join(" or ")} is of no authority given`);
  tellMissing(lists, authorities, notice);
  tellStale(lists, notice);
  return new ChainVerifier({ trustAnchors, intermediates, crls: crlDers, crlsRequired: false });
}

/** Why nobody need have altered what does not verify; undefined where somebody must have. */
export function explained(detail: string): string | undefined {
  const [, code] = /SIGNER_UNTRUSTED \[certificate: ([a-z_]+)\]/.exec(detail) ?? [];
  if (code === "revoked")
    return `signer revoked: ${detail}: its certificate was revoked ten minutes before the time that its block gives, or earlier`;
  // Nobody known has certified the signer, which wrong anchors explain as well as a forged chain.
  if (code === "unknown_issuer" || code === "bad_signature")
    return `not verified: ${detail}: no path leads from its signer to an anchor given; the anchors are of another network or lack its intermediate, or the chain is forged`;
  return undefined;
}

function read(file: string, label: "CERTIFICATE" | "X509 CRL", what: string): Uint8Array[] {
  if (!existsSync(file)) throw new AuditSourceError(`${file} does not exist; name the trust anchors with --anchors`);
  const found = fromPem(label, readFileSync(file, "utf8"));
  if (found.length === 0) throw new AuditSourceError(`no ${what} in ${file}`);
  return found;
}

/** Where lists are given at all, whoever none is of revokes nobody. */
function tellMissing(
  lists: readonly RevocationList[],
  authorities: readonly ParsedCertificate[],
  notice: (line: string) => void,
): void {
  if (lists.length === 0) return;
  const without = authorities.filter((authority) => !lists.some((list) => list.verifiedBy(authority)));
  for (const name of new Set(without.map(({ x509 }) => x509.subject.replaceAll("\n", ", "))))
    notice(`no revocation list is of ${name}: whatever it revoked counts as not revoked`);
}

function tellStale(lists: readonly RevocationList[], notice: (line: string) => void): void {
  const now = new Date();
  const stale = lists
    .filter(({ nextUpdate }) => nextUpdate === undefined || nextUpdate < now)
    .map(({ thisUpdate }) => thisUpdate.toISOString())
    .sort();
  if (stale[0] === undefined) return;
  notice(
    `the revocation lists are taken as they are, but out of date: of ${stale[0]}; what was revoked since counts with newer ones, by --crls`,
  );
}
