import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildCertificationRequest } from "./certification-request.ts";
import { fingerprintOf } from "./identity.ts";
import { generateKeyPair, KEY_ALGORITHMS } from "./key-pair.ts";
import { createPki, type IdentityMaterial, type Pki } from "./pki.ts";

/** Everything here is judged by another implementation, through its command. */
const present = spawnSync("openssl", ["version"]).status === 0;
const title = present ? "openssl agrees" : "NOT RUN, for there is no openssl command here: openssl agrees";

describe.skipIf(!present)(title, () => {
  let directory: string;
  let pki: Pki;
  let kss: IdentityMaterial;
  const file = (name: string): string => join(directory, name);

  function openssl(...args: string[]): { status: number | null; text: string } {
    const { status, stdout, stderr } = spawnSync("openssl", args, { cwd: directory, encoding: "utf8" });
    return { status, text: `${stdout}\n${stderr}` };
  }

  function publish(): void {
    writeFileSync(file("ca.pem"), pki.caPem);
    writeFileSync(file("issuing.pem"), pki.intermediate.pem);
    writeFileSync(file("crl.pem"), pki.crlPem);
  }

  const verify = (certificate: string, ...purpose: string[]) =>
    openssl(
      ...["verify", "-x509_strict", "-crl_check_all", "-CAfile", "ca.pem", "-untrusted", "issuing.pem"],
      ...["-CRLfile", "crl.pem", ...purpose, certificate],
    );

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "x1410-openssl-"));
    pki = createPki(file("pki"), { publicationUri: "http://ca.example" });
    kss = pki.issueIdentity({ role: "kss", identity: "urn:x1410:entity:kss:one", dnsNames: ["kss.example"] });
    writeFileSync(file("kss.pem"), kss.certificatePem);
    publish();
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  test("that a server's certificate is good for both ends and its host names, and for no other", () => {
    expect(verify("kss.pem", "-purpose", "sslserver", "-verify_hostname", "kss.example").text).toContain("kss.pem: OK");
    expect(verify("kss.pem", "-purpose", "sslclient", "-verify_ip", "::1").text).toContain("kss.pem: OK");
    expect(verify("kss.pem", "-verify_hostname", "dss.example").status).not.toBe(0);
  });

  test.each(KEY_ALGORITHMS)(
    "that a user's %s certificate is good for a client and not for a server",
    (keyAlgorithm) => {
      const user = pki.issueIdentity({ role: "user", identity: `urn:x1410:user:${keyAlgorithm}`, keyAlgorithm });
      writeFileSync(file("user.pem"), user.certificatePem);
      publish();
      expect(verify("user.pem", "-purpose", "sslclient").text).toContain("user.pem: OK");
      expect(verify("user.pem", "-purpose", "sslserver").status).not.toBe(0);
    },
  );

  test.each(["ed25519", "rsa3072"] as const)(
    "that authorities with %s keys sign certificates and lists",
    (keyAlgorithm) => {
      const other = createPki(file(keyAlgorithm), { keyAlgorithm });
      const user = other.issueIdentity({ role: "user", identity: "urn:x1410:user:alice" });
      writeFileSync(file("o-user.pem"), user.chainPem);
      writeFileSync(file("o-ca.pem"), other.caPem);
      writeFileSync(file("o-crl.pem"), other.crlPem);
      const { text } = openssl(
        ...["verify", "-x509_strict", "-crl_check_all", "-CAfile", "o-ca.pem", "-untrusted", "o-user.pem"],
        ...["-CRLfile", "o-crl.pem", "o-user.pem"],
      );
      expect(text).toContain("o-user.pem: OK");
    },
  );

  test("on serial number, fingerprint, URI and extensions", () => {
    const { text } = openssl("x509", "-in", "kss.pem", "-noout", "-text", "-serial", "-fingerprint", "-sha256");
    expect(text).toContain(`serial=${kss.serialNumber.toUpperCase()}`);
    expect(text.replaceAll(":", "").toLowerCase()).toContain(`fingerprint=${kss.fingerprint}`);
    expect(text).toContain("URI:urn:x1410:entity:kss:one, DNS:localhost, IP Address:127.0.0.1");
    expect(text).toMatch(/Basic Constraints: critical\s+CA:FALSE/);
    expect(text).toMatch(/Key Usage: critical\s+Digital Signature\n/);
    expect(text).toContain("URI:http://ca.example/intermediate.crl");
    expect(text).toContain("OCSP - URI:http://ca.example/ocsp/intermediate");
  });

  test("that a list is well signed and revokes whom it names", () => {
    const bob = pki.issueIdentity({ role: "user", identity: "urn:x1410:user:bob" });
    writeFileSync(file("bob.pem"), bob.certificatePem);
    expect(verify("bob.pem").text).toContain("bob.pem: OK");
    pki.intermediate.revoke(bob.serialNumber, "keyCompromise");
    publish();
    writeFileSync(file("issuing.crl"), pki.intermediate.crl().der);
    const crl = openssl("crl", "-inform", "DER", "-in", "issuing.crl", "-noout", "-text", "-CAfile", "issuing.pem");
    expect(crl.text).toContain("verify OK");
    expect(crl.text).toContain(bob.serialNumber.toUpperCase());
    expect(crl.text).toContain("Key Compromise");
    expect(crl.text).toMatch(/CRL Number:\s+\d+/);
    expect(verify("bob.pem").text).toContain("certificate revoked");
    expect(verify("kss.pem").text).toContain("kss.pem: OK");
  });

  test("that our requests prove possession", () => {
    for (const algorithm of ["p256", "ed25519"] as const) {
      const { privateKey } = generateKeyPair(algorithm);
      const subjectAltNames = [{ type: "uri", value: "urn:x1410:user:alice" }] as const;
      writeFileSync(
        file("our.csr"),
        buildCertificationRequest({ subject: { commonName: "alice" }, privateKey, subjectAltNames }),
      );
      const { status, text } = openssl("req", "-inform", "DER", "-in", "our.csr", "-noout", "-verify", "-text");
      expect(status).toBe(0);
      expect(text).toMatch(/verify OK/i);
      expect(text).toContain("URI:urn:x1410:user:alice");
    }
  });

  test("and its own requests are accepted, save those signed over SHA-1", () => {
    const make = (...more: string[]) =>
      openssl(
        ...["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "carol.key"],
        ...["-subj", "/CN=Carol", "-addext", "subjectAltName=URI:urn:x1410:user:carol", "-out", "carol.csr", ...more],
      );
    const grant = { role: "user", identity: "urn:x1410:user:carol" } as const;
    expect(make().status).toBe(0);
    const issued = pki.intermediate.issue(readFileSync(file("carol.csr"), "utf8"), grant);
    writeFileSync(file("carol.pem"), issued.pem);
    expect(verify("carol.pem", "-purpose", "sslclient").text).toContain("carol.pem: OK");
    expect(fingerprintOf(issued.der)).toBe(issued.fingerprint);
    expect(make("-sha1").status).toBe(0);
    expect(() => pki.intermediate.issue(readFileSync(file("carol.csr"), "utf8"), grant)).toThrow(
      expect.objectContaining({ code: "weak_signature" }),
    );
  });

  test("with our OCSP answers, by signature, nonce and content", () => {
    const dave = pki.issueIdentity({ role: "user", identity: "urn:x1410:user:dave" });
    writeFileSync(file("dave.pem"), dave.certificatePem);
    pki.intermediate.revoke(dave.serialNumber, "superseded");
    publish();
    const ask = ["ocsp", "-issuer", "issuing.pem", "-cert", "kss.pem", "-sha256", "-cert", "dave.pem", "-nonce"];
    expect(openssl(...ask, "-reqout", "request.der").status).toBe(0);
    writeFileSync(file("answer.der"), pki.intermediate.ocsp(readFileSync(file("request.der"))));
    const judge = [
      "ocsp",
      "-issuer",
      "issuing.pem",
      "-cert",
      "kss.pem",
      "-sha256",
      "-cert",
      "dave.pem",
      "-respin",
      "answer.der",
    ];
    const trust = ["-CAfile", "ca.pem", "-verify_other", "issuing.pem"];
    // Without -no_nonce openssl would draw a nonce of its own, which is the negative case below.
    const { text } = openssl(...judge, "-reqin", "request.der", "-no_nonce", ...trust);
    expect(text).toContain("Response verify OK");
    expect(text).not.toMatch(/nonce/i);
    expect(openssl(...judge, "-reqin", "request.der", ...trust).text).toContain("Nonce Verify error");
    expect(text).toContain("kss.pem: good");
    expect(text).toContain("dave.pem: revoked");
    expect(text).toContain("Reason: superseded");
  });
});
