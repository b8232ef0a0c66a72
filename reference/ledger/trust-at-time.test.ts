import { generateKeyPairSync } from "node:crypto";
import { expect, test } from "vitest";
import type { TrustedCertificate } from "../envelope/verify.ts";
import { TrustAtTime } from "./trust-at-time.ts";

const certificate: TrustedCertificate = {
  identity: "urn:x1410:entity:dssm:m",
  publicKey: generateKeyPairSync("ed25519").publicKey,
  fingerprint: "",
};
const leaf = new Uint8Array([1]);

/** A store that believes the certificate from `from` until `until`, and counts how often it is asked. */
function store(from: number, until: number) {
  let asked = 0;
  const verifyAt = (_: Uint8Array, at: Date): TrustedCertificate => {
    asked += 1;
    if (at.getTime() < from || at.getTime() > until) throw new RangeError("not valid then");
    return certificate;
  };
  return { trust: new TrustAtTime({ verify: () => certificate, verifyAt }), asked: () => asked };
}

test("each time is judged as the store judges it, up to the last millisecond", () => {
  const { trust } = store(10_000, 100_000);
  const believes = (at: number): boolean => {
    try {
      return trust.at(BigInt(at)).verify(leaf, []) === certificate;
    } catch {
      return false;
    }
  };
  for (const at of [9_999, 10_000, 10_001, 50_000, 99_999, 100_000, 100_001, 10_000, 9_999, 200_000, 60_000]) {
    expect(believes(at), `at ${at}`).toBe(at >= 10_000 && at <= 100_000);
  }
});

test("a long chain of blocks costs few verifications", () => {
  const { trust, asked } = store(0, 1e12);
  for (let block = 0; block < 10_000; block++) trust.at(BigInt(block * 1000)).verify(leaf, []);
  expect(asked()).toBeLessThan(50);
});
