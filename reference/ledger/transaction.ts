// Making transactions (DSPM2, DSAM2): what a management signs and hands to whichever ledger is below.
import { randomBytes } from "node:crypto";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import { TransactionSchema } from "../../gen/x1410/v1/ledger_pb.ts";
import { signMessage } from "../envelope/sign.ts";
import type { Signer } from "../envelope/signer.ts";
import { transactionIdOf } from "./block.ts";

export type TransactionAction = NonNullable<MessageInitShape<typeof TransactionSchema>["action"]>;

export interface SignedTransaction {
  /** 64 lower-case hexadecimal digits. */
  readonly transactionId: string;
  /** The serialised SignedEnvelope. Keep it until the outcome is known: only identical bytes are the same transaction. */
  readonly envelope: Uint8Array;
}

/** Signs a transaction under a fresh nonce. */
export function signTransaction(
  signer: Signer,
  networkId: string,
  action: TransactionAction,
  now: Date,
): SignedTransaction {
  const transaction = create(TransactionSchema, {
    networkId,
    signer: signer.identity,
    nonce: new Uint8Array(randomBytes(16)),
    issuedAt: timestampFromDate(now),
    action,
  });
  const envelope = signMessage(signer, TransactionSchema, transaction);
  return { transactionId: transactionIdOf(envelope.payload), envelope: toBinary(SignedEnvelopeSchema, envelope) };
}
