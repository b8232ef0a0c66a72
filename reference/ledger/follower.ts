// How a node takes in blocks of others: full verification before it stores or serves anything, a signed receipt for what it holds, and a stop
// where the proposer's chain contradicts its own (clause 6.1, S4).
import { create } from "@bufbuild/protobuf";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { type Block, BlockHeaderSchema } from "../../gen/x1410/v1/ledger_pb.ts";
import { type DistributeBlockResponse, DistributeBlockResponseSchema } from "../../gen/x1410/v1/ledger_service_pb.ts";
import { tellFault } from "../communications/fault.ts";
import type { Log } from "../communications/log.ts";
import { refusal } from "../communications/refusal.ts";
import { payloadTypeOf } from "../envelope/sign.ts";
import { SKEW_MS } from "../envelope/signed-request.ts";
import type { Signer } from "../envelope/signer.ts";
import { verifySignature } from "../envelope/verify.ts";
import { blockHash, decodeHeader, NO_BLOCK_HASH } from "./block.ts";
import { receiptsThatHold, signReceipt } from "./block-receipt.ts";
import { BlockFault, type Fault, takeoverIn } from "./block-verification.ts";
import type { Chain } from "./chain.ts";
import { LedgerStoreFault } from "./chain-store.ts";
import type { Distribution, LedgerPeer } from "./distribution.ts";
import { sha256 } from "./merkle.ts";

export interface FollowerOptions {
  readonly chain: Chain;
  readonly distribution: Distribution;
  readonly peers: readonly LedgerPeer[];
  readonly signer: Signer;
  readonly now: () => Date;
  readonly log: Log;
}

/** Why a node accepts no more blocks. */
export interface Stop {
  readonly height: bigint;
  readonly why: string;
}

/** A node that streams nothing for this long is as good as away. */
const IDLE_MS = 5_000;

/** Blocks that a proposer can hold and nobody else: without a quorum its chain grows no further. */
const UNHELD_BLOCKS = 2n;

/**
 * Faults that a node on the way can put behind a header that the proposer signed rightly: other transactions, fields that nobody knows, or a
 * header meant for another network. From anyone but the proposer they prove nothing against it, and must not stop anybody.
 */
const alterableByOthers: ReadonlySet<Fault> = new Set([
  "block-encoding",
  "transaction-count",
  "transactions-root",
  "network",
]);

export class Follower {
  readonly #options: FollowerOptions;
  readonly #ended = new AbortController();
  readonly #halted = Promise.withResolvers<Stop>();
  #stop: Stop | undefined;
  #catchingUp: Promise<void> | undefined;

  constructor(options: FollowerOptions) {
    this.#options = options;
  }

  /** Set where the node has seen a bad block or a fork: an operator compares the chains and restarts it. */
  get stopped(): Stop | undefined {
    return this.#stop;
  }

  /** Resolves when the node stops accepting blocks. */
  get halted(): Promise<Stop> {
    return this.#halted.promise;
  }

  /**
   * Takes a block from another node and answers this node's receipt once the block is durable here; without one where earlier blocks are
   * missing, which are then fetched.
   * @throws ConnectError BLOCK_INVALID, LEDGER_UNAVAILABLE
   */
  async receive(block: Block, sender: string): Promise<DistributeBlockResponse> {
    const { chain } = this.#options;
    const result = await this.#accept(block, sender, []);
    const nextHeight = chain.head.height + 1n;
    if (result === "behind") {
      void this.catchUp();
      return create(DistributeBlockResponseSchema, { nextHeight });
    }
    return create(DistributeBlockResponseSchema, { receipt: this.#receiptFor(block), nextHeight });
  }

  /** Streams what other nodes hold beyond this one's head. Best effort: a node that is away or wrong leaves it to the next. */
  catchUp(): Promise<void> {
    this.#catchingUp ??= this.#catchUp().finally(() => {
      this.#catchingUp = undefined;
    });
    return this.#catchingUp;
  }

  async close(): Promise<void> {
    this.#ended.abort();
    await this.#catchingUp;
  }

