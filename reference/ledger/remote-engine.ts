// The ledger over its services: for a management in another process, or behind gRPC. A time-out or a broken connection after sending says
// neither yes nor no: the ids are looked up, and what cannot be found is OUTCOME_UNKNOWN.
import { setTimeout as pause } from "node:timers/promises";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { type Block, Finality, type SmartContract, type TransactionReceipt } from "../../gen/x1410/v1/ledger_pb.ts";
import type { LedgerService, SmartContractService } from "../../gen/x1410/v1/ledger_service_pb.ts";
import { contractAddress } from "../communications/address.ts";
import { reasonOf, refusal } from "../communications/refusal.ts";
import { blockHash, decodeEnvelope, decodeHeader, NO_BLOCK_HASH, transactionIdOf } from "./block.ts";
import { committedOf } from "./committed.ts";
import { cursorAfter, cursorOf } from "./cursor.ts";
import type { Committed, Cursor, EngineInfo, LedgerEngine, LedgerHead } from "./engine.ts";

/** One node of the network, by its services. */
export interface RemoteNode {
  readonly ledger: Client<typeof LedgerService>;
  readonly contracts: Client<typeof SmartContractService>;
}

export interface RemoteEngineOptions {
  readonly networkId: string;
  /** Writes go to the one that proposes, found by asking; reads there too, to see one's own writes, or to the next that answers. At least one. */
  readonly nodes: readonly RemoteNode[];
  readonly faultModel?: EngineInfo["faultModel"];
  /** For one answer. Default 15 s, which is longer than a node waits for its quorum. */
  readonly timeoutMs?: number;
  /** Between attempts of a subscription that lost its node. Default 200 ms. */
  readonly retryMs?: number;
}

interface FinalBlock {
  readonly block: Block;
  readonly receipts: SignedEnvelope[];
}

const TIMEOUT_MS = 15_000;
const RETRY_MS = 200;
/** How often a subscription asks whether a block has become final. */
const FINALITY_POLL_MS = 20;

export class RemoteEngine implements LedgerEngine {
  readonly info: EngineInfo;
  readonly #options: RemoteEngineOptions;
  readonly #closed = new AbortController();
  /** Index of the node that proposed last. */
  #proposer = 0;

  constructor(options: RemoteEngineOptions) {
    if (options.nodes.length === 0) throw new RangeError("a ledger has at least one node");
    this.#options = options;
    this.info = {
      engine: "x1410-signed-blocks",
      networkId: options.networkId,
      faultModel: options.faultModel ?? (options.nodes.length > 1 ? "crash" : "none"),
      finality: "instant",
      maxBatch: 1024,
      maxTransactionBytes: 65_536,
    };
  }

  async submit(
    envelopes: readonly Uint8Array[],
    { wait = Finality.FINAL, signal }: { readonly wait?: Finality; readonly signal?: AbortSignal } = {},
  ): Promise<TransactionReceipt[]> {
    if (this.#closed.signal.aborted || signal?.aborted) throw refusal(ErrorReason.LEDGER_UNAVAILABLE, "aborted");
    const request = { transactions: [...envelopes], wait };
    const first = this.#proposer;
    let unavailable: unknown;
    for (let node = first; node < first + this.#options.nodes.length; node++) {
      try {
        const { receipts } = await this.#node(node).ledger.submitTransactions(request, this.#callOptions(signal));
        this.#proposer = node;
        if (receipts.length !== envelopes.length) throw refusal(ErrorReason.OUTCOME_UNKNOWN, "receipts");
        return receipts;
      } catch (cause) {
        if (reasonOf(cause) === ErrorReason.NOT_PROPOSER) continue;
        if (reasonOf(cause) === ErrorReason.LEDGER_UNAVAILABLE) {
          // It has recorded nothing. Another may propose, where this one has been superseded and does not know it.
          unavailable = cause;
          continue;
        }
        // Whoever submits next asks another node first: this one may be gone for good, and another propose in its place.
        if (reasonOf(cause) === ErrorReason.UNSPECIFIED) this.#proposer = node + 1;
        return this.#afterFailure(cause, envelopes, wait);
      }
    }
    throw unavailable ?? refusal(ErrorReason.LEDGER_UNAVAILABLE, "no node proposes");
  }

  async get(transactionId: string): Promise<Committed | undefined> {
    try {
      const { receipt, proof } = await this.#read(({ ledger }, options) =>
        ledger.getTransaction({ transactionId }, options),
      );
      if (receipt === undefined || proof === undefined) throw refusal(ErrorReason.INTERNAL_FAULT, "transaction");
      const cursor = cursorOf({ height: receipt.blockHeight, index: receipt.index });
      return { transactionId, envelope: proof.transaction, receipt, proof, cursor };
    } catch (cause) {
      if (reasonOf(cause) === ErrorReason.TRANSACTION_NOT_FOUND) return undefined;
      throw cause;
    }
  }

