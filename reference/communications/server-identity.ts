// Users authenticate servers by certificate (clause 7.2.5, AAC2): by the one SAN URI of the entity meant, never by host name alone.
import { X509Certificate } from "node:crypto";
import type { PeerCertificate } from "node:tls";
import { identityOf } from "../../certs/identity.ts";

/** The identity that the server must have, or what decides it. */
export type ExpectedIdentity = string | ((identity: string) => boolean);

/** For `checkServerIdentity` of TLS, which has verified the chain before: answers an error, or undefined where the server is the one meant. */
export function serverIdentityCheck(
  expected: ExpectedIdentity,
): (host: string, certificate: PeerCertificate) => Error | undefined {
  const isMeant = typeof expected === "string" ? (identity: string) => identity === expected : expected;
  return (_host, { raw }) => {
    const identity = identityOf(new X509Certificate(raw));
    if (identity !== undefined && isMeant(identity)) return undefined;
    const wanted = typeof expected === "string" ? expected : "the entity meant";
    return new Error(`the server is ${identity ?? "without exactly one SAN URI"}, not ${wanted}`);
  };
}
