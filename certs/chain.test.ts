import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { afterEach, describe, expect, test, vi } from "vitest";
import { type CertificateSpec, parseCertificate } from "./certificate.ts";
import {
  ALICE,
  AT,
  authority,
  listOf,
  type Member,
  make,
  resigned,
  revocationOf,
  SIGNER,
  signer,
  UNTIL,
  withOctets,
} from "./chain.fixture.ts";
import { type ChainRules, verifyCertificateChain } from "./chain.ts";
import { generateKeyPair } from "./key-pair.ts";
import { PkiError, type PkiErrorCode } from "./pki-error.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

const serverByNetscape = { oid: "2.16.840.1.113730.1.1", critical: false, value: Uint8Array.of(3, 2, 6, 0x40) };
const proxy = {
  oid: "1.3.6.1.5.5.7.1.14",
  critical: false,
  value: Buffer.from("300c300a06082b06010505071501", "hex"),
};
const root = authority(undefined, "root", 1);
const issuing = authority(root, "issuing", 0);
const parsed = (...members: Member[]) => members.map(({ der }) => parseCertificate(der));

function rules(changes: Partial<ChainRules> = {}): ChainRules {
  return {
    trustAnchors: parsed(root),
    intermediates: parsed(issuing),
    crls: [listOf(root), listOf(issuing)],
    at: AT,
    requiredEku: "clientAuth",
    ...changes,
  };
}

function verdict(leaf: Member, changes: Partial<ChainRules> = {}): PkiErrorCode | "accepted" {
  try {
    verifyCertificateChain(leaf.der, rules(changes));
    return "accepted";
  } catch (error) {
    if (error instanceof PkiError) return error.code;
    throw error;
  }
}

test("a good certificate yields identity, key and the path to the root", () => {
  const leaf = signer(issuing);
  const verified = verifyCertificateChain(leaf.der, rules());
  expect(verified.identity).toBe(ALICE);
  expect(verified.publicKey.equals(leaf.publicKey)).toBe(true);
  expect(verified.chain.map(({ x509 }) => x509.subject)).toEqual(["CN=somebody", "CN=issuing", "CN=root"]);
  expect(verified.validUntil).toEqual(UNTIL);
});

test("an authority in the middle can be the trust anchor", () => {
  expect(verdict(signer(issuing), { trustAnchors: parsed(issuing), intermediates: [], crls: [listOf(issuing)] })).toBe(
    "accepted",
  );
});

