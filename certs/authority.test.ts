import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Authority } from "./authority.ts";
import { openAuthority, openOrCreateAuthority } from "./authority-directory.ts";
import { parseCertificate } from "./certificate.ts";
import { buildCertificationRequest, type CertificationRequestSpec } from "./certification-request.ts";
import { generateKeyPair } from "./key-pair.ts";
import { PkiError, type PkiErrorCode } from "./pki-error.ts";
import type { Grant } from "./profile.ts";
import { RevocationList } from "./revocation-list.ts";

const ALICE: Grant = { role: "user", identity: "urn:x1410:user:alice" };
const KSS: Grant = { role: "kss", identity: "urn:x1410:entity:kss:one", dnsNames: ["kss.example"] };
const HOUR = 3_600_000;

let directory: string;
let clock = new Date("2026-03-01T12:00:00.500Z");
const now = () => clock;
let root: Authority;
let issuing: Authority;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "x1410-authority-"));
  root = openOrCreateAuthority(join(directory, "root"), { subject: { commonName: "root" }, now });
  issuing = openOrCreateAuthority(join(directory, "issuing"), {
    subject: { commonName: "issuing" },
    parent: root,
    now,
  });
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const { privateKey } = generateKeyPair();

function request(spec: Partial<CertificationRequestSpec> = {}): Uint8Array {
  return buildCertificationRequest({ subject: { commonName: "anything" }, privateKey, ...spec });
}

function codeOf(act: () => unknown): PkiErrorCode | "no error" {
  try {
    act();
  } catch (error) {
    if (error instanceof PkiError) return error.code;
    throw error;
  }
  return "no error";
}

