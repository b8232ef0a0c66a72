// The golden vectors were made by another implementation: a bug of this one does not bless itself.
import { createPrivateKey, createPublicKey } from "node:crypto";
import { fromBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { ChainVerifier } from "../../certs/chain-verifier.ts";
import vectors from "../../conformance/vectors/envelope.json" with { type: "json" };
import { PolicyWithdrawalSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import { reasonName, reasonOf } from "../communications/refusal.ts";
import { signBytes, verifyBytes } from "./algorithm.ts";
import { preAuthenticationEncoding } from "./pae.ts";
import { payloadTypeOf } from "./sign.ts";
import { verifyEnvelope } from "./verify.ts";

const bytes = (hex: string): Uint8Array => Buffer.from(hex, "hex");
const trust = new ChainVerifier({
  trustAnchors: [bytes(vectors.trustAnchor)],
  crlsRequired: false,
  now: () => new Date(vectors.time),
});

test.each(vectors.preAuthenticationEncodings)("PAE of $payloadType", ({ payloadType, payload, pae }) => {
  expect(Buffer.from(preAuthenticationEncoding(payloadType, bytes(payload))).toString("hex")).toBe(pae);
});

test("Ed25519 signs deterministically", () => {
  const { seed, publicKey, message, signature } = vectors.ed25519;
  const pkcs8 = Buffer.concat([bytes("302e020100300506032b657004220420"), bytes(seed)]);
  const privateKey = createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" });
  expect(Buffer.from(signBytes(bytes(message), privateKey)).toString("hex")).toBe(signature);
  const key = createPublicKey({ key: Buffer.from(bytes(publicKey)), format: "der", type: "spki" });
  expect(verifyBytes(bytes(message), key, bytes(signature))).toBe(true);
});

test.each(vectors.envelopes)("$name: $expect", ({ envelope, expect: expected }) => {
  expect(payloadTypeOf(PolicyWithdrawalSchema)).toBe(vectors.payloadType);
  const received = fromBinary(SignedEnvelopeSchema, bytes(envelope));
  let verdict: string;
  try {
    expect(verifyEnvelope(received, PolicyWithdrawalSchema, trust).signer.identity).toBe(vectors.identity);
    verdict = "valid";
  } catch (error) {
    verdict = reasonName(reasonOf(error));
  }
  expect(verdict).toBe(expected);
});
