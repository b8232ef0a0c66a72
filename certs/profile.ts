import { isIP } from "node:net";
import type { VerifiedRequest } from "./certification-request.ts";
import { EXTENDED_KEY_USAGES, type ExtendedKeyUsage, ipOctets, ipText, type SubjectAltName } from "./extensions.ts";
import { isRole, parseIdentity, type Role } from "./identity.ts";
import { PkiError } from "./pki-error.ts";

/** What a role's certificate is good for. Every profile has the one key usage digitalSignature: TLS 1.3 and messages. */
export type Profile = { role: Role; extendedKeyUsage: readonly ExtendedKeyUsage[]; server: boolean };

const USER_USAGE = ["clientAuth"] as const;
/** Servers also open connections to one another (7.2.5 asks for mutual authentication on every hop). */
const SERVER_USAGE = ["serverAuth", "clientAuth"] as const;

const PROFILES: Readonly<Record<Role, Profile>> = {
  user: { role: "user", extendedKeyUsage: USER_USAGE, server: false },
  operator: { role: "operator", extendedKeyUsage: USER_USAGE, server: false },
  dssm: { role: "dssm", extendedKeyUsage: SERVER_USAGE, server: true },
  kss: { role: "kss", extendedKeyUsage: SERVER_USAGE, server: true },
  dss: { role: "dss", extendedKeyUsage: SERVER_USAGE, server: true },
  ledger: { role: "ledger", extendedKeyUsage: SERVER_USAGE, server: true },
  ca: { role: "ca", extendedKeyUsage: SERVER_USAGE, server: true },
};

/** Where a server answers on its own machine. */
export const LOCAL_DNS_NAMES = ["localhost"] as const;
export const LOCAL_IP_ADDRESSES = ["127.0.0.1", "::1"] as const;

/**
 * What the authority grants: decided by whoever runs it, never by the request. `dnsNames` takes DNS names and IP
 * addresses alike.
 */
export type Grant = { role: Role; identity: string; dnsNames?: readonly string[] };

export type GrantedSubject = { profile: Profile; name: string; subjectAltNames: SubjectAltName[] };

/**
 * Turns a grant into profile and names: exactly one URI; servers also get the local names and those configured.
 * @throws PkiError unknown_profile, invalid_identity, wildcard_subject_alt_name, invalid_host_name
 */
export function grantedSubject({ role, identity, dnsNames = [] }: Grant): GrantedSubject {
  // The role may come from the command line or the wire, whatever its type says.
  if (!isRole(role)) throw new PkiError("unknown_profile", JSON.stringify(role));
  const profile = PROFILES[role];
  const parsed = parseIdentity(identity);
  if (parsed === undefined) throw new PkiError("invalid_identity", JSON.stringify(identity));
  if (parsed.role !== role) throw new PkiError("invalid_identity", `${identity} is not of role ${role}`);
  if (!profile.server && dnsNames.length > 0) {
    throw new PkiError("invalid_host_name", `role ${role} is no server and has none`);
  }
  const hosts = profile.server ? [...LOCAL_DNS_NAMES, ...LOCAL_IP_ADDRESSES, ...dnsNames] : [];
  const subjectAltNames: SubjectAltName[] = [{ type: "uri", value: identity }];
  for (const host of hosts) {
    const name = hostName(host);
    if (!subjectAltNames.some((known) => sameName(known, name))) subjectAltNames.push(name);
  }
  return { profile, name: parsed.name, subjectAltNames };
}

function hostName(host: string): SubjectAltName {
  if (host.includes("*")) throw new PkiError("wildcard_subject_alt_name", host);
  if (isIP(host) !== 0) return { type: "ip", value: ipText(ipOctets(host)) };
  const label = /^(?!-)[a-z0-9-]{1,63}(?<!-)$/;
  const name = host.toLowerCase();
  // A last label of digits is a mistyped IP address, which clients may read as one (RFC 3696 2).
  const labels = name.split(".");
  if (name.length > 253 || !labels.every((part) => label.test(part)) || /^\d+$/.test(labels.at(-1) ?? "")) {
    throw new PkiError("invalid_host_name", `${JSON.stringify(host)} is not a DNS name`);
  }
  return { type: "dns", value: name };
}

function sameName(left: { type: string; value: string }, right: { type: string; value: string }): boolean {
  if (left.type !== right.type) return false;
  return left.type === "dns" ? left.value.toLowerCase() === right.value.toLowerCase() : left.value === right.value;
}

/**
 * A request may ask for fewer names and purposes than it is granted, never for others: those are refused, not silently
 * dropped, so that nobody believes to have got them.
 * @throws PkiError ca_true_requested, forbidden_extended_key_usage, wildcard_subject_alt_name, foreign_subject_alt_name
 */
export function assertWithinGrant({ extensions }: VerifiedRequest, granted: GrantedSubject): void {
  if (extensions.basicConstraints?.ca) throw new PkiError("ca_true_requested");
  for (const usage of extensions.keyUsage ?? []) {
    if (usage === "keyCertSign" || usage === "cRLSign") throw new PkiError("ca_true_requested", `key usage ${usage}`);
    // keyEncipherment and the like are harmless habits of request templates; the certificate will not carry them.
  }
  const allowed = granted.profile.extendedKeyUsage.map((usage) => EXTENDED_KEY_USAGES[usage] as string);
  for (const oid of extensions.extendedKeyUsage ?? []) {
    if (!allowed.includes(oid)) throw new PkiError("forbidden_extended_key_usage", oid);
  }
  for (const name of extensions.subjectAltNames ?? []) {
    if (name.value.includes("*")) throw new PkiError("wildcard_subject_alt_name", name.value);
    if (!granted.subjectAltNames.some((known) => sameName(known, name))) {
      throw new PkiError("foreign_subject_alt_name", `${name.type} ${JSON.stringify(name.value)}`);
    }
  }
}
