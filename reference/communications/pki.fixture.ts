// A PKI in a temporary directory, for tests that need real certificates.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Role } from "../../certs/identity.ts";
import { createPki, type IdentityMaterial, type Pki } from "../../certs/pki.ts";
import { credentialsOf, type TlsCredentials } from "./tls-credentials.ts";

export interface PkiFixture {
  readonly pki: Pki;
  readonly directory: string;
  issue(role: Role, name: string, validityMs?: number): IdentityMaterial & { readonly credentials: TlsCredentials };
  remove(): void;
}

export function pkiFixture(): PkiFixture {
  const directory = mkdtempSync(join(tmpdir(), "x1410-communications-"));
  const pki = createPki(join(directory, "pki"));
  return {
    pki,
    directory,
    issue(role, name, validityMs) {
      const identity = role === "user" ? `urn:x1410:user:${name}` : `urn:x1410:entity:${role}:${name}`;
      const material = pki.issueIdentity({ role, identity, ...(validityMs === undefined ? {} : { validityMs }) });
      return { ...material, credentials: credentialsOf(material) };
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}
