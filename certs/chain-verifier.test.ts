import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ChainVerifier } from "./chain-verifier.ts";
import { fromPem } from "./der.ts";
import { createPki, type IdentityMaterial, type Pki } from "./pki.ts";

const HOUR = 3_600_000;
const START = new Date("2026-03-01T12:00:00Z");

let directory: string;
let clock = START;
let pki: Pki;
let alice: IdentityMaterial;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "x1410-verifier-"));
  pki = createPki(directory, { now: () => clock, leafValidityMs: 24 * HOUR });
  alice = pki.issueIdentity({ role: "user", identity: "urn:x1410:user:alice" });
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const der = (material: IdentityMaterial) => fromPem("CERTIFICATE", material.certificatePem)[0] as Uint8Array;
const refusal = (code: string) => expect.objectContaining({ name: "PkiError", code });

describe("a verdict", () => {
  test("is remembered, until the certificate expires", () => {
    clock = START;
    const verifier = pki.verifier({ requiredEku: "clientAuth" });
    const first = verifier.verify(der(alice));
    expect(first.identity).toBe("urn:x1410:user:alice");
    expect(first.fingerprint).toBe(alice.fingerprint);
    expect(verifier.verify(der(alice))).toBe(first);
    clock = new Date(START.getTime() + 25 * HOUR);
    expect(() => verifier.verify(der(alice))).toThrow(refusal("expired"));
    clock = START;
  });

  test("ends with the list that it rests on", () => {
    const verifier = pki.verifier();
    const longLived = pki.issueIdentity({ role: "user", identity: "urn:x1410:user:long", validityMs: 1000 * HOUR });
    expect(verifier.verify(der(longLived)).validUntil.toISOString()).toBe("2026-03-08T12:00:00.000Z");
    clock = new Date("2026-03-08T12:00:01Z");
    expect(() => verifier.verify(der(longLived))).toThrow(refusal("crl_stale"));
    clock = START;
  });

  test("does not survive a new list that revokes", () => {
    const bob = pki.issueIdentity({ role: "user", identity: "urn:x1410:user:bob" });
    const verifier = pki.verifier();
    const before = pki.crlPem;
    verifier.verify(der(bob));
    pki.intermediate.revoke(bob.serialNumber);
    verifier.update({ crls: pki.crlPem });
    expect(() => verifier.verify(der(bob))).toThrow(refusal("revoked"));
    // The old list, replayed, brings nobody back.
    verifier.update({ crls: before });
    expect(() => verifier.verify(der(bob))).toThrow(refusal("revoked"));
    expect(verifier.verify(der(alice)).identity).toBe("urn:x1410:user:alice");
    // A signature of an hour before the revocation still stands.
    clock = new Date(START.getTime() + HOUR);
    const carol = pki.issueIdentity({ role: "user", identity: "urn:x1410:user:carol" });
    pki.intermediate.revoke(carol.serialNumber);
    verifier.update({ crls: pki.crlPem });
    expect(verifier.verifyAt(der(carol), new Date(START.getTime() + HOUR - 1000)).identity).toBe(
      "urn:x1410:user:carol",
    );
    expect(() => verifier.verifyAt(der(carol), clock)).toThrow(refusal("revoked"));
    // Where a grace is asked for, the date alone decides, also for an instant that is still to come.
    const at = (ms: number): Date => new Date(clock.getTime() + ms);
    expect(verifier.verifyAt(der(carol), at(4999), 5000).identity).toBe("urn:x1410:user:carol");
    expect(() => verifier.verifyAt(der(carol), at(5000), 5000)).toThrow(refusal("revoked"));
    clock = START;
  });

  test("is gone with the lists", () => {
    const verifier = pki.verifier();
    verifier.verify(der(alice));
    verifier.update({ crls: [] });
    expect(() => verifier.verify(der(alice))).toThrow(refusal("crl_missing"));
  });
});

test("a store that does not parse changes nothing", () => {
  const verifier = pki.verifier();
  expect(() => verifier.update({ crls: [Uint8Array.of(0x30, 0)] })).toThrow(refusal("malformed_crl"));
  expect(() => verifier.update({ trustAnchors: [Uint8Array.of(0x30, 0)] })).toThrow(refusal("malformed_certificate"));
  expect(verifier.verify(der(alice)).identity).toBe("urn:x1410:user:alice");
});

test("a verifier without intermediates finds no path", () => {
  const verifier = new ChainVerifier({ trustAnchors: pki.caPem, crls: pki.crlPem, now: () => clock });
  expect(() => verifier.verify(der(alice))).toThrow(refusal("unknown_issuer"));
});
