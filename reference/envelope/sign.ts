// Making signed messages (P7, C4) and the context that binds them to signer, audience, nonce and time.
import { randomBytes } from "node:crypto";
import { create, type DescMessage, getOption, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { message as messageRequirement } from "../../gen/x1410/v1/annotations_pb.ts";
import { type SignedContext, SignedContextSchema, type SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import type { Signer } from "./signer.ts";

const payloadTypes = new WeakMap<DescMessage, string>();

/** The payload_type option of a message that is meant to be signed. @throws TypeError where it is not meant to be */
export function payloadTypeOf(schema: DescMessage): string {
  const known = payloadTypes.get(schema);
  if (known !== undefined) return known;
  const { payloadType } = getOption(schema, messageRequirement);
  if (payloadType === "") throw new TypeError(`${schema.typeName} is not a signed message`);
  payloadTypes.set(schema, payloadType);
  return payloadType;
}

/** Serialises once and signs those bytes; keep the envelope, for other bytes would be another message. */
export function signMessage<Desc extends DescMessage>(
  signer: Signer,
  schema: Desc,
  message: MessageShape<Desc>,
): SignedEnvelope {
  return signer.sign(payloadTypeOf(schema), toBinary(schema, message));
}

/** A context with a fresh nonce of 16 random bytes, for one message of this signer to this audience, signed at `now`. */
export function newContext(signer: { readonly identity: string }, audience: string, now: Date): SignedContext {
  return create(SignedContextSchema, {
    signer: signer.identity,
    audience,
    nonce: new Uint8Array(randomBytes(16)),
    issuedAt: timestampFromDate(now),
  });
}