  async #catchUp(): Promise<void> {
    const { chain, peers } = this.#options;
    // The proposer first: nobody holds more than it does.
    const order = [...peers].sort(
      (left, right) => Number(right.identity === chain.proposer) - Number(left.identity === chain.proposer),
    );
    for (const peer of order) {
      if (this.#stop !== undefined || this.#ended.signal.aborted) return;
      const attempt = new AbortController();
      const signal = AbortSignal.any([attempt.signal, this.#ended.signal]);
      let idle = setTimeout(() => attempt.abort(), IDLE_MS);
      try {
        const fromHeight = chain.head.height + 1n;
        for await (const { block, receipts } of peer.ledger.streamBlocks({ fromHeight }, { signal })) {
          clearTimeout(idle);
          if (block !== undefined) await this.#accept(block, peer.identity, receipts);
          idle = setTimeout(() => attempt.abort(), IDLE_MS);
        }
      } catch {
        // Away, behind this node, or refused by #accept, which has noted why.
      } finally {
        clearTimeout(idle);
        attempt.abort();
      }
    }
  }

  async #accept(
    block: Block,
    sender: string,
    receipts: readonly SignedEnvelope[],
  ): Promise<"stored" | "known" | "behind"> {
    const { chain, distribution } = this.#options;
    if (this.#stop !== undefined)
      throw refusal(ErrorReason.LEDGER_UNAVAILABLE, `stopped at block ${this.#stop.height}`);
    this.#assertNotAhead(block);
    try {
      await chain.recover();
      const result = await chain.accept(block, () => this.#evidenceOf(block, receipts));
      if (result === "stored") distribution.stored(chain.head.height);
      return result;
    } catch (cause) {
      if (cause instanceof BlockFault) {
        const proven =
          !alterableByOthers.has(cause.fault) &&
          (this.#bearsProposersSignature(block) || (await this.#isTakeover(block)));
        // Who knows of a revocation too late has old lists, and contradicts nothing: refused, and no reason to stop.
        const contradicts = cause.fault !== "signer-revoked" && (sender === chain.proposer || proven);
        if (contradicts) this.#halt(cause.height, cause.message);
        throw refusal(ErrorReason.BLOCK_INVALID, `block ${cause.height}: ${cause.fault}`);
      }
      tellFault(cause, "accept", this.#options.log);
      if (cause instanceof LedgerStoreFault) this.#halt(cause.height, cause.message);
      throw refusal(ErrorReason.LEDGER_UNAVAILABLE, "store");
    }
  }

  #halt(height: bigint, why: string): void {
    this.#stop = { height, why };
    this.#halted.resolve(this.#stop);
  }

  /** One clock is wrong, this node's or the proposer's: no reason to stop, but none to store a time that all later blocks must exceed. */
  #assertNotAhead(block: Block): void {
    let timeUnixMs: bigint;
    try {
      ({ timeUnixMs } = decodeHeader(block.header?.payload ?? new Uint8Array()));
    } catch {
      return;
    }
    if (Number(timeUnixMs) > this.#options.now().getTime() + SKEW_MS) {
      throw refusal(ErrorReason.LEDGER_UNAVAILABLE, "the block's time lies ahead");
    }
  }

  /** Whether a bad block is evidence against the proposer, or only something that a node made up: that must not stop anybody. */
  #bearsProposersSignature({ header }: Block): boolean {
    const { chain } = this.#options;
    if (header === undefined) return false;
    try {
      const { timeUnixMs } = decodeHeader(header.payload);
      const signer = verifySignature(header, payloadTypeOf(BlockHeaderSchema), chain.trust.wholeAt(timeUnixMs));
      return signer.identity === chain.proposer;
    } catch {
      return false;
    }
  }

  /**
   * A node that took over on an operator's word from a block that this one holds another of: one of the two cannot go on. Only where the blocks
   * from there on can be this node's alone. An order that was left over, used long afterwards, contradicts what a quorum holds, and stops nobody.
   */
  async #isTakeover(block: Block): Promise<boolean> {
    const { chain, distribution } = this.#options;
    const next = takeoverIn(block, chain);
    if (next === undefined || block.header === undefined) return false;
    try {
      const { timeUnixMs, height, previousHash } = decodeHeader(block.header.payload);
      if (height <= distribution.final.height || height <= chain.head.height - UNHELD_BLOCKS) return false;
      const before = height === 1n ? undefined : await chain.block(height - 1n);
      const hash = before?.header === undefined ? NO_BLOCK_HASH : blockHash(before.header.payload);
      if (Buffer.compare(previousHash, hash) !== 0) return false;
      const signer = verifySignature(block.header, payloadTypeOf(BlockHeaderSchema), chain.trust.wholeAt(timeUnixMs));
      return (
        signer.identity === next.proposer && Buffer.compare(sha256(signer.publicKey.spki), next.publicKeySha256) === 0
      );
    } catch {
      return false;
    }
  }

  /**
   * This node's own receipt and those that came with a block: stored with it, so that this node can show that two nodes hold it. Where a network
   * asks for more, the others' are fetched once they exist.
   */
  #evidenceOf({ header }: Block, received: readonly SignedEnvelope[]): Map<string, SignedEnvelope> {
    const { chain, signer } = this.#options;
    const bytes = header?.payload ?? new Uint8Array();
    return receiptsThatHold([signReceipt(signer, bytes), ...received], bytes, chain.trust);
  }

  #receiptFor({ header }: Block): SignedEnvelope {
    return signReceipt(this.#options.signer, header?.payload ?? new Uint8Array());
  }
}
