// The embedded signed-block ledger as a LedgerEngine. Group commit: what is submitted while a block is being written shares the next one, with
// one signature and one synced write; a lone submission starts its block at once.
import { setImmediate as nextTick } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import {
  Finality,
  RejectionReason,
  type SmartContract,
  TransactionOutcome,
  type TransactionReceipt,
  TransactionReceiptSchema,
} from "../../gen/x1410/v1/ledger_pb.ts";
import { tellFault } from "../communications/fault.ts";
import { type Log, silentLog } from "../communications/log.ts";
import { reasonOf, refusal, subjectOf } from "../communications/refusal.ts";
import type { Signer } from "../envelope/signer.ts";
import { blockHash } from "./block.ts";
import { openTransaction, type SubmittedTransaction } from "./block-verification.ts";
import type { Chain, Placement } from "./chain.ts";
import { committedOf } from "./committed.ts";
import { cursorAfter, cursorOf } from "./cursor.ts";
import type { Distribution } from "./distribution.ts";
import type { Committed, Cursor, EngineInfo, LedgerEngine, LedgerHead } from "./engine.ts";
import { FinalityWait } from "./finality-wait.ts";
import type { TransactionPlace } from "./ledger-state.ts";
import { type Entry, SubmissionQueue } from "./submission-queue.ts";

export interface EmbeddedEngineOptions {
  readonly chain: Chain;
  readonly distribution: Distribution;
  readonly signer: Signer;
  readonly quorum: number;
  readonly now: () => Date;
  readonly log?: Log;
  /** How long a submission waits for the quorum before its outcome counts as unknown. Default 10 s. */
  readonly finalityTimeoutMs?: number;
  /** Transactions that may wait for a block. Default 65,536. */
  readonly maxQueued?: number;
  /** Why this node takes no writes; undefined where it does. */
  readonly stopped?: () => string | undefined;
}

const MAX_BATCH = 1024;
const MAX_TRANSACTION_BYTES = 65_536;
const AHEAD_OF_QUORUM = 1n;

export class EmbeddedEngine implements LedgerEngine {
  readonly info: EngineInfo;
  readonly #options: EmbeddedEngineOptions;
  readonly #closed = new AbortController();
  readonly #queue: SubmissionQueue;
  readonly #finality: FinalityWait;
  #work: Promise<void> | undefined;

  constructor(options: EmbeddedEngineOptions) {
    this.#options = options;
    this.#queue = new SubmissionQueue(options.maxQueued);
    this.#finality = new FinalityWait(options.distribution.final, options.finalityTimeoutMs);
    this.info = {
      engine: "x1410-signed-blocks",
      networkId: options.chain.networkId,
      faultModel: options.quorum > 1 ? "crash" : "none",
      finality: "instant",
      maxBatch: MAX_BATCH,
      maxTransactionBytes: MAX_TRANSACTION_BYTES,
    };
  }

