// The one narrow port between X.1410 and a distributed ledger (clause 6.1): carries the embedded signed-block ledger and adapters to
// existing platforms. What goes in and out are serialised SignedEnvelopes, so that evidence stays checkable without the engine.
import type { Finality, InclusionProof, SmartContract, TransactionReceipt } from "../../gen/x1410/v1/ledger_pb.ts";

/** Opaque place in the total order of final transactions; ordered by the engine, kept by the reader. */
export type Cursor = string;

export interface EngineInfo {
  readonly engine: string;
  readonly networkId: string;
  readonly faultModel: "none" | "crash" | "byzantine";
  readonly finality: "instant" | "eventual";
  /** Transactions in one submission. */
  readonly maxBatch: number;
  /** Bytes of one serialised envelope. */
  readonly maxTransactionBytes: number;
}

export interface Committed {
  /** SHA-256 of the payload bytes, 64 lower-case hexadecimal digits. */
  readonly transactionId: string;
  /** The serialised SignedEnvelope, byte for byte as submitted. */
  readonly envelope: Uint8Array;
  readonly receipt: TransactionReceipt;
  readonly proof: InclusionProof;
  readonly cursor: Cursor;
}

export interface LedgerHead {
  readonly cursor: Cursor;
  readonly blockHash: Uint8Array;
  readonly height: bigint;
  readonly finalHeight: bigint;
}

export interface LedgerEngine {
  readonly info: EngineInfo;
  /**
   * Submits serialised SignedEnvelopes and answers one receipt for each, in order, once they have the finality waited for (final by
   * default). Idempotent by transaction id: a duplicate gets the first receipt. A broken contract rule is a receipt with outcome REJECTED,
   * which is as final as an acceptance: it depends on no transaction that may still be dropped.
   * @throws ConnectError LEDGER_UNAVAILABLE where nothing was recorded, OUTCOME_UNKNOWN where that cannot be told.
   */
  submit(
    envelopes: readonly Uint8Array[],
    options?: { readonly wait?: Finality; readonly signal?: AbortSignal },
  ): Promise<TransactionReceipt[]>;
  get(transactionId: string): Promise<Committed | undefined>;
  contract(contractId: string): Promise<SmartContract | undefined>;
  /** Final transactions only, in total order, at least once over restarts; ends when `signal` aborts. */
  subscribe(options: { readonly after?: Cursor; readonly signal: AbortSignal }): AsyncIterable<Committed>;
  head(): Promise<LedgerHead>;
  close(): Promise<void>;
}