describe("the certificate itself", () => {
  test.each<[string, Partial<CertificateSpec>, PkiErrorCode]>([
    ["expired", { notAfter: new Date("2026-02-28T23:59:59Z") }, "expired"],
    ["not valid for two minutes yet", { notBefore: new Date("2026-03-01T00:02:00Z") }, "not_yet_valid"],
    ["without SAN URI", { subjectAltNames: [{ type: "dns", value: "alice" }] }, "no_identity"],
    [
      "identity in the common name only",
      { subject: { commonName: ALICE }, subjectAltNames: [{ type: "dns", value: "x" }] },
      "no_identity",
    ],
    [
      "two SAN URIs",
      {
        subjectAltNames: [
          { type: "uri", value: ALICE },
          { type: "uri", value: "urn:x1410:user:bob" },
        ],
      },
      "several_identities",
    ],
    ["serverAuth only", { extendedKeyUsage: ["serverAuth"] }, "wrong_extended_key_usage"],
    ["keyEncipherment only", { keyUsage: ["keyEncipherment"] }, "wrong_key_usage"],
    ["an authority", { basicConstraints: { ca: true } }, "ca_as_end_entity"],
    ["RSA-1024", { publicKey: generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey }, "weak_key"],
    [
      "an unknown critical extension",
      { otherExtensions: [{ oid: "1.2.3.4", critical: true, value: Uint8Array.of(5, 0) }] },
      "unknown_critical_extension",
    ],
    ["for a server by Netscape's extension", { otherExtensions: [serverByNetscape] }, "unprocessed_constraint"],
    ["a proxy", { otherExtensions: [{ ...proxy, critical: true }] }, "unknown_critical_extension"],
    ["a proxy that does not say so critically", { otherExtensions: [proxy] }, "unprocessed_constraint"],
    [
      "distribution points that do not parse",
      { otherExtensions: [{ oid: "2.5.29.31", critical: false, value: Uint8Array.of(5, 0) }] },
      "malformed_certificate",
    ],
    [
      "an extension that appears twice",
      { otherExtensions: [{ oid: "2.5.29.19", critical: true, value: Uint8Array.of(0x30, 0) }] },
      "malformed_certificate",
    ],
  ])("%s", (_, spec, code) => {
    expect(verdict(signer(issuing))).toBe("accepted");
    expect(verdict(signer(issuing, spec))).toBe(code);
  });

  test("without extended key usage, where one is required; and with none required", () => {
    const { extendedKeyUsage: _, ...plain } = SIGNER;
    const leaf = make(issuing, plain);
    expect(verdict(leaf)).toBe("wrong_extended_key_usage");
    const { requiredEku: __, ...lenient } = rules();
    expect(verifyCertificateChain(leaf.der, lenient).identity).toBe(ALICE);
  });

  test("an authority key identifier that does not parse", () => {
    const leaf = signer(issuing);
    const intact = resigned(leaf.der, issuing, (tbs) => tbs);
    // A SET in place of the SEQUENCE.
    const damaged = resigned(leaf.der, issuing, withOctets("0603551d2304183016", "0603551d2304183116"));
    expect(verdict({ ...leaf, der: intact })).toBe("accepted");
    expect(verdict({ ...leaf, der: damaged })).toBe("malformed_certificate");
  });

  test("a clock that is half a minute behind does no harm", () => {
    expect(verdict(signer(issuing, { notBefore: new Date("2026-03-01T00:00:30Z") }))).toBe("accepted");
  });

  test("no flipped octet passes", () => {
    const { der } = signer(issuing);
    const fixed = rules();
    expect(verifyCertificateChain(der, fixed).identity).toBe(ALICE);
    for (let index = 0; index < der.length; index++) {
      const damaged = Uint8Array.from(der);
      damaged[index] = (damaged[index] ?? 0) ^ 0x01;
      const octet = `octet ${index} of ${Buffer.from(der).toString("hex")}`;
      expect(() => verifyCertificateChain(damaged, fixed), octet).toThrow(PkiError);
    }
  });
});

