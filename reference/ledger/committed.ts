// Transactions of a block with receipt and proof, as readers get them, wherever the block comes from.
import { create } from "@bufbuild/protobuf";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import {
  type Block,
  type Finality,
  TransactionOutcome,
  TransactionReceiptSchema,
} from "../../gen/x1410/v1/ledger_pb.ts";
import { blockHash, decodeEnvelope, decodeHeader, proofsOf, transactionIdOf } from "./block.ts";
import { cursorOf } from "./cursor.ts";
import type { Committed } from "./engine.ts";

/** Answers the transaction at a place of the block, or undefined beyond its last; the Merkle tree is built once. */
export function committedOf(
  block: Block,
  finality: Finality,
  distribution: SignedEnvelope[],
): (index: number) => Committed | undefined {
  const headerBytes = block.header?.payload ?? new Uint8Array();
  const { height } = decodeHeader(headerBytes);
  const hash = blockHash(headerBytes);
  const proof = proofsOf(block);
  return (index) => {
    const envelope = block.transactions[index];
    if (envelope === undefined) return undefined;
    const transactionId = transactionIdOf(decodeEnvelope(envelope).payload);
    const receipt = create(TransactionReceiptSchema, {
      transactionId,
      outcome: TransactionOutcome.ACCEPTED,
      blockHeight: height,
      index,
      blockHash: hash,
      finality,
      distribution,
    });
    return { transactionId, envelope, receipt, proof: proof(index), cursor: cursorOf({ height, index }) };
  };
}
