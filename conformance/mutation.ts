// Signed requests made wrong in one place.
import { clone } from "@bufbuild/protobuf";
import { type SignedEnvelope, SignedEnvelopeSchema } from "../gen/x1410/v1/envelope_pb.ts";

/** The envelope with one bit of its payload flipped, its signature as it was. */
export function withBitFlipped(envelope: SignedEnvelope): SignedEnvelope {
  const altered = clone(SignedEnvelopeSchema, envelope);
  const last = altered.payload.length - 1;
  altered.payload[last] = (altered.payload[last] ?? 0) ^ 1;
  return altered;
}

/** The token with one character of its signature changed into another that is valid there. */
export function withTokenAltered(token: string): string {
  const at = token.length - 10;
  return token.slice(0, at) + (token[at] === "A" ? "B" : "A") + token.slice(at + 1);
}
