// DLT transactions of a data-sharing management (DSPM2, DSAM2, DSAM3): what the management submits, and what became of it.
import { createHmac } from "node:crypto";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import {
  type InclusionProof,
  type RejectionReason,
  TransactionOutcome,
  type TransactionReceipt,
} from "../../gen/x1410/v1/ledger_pb.ts";
import { reasonOf, refusal } from "../communications/refusal.ts";
import type { LedgerEngine } from "../ledger/engine.ts";

/** What the ledger answered for good. */
export type LedgerVerdict =
  | { readonly accepted: true; readonly receipt: TransactionReceipt; readonly proof: InclusionProof }
  | { readonly accepted: false; readonly rejection: RejectionReason };

/**
 * The id that a signed request gives to what it brings about, 32 hexadecimal digits. The same bytes of the same signer always give the same
 * id, and the ledger takes an id once: whatever is lost on this side, a request has one effect. Salted, for the id is public.
 */
export function idForRequest(
  contractSalt: Uint8Array,
  kind: string,
  signer: string,
  payloadSha256: Uint8Array,
): string {
  const digest = createHmac("sha256", contractSalt).update(`${kind}\0${signer}\0`).update(payloadSha256).digest("hex");
  return digest.slice(0, 32);
}

/**
 * Submits a transaction and waits until it is final. The same bytes again are harmless: the ledger answers the first receipt.
 * @throws ConnectError LEDGER_UNAVAILABLE where this submission recorded nothing, OUTCOME_UNKNOWN where that cannot be told.
 */
export async function submitTransaction(engine: LedgerEngine, envelope: Uint8Array): Promise<LedgerVerdict> {
  const receipt = await submit(engine, envelope);
  if (receipt.outcome === TransactionOutcome.REJECTED) return { accepted: false, rejection: receipt.rejection };
  if (receipt.outcome !== TransactionOutcome.ACCEPTED) throw refusal(ErrorReason.OUTCOME_UNKNOWN, "ledger");
  try {
    const committed = await engine.get(receipt.transactionId);
    if (committed !== undefined) return { accepted: true, receipt, proof: committed.proof };
  } catch {
    // It is on the ledger, but its evidence is out of reach just now.
  }
  throw refusal(ErrorReason.OUTCOME_UNKNOWN, "ledger");
}

async function submit(engine: LedgerEngine, envelope: Uint8Array): Promise<TransactionReceipt> {
  let receipts: TransactionReceipt[];
  try {
    receipts = await engine.submit([envelope]);
  } catch (cause) {
    const reason = reasonOf(cause);
    // Whatever does not say for certain that nothing was recorded leaves it open.
    const nothing = reason === ErrorReason.LEDGER_UNAVAILABLE || reason === ErrorReason.NOT_PROPOSER;
    throw refusal(nothing ? ErrorReason.LEDGER_UNAVAILABLE : ErrorReason.OUTCOME_UNKNOWN, "ledger");
  }
  const [receipt] = receipts;
  if (receipt === undefined) throw refusal(ErrorReason.OUTCOME_UNKNOWN, "ledger");
  return receipt;
}
