// A family of purposes: a signed request that is wrong in one place of its envelope or its context. Every method that takes a signed
// request has the family for itself, since each opens its envelope, or forgets to, for itself.
import { clone, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type SignedContext, type SignedEnvelope, SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { SignatureAlgorithm } from "../../gen/x1410/v1/identity_pb.ts";
import { signMessage } from "../../reference/envelope/sign.ts";
import { createSigner } from "../../reference/envelope/signer.ts";
import { withBitFlipped } from "../mutation.ts";
import { expect } from "../procedures/procedure.ts";
import type { User } from "../roles/user.ts";
import type { TestCase } from "../test-case.ts";
import { type Purpose, purpose } from "./purpose.ts";
import { leavingUnchanged, type StateReader } from "./unchanged-state.ts";

export interface Prepared<Desc extends DescMessage> {
  /** Whose request it is, in session. */
  readonly signer: User;
  /** Somebody else with the same rights, in session. */
  readonly other: User;
  /** A request that is right. */
  readonly first: MessageShape<Desc>;
  /** One that is right after the first has been accepted. */
  readonly second: MessageShape<Desc>;
  readonly send: (envelope: SignedEnvelope, as: User) => Promise<unknown>;
  /** Reads, as somebody who may, what the second request would change. */
  readonly state: StateReader;
}

export interface SignedMethod<Desc extends DescMessage> {
  /** Entity and component, as in the ids. */
  readonly of: `TP/DSSM/${string}`;
  /** Number of the first purpose of the family. */
  readonly from: number;
  readonly idempotencyNumber: number;
  readonly clause: string;
  readonly steps: readonly string[];
  readonly capabilities: readonly string[];
  readonly method: string;
  readonly schema: Desc;
  readonly initialState: string;
  readonly prepare: (t: TestCase) => Promise<Prepared<Desc>>;
  /** What of the answer must be the same for the same bytes. */
  readonly essence: (answer: unknown) => string;
}

type Contextual = { context?: SignedContext };

interface Fault {
  readonly title: string;
  readonly stimulus: string;
  readonly reason: ErrorReason;
  readonly likelyMistake: string;
  readonly send: <Desc extends DescMessage>(t: TestCase, prepared: Prepared<Desc>, schema: Desc) => Promise<unknown>;
}

/** Sends the second request after `spoil` has had its envelope. */
function enveloped(spoil: (envelope: SignedEnvelope, t: TestCase, signer: User) => SignedEnvelope): Fault["send"] {
  return (t, { signer, second, send }, schema) =>
    send(spoil(signMessage(signer.signer, schema, second), t, signer), signer);
}

/** Sends the second request, rightly signed, after `spoil` has had its context. */
function contextual(
  spoil: (context: SignedContext, prepared: { other: User; first: Contextual }) => void,
): Fault["send"] {
  return (_t, { signer, other, first, second, send }, schema) => {
    const message = clone(schema, second);
    const { context } = message as Contextual;
    if (context === undefined) throw new Error("a signed request without a context");
    spoil(context, { other, first: first as Contextual });
    return send(signMessage(signer.signer, schema, message), signer);
  };
}

function altered(envelope: SignedEnvelope, edit: (copy: SignedEnvelope) => void): SignedEnvelope {
  const copy = clone(SignedEnvelopeSchema, envelope);
  edit(copy);
  return copy;
}

const anotherType = "application/vnd.x1410.v1.package-metadata";
const minutes = (count: number) => timestampFromDate(new Date(Date.now() + count * 60_000));

const faults: readonly Fault[] = [
  {
    title: "without a signature",
    stimulus: "the envelope with its signature taken away",
    reason: ErrorReason.SIGNATURE_MISSING,
    likelyMistake: "all signatures that there are get verified, and none is all right",
    send: enveloped((envelope) =>
      altered(envelope, (copy) => {
        copy.signatures = [];
      }),
    ),
  },
  {
    title: "whose payload was altered",
    stimulus: "one bit of the payload flipped",
    reason: ErrorReason.SIGNATURE_INVALID,
    likelyMistake: "the payload is parsed and serialised again before it is verified, or not verified at all",
    send: enveloped(withBitFlipped),
  },
  {
    title: "whose payload type was exchanged after it was signed",
    stimulus: "the right bytes, signed as package metadata, under this request's payload type",
    reason: ErrorReason.SIGNATURE_INVALID,
    likelyMistake: "the signature is taken over the payload alone, without the pre-authentication encoding",
    send: enveloped((envelope, _t, { signer }) =>
      altered(signer.sign(anotherType, envelope.payload), (copy) => {
        copy.payloadType = envelope.payloadType;
      }),
    ),
  },
  {
    title: "of another payload type",
    stimulus: "the right bytes, signed as package metadata",
    reason: ErrorReason.PAYLOAD_TYPE_MISMATCH,
    likelyMistake: "whatever parses is taken: a message signed for one purpose is used for another",
    send: enveloped((envelope, _t, { signer }) => signer.sign(anotherType, envelope.payload)),
  },
  {
    title: "under an algorithm that is not its key's",
    stimulus: "the algorithm exchanged for another of the list",
    reason: ErrorReason.ALGORITHM_NOT_ALLOWED,
    likelyMistake: "the algorithm of the envelope is ignored, or decides how the key is used",
    send: enveloped((envelope) =>
      altered(envelope, ({ signatures: [signature] }) => {
        if (signature === undefined) return;
        const { ED25519, ECDSA_P256_SHA256 } = SignatureAlgorithm;
        signature.algorithm = signature.algorithm === ED25519 ? ECDSA_P256_SHA256 : ED25519;
      }),
    ),
  },
  {
    title: "signed under a certificate that has expired",
    stimulus: "an expired certificate of the same user, on a connection whose own is good",
    reason: ErrorReason.SIGNER_UNTRUSTED,
    likelyMistake: "the chain of the signing certificate is built and its time not looked at",
    send: enveloped((envelope, t, { identity }) => {
      const day = 24 * 60 * 60_000;
      const times = { notBefore: new Date(Date.now() - 2 * day), notAfter: new Date(Date.now() - day) };
      return createSigner(t.authority.forge(identity, times)).sign(envelope.payloadType, envelope.payload);
    }),
  },
  {
    title: "that is signed and no message",
    stimulus: "bytes that do not parse, rightly signed",
    reason: ErrorReason.PAYLOAD_MALFORMED,
    likelyMistake: "the parser's exception comes out as INTERNAL",
    send: enveloped((envelope, _t, { signer }) => signer.sign(envelope.payloadType, new Uint8Array([255, 255, 255]))),
  },
  {
    title: "that somebody else has signed",
    stimulus: "the right envelope, sent by another user",
    reason: ErrorReason.SIGNER_NOT_CALLER,
    likelyMistake: "the signature is verified and never compared with the identity of the connection",
    send: (_t, { signer, other, second, send }, schema) => send(signMessage(signer.signer, schema, second), other),
  },
  {
    title: "that names another party than its signer",
    stimulus: "context.signer another user, rightly signed",
    reason: ErrorReason.PARTY_NOT_SIGNER,
    likelyMistake: "the name inside the payload is believed because the signature is good",
    send: contextual((context, { other }) => {
      context.signer = other.identity;
    }),
  },
  {
    title: "that is addressed to another management",
    stimulus: "context.audience another management, rightly signed",
    reason: ErrorReason.AUDIENCE_MISMATCH,
    likelyMistake: "the audience is not compared: what was signed for one management is replayed at another",
    send: contextual((context) => {
      context.audience = "urn:x1410:entity:dssm:somebody-else";
    }),
  },
  {
    title: "that was signed too long ago",
    stimulus: "context.issued_at ten minutes ago, beyond window and skew",
    reason: ErrorReason.SIGNED_TIME_OUT_OF_WINDOW,
    likelyMistake: "the time of signing is kept and never compared with the clock: nonces cannot be forgotten",
    send: contextual((context) => {
      context.issuedAt = minutes(-10);
    }),
  },
  {
    title: "that was signed in the future",
    stimulus: "context.issued_at three minutes ahead, beyond the skew",
    reason: ErrorReason.SIGNED_TIME_OUT_OF_WINDOW,
    likelyMistake: "only the age is limited: a request signed for next year outlives the record of its nonce",
    send: contextual((context) => {
      context.issuedAt = minutes(3);
    }),
  },
  {
    title: "under a nonce that was used for other bytes",
    stimulus: "another right request under the nonce of the first",
    reason: ErrorReason.NONCE_REUSED,
    likelyMistake: "the first answer is given to whatever has its nonce, or nonces are not kept at all",
    send: contextual((context, { first }) => {
      context.nonce = first.context?.nonce ?? new Uint8Array();
    }),
  },
];

/** The family for one method, and that identical bytes get the first answer. `without`: titles of faults tested elsewhere. */
export function signedRequestPurposes<Desc extends DescMessage>(
  spec: SignedMethod<Desc>,
  without: readonly string[] = [],
): readonly Purpose[] {
  const { of, from, idempotencyNumber, clause, steps, capabilities, method, schema, initialState, prepare } = spec;
  const name = method.split("/")[1];
  const shared = { clause, steps, capabilities, methods: [method], initialState } as const;
  const refusals = faults.map(({ title, stimulus, reason, likelyMistake, send }, index) =>
    purpose({
      ...shared,
      id: `${of}/BI-${number(from + index)}`,
      title: `refuses a request ${title} at ${name}`,
      stimulus: `${name}: ${stimulus}`,
      expected: { reason },
      twin: `${name} with nothing wrong`,
      likelyMistake,
      async run(t) {
        const prepared = await prepare(t);
        const { signer, first } = prepared;
        const right = signMessage(signer.signer, schema, first);
        await t.positiveTwin("the request as it should be", () => prepared.send(right, signer));
        await leavingUnchanged(`what ${name} would change`, prepared.state, () =>
          t.expectRefusal(() => send(t, prepared, schema)),
        );
      },
    }),
  );
  return [
    ...refusals.filter((_, index) => !without.includes(faults[index]?.title ?? "")),
    purpose({
      ...shared,
      id: `${of}/BV-${number(idempotencyNumber)}`,
      title: `gives the first answer again to identical bytes at ${name}, even at the same time`,
      stimulus: `${name} four times at once with the same signed bytes, then once more`,
      expected: "one answer, five times",
      likelyMistake: "a lost answer that is asked for again has a second effect, or is refused",
      async run(t) {
        const { signer, first, send } = await prepare(t);
        const right = signMessage(signer.signer, schema, first);
        const answers = await Promise.all(Array.from({ length: 4 }, () => send(right, signer)));
        answers.push(await send(right, signer));
        const different = new Set(answers.map((answer) => spec.essence(answer)));
        expect(different.size === 1, `one answer (got ${different.size})`);
        expect(!different.has(""), "an answer with contents");
      },
    }),
  ];
}

function number(value: number): string {
  return String(value).padStart(2, "0");
}