  async contract(contractId: string): Promise<SmartContract | undefined> {
    const request = { contractAddress: contractAddress(this.#options.networkId, contractId) };
    try {
      const { contract } = await this.#read(({ contracts }, options) => contracts.getContract(request, options));
      return contract;
    } catch (cause) {
      if (reasonOf(cause) === ErrorReason.CONTRACT_NOT_FOUND) return undefined;
      throw cause;
    }
  }

  async *subscribe({
    after,
    signal,
  }: {
    readonly after?: Cursor;
    readonly signal: AbortSignal;
  }): AsyncGenerator<Committed, void, undefined> {
    let { height, index } = cursorAfter(after);
    const ends = AbortSignal.any([signal, this.#closed.signal]);
    for (let attempt = 0; !ends.aborted; attempt++) {
      try {
        for await (const { block, receipts } of this.#finalBlocks(height, attempt, ends)) {
          const committed = committedOf(block, Finality.FINAL, receipts);
          for (let one = committed(index); one !== undefined; one = committed(++index)) {
            if (ends.aborted) return;
            yield one;
          }
          height += 1n;
          index = 0;
        }
      } catch (cause) {
        // The node is gone or behind: go on with the next, from the same place.
        if (cause instanceof RangeError || cause instanceof SyntaxError) throw cause;
      }
      await pause(this.#options.retryMs ?? RETRY_MS, undefined, { signal: ends }).catch(() => undefined);
    }
  }

  async head(): Promise<LedgerHead> {
    try {
      const { header, finalHeight } = await this.#read(({ ledger }, options) => ledger.getHead({}, options));
      const bytes = header?.payload ?? new Uint8Array();
      const { height, transactionCount } = decodeHeader(bytes);
      return {
        cursor: cursorOf({ height, index: transactionCount - 1 }),
        blockHash: blockHash(bytes),
        height,
        finalHeight,
      };
    } catch (cause) {
      if (reasonOf(cause) !== ErrorReason.BLOCK_NOT_FOUND) throw cause;
      return { cursor: "", blockHash: NO_BLOCK_HASH, height: 0n, finalHeight: 0n };
    }
  }

  async close(): Promise<void> {
    this.#closed.abort();
  }

  /** What a node said with a reason stands; anything else happened on the way, and the transactions may be recorded or not. */
  async #afterFailure(cause: unknown, envelopes: readonly Uint8Array[], wait: Finality): Promise<TransactionReceipt[]> {
    const reason = reasonOf(cause);
    if (reason !== ErrorReason.UNSPECIFIED && reason !== ErrorReason.OUTCOME_UNKNOWN) throw cause;
    const { code } = ConnectError.from(cause);
    if (reason === ErrorReason.UNSPECIFIED && neverArrived.has(code)) throw cause;
    try {
      const ids = envelopes.map((bytes) => transactionIdOf(decodeEnvelope(bytes).payload));
      const found = await Promise.all(ids.map((id) => this.get(id)));
      const receipts = found.flatMap((one) => (one === undefined || one.receipt.finality < wait ? [] : [one.receipt]));
      if (receipts.length === envelopes.length) return receipts;
    } catch {
      // Not to be looked up now either.
    }
    throw refusal(ErrorReason.OUTCOME_UNKNOWN, "transactions");
  }

  /** Asks the nodes in turn; one that cannot be reached, or takes no reads now, leaves it to the next. */
  async #read<T>(
    ask: (node: RemoteNode, options: { signal: AbortSignal; timeoutMs: number }) => Promise<T>,
  ): Promise<T> {
    let failure: unknown;
    const first = this.#proposer;
    for (let node = first; node < first + this.#options.nodes.length; node++) {
      try {
        return await ask(this.#node(node), this.#callOptions(undefined));
      } catch (cause) {
        failure = cause;
        const { code } = ConnectError.from(cause);
        if (code !== Code.Unavailable && code !== Code.DeadlineExceeded) throw cause;
      }
    }
    throw reasonOf(failure) === ErrorReason.UNSPECIFIED ? refusal(ErrorReason.LEDGER_UNAVAILABLE, "nodes") : failure;
  }

  async *#finalBlocks(from: bigint, attempt: number, signal: AbortSignal): AsyncGenerator<FinalBlock> {
    const { ledger } = this.#node(attempt);
    // What is final before the stream begins comes with the receipts that made it so; what becomes final later may be under way without them.
    const finalBefore = await this.#finalOn(ledger, signal);
    let final = finalBefore;
    for await (const { block, receipts } of ledger.streamBlocks({ fromHeight: from, follow: true }, { signal })) {
      if (block?.header === undefined) continue;
      const { height } = decodeHeader(block.header.payload);
      while (final < height) {
        ({ finalHeight: final } = await ledger.getHead({}, this.#callOptions(signal)));
        if (final < height) await pause(FINALITY_POLL_MS, undefined, { signal });
      }
      yield { block, receipts: height <= finalBefore ? receipts : await this.#receiptsOf(block, ledger, signal) };
    }
  }

  async #finalOn(ledger: RemoteNode["ledger"], signal: AbortSignal): Promise<bigint> {
    try {
      return (await ledger.getHead({}, this.#callOptions(signal))).finalHeight;
    } catch (cause) {
      if (reasonOf(cause) === ErrorReason.BLOCK_NOT_FOUND) return 0n;
      throw cause;
    }
  }

  async #receiptsOf(block: Block, ledger: RemoteNode["ledger"], signal: AbortSignal): Promise<SignedEnvelope[]> {
    const transactionId = transactionIdOf(decodeEnvelope(block.transactions[0] ?? new Uint8Array()).payload);
    const { receipt } = await ledger.getTransaction({ transactionId }, this.#callOptions(signal));
    return receipt?.distribution ?? [];
  }

  #node(index: number): RemoteNode {
    const { nodes } = this.#options;
    return nodes[index % nodes.length] as RemoteNode;
  }

  #callOptions(signal: AbortSignal | undefined): { signal: AbortSignal; timeoutMs: number } {
    const closed = this.#closed.signal;
    return {
      signal: signal === undefined ? closed : AbortSignal.any([signal, closed]),
      timeoutMs: this.#options.timeoutMs ?? TIMEOUT_MS,
    };
  }
}

/** Codes by which a gRPC library refuses a call before the service sees it. */
const neverArrived: ReadonlySet<Code> = new Set([
  Code.Unauthenticated,
  Code.PermissionDenied,
  Code.Unimplemented,
  Code.InvalidArgument,
  Code.ResourceExhausted,
]);
