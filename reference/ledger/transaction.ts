// Making transactions (DSPM2, DSAM2): what a management signs and hands to whichever ledger is below. And of which contract one is.
import { randomBytes } from "node:crypto";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import { type Transaction, TransactionSchema } from "../../gen/x1410/v1/ledger_pb.ts";
import { contractAddress } from "../communications/address.ts";
import { signMessage } from "../envelope/sign.ts";
import type { Signer } from "../envelope/signer.ts";
import { transactionIdOf } from "./block.ts";

export type TransactionAction = NonNullable<MessageInitShape<typeof TransactionSchema>["action"]>;

/** An action of a contract's life. */
type ContractAction = Extract<
  Transaction["action"],
  { case: "createContract" | "updateContract" | "withdrawContract" }
>;

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

/** What the transaction does to the contract that a policy names as its own; undefined where it is of another one, or of none. */
export function contractActionOf(
  policy: { readonly policyId: string; readonly contractAddress: string },
  { action, networkId }: Pick<Transaction, "action" | "networkId">,
): ContractAction | undefined {
  if (action.case !== "createContract" && action.case !== "updateContract" && action.case !== "withdrawContract")
    return undefined;
  const { contractId } = action.value;
  const isOwn = contractId === policy.policyId && contractAddress(networkId, contractId) === policy.contractAddress;
  return isOwn ? action : undefined;
}
