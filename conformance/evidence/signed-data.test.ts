import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ChainVerifier } from "../../certs/chain-verifier.ts";
import { fromPem } from "../../certs/der.ts";
import { generateKeyPair, parsePrivateKey } from "../../certs/key-pair.ts";
import { createPki, type Pki } from "../../certs/pki.ts";
import { open, type SealingIdentity, seal } from "./signed-data.ts";

const content = new TextEncoder().encode("what is sealed\n");
const at = new Date("2026-03-02T12:00:00.789Z");
let folder: string;
let pki: Pki;
let identity: SealingIdentity;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "x1410-seal-"));
  pki = createPki(folder, { now: () => at });
  const { privateKeyPem, chainPem } = pki.issueIdentity({ role: "user", identity: "urn:x1410:user:laboratory" });
  identity = { privateKey: parsePrivateKey(privateKeyPem), chain: fromPem("CERTIFICATE", chainPem) };
});
afterAll(() => rm(folder, { recursive: true }));

test("content, time in whole seconds and certificates come back", () => {
  const opened = open(seal(content, identity, at));
  expect(opened.content).toEqual(content);
  expect(opened.signedAt).toEqual(new Date("2026-03-02T12:00:00Z"));
  expect([opened.signer.der, ...opened.others]).toEqual(identity.chain);
});

test("a flipped bit is found out, wherever it is", { timeout: 120_000 }, () => {
  const good = seal(content, identity, at);
  const trust = new ChainVerifier({ trustAnchors: pki.caPem, now: () => at, crlsRequired: false });
  const believed = (der: Uint8Array) => {
    const { signer, others } = open(der);
    trust.update({ intermediates: others });
    return trust.verifyAt(signer.der, at).identity;
  };
  expect(believed(good)).toBe("urn:x1410:user:laboratory");
  for (let place = 0; place < good.length; place += 5) {
    const bad = new Uint8Array(good);
    bad[place] = (bad[place] ?? 0) ^ (1 << (place % 8));
    const errors = expect.objectContaining({ name: expect.stringMatching(/^(EvidenceError|PkiError)$/) });
    expect(() => believed(bad), `byte ${place}`).toThrow(errors);
  }
});

test.each(["ed25519", "rsa3072"] as const)("a seal by %s opens", (keyAlgorithm) => {
  const request = { role: "user", identity: "urn:x1410:user:laboratory", keyAlgorithm } as const;
  const { privateKeyPem, chainPem } = pki.issueIdentity(request);
  const other = { privateKey: parsePrivateKey(privateKeyPem), chain: fromPem("CERTIFICATE", chainPem) };
  expect(open(seal(content, other, at)).content).toEqual(content);
});

test("bytes after the end, or an end too early, are refused", () => {
  const good = seal(content, identity, at);
  for (const bad of [new Uint8Array([...good, 0]), good.subarray(0, -1), new Uint8Array()])
    expect(() => open(bad)).toThrow(expect.objectContaining({ code: "seal_malformed" }));
});

test("a key that is not the certificate's seals nothing", () => {
  expect(() => seal(content, { ...identity, privateKey: generateKeyPair().privateKey }, at)).toThrow(TypeError);
  expect(() => seal(content, { ...identity, chain: [] }, at)).toThrow(TypeError);
});