describe("the path", () => {
  test("a root of the same name and another key", () => {
    const rogue = authority(undefined, "root", 1);
    const rogueIssuing = authority(rogue, "issuing", 0);
    const leaf = signer(rogueIssuing);
    expect(verdict(leaf)).toBe("bad_signature");
    expect(verdict(leaf, { intermediates: parsed(rogueIssuing) })).toBe("bad_signature");
  });

  test("a stranger's authority", () => {
    expect(verdict(signer(authority(undefined, "elsewhere")))).toBe("unknown_issuer");
  });

  test("self-signed", () => {
    expect(verdict(make(undefined, SIGNER))).toBe("unknown_issuer");
  });

  test("of two authorities of one name the right one is found", () => {
    const twin = authority(root, "issuing", 0);
    const crls = [listOf(root), listOf(twin), listOf(issuing)];
    expect(verdict(signer(twin), { intermediates: parsed(issuing, twin), crls })).toBe("accepted");
  });

  test("path length violated", () => {
    const third = authority(issuing, "third");
    const crls = [listOf(root), listOf(issuing), listOf(third)];
    expect(verdict(signer(third), { intermediates: parsed(issuing, third), crls })).toBe("path_length_exceeded");
    const roomy = authority(root, "roomy");
    const second = authority(roomy, "second");
    const lists = [listOf(root), listOf(roomy), listOf(second)];
    // The root's own limit of 1 counts as well.
    expect(verdict(signer(second), { intermediates: parsed(roomy, second), crls: lists })).toBe("path_length_exceeded");
  });

  test("a leaf signed by a leaf", () => {
    const leaf = signer(issuing, { subject: { commonName: "leaf" } });
    expect(verdict(signer(leaf), { intermediates: parsed(issuing, leaf), crlsRequired: false })).toBe("not_a_ca");
  });

  test("an authority that may not sign certificates", () => {
    const crippled = authority(root, "crippled", 0, { keyUsage: ["cRLSign"] });
    const crls = [listOf(root), listOf(crippled)];
    expect(verdict(signer(crippled), { intermediates: parsed(crippled), crls })).toBe("wrong_key_usage");
  });

  test("an authority that certifies for other purposes, at either level", () => {
    const under = (top: Member, below: Member) =>
      verdict(signer(below), {
        trustAnchors: parsed(top),
        intermediates: parsed(below),
        crls: [listOf(top), listOf(below)],
      });
    const both = ["serverAuth", "clientAuth"] as const;
    const narrowRoot = authority(undefined, "root", 1, { extendedKeyUsage: ["serverAuth"] });
    const wideRoot = authority(undefined, "root", 1, { extendedKeyUsage: both });
    const narrow = (top: Member) => authority(top, "issuing", 0, { extendedKeyUsage: ["serverAuth"] });
    const wide = (top: Member) => authority(top, "issuing", 0, { extendedKeyUsage: both });
    expect(under(wideRoot, wide(wideRoot))).toBe("accepted");
    expect(under(wideRoot, narrow(wideRoot))).toBe("wrong_extended_key_usage");
    expect(under(narrowRoot, wide(narrowRoot))).toBe("wrong_extended_key_usage");
  });

  test.each([true, false])("an authority with name constraints, be they critical: %s", (critical) => {
    const constrained = authority(root, "constrained", 0, {
      otherExtensions: [
        { oid: "2.5.29.30", critical, value: Buffer.from("300fa00d300b820978312e6578616d706c", "hex") },
      ],
    });
    const free = authority(root, "constrained", 0);
    const under = (issuer: Member) =>
      verdict(signer(issuer), { intermediates: parsed(issuer), crls: [listOf(root), listOf(issuer)] });
    expect(under(constrained)).toBe(critical ? "unknown_critical_extension" : "unprocessed_constraint");
    expect(under(free)).toBe("accepted");
  });

  test("an expired authority", () => {
    const old = authority(root, "old", 0, { notAfter: new Date("2026-02-01T00:00:00Z") });
    expect(verdict(signer(old), { intermediates: parsed(old), crls: [listOf(root), listOf(old)] })).toBe("expired");
  });

  test("a crowd of authorities of one name does not multiply the work without end", () => {
    const crowd = (count: number) => {
      const keys = generateKeyPair();
      return Array.from({ length: count }, () => authority(root, "issuing", 0, { publicKey: keys.publicKey }));
    };
    const leaf = signer(issuing);
    const verify = vi.spyOn(X509Certificate.prototype, "verify");
    expect(verdict(leaf, { intermediates: parsed(...crowd(100), issuing) })).toBe("unknown_issuer");
    expect(verify).toHaveBeenCalledTimes(64);
    // Two of the 64 are for those that signed.
    expect(verdict(leaf, { intermediates: parsed(...crowd(62), issuing) })).toBe("accepted");
  });

  test("authorities that certify each other end the search", () => {
    const left = authority(undefined, "left");
    const right = authority(undefined, "right");
    const leftByRight = {
      ...left,
      der: make(right, { subject: { commonName: "left" }, basicConstraints: { ca: true } }, left).der,
    };
    const rightByLeft = {
      ...right,
      der: make(left, { subject: { commonName: "right" }, basicConstraints: { ca: true } }, right).der,
    };
    expect(verdict(signer(left), { intermediates: parsed(leftByRight, rightByLeft) })).toBe("unknown_issuer");
  });
});

