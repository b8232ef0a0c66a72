import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { clone, create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, describe, expect, test } from "vitest";
import { createPki } from "../../certs/pki.ts";
import {
  type PolicyWithdrawal,
  PolicyWithdrawalSchema,
  UsageReportSchema,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import { type SignedEnvelope, SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import type { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { SignatureAlgorithm } from "../../gen/x1410/v1/identity_pb.ts";
import { reasonName, reasonOf } from "../communications/refusal.ts";
import { algorithmOf, isAvailable, signBytes } from "./algorithm.ts";
import { preAuthenticationEncoding } from "./pae.ts";
import { newContext, payloadTypeOf, signMessage } from "./sign.ts";
import { openSignedRequest } from "./signed-request.ts";
import { createSigner } from "./signer.ts";
import { verifyEnvelope } from "./verify.ts";

const folder = mkdtempSync(join(tmpdir(), "x1410-envelope-"));
afterAll(() => rmSync(folder, { recursive: true }));
const pki = createPki(join(folder, "pki"));
const trust = pki.verifier();
const provider = "urn:x1410:user:provider";
const management = "urn:x1410:entity:dssm:m";
const signerFor = (keyAlgorithm: "p256" | "ed25519" | "rsa3072", identity = provider) => {
  const { privateKeyPem, chainPem } = pki.issueIdentity({ role: "user", identity, keyAlgorithm });
  return createSigner({ privateKeyPem, certificateChainPem: chainPem });
};
const signer = signerFor("p256");

function withdrawal(audience = management, at = new Date()): PolicyWithdrawal {
  const context = newContext(signer, audience, at);
  return create(PolicyWithdrawalSchema, { context, policyId: "0".repeat(32), version: 1n });
}

function refused(run: () => unknown): [Code, string] {
  try {
    run();
  } catch (error) {
    return [ConnectError.from(error).code, reasonName(reasonOf(error))];
  }
  return expect.unreachable("it should be refused");
}

const altered = (envelope: SignedEnvelope, change: (copy: SignedEnvelope) => void): SignedEnvelope => {
  const copy = clone(SignedEnvelopeSchema, envelope);
  change(copy);
  return copy;
};

const flip = (bytes: Uint8Array | undefined, at: number): void => {
  if (bytes === undefined) throw new RangeError("nothing to flip");
  bytes[at] = (bytes[at] ?? 0) ^ 1;
};

describe("sign and verify", () => {
  test.each(["p256", "ed25519", "rsa3072"] as const)("%s", (algorithm) => {
    const own = signerFor(algorithm);
    const message = withdrawal();
    const verified = verifyEnvelope(signMessage(own, PolicyWithdrawalSchema, message), PolicyWithdrawalSchema, trust);
    expect(verified.message).toEqual(message);
    expect(verified.signer.identity).toBe(provider);
    expect(verified.signer.publicKey).toEqual(own.publicKey);
  });

  test("the certificate chain leaves the trust anchor out", () => {
    expect(signer.certificate.certificates).toHaveLength(2);
    const { privateKeyPem, chainPem, caPem } = pki.issueIdentity({ role: "user", identity: provider });
    const withRoot = createSigner({ privateKeyPem, certificateChainPem: chainPem + caPem });
    expect(withRoot.certificate.certificates).toHaveLength(2);
  });

  test("a key that is not that of the certificate makes no signer", () => {
    const { privateKeyPem } = pki.issueIdentity({ role: "user", identity: provider });
    const { chainPem } = pki.issueIdentity({ role: "user", identity: provider });
    expect(() => createSigner({ privateKeyPem, certificateChainPem: chainPem })).toThrow(TypeError);
  });

  test.skipIf(!isAvailable(SignatureAlgorithm.ML_DSA_65))("ML-DSA-65 where the runtime has it", () => {
    const { privateKey, publicKey } = generateKeyPairSync("ml-dsa-65");
    expectVerifiedUnder(SignatureAlgorithm.ML_DSA_65, privateKey, publicKey);
  });
});

function envelopeBy(algorithm: SignatureAlgorithm, privateKey: KeyObject): SignedEnvelope {
  const payloadType = payloadTypeOf(PolicyWithdrawalSchema);
  const payload = toBinary(PolicyWithdrawalSchema, withdrawal());
  const value = signBytes(preAuthenticationEncoding(payloadType, payload), privateKey);
  const certificate = { certificates: [new Uint8Array(64)] };
  return create(SignedEnvelopeSchema, { payload, payloadType, signatures: [{ algorithm, value, certificate }] });
}

function expectVerifiedUnder(algorithm: SignatureAlgorithm, privateKey: KeyObject, publicKey: KeyObject): void {
  const store = { verify: () => ({ identity: provider, publicKey, fingerprint: "" }) };
  const envelope = envelopeBy(algorithm, privateKey);
  expect(verifyEnvelope(envelope, PolicyWithdrawalSchema, store).signer.publicKey.algorithm).toBe(algorithm);
}

describe("refusals, in their order", () => {
  const good = signMessage(signer, PolicyWithdrawalSchema, withdrawal());
  const verify = (envelope: SignedEnvelope) => () => verifyEnvelope(envelope, PolicyWithdrawalSchema, trust);

  test("the positive twin", () => expect(verify(good)).not.toThrow());

  test.each<[string, keyof typeof ErrorReason, Code, (copy: SignedEnvelope) => void]>([
    ["signature stripped", "SIGNATURE_MISSING", Code.InvalidArgument, (copy) => copy.signatures.splice(0)],
    ["two signatures", "REQUEST_INVALID", Code.InvalidArgument, (copy) => copy.signatures.push(...copy.signatures)],
    ["bit of the payload flipped", "SIGNATURE_INVALID", Code.Unauthenticated, (copy) => flip(copy.payload, 40)],
    [
      "bit of the signature flipped",
      "SIGNATURE_INVALID",
      Code.Unauthenticated,
      (copy) => flip(copy.signatures[0]?.value, 20),
    ],
    [
      "empty signature",
      "SIGNATURE_INVALID",
      Code.Unauthenticated,
      (copy) => Object.assign(copy.signatures[0] ?? {}, { value: new Uint8Array() }),
    ],
    [
      "bit of the certificate flipped",
      "SIGNER_UNTRUSTED",
      Code.Unauthenticated,
      (copy) => flip(copy.signatures[0]?.certificate?.certificates[0], 200),
    ],
    ["no certificate", "SIGNER_UNTRUSTED", Code.Unauthenticated, (copy) => delete copy.signatures[0]?.certificate],
    [
      "algorithm of another key type",
      "ALGORITHM_NOT_ALLOWED",
      Code.InvalidArgument,
      (copy) => Object.assign(copy.signatures[0] ?? {}, { algorithm: SignatureAlgorithm.ED25519 }),
    ],
    [
      "algorithm off the list",
      "ALGORITHM_NOT_ALLOWED",
      Code.InvalidArgument,
      (copy) => Object.assign(copy.signatures[0] ?? {}, { algorithm: 99 }),
    ],
    [
      "no algorithm",
      "ALGORITHM_NOT_ALLOWED",
      Code.InvalidArgument,
      (copy) => Object.assign(copy.signatures[0] ?? {}, { algorithm: 0 }),
    ],
    [
      "type renamed",
      "PAYLOAD_TYPE_MISMATCH",
      Code.InvalidArgument,
      (copy) => Object.assign(copy, { payloadType: payloadTypeOf(UsageReportSchema) }),
    ],
  ])("%s: %s", (_, reason, code, change) => {
    expect(refused(verify(altered(good, change)))).toEqual([code, reason]);
  });

  test("a valid envelope renamed to the type expected does not verify", () => {
    const report = signer.sign(payloadTypeOf(UsageReportSchema), good.payload);
    const renamed = altered(report, (copy) => Object.assign(copy, { payloadType: good.payloadType }));
    expect(refused(verify(renamed))).toEqual([Code.Unauthenticated, "SIGNATURE_INVALID"]);
  });

  test("a signer of another root, also under the same names", () => {
    const rogue = createPki(join(folder, "rogue"));
    const { privateKeyPem, chainPem } = rogue.issueIdentity({ role: "user", identity: provider });
    const own = createSigner({ privateKeyPem, certificateChainPem: chainPem });
    const envelope = signMessage(own, PolicyWithdrawalSchema, withdrawal());
    expect(refused(verify(envelope))).toEqual([Code.Unauthenticated, "SIGNER_UNTRUSTED"]);
  });

  test("signed bytes that do not parse, or break a rule of the message", () => {
    const malformed = [Code.InvalidArgument, "PAYLOAD_MALFORMED"];
    expect(refused(verify(signer.sign(good.payloadType, new Uint8Array([0xff, 0xff]))))).toEqual(malformed);
    const broken = { ...withdrawal(), policyId: "../x" };
    expect(refused(verify(signMessage(signer, PolicyWithdrawalSchema, broken)))).toEqual(malformed);
  });

  test("keys that are too weak or of another curve have no algorithm", () => {
    expect(algorithmOf(generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey)).toBeUndefined();
    expect(algorithmOf(generateKeyPairSync("ec", { namedCurve: "secp384r1" }).publicKey)).toBeUndefined();
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "secp384r1" });
    expect(() => expectVerifiedUnder(SignatureAlgorithm.ECDSA_P256_SHA256, privateKey, publicKey)).toThrow();
  });
});

describe("signed requests", () => {
  const at = new Date("2026-06-01T00:00:00Z");
  const anyTime = { verify: (leaf: Uint8Array) => trust.verify(leaf) };
  const open = (envelope: SignedEnvelope | undefined, change: { caller?: string; party?: string; now?: Date } = {}) =>
    openSignedRequest(envelope, PolicyWithdrawalSchema, {
      caller: { identity: change.caller ?? provider },
      audience: management,
      now: () => change.now ?? at,
      trust: anyTime,
      party: () => [change.party ?? provider],
    });
  const envelope = signMessage(signer, PolicyWithdrawalSchema, withdrawal(management, at));

  test("the positive twin answers message, signer and the key of its answer", () => {
    const { message, signer: by, answerKey } = open(envelope);
    expect(by.identity).toBe(provider);
    expect(answerKey).toMatchObject({ identity: provider, nonce: message.context?.nonce, issuedAt: at });
    expect(answerKey.payloadSha256).toHaveLength(32);
  });

  test("no envelope at all", () => {
    expect(refused(() => open(undefined))).toEqual([Code.InvalidArgument, "SIGNATURE_MISSING"]);
  });

  test("the signer is not the caller", () => {
    const change = { caller: "urn:x1410:user:other" };
    expect(refused(() => open(envelope, change))).toEqual([Code.PermissionDenied, "SIGNER_NOT_CALLER"]);
  });

  test("the party named inside is not the signer", () => {
    const denied = [Code.PermissionDenied, "PARTY_NOT_SIGNER"];
    expect(refused(() => open(envelope, { party: "urn:x1410:user:other" }))).toEqual(denied);
    const other = signerFor("p256", "urn:x1410:user:other");
    const stolen = signMessage(other, PolicyWithdrawalSchema, withdrawal(management, at));
    expect(refused(() => open(stolen, { caller: other.identity, party: other.identity }))).toEqual(denied);
  });

  test("another audience", () => {
    const elsewhere = signMessage(signer, PolicyWithdrawalSchema, withdrawal("urn:x1410:entity:dssm:n", at));
    expect(refused(() => open(elsewhere))).toEqual([Code.PermissionDenied, "AUDIENCE_MISMATCH"]);
  });

  test.each([
    ["360 s old", 360_000, true],
    ["older", 360_001, false],
    ["60 s ahead", -60_000, true],
    ["further ahead", -60_001, false],
  ])("the window: %s", (_, age, accepted) => {
    const now = new Date(at.getTime() + age);
    if (accepted) expect(() => open(envelope, { now })).not.toThrow();
    else expect(refused(() => open(envelope, { now }))).toEqual([Code.Unauthenticated, "SIGNED_TIME_OUT_OF_WINDOW"]);
  });
});
