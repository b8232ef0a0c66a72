import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readAuthority } from "../certs/authority-directory.ts";
import { buildCertificate } from "../certs/certificate.ts";
import { toPem } from "../certs/der.ts";
import { generateKeyPair, privateKeyPem } from "../certs/key-pair.ts";
import { createPki, type Pki } from "../certs/pki.ts";
import type { Credential, TargetSettings } from "./target.ts";
import { defaultIxit, TargetError } from "./target.ts";
import { checkTarget } from "./target-check.ts";

let folder: string;
let pki: Pki;
let provider: Credential;
let consumer: Credential;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "x1410-check-"));
  pki = createPki(folder);
  const user = (name: string) => {
    const { chainPem, privateKeyPem } = pki.issueIdentity({ role: "user", identity: `urn:x1410:user:${name}` });
    return { certificateChainPem: chainPem, privateKeyPem };
  };
  provider = user("provider");
  consumer = user("consumer");
});
afterAll(() => rm(folder, { recursive: true }));

const settings = (changes: Partial<TargetSettings> = {}): TargetSettings => ({
  name: "a stack",
  entities: { kss: { endpoint: "localhost:7002", identity: "urn:x1410:entity:kss:a" } },
  trustAnchorsPem: pki.caPem,
  revocationListsPem: pki.crlPem,
  credentials: { provider, consumer },
  harness: undefined,
  ixit: defaultIxit,
  ...changes,
});

test("what fits together is taken", () => {
  expect(() => checkTarget("t.yaml", settings())).not.toThrow();
});

test.each([
  [
    "no such port",
    () => settings({ entities: { kss: { endpoint: "localhost:99999", identity: "" } } }),
    /entities\.kss\.endpoint has no port/,
  ],
  ["the same user twice", () => settings({ credentials: { provider, consumer: provider } }), /are the same user/],
  [
    "another's private key",
    () => settings({ credentials: { provider: { ...provider, privateKeyPem: consumer.privateKeyPem } } }),
    /credentials\.provider\.privateKey is not that of/,
  ],
  [
    "a certificate without its authority",
    () =>
      settings({
        credentials: { provider: { ...provider, certificateChainPem: firstOf(provider.certificateChainPem) } },
      }),
    /do not lead to .* credentials\.provider\.certificate \(unknown_issuer\)/,
  ],
  [
    "a certificate for servers only",
    () => settings({ credentials: { provider: forServersOnly() } }),
    /clientAuth is missing from credentials\.provider\.certificate \(wrong_extended_key_usage\)/,
  ],
  ["a chain instead of the root", () => settings({ trustAnchorsPem: provider.certificateChainPem }), /not self-signed/],
  ["no revocation lists", () => settings({ revocationListsPem: "" }), /trust\.revocationLists is missing/],
  [
    "a list too few",
    () => settings({ revocationListsPem: pki.crlPems[0] ?? "" }),
    /lacks the list of an authority .* \(crl_missing\)/,
  ],
])("%s is the file's fault, in one line that names the member", (_, given, message) => {
  expect(() => checkTarget("t.yaml", given())).toThrow(TargetError);
  expect(() => checkTarget("t.yaml", given())).toThrow(message);
});

test("an expired certificate is told of", () => {
  const later = new Date(Date.now() + 20 * 365 * 24 * 3_600_000);
  expect(() => checkTarget("t.yaml", settings(), later)).toThrow(TargetError);
});

function forServersOnly(): Credential {
  const { privateKey, certificate } = readAuthority(join(folder, "intermediate"));
  const keys = generateKeyPair();
  const der = buildCertificate({
    subject: { commonName: "provider" },
    publicKey: keys.publicKey,
    issuer: { privateKey, certificate: certificate.der },
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 600_000),
    keyUsage: ["digitalSignature"],
    extendedKeyUsage: ["serverAuth"],
    subjectAltNames: [{ type: "uri", value: "urn:x1410:user:provider" }],
  });
  const certificateChainPem = toPem("CERTIFICATE", der) + pki.intermediate.pem;
  return { certificateChainPem, privateKeyPem: privateKeyPem(keys.privateKey) };
}

function firstOf(chainPem: string): string {
  return chainPem.slice(0, chainPem.indexOf("-----END CERTIFICATE-----") + 26);
}
