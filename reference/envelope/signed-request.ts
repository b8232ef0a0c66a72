// Everything that is checked of a signed request before it is acted on (clause 6.2.1): who signed, who sent, for whom, when.
import { createHash } from "node:crypto";
import type { DescMessage, Message, MessageShape } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { SignedContext, SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import type { Peer } from "../communications/peer.ts";
import { refusal } from "../communications/refusal.ts";
import type { SignedAnswerKey } from "./answer-store.ts";
import { type Trust, type VerifiedSigner, verifyEnvelope } from "./verify.ts";

/** How long after signing a request is accepted. */
export const WINDOW_MS = 300_000;
/** How far clocks may differ, either way. */
export const SKEW_MS = 60_000;

/** A message that repeats its context inside the signed bytes. */
type ContextualMessage = Message & { context?: SignedContext };

export interface SignedRequestRules<M> {
  /** The other end of the connection; must be the signer. */
  readonly caller: Pick<Peer, "identity">;
  /** Identity of this entity. */
  readonly audience: string;
  readonly now: () => Date;
  readonly trust: Trust;
  /** The parties that the payload names as acting; each must be the signer. */
  readonly party: (message: M) => readonly string[];
}

export interface SignedRequest<M> {
  readonly message: M;
  readonly signer: VerifiedSigner;
  readonly context: SignedContext;
  /** What AnswerStore.once needs to give the first answer again. */
  readonly answerKey: SignedAnswerKey;
}

/**
 * Opens a signed request.
 * @throws ConnectError what verifyEnvelope throws, then SIGNER_NOT_CALLER, PARTY_NOT_SIGNER, AUDIENCE_MISMATCH, SIGNED_TIME_OUT_OF_WINDOW
 */
export function openSignedRequest<Desc extends DescMessage>(
  envelope: SignedEnvelope | undefined,
  schema: Desc,
  rules: SignedRequestRules<MessageShape<Desc>>,
): SignedRequest<MessageShape<Desc>> {
  if (envelope === undefined) throw refusal(ErrorReason.SIGNATURE_MISSING, "envelope");
  const { message, signer } = verifyEnvelope(envelope, schema, rules.trust);
  const { context } = message as ContextualMessage;
  if (context?.issuedAt === undefined) throw refusal(ErrorReason.PAYLOAD_MALFORMED, "context");
  if (signer.identity !== rules.caller.identity) throw refusal(ErrorReason.SIGNER_NOT_CALLER);
  const named = [context.signer, ...rules.party(message)];
  if (named.some((identity) => identity !== signer.identity)) throw refusal(ErrorReason.PARTY_NOT_SIGNER);
  if (context.audience !== rules.audience) throw refusal(ErrorReason.AUDIENCE_MISMATCH, "context.audience");
  const issuedAt = timestampDate(context.issuedAt);
  const age = rules.now().getTime() - issuedAt.getTime();
  if (age > WINDOW_MS + SKEW_MS || age < -SKEW_MS) {
    throw refusal(ErrorReason.SIGNED_TIME_OUT_OF_WINDOW, "context.issued_at");
  }
  const payloadSha256 = new Uint8Array(createHash("sha256").update(envelope.payload).digest());
  return {
    message,
    signer,
    context,
    answerKey: { identity: signer.identity, nonce: context.nonce, payloadSha256, issuedAt },
  };
}