describe("issuing from a request", () => {
  test("a user gets one URI, clientAuth, digitalSignature, no authority", () => {
    const { der, serialNumber } = issuing.issue(request(), ALICE);
    const { extensions, x509, notBefore, notAfter } = parseCertificate(der);
    expect(extensions.subjectAltNames).toEqual([{ type: "uri", value: ALICE.identity }]);
    expect(x509.keyUsage).toEqual(["1.3.6.1.5.5.7.3.2"]);
    expect([...(extensions.keyUsage ?? [])]).toEqual(["digitalSignature"]);
    expect(extensions.basicConstraints).toEqual({ ca: false });
    expect(x509.subject).toBe("O=X.1410\nCN=alice");
    expect(x509.verify(issuing.certificate.publicKey)).toBe(true);
    expect(x509.checkIssued(issuing.certificate.x509)).toBe(true);
    expect(x509.serialNumber.toLowerCase()).toBe(serialNumber);
    expect(notBefore.toISOString()).toBe("2026-03-01T11:59:00.000Z");
    expect(notAfter.toISOString()).toBe("2026-05-30T12:00:00.000Z");
  });

  test("a server also gets local and granted host names, and both key purposes", () => {
    const { der } = issuing.issue(request({ subjectAltNames: [{ type: "dns", value: "KSS.example" }] }), KSS);
    const { extensions, x509 } = parseCertificate(der);
    expect(extensions.subjectAltNames?.map(({ value }) => value)).toEqual([
      KSS.identity,
      "localhost",
      "127.0.0.1",
      "::1",
      "kss.example",
    ]);
    expect(x509.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
  });

  test("a certificate does not outlive its authority", () => {
    const { notAfter } = issuing.issue(request(), ALICE, { validityMs: 20 * 365 * 24 * HOUR });
    expect(notAfter).toEqual(issuing.certificate.notAfter);
  });

  test("Ed25519 requests are as good", () => {
    const { der } = issuing.issue(request({ privateKey: generateKeyPair("ed25519").privateKey }), ALICE);
    expect(new X509Certificate(der).publicKey.asymmetricKeyType).toBe("ed25519");
  });

  test.each<[string, Partial<CertificationRequestSpec>, Grant, PkiErrorCode]>([
    ["a signature by another key", { publicKey: generateKeyPair().publicKey }, ALICE, "bad_proof_of_possession"],
    ["CA:TRUE", { basicConstraints: { ca: true } }, ALICE, "ca_true_requested"],
    ["keyCertSign", { keyUsage: ["keyCertSign"] }, ALICE, "ca_true_requested"],
    ["serverAuth for a user", { extendedKeyUsage: ["serverAuth"] }, ALICE, "forbidden_extended_key_usage"],
    ["OCSPSigning for a server", { extendedKeyUsage: ["OCSPSigning"] }, KSS, "forbidden_extended_key_usage"],
    [
      "another user's URI",
      { subjectAltNames: [{ type: "uri", value: "urn:x1410:user:bob" }] },
      ALICE,
      "foreign_subject_alt_name",
    ],
    [
      "an e-mail address",
      { subjectAltNames: [{ type: "email", value: "a@b.example" }] },
      ALICE,
      "foreign_subject_alt_name",
    ],
    ["another host", { subjectAltNames: [{ type: "dns", value: "dss.example" }] }, KSS, "foreign_subject_alt_name"],
    ["another address", { subjectAltNames: [{ type: "ip", value: "10.0.0.1" }] }, KSS, "foreign_subject_alt_name"],
    ["a wildcard", { subjectAltNames: [{ type: "dns", value: "*.example" }] }, KSS, "wildcard_subject_alt_name"],
    ["RSA-1024", { privateKey: generateKeyPairSync("rsa", { modulusLength: 1024 }).privateKey }, ALICE, "weak_key"],
    [
      "secp256k1",
      { privateKey: generateKeyPairSync("ec", { namedCurve: "secp256k1" }).privateKey },
      ALICE,
      "unsupported_key",
    ],
  ])("refuses %s", (_, spec, grant, code) => {
    const before = issuing.list().length;
    expect(codeOf(() => issuing.issue(request(spec), grant))).toBe(code);
    expect(issuing.list()).toHaveLength(before);
  });

  test.each<[string, Grant, PkiErrorCode]>([
    ["a role that does not exist", { role: "hsm" as "kss", identity: "urn:x1410:entity:hsm:a" }, "unknown_profile"],
    ["an identity of another role", { role: "dss", identity: KSS.identity }, "invalid_identity"],
    ["an identity of no role", { role: "user", identity: "spiffe://x/alice" }, "invalid_identity"],
    ["a wildcard", { ...KSS, dnsNames: ["*.example"] }, "wildcard_subject_alt_name"],
    ["a host name for a user", { ...ALICE, dnsNames: ["a.example"] }, "invalid_host_name"],
    ["a broken address", { ...KSS, dnsNames: ["10.0.0.256"] }, "invalid_host_name"],
  ])("does not grant %s", (_, grant, code) => {
    expect(codeOf(() => issuing.issue(request(), grant))).toBe(code);
  });

  test("any damaged request is refused by a code, whichever octet is hit", () => {
    const good = request({ subjectAltNames: [{ type: "uri", value: ALICE.identity }] });
    const codes = new Set<string>();
    for (let index = 0; index < good.length; index++) {
      const damaged = Uint8Array.from(good);
      damaged[index] = (damaged[index] ?? 0) ^ 0x01;
      const code = codeOf(() => issuing.issue(damaged, ALICE));
      if (code === "no error") throw new Error(`octet ${index} of ${Buffer.from(good).toString("hex")} is not covered`);
      codes.add(code);
    }
    codes.add(codeOf(() => issuing.issue(good.subarray(0, -1), ALICE)));
    codes.add(codeOf(() => issuing.issue(Buffer.concat([good, Buffer.alloc(1)]), ALICE)));
    codes.add(codeOf(() => issuing.issue(new Uint8Array(), ALICE)));
    codes.add(codeOf(() => issuing.issue("no PEM", ALICE)));
    expect(codes).toContain("bad_proof_of_possession");
    expect(codes).toContain("malformed_request");
  });
});

describe("authorities below", () => {
  test("path length ends with the issuing authority", () => {
    const spec = { subject: { commonName: "third" }, publicKey: generateKeyPair().publicKey, validityMs: HOUR };
    expect(codeOf(() => issuing.certifyAuthority(spec))).toBe("path_length_forbids_authority");
    expect(root.certificate.extensions.basicConstraints).toEqual({ ca: true, pathLength: 1 });
    expect(issuing.certificate.extensions.basicConstraints).toEqual({ ca: true, pathLength: 0 });
  });

  test("an expired authority issues nothing", () => {
    const kept = clock;
    clock = new Date("2040-01-01T00:00:00Z");
    try {
      expect(codeOf(() => issuing.issue(request(), ALICE))).toBe("authority_expired");
    } finally {
      clock = kept;
    }
  });
});

describe("revocation", () => {
  test("by serial number or fingerprint; once; only what was issued here; only reasons of the RFC", () => {
    const first = issuing.issue(request(), ALICE);
    const second = issuing.issue(request(), ALICE);
    issuing.revoke(first.serialNumber, "keyCompromise");
    issuing.revoke(new X509Certificate(second.der).fingerprint256);
    const list = issuing.crl();
    expect(list.verifiedBy(issuing.certificate)).toBe(true);
    expect(list.verifiedBy(root.certificate)).toBe(false);
    expect(list.revokedAt(first.serialNumber)?.toISOString()).toBe("2026-03-01T12:00:00.000Z");
    expect(list.revokedAt(second.serialNumber)).toBeDefined();
    expect(codeOf(() => issuing.revoke(first.serialNumber))).toBe("already_revoked");
    expect(codeOf(() => issuing.revoke("abcd"))).toBe("unknown_certificate");
    expect(codeOf(() => issuing.revoke(second.serialNumber, "boredom" as "unspecified"))).toBe("unknown_reason");
    expect(issuing.find(first.fingerprint)?.revocation?.reason).toBe("keyCompromise");
  });

  test("the root's list is about the issuing authority", () => {
    const above = openOrCreateAuthority(join(directory, "root2"), { subject: { commonName: "root2" }, now });
    const below = openOrCreateAuthority(join(directory, "issuing2"), {
      subject: { commonName: "i2" },
      parent: above,
      now,
    });
    above.revoke(below.certificate.serialNumber, "cACompromise");
    expect(above.crl().revokedAt(below.certificate.serialNumber)).toBeDefined();
  });

  test("the list is stable, renewed at half of its validity and after a revocation, its number always rising", () => {
    const kept = clock;
    const { serialNumber } = issuing.issue(request(), ALICE);
    const first = issuing.crl();
    expect(first.nextUpdate?.toISOString()).toBe("2026-03-08T12:00:00.000Z");
    expect(issuing.crl()).toBe(first);
    clock = new Date(clock.getTime() + 84 * HOUR);
    try {
      const second = issuing.crl();
      expect(second.number).toBe(first.number + 1);
      issuing.revoke(serialNumber);
      const third = issuing.crl();
      expect(third.number).toBe(second.number + 1);
      expect(third.size).toBe(second.size + 1);
      expect(third.thisUpdate.getTime()).toBeLessThanOrEqual(clock.getTime());
    } finally {
      clock = kept;
    }
  });

  test("two objects on one directory see each other's revocations, and share no CRL number", () => {
    const { serialNumber } = issuing.issue(request(), ALICE);
    const other = openAuthority(issuing.directory, { now });
    const before = issuing.crl();
    expect(other.crl().number).toBe(before.number);
    other.revoke(serialNumber);
    expect(issuing.statusOf(serialNumber).status).toBe("revoked");
    const mine = issuing.crl();
    expect(mine.number).toBe(before.number + 1);
    expect(other.crl().number).toBe(mine.number);
    expect(other.crl().revokedAt(serialNumber)).toBeDefined();
  });

  test("a damaged list is refused, or does not verify", () => {
    const good = issuing.crl().der;
    for (let index = 0; index < good.length; index++) {
      const damaged = Uint8Array.from(good);
      damaged[index] = (damaged[index] ?? 0) ^ 0x01;
      const outcome = codeOf(() => {
        if (new RevocationList(damaged).verifiedBy(issuing.certificate))
          throw new Error(`octet ${index} of ${Buffer.from(good).toString("hex")} is not covered`);
      });
      expect(["malformed_crl", "no error"]).toContain(outcome);
    }
  });
});

describe("renewal", () => {
  test("gives the same names to a new key", () => {
    const current = issuing.issue(request(), KSS);
    const next = issuing.renew(request({ privateKey: generateKeyPair().privateKey }), current.pem);
    expect(new X509Certificate(next.der).subjectAltName).toBe(new X509Certificate(current.der).subjectAltName);
    expect(next.serialNumber).not.toBe(current.serialNumber);
  });

  test("refuses a request for more than the current names", () => {
    const current = issuing.issue(request(), ALICE);
    const wanted = request({ subjectAltNames: [{ type: "uri", value: "urn:x1410:user:bob" }] });
    expect(codeOf(() => issuing.renew(wanted, current.der))).toBe("foreign_subject_alt_name");
  });

  test("refuses what is revoked, expired or of another authority", () => {
    const current = issuing.issue(request(), ALICE, { validityMs: HOUR });
    expect(codeOf(() => root.renew(request(), current.der))).toBe("unknown_certificate");
    const kept = clock;
    clock = new Date(clock.getTime() + 2 * HOUR);
    try {
      expect(codeOf(() => issuing.renew(request(), current.der))).toBe("expired");
    } finally {
      clock = kept;
    }
    issuing.revoke(current.serialNumber);
    expect(codeOf(() => issuing.renew(request(), current.der))).toBe("revoked");
  });
});
