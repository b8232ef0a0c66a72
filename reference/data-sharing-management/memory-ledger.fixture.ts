// For tests: a ledger that applies the rules about accesses and usages in memory, and fails where a test says so.
import { createHash } from "node:crypto";
import { create, fromBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import {
  Finality,
  InclusionProofSchema,
  RejectionReason,
  type Transaction,
  TransactionOutcome,
  type TransactionReceipt,
  TransactionReceiptSchema,
  TransactionSchema,
} from "../../gen/x1410/v1/ledger_pb.ts";
import { refusal } from "../communications/refusal.ts";
import type { Committed, LedgerEngine } from "../ledger/engine.ts";

export const NETWORK = "net";

/** What becomes of the next submission: refused before anything happens, or recorded while the answer is lost. */
export type LedgerFailure = "unavailable" | "lost";

/** The contract rules of one contract, in memory. */
export class MemoryLedger implements LedgerEngine {
  readonly info = {
    engine: "memory",
    networkId: NETWORK,
    faultModel: "none",
    finality: "instant",
    maxBatch: 100,
    maxTransactionBytes: 65_536,
  } as const;
  readonly committed = new Map<string, Committed>();
  readonly transactions: Transaction[] = [];
  readonly failures: LedgerFailure[] = [];
  /** Set by a test to hold submissions until it resolves. */
  gate: Promise<void> = Promise.resolve();
  rejectWith: RejectionReason | undefined;
  accessTimes = 0;

  async submit([envelope]: readonly Uint8Array[]): Promise<TransactionReceipt[]> {
    if (envelope === undefined) throw new TypeError("nothing to submit");
    await this.gate;
    const failure = this.failures.shift();
    if (failure === "unavailable") throw refusal(ErrorReason.LEDGER_UNAVAILABLE);
    const receipt = this.take(envelope);
    if (failure === "lost") throw new ConnectError("deadline", Code.DeadlineExceeded);
    return [receipt];
  }

  take(envelope: Uint8Array): TransactionReceipt {
    const { payload } = fromBinary(SignedEnvelopeSchema, envelope);
    const transactionId = createHash("sha256").update(payload).digest("hex");
    const first = this.committed.get(transactionId);
    if (first !== undefined) return first.receipt;
    const transaction = fromBinary(TransactionSchema, payload);
    const rejection = this.rejectWith ?? this.#rejection(transaction);
    if (rejection !== undefined) {
      return create(TransactionReceiptSchema, { transactionId, outcome: TransactionOutcome.REJECTED, rejection });
    }
    this.transactions.push(transaction);
    const receipt = create(TransactionReceiptSchema, {
      transactionId,
      outcome: TransactionOutcome.ACCEPTED,
      blockHeight: BigInt(this.transactions.length),
      finality: Finality.FINAL,
    });
    const proof = create(InclusionProofSchema, { transaction: envelope });
    this.committed.set(transactionId, { transactionId, envelope, receipt, proof, cursor: "" });
    return receipt;
  }

  #rejection({ action }: Transaction): RejectionReason | undefined {
    const ids = this.transactions.map((known) =>
      known.action.case === "recordUsage" ? known.action.value.usageId : accessOf(known)?.accessId,
    );
    if (action.case === "recordUsage") {
      if (ids.includes(action.value.usageId)) return RejectionReason.DUPLICATE_ID;
      return ids.includes(action.value.accessId) ? undefined : RejectionReason.UNKNOWN_ACCESS;
    }
    if (action.case !== "recordAccess") return RejectionReason.MALFORMED;
    const { accessId, consumerPseudonym } = action.value;
    if (ids.includes(accessId)) return RejectionReason.DUPLICATE_ID;
    const used = this.accesses().filter((each) => Buffer.compare(each.consumerPseudonym, consumerPseudonym) === 0);
    const exhausted = this.accessTimes > 0 && used.length >= this.accessTimes;
    return exhausted ? RejectionReason.ACCESS_TIMES_EXHAUSTED : undefined;
  }

  accesses() {
    return this.transactions.map(accessOf).filter((access) => access !== undefined);
  }

  async get(transactionId: string): Promise<Committed | undefined> {
    return this.committed.get(transactionId);
  }

  contract(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  // biome-ignore lint/correctness/useYield: access management never subscribes
  async *subscribe(): AsyncIterable<Committed> {
    throw new TypeError("not for these tests");
  }

  head(): Promise<never> {
    return Promise.reject(new TypeError("not for these tests"));
  }

  async close(): Promise<void> {}
}

function accessOf({ action }: Transaction) {
  return action.case === "recordAccess" ? action.value : undefined;
}
