// Certificates with one thing wrong, none of which may get through a handshake (AAC1, clause 7.2.5).
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HarnessAuthority, keyOf } from "../harness/harness-authority.ts";
import type { Credential } from "../target.ts";
import type { TestCase } from "../test-case.ts";

const day = 24 * 60 * 60_000;

/** A user that no other purpose has. */
export function newIdentity(t: TestCase): string {
  return `urn:x1410:user:${t.freshName("user")}`;
}

export interface FaultyCertificate {
  readonly number: string;
  readonly title: string;
  readonly stimulus: string;
  readonly twin: string;
  readonly likelyMistake: string;
  readonly credential: (t: TestCase) => Credential | undefined;
}

export const faultyCertificates: readonly FaultyCertificate[] = [
  {
    number: "01",
    title: "lets nobody in without a certificate",
    stimulus: "no certificate",
    twin: "a handshake with a user's certificate",
    likelyMistake: "the certificate is asked for and not required",
    credential: () => undefined,
  },
  {
    number: "02",
    title: "lets nobody in whose certificate has expired",
    stimulus: "a certificate that ended yesterday",
    twin: "a handshake with the same certificate, valid today",
    likelyMistake: "the chain is verified by code of one's own that does not look at times",
    credential: (t) =>
      t.authority.forge(newIdentity(t), {
        notBefore: new Date(Date.now() - 2 * day),
        notAfter: new Date(Date.now() - day),
      }),
  },
  {
    number: "03",
    title: "lets nobody in whose certificate is not valid yet",
    stimulus: "a certificate that begins tomorrow",
    twin: "a handshake with the same certificate, valid today",
    likelyMistake: "only the end of the validity is compared",
    credential: (t) =>
      t.authority.forge(newIdentity(t), {
        notBefore: new Date(Date.now() + day),
        notAfter: new Date(Date.now() + 2 * day),
      }),
  },
  {
    number: "04",
    title: "lets nobody in under a certificate for servers",
    stimulus: "a certificate whose extended key usage is serverAuth alone",
    twin: "a handshake with the same certificate for clients",
    likelyMistake: "the purpose of the chain is not checked: whoever steals a server's key is every user of that name",
    credential: (t) => t.authority.forge(newIdentity(t), { extendedKeyUsage: ["serverAuth"] }),
  },
  {
    number: "05",
    title: "lets nobody in whose certificate another end entity has signed",
    stimulus: "a certificate signed with a user's key, the user's certificate in the chain",
    twin: "a handshake with the user's certificate itself",
    likelyMistake: "cA of the basic constraints is not checked: every user is an authority",
    credential(t) {
      const above = t.authority.forge(newIdentity(t));
      return t.authority.forge(newIdentity(t), { issuer: issuerOf(above) });
    },
  },
  {
    number: "06",
    title: "lets nobody in below an authority that the path length forbids",
    stimulus: "a certificate of an authority that the issuing authority has certified against its path length",
    twin: "a handshake with a certificate of the issuing authority",
    likelyMistake: "pathLenConstraint is not checked",
    credential(t) {
      const below = t.authority.forge(newIdentity(t), {
        subject: { commonName: "one authority too many" },
        basicConstraints: { ca: true },
        keyUsage: ["keyCertSign", "cRLSign"],
        subjectAltNames: [],
      });
      return t.authority.forge(newIdentity(t), { issuer: issuerOf(below) });
    },
  },
  {
    number: "07",
    title: "lets nobody in whose authority only has the name of the trusted one",
    stimulus: "a certificate of another authority with the same names",
    twin: "a handshake with a certificate of the trusted authority",
    likelyMistake: "authorities are compared by their name",
    credential(t) {
      // So that the twin is that of an authority the target trusts.
      void t.authority;
      const folder = mkdtempSync(join(tmpdir(), "x1410-rogue-"));
      try {
        return new HarnessAuthority(folder).issue("user", t.freshName("user"));
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
  },
];

function issuerOf(credential: Credential) {
  return {
    privateKey: keyOf(credential),
    certificate: new Uint8Array(new X509Certificate(credential.certificateChainPem).raw),
    chainPem: credential.certificateChainPem,
  };
}