  async submit(
    envelopes: readonly Uint8Array[],
    { wait = Finality.FINAL, signal }: { readonly wait?: Finality; readonly signal?: AbortSignal } = {},
  ): Promise<TransactionReceipt[]> {
    const { chain, now } = this.#options;
    const time = BigInt(now().getTime());
    const takeover = this.#takeoverIn(envelopes, time);
    if (takeover !== undefined) return [await this.#takeOver(takeover, wait, signal)];
    this.#assertProposing();
    if (envelopes.length > MAX_BATCH || envelopes.some(({ length }) => length > MAX_TRANSACTION_BYTES)) {
      throw refusal(ErrorReason.REQUEST_INVALID, "transactions");
    }
    if (signal?.aborted) throw refusal(ErrorReason.LEDGER_UNAVAILABLE, "aborted");
    const opened = envelopes.map((bytes) => openTransaction(bytes, chain.trust.admitting(time)));
    this.#queue.assertRoom(opened.flatMap((one) => ("rejection" in one ? [] : [one])));
    const entries = opened.map((one) => ("rejection" in one ? undefined : this.#queue.add(one)));
    this.#work ??= this.#writeBlocks();
    const placements = await this.#placements(opened, entries, signal);
    await this.#settle(placements, wait, signal);
    return Promise.all(placements.map((placement, index) => this.#receipt(opened[index]?.id ?? "", placement)));
  }

  async get(transactionId: string): Promise<Committed | undefined> {
    const place = this.#options.chain.placeOf(transactionId);
    if (place === undefined) return undefined;
    const committed = await this.#committed(place.height);
    return committed(place.index);
  }

  async contract(contractId: string): Promise<SmartContract | undefined> {
    return this.#options.chain.contract(contractId);
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
    const { distribution } = this.#options;
    for (;;) {
      try {
        await distribution.final.beyond(height - 1n, ends);
      } catch {
        return;
      }
      const committed = await this.#committed(height);
      for (let one = committed(index); one !== undefined; one = committed(++index)) {
        if (ends.aborted) return;
        yield one;
      }
      height += 1n;
      index = 0;
    }
  }

  async head(): Promise<LedgerHead> {
    const { chain, distribution } = this.#options;
    const { height, hash, transactionCount } = chain.head;
    const cursor = height === 0n ? "" : cursorOf({ height, index: transactionCount - 1 });
    return { cursor, blockHash: hash, height, finalHeight: distribution.final.height };
  }

  /** Ends subscriptions, refuses what is still queued, and lets the block that is being written end. The database stays open. */
  async close(): Promise<void> {
    this.#closed.abort();
    this.#queue.refuse("closed");
    this.#finality.close();
    await this.#work;
  }

  #assertProposing(): void {
    const { chain, signer } = this.#options;
    this.#assertAccepting();
    if (chain.mayPropose(signer)) return;
    const named = signer.identity === chain.proposer;
    throw named ? refusal(ErrorReason.LEDGER_UNAVAILABLE, "proposer key") : refusal(ErrorReason.NOT_PROPOSER);
  }

  #assertAccepting(): void {
    const why = this.#closed.signal.aborted ? "closed" : this.#options.stopped?.();
    if (why !== undefined) throw refusal(ErrorReason.LEDGER_UNAVAILABLE, why);
  }

  /** An operator's order that this node proposes from now on, where that is what was submitted and another proposes so far. */
  #takeoverIn(envelopes: readonly Uint8Array[], timeUnixMs: bigint): SubmittedTransaction | undefined {
    const { chain, signer } = this.#options;
    const [bytes] = envelopes;
    if (bytes === undefined || envelopes.length > 1 || chain.mayPropose(signer)) return undefined;
    const opened = openTransaction(bytes, chain.trust.admitting(timeUnixMs));
    return "rejection" in opened || !chain.isTakeover(opened, signer) ? undefined : opened;
  }

  /** Forms the block that holds the order. From then on this node proposes; where the rules reject the order, nothing has changed. */
  async #takeOver(order: SubmittedTransaction, wait: Finality, signal?: AbortSignal): Promise<TransactionReceipt> {
    this.#assertAccepting();
    const { chain, distribution, signer, now } = this.#options;
    let placements: Placement[];
    try {
      await chain.recover();
      placements = await chain.propose([order], signer, now());
    } catch (cause) {
      this.#tell(cause);
      throw reasonOf(cause) === ErrorReason.LEDGER_UNAVAILABLE ? cause : refusal(ErrorReason.OUTCOME_UNKNOWN, "store");
    }
    distribution.distribute(chain.head.height);
    const [placement = { rejection: RejectionReason.UNSPECIFIED }] = placements;
    // A "no" needs no quorum: whatever becomes of the newest blocks, nobody else was given the order.
    if ("height" in placement) await this.#settle(placements, wait, signal);
    return this.#receipt(order.id, placement);
  }

  async #placements(
    opened: readonly ({ readonly id: string } | { readonly rejection: RejectionReason })[],
    entries: readonly (Entry | undefined)[],
    signal: AbortSignal | undefined,
  ): Promise<Placement[]> {
    const all = together(
      opened.map((one, index): Placement | Promise<Placement> => {
        const entry = entries[index];
        return entry?.placed.promise ?? (one as { readonly rejection: RejectionReason });
      }),
    );
    if (signal === undefined) return all;
    const aborted = Promise.withResolvers<never>();
    const abort = (): void => aborted.reject(this.#queue.giveUp(entries));
    signal.addEventListener("abort", abort, { once: true });
    try {
      return await Promise.race([all, aborted.promise]);
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  async #writeBlocks(): Promise<void> {
    // One turn of the event loop: submissions that arrived together share the first block.
    await nextTick();
    while (this.#queue.size > 0) {
      if (!(await this.#quorumFollows())) {
        // Nothing of what is still queued was written, so this is a plain no; who waits for a block that was written learns OUTCOME_UNKNOWN.
        this.#queue.refuse("quorum");
        continue;
      }
      await this.#writeBlock(this.#queue.take());
      this.#queue.written();
    }
    this.#work = undefined;
  }

  /**
   * Blocks run ahead of the quorum by one only: what comes in meanwhile shares the next block instead of burdening every node with many small
   * ones, and without a quorum the chain does not grow.
   */
  async #quorumFollows(): Promise<boolean> {
    return this.#finality.beyond(this.#options.chain.head.height - AHEAD_OF_QUORUM - 1n);
  }

  async #writeBlock(entries: readonly Entry[]): Promise<void> {
    const { chain, distribution, signer, now } = this.#options;
    const refuse = (reason: ErrorReason, subject: string): void => {
      for (const { placed } of entries) placed.reject(refusal(reason, subject));
    };
    try {
      await chain.recover();
      this.#assertProposing();
    } catch (cause) {
      this.#tell(cause);
      return refuse(ErrorReason.LEDGER_UNAVAILABLE, "store");
    }
    try {
      const candidates = entries.map(({ candidate }) => candidate);
      const placements = await chain.propose(candidates, signer, now());
      distribution.distribute(chain.head.height);
      for (const [index, placement] of placements.entries()) entries[index]?.placed.resolve(placement);
    } catch (cause) {
      this.#tell(cause);
      if (reasonOf(cause) === ErrorReason.LEDGER_UNAVAILABLE)
        return refuse(ErrorReason.LEDGER_UNAVAILABLE, subjectOf(cause));
      await this.#settleAfterFailure(entries, refuse);
    }
  }

  /** The write failed, and only the store itself, opened anew, can tell whether the block is in it. */
  async #settleAfterFailure(
    entries: readonly Entry[],
    refuse: (reason: ErrorReason, subject: string) => void,
  ): Promise<void> {
    const { chain, distribution } = this.#options;
    try {
      await chain.recover();
      distribution.distribute(chain.head.height);
      for (const { candidate, placed } of entries) {
        const place = chain.placeOf(candidate.id);
        if (place === undefined) placed.reject(refusal(ErrorReason.LEDGER_UNAVAILABLE, "store"));
        else placed.resolve(place);
      }
    } catch (cause) {
      this.#tell(cause);
      refuse(ErrorReason.OUTCOME_UNKNOWN, "store");
    }
  }