describe("revocation at every level", () => {
  test("of the leaf, of the authority", () => {
    const leaf = signer(issuing);
    expect(verdict(leaf, { crls: [listOf(root), listOf(issuing, [revocationOf(leaf)])] })).toBe("revoked");
    expect(verdict(leaf, { crls: [listOf(root, [revocationOf(issuing)]), listOf(issuing)] })).toBe("revoked");
  });

  test("a missing list, at either level", () => {
    const leaf = signer(issuing);
    expect(verdict(leaf, { crls: [listOf(root)] })).toBe("crl_missing");
    expect(verdict(leaf, { crls: [listOf(issuing)] })).toBe("crl_missing");
    expect(verdict(leaf, { crls: [], crlsRequired: false })).toBe("accepted");
  });

  test("a stale list, or one of the future", () => {
    const leaf = signer(issuing);
    const stale = listOf(issuing, [], { nextUpdate: new Date("2026-02-01T00:00:00Z") });
    const future = listOf(issuing, [], { thisUpdate: new Date("2026-04-01T00:00:00Z") });
    expect(verdict(leaf, { crls: [listOf(root), stale] })).toBe("crl_stale");
    expect(verdict(leaf, { crls: [listOf(root), future] })).toBe("crl_stale");
    expect(verdict(leaf, { crls: [listOf(root), stale, listOf(issuing, [], { number: 2 })] })).toBe("accepted");
  });

  test("a stale list still proves a revocation", () => {
    const leaf = signer(issuing);
    const stale = listOf(issuing, [revocationOf(leaf)], { nextUpdate: new Date("2026-02-01T00:00:00Z") });
    expect(verdict(leaf, { crls: [listOf(root), stale] })).toBe("revoked");
  });

  test("a list by a rogue authority of the same name counts for nothing, either way", () => {
    const leaf = signer(issuing);
    const rogue = authority(undefined, "issuing", 0);
    expect(verdict(leaf, { crls: [listOf(root), listOf(rogue)] })).toBe("crl_missing");
    expect(verdict(leaf, { crls: [listOf(root), listOf(issuing), listOf(rogue, [revocationOf(leaf)])] })).toBe(
      "accepted",
    );
  });

  test("a list by an authority that may not sign lists", () => {
    const mute = authority(root, "mute", 0, { keyUsage: ["keyCertSign"] });
    expect(verdict(signer(mute), { intermediates: parsed(mute), crls: [listOf(root), listOf(mute)] })).toBe(
      "crl_missing",
    );
  });
});

describe("the past, judged today", () => {
  const leaf = signer(issuing, { notAfter: new Date("2026-06-01T00:00:00Z") });
  const revokedInApril = listOf(issuing, [revocationOf(leaf, new Date("2026-04-01T00:00:00Z"))]);
  const crls = [listOf(root), revokedInApril];
  const today = new Date("2026-08-01T00:00:00Z");

  test("a signature older than the revocation holds, a younger one does not", () => {
    expect(verdict(leaf, { crls, at: new Date("2026-03-01T00:00:00Z"), crlsAt: today })).toBe("accepted");
    expect(verdict(leaf, { crls, at: new Date("2026-05-01T00:00:00Z"), crlsAt: today })).toBe("revoked");
  });

  test("without the instant of the lists, any revocation counts", () => {
    expect(verdict(leaf, { crls, at: new Date("2026-03-01T00:00:00Z") })).toBe("revoked");
  });
});

describe("a certificate that came before", () => {
  test("is parsed once, and forgotten when many others came", () => {
    const first = make(undefined).der;
    const parsed = parseCertificate(first);
    expect(parseCertificate(new Uint8Array(first))).toBe(parsed);
    expect(parseCertificate(make(undefined).der)).not.toBe(parsed);
    const keys = generateKeyPair();
    for (let count = 0; count < 256; count++) parseCertificate(make(undefined, {}, keys).der);
    expect(parseCertificate(first)).not.toBe(parsed);
  });

  test("does not hide a flipped bit", () => {
    const { der } = make(undefined);
    parseCertificate(der);
    const other = new Uint8Array(der);
    other[other.length - 1] = (other.at(-1) ?? 0) ^ 1;
    expect(parseCertificate(other).der).toEqual(other);
    other[4] = 0xff;
    expect(() => parseCertificate(other)).toThrow(expect.objectContaining({ code: "malformed_certificate" }));
  });
});
