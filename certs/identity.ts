import { createHash, type X509Certificate } from "node:crypto";
import { PkiError } from "./pki-error.ts";

/** Functional entities and the operator, as they appear in `urn:x1410:entity:<kind>:<name>`. */
export const ENTITY_KINDS = ["dssm", "kss", "dss", "ledger", "ca", "operator"] as const;
export type EntityKind = (typeof ENTITY_KINDS)[number];

/** Who a certificate is for. Data providers and data consumers (clause 6.2.1) are both "user". */
export const ROLES = ["user", ...ENTITY_KINDS] as const;
export type Role = (typeof ROLES)[number];

export type Identity = { role: Role; name: string };

/** Letters and digits first, so that a name is also a safe file name; no colon, so that the URN parses one way only. */
const NAME = /^[a-z0-9][a-z0-9.-]{0,62}$/;

export function isRole(value: string): value is Role {
  return (ROLES as readonly string[]).includes(value);
}

/** The parts of an identity, or nothing where the URI is not an identity of this protocol. */
export function parseIdentity(uri: string): Identity | undefined {
  const parts = uri.split(":");
  if (parts[0] !== "urn" || parts[1] !== "x1410") return undefined;
  const [role, name] =
    parts.length === 4 && parts[2] === "user"
      ? ["user", parts[3]]
      : parts.length === 5 && parts[2] === "entity" && parts[3] !== "user"
        ? [parts[3], parts[4]]
        : [undefined, undefined];
  if (role === undefined || name === undefined || !isRole(role) || !NAME.test(name)) return undefined;
  return { role, name };
}

/** @throws PkiError invalid_identity */
export function formatIdentity(role: Role, name: string): string {
  if (!NAME.test(name)) throw new PkiError("invalid_identity", `${JSON.stringify(name)} is not a name`);
  return role === "user" ? `urn:x1410:user:${name}` : `urn:x1410:entity:${role}:${name}`;
}

/** SHA-256 of the DER certificate, lower-case hexadecimal: how access lists and bindings name a certificate. */
export function fingerprintOf(certificate: Uint8Array | X509Certificate): string {
  return createHash("sha256")
    .update("raw" in certificate ? certificate.raw : certificate)
    .digest("hex");
}

export type PrintedAltName = { type: string; value: string };

/**
 * The subject alternative names as Node prints them. Node quotes, as JSON, every value that could be mistaken for a
 * separator (CVE-2021-44532), so a comma inside a value cannot forge a second name.
 */
export function subjectAltNamesOf(certificate: X509Certificate): PrintedAltName[] {
  const printed = certificate.subjectAltName;
  if (printed === undefined) return [];
  const names: PrintedAltName[] = [];
  const entry = /([A-Za-z0-9 ]+):("(?:[^"\\]|\\.)*"|[^",]*)(?:, |$)/y;
  while (entry.lastIndex < printed.length) {
    const match = entry.exec(printed);
    if (match === null) throw new PkiError("malformed_certificate", "its subject alternative names");
    const [, type = "", value = ""] = match;
    names.push({ type, value: value.startsWith('"') ? (JSON.parse(value) as string) : value });
  }
  return names;
}

/**
 * The identity of a certificate: its one subject alternative name of type URI. None or several give nothing, and the
 * common name is never looked at. That the certificate is trusted at all is the business of TLS or the chain verifier.
 */
export function identityOf(certificate: X509Certificate): string | undefined {
  const printed = certificate.subjectAltName;
  if (printed === undefined) return undefined;
  let uris: PrintedAltName[];
  try {
    uris = subjectAltNamesOf(certificate).filter(({ type }) => type === "URI");
  } catch {
    return undefined;
  }
  return uris.length === 1 ? uris[0]?.value : undefined;
}
