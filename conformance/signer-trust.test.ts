import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readAuthority } from "../certs/authority-directory.ts";
import { buildCertificate } from "../certs/certificate.ts";
import { generateKeyPair } from "../certs/key-pair.ts";
import { createPki, type Pki } from "../certs/pki.ts";
import { signerTrust } from "./signer-trust.ts";

let folder: string;
let pki: Pki;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "x1410-signer-trust-"));
  pki = createPki(folder);
});
afterAll(() => rmSync(folder, { recursive: true }));

test("a signer has the extended key usage of every party, and no other one instead", () => {
  const party = (name: string) => {
    const { chainPem, privateKeyPem } = pki.issueIdentity({ role: "user", identity: `urn:x1410:user:${name}` });
    return { certificateChainPem: chainPem, privateKeyPem };
  };
  const trust = signerTrust({
    trustAnchorsPem: pki.caPem,
    revocationListsPem: pki.crlPem,
    provider: party("provider"),
    consumer: party("consumer"),
  });
  const { privateKey, certificate } = readAuthority(join(folder, "intermediate"));
  const judge = (extendedKeyUsage: readonly string[]) => {
    const der = buildCertificate({
      subject: { commonName: "signer" },
      publicKey: generateKeyPair().publicKey,
      issuer: { privateKey, certificate: certificate.der },
      notBefore: new Date(Date.now() - 60_000),
      notAfter: new Date(Date.now() + 600_000),
      keyUsage: ["digitalSignature"],
      subjectAltNames: [{ type: "uri", value: "urn:x1410:user:signer" }],
      extendedKeyUsage,
    });
    return trust.verify(der, []).identity;
  };
  expect(() => judge(["serverAuth"])).toThrow(expect.objectContaining({ code: "wrong_extended_key_usage" }));
  expect(judge(["serverAuth", "clientAuth"])).toBe("urn:x1410:user:signer");
});