  /** Callers learn only that the store takes nothing; why, whoever runs the node. */
  #tell(cause: unknown): void {
    tellFault(cause, "propose", this.#options.log ?? silentLog);
  }

  /**
   * Waits until what is to be answered is final, a "no" as well as a "yes": a block that is not may still be dropped by a take-over, and what was
   * rejected because of it would have been right.
   */
  async #settle(placements: readonly Placement[], wait: Finality, signal: AbortSignal | undefined): Promise<void> {
    let height = 0n;
    for (const placement of placements) {
      const accepted = wait === Finality.FINAL && "height" in placement ? placement.height : 0n;
      const needed = "rejection" in placement ? (placement.judgedAt ?? 0n) : accepted;
      if (needed > height) height = needed;
    }
    if (!(await this.#finality.beyond(height - 1n, signal))) throw refusal(ErrorReason.OUTCOME_UNKNOWN, "quorum");
  }

  async #receipt(transactionId: string, placement: Placement): Promise<TransactionReceipt> {
    if ("rejection" in placement) {
      const { rejection } = placement;
      return create(TransactionReceiptSchema, { transactionId, outcome: TransactionOutcome.REJECTED, rejection });
    }
    const { chain } = this.#options;
    const { head } = chain;
    if (placement.height === head.height) return this.#accepted(transactionId, placement, head.hash);
    const block = await chain.block(placement.height);
    return this.#accepted(transactionId, placement, blockHash(block?.header?.payload ?? new Uint8Array()));
  }

  async #accepted(transactionId: string, place: TransactionPlace, hash: Uint8Array): Promise<TransactionReceipt> {
    const { distribution } = this.#options;
    const final = place.height <= distribution.final.height;
    return create(TransactionReceiptSchema, {
      transactionId,
      outcome: TransactionOutcome.ACCEPTED,
      blockHeight: place.height,
      index: place.index,
      blockHash: hash,
      finality: final ? Finality.FINAL : Finality.INCLUDED,
      distribution: await distribution.receipts(place.height),
    });
  }

  /** Answers the transactions of one block with their evidence. */
  async #committed(height: bigint): Promise<(index: number) => Committed | undefined> {
    const { chain, distribution } = this.#options;
    const block = await chain.block(height);
    if (block === undefined) throw refusal(ErrorReason.INTERNAL_FAULT, `block ${height}`);
    const receipts = await distribution.receipts(height);
    const final = height <= distribution.final.height;
    return committedOf(block, final ? Finality.FINAL : Finality.INCLUDED, receipts);
  }
}

/** All placements; a failure of some says that nothing was recorded only where nothing of the submission was. */
async function together(placements: readonly (Placement | Promise<Placement>)[]): Promise<Placement[]> {
  const settled = await Promise.allSettled(placements);
  const placed = settled.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  const failed = settled.find((one) => one.status === "rejected");
  if (failed === undefined) return placed;
  throw placed.some((one) => "height" in one) ? refusal(ErrorReason.OUTCOME_UNKNOWN, "transactions") : failed.reason;
}
