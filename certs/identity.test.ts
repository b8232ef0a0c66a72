import { X509Certificate } from "node:crypto";
import { describe, expect, test } from "vitest";
import { buildCertificate } from "./certificate.ts";
import type { SubjectAltName } from "./extensions.ts";
import { fingerprintOf, formatIdentity, identityOf, parseIdentity } from "./identity.ts";
import { generateKeyPair } from "./key-pair.ts";

const { privateKey, publicKey } = generateKeyPair();

function certificateWith(subjectAltNames: SubjectAltName[] | undefined, commonName = "x"): X509Certificate {
  return new X509Certificate(
    buildCertificate({
      subject: { commonName },
      publicKey,
      issuer: { privateKey },
      notBefore: new Date("2026-01-01"),
      notAfter: new Date("2027-01-01"),
      ...(subjectAltNames === undefined ? {} : { subjectAltNames }),
    }),
  );
}

const ALICE = "urn:x1410:user:alice";

describe("the identity of a certificate", () => {
  test("is its one SAN URI, whatever other names stand beside it", () => {
    const certificate = certificateWith([
      { type: "dns", value: "localhost" },
      { type: "uri", value: ALICE },
      { type: "ip", value: "::1" },
    ]);
    expect(identityOf(certificate)).toBe(ALICE);
  });

  test.each([
    ["no subject alternative name at all", undefined],
    ["names, but no URI", [{ type: "dns", value: "alice" }]],
    [
      "two URIs",
      [
        { type: "uri", value: ALICE },
        { type: "uri", value: "urn:x1410:user:bob" },
      ],
    ],
    [
      "the same URI twice",
      [
        { type: "uri", value: ALICE },
        { type: "uri", value: ALICE },
      ],
    ],
  ] as [string, SubjectAltName[] | undefined][])("is nothing with %s", (_, names) => {
    expect(identityOf(certificateWith(names))).toBeUndefined();
  });

  test("is never the common name", () => {
    expect(identityOf(certificateWith(undefined, ALICE))).toBeUndefined();
  });

  test("a separator inside a name forges no second name", () => {
    expect(identityOf(certificateWith([{ type: "dns", value: `a, URI:${ALICE}` }]))).toBeUndefined();
    const uri = `urn:x1410:user:mallory, DNS:x, URI:${ALICE}`;
    expect(identityOf(certificateWith([{ type: "uri", value: uri }]))).toBe(uri);
    expect(parseIdentity(uri)).toBeUndefined();
  });
});

describe("URNs", () => {
  test.each(["urn:x1410:user:alice", "urn:x1410:entity:kss:kss-1.example", "urn:x1410:entity:operator:ops"])(
    "%s survives parse and format",
    (uri) => {
      const identity = parseIdentity(uri);
      expect(identity && formatIdentity(identity.role, identity.name)).toBe(uri);
    },
  );

  test.each([
    "urn:x1410:user:",
    "urn:x1410:user:a/b",
    "urn:x1410:user:../x",
    "urn:x1410:user:a:b",
    "urn:x1410:entity:user:a",
    "urn:x1410:entity:hsm:a",
    "urn:x1410:kss:a",
    "URN:x1410:user:a",
    "urn:x1410:user:a\0",
    " urn:x1410:user:a",
    `urn:x1410:user:${"a".repeat(128)}`,
  ])("%j is no identity", (uri) => {
    expect(parseIdentity(uri)).toBeUndefined();
  });

  test("a name that would not parse again is refused", () => {
    expect(() => formatIdentity("user", "a:b")).toThrow(expect.objectContaining({ code: "invalid_identity" }));
  });
});

test("the fingerprint is the one that Node and openssl print, without colons", () => {
  const certificate = certificateWith([{ type: "uri", value: ALICE }]);
  expect(fingerprintOf(certificate)).toBe(certificate.fingerprint256.replaceAll(":", "").toLowerCase());
  expect(fingerprintOf(new Uint8Array(certificate.raw))).toBe(fingerprintOf(certificate));
});
