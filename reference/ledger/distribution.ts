// Distribution of blocks to the DLT nodes (clauses 7.3.1 and 7.3.2): the proposer hands each block to every other node and collects signed
// receipts. A block is final once the configured quorum holds it durably; the proposer, which stored it first, counts.
import { setTimeout as pause } from "node:timers/promises";
import type { Client } from "@connectrpc/connect";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import type { LedgerService } from "../../gen/x1410/v1/ledger_service_pb.ts";
import { tellFault } from "../communications/fault.ts";
import { type Log, silentLog } from "../communications/log.ts";
import { decodeEnvelope, decodeHeader, transactionIdOf } from "./block.ts";
import { receiptsThatHold, verifyReceiptBy } from "./block-receipt.ts";
import type { Chain } from "./chain.ts";
import type { ChainStore } from "./chain-store.ts";
import { HeightWatch } from "./height-watch.ts";
import type { LedgerTrust } from "./trust-at-time.ts";

/** Another node of the network, as the network parameters name it. */
export interface LedgerPeer {
  readonly identity: string;
  readonly ledger: Client<typeof LedgerService>;
}

export interface DistributionOptions {
  readonly chain: Chain;
  readonly store: ChainStore;
  readonly peers: readonly LedgerPeer[];
  /** Nodes that must hold a block, this one included. */
  readonly quorum: number;
  readonly trust: LedgerTrust;
  readonly log?: Log;
  /** For the answer to one block. Default 10 s. */
  readonly timeoutMs?: number;
  /** Between attempts at a node that fails, doubled up to 32 times this. Default 50 ms. */
  readonly retryMs?: number;
}

const TIMEOUT_MS = 10_000;
const RETRY_MS = 50;
/** Between attempts, in times of the first pause. */
const LONGEST_PAUSE = 32;
/** Blocks between what a node is known to hold and the newest, from which on it is asked before it is handed all of them. */
const FAR_BEHIND = 16n;
/** The proposer and a follower together. */
const TWO_NODES = 2;

/** Whether a block of another node that is stored here is final with that: two nodes hold it, for the proposer stores before it hands on. */
export function finalOnceStored(quorum: number): boolean {
  return quorum <= TWO_NODES;
}

export class Distribution {
  /** Height up to which blocks are final, as far as this node knows. */
  readonly final: HeightWatch;
  readonly #options: DistributionOptions;
  /** Height up to which this node has blocks of its own to hand on. */
  readonly #proposed = new HeightWatch(0n);
  readonly #held = new Map<string, bigint>();
  readonly #ended = new AbortController();
  #pumps: Promise<void>[] = [];

  constructor(options: DistributionOptions) {
    this.#options = options;
    this.final = new HeightWatch(options.quorum <= 1 ? options.chain.head.height : options.store.final);
  }

  /** Begins to hand blocks on; what was not known to be final when the node last stopped is handed on again. */
  async start(): Promise<void> {
    const { peers, store, quorum, chain } = this.#options;
    for (const { identity } of peers) this.#held.set(identity, await store.receivedUpTo(identity));
    this.#pumps = peers.map((peer) => this.#pump(peer));
    if (!finalOnceStored(quorum)) this.#pumps.push(this.#learnFinality());
    this.#recount(chain.head.height);
  }

  /** This node has proposed and stored the block of this height. */
  distribute(height: bigint): void {
    this.#proposed.advance(height);
    this.#recount(height);
  }

  /** This node has stored a block that another proposed. */
  stored(height: bigint): void {
    if (finalOnceStored(this.#options.quorum)) this.#advance(height);
  }

  /** Signed receipts for this block. */
  receipts(height: bigint): Promise<SignedEnvelope[]> {
    return this.#options.peers.length === 0 ? Promise.resolve([]) : this.#options.store.receipts(height);
  }

  async close(): Promise<void> {
    this.#ended.abort();
    await Promise.all(this.#pumps);
  }

  /** Hands blocks to one node in order, from where that node is. A node that is away costs the others nothing. */
  async #pump(peer: LedgerPeer): Promise<void> {
    const { retryMs = RETRY_MS } = this.#options;
    const { signal } = this.#ended;
    let next = (this.#held.get(peer.identity) ?? 0n) + 1n;
    let wait = retryMs;
    let newestFirst = true;
    while (!signal.aborted) {
      try {
        await this.#proposed.beyond(next - 1n, signal);
        // Others may have handed it on meanwhile: a node that has the newest has them all, and one that has not says where it is.
        const { height: newest } = this.#proposed;
        const height = newestFirst && newest - next >= FAR_BEHIND ? newest : next;
        newestFirst = false;
        next = await this.#hand(peer, height);
        wait = retryMs;
      } catch (cause) {
        this.#tell(cause);
        newestFirst = true;
        // Away, or it refuses: final needs a quorum, not this node. Its own status says why it refuses.
        await pause(wait, undefined, { signal }).catch(() => undefined);
        wait = Math.min(wait * 2, retryMs * LONGEST_PAUSE);
      }
    }
  }

  /** Hands one block to a node; answers which it is to get next. @throws where no proper answer comes */
  async #hand(peer: LedgerPeer, height: bigint): Promise<bigint> {
    const { chain, store, timeoutMs = TIMEOUT_MS } = this.#options;
    const block = await chain.block(height);
    if (block === undefined) throw new RangeError(`no block ${height}`);
    const options = { timeoutMs, signal: this.#ended.signal };
    const { receipt, nextHeight } = await peer.ledger.distributeBlock({ block }, options);
    if (receipt === undefined) {
      // It needs earlier blocks first; only ever backwards, so that no answer can make this run in circles on the spot.
      if (nextHeight < 1n || nextHeight >= height)
        throw new RangeError(`${peer.identity} asks for block ${nextHeight}`);
      return nextHeight;
    }
    const header = block.header?.payload ?? new Uint8Array();
    const shows = this.#verifiedReceipt(receipt, header, peer);
    if (shows) {
      await chain.recover();
      await store.putReceipt(height, peer.identity, receipt);
      if (height > (this.#held.get(peer.identity) ?? 0n)) this.#held.set(peer.identity, height);
    }
    this.#recount(chain.head.height);
    return height + 1n;
  }

  /**
   * Whether a node's receipt is evidence for everybody. A node whose certificate had run out by the time of the block holds it as
   * well, but can show that to nobody: it counts from a block on of which it can.
   * @throws where it is no receipt of that node for that block
   */
  #verifiedReceipt(receipt: SignedEnvelope, header: Uint8Array, peer: LedgerPeer): boolean {
    const { chain, trust } = this.#options;
    const node = verifyReceiptBy(receipt, header, trust);
    if (node !== peer.identity) throw new TypeError(`${peer.identity} answers a receipt of ${node}`);
    return receiptsThatHold([receipt], header, chain.trust).size > 0;
  }

  /** Keeps as evidence what holds for everybody; answers how many nodes are known to hold the block, its proposer included. */
  async #keep(receipts: readonly SignedEnvelope[], header: Uint8Array): Promise<number> {
    const { chain, store } = this.#options;
    const { height, proposer } = decodeHeader(header);
    for (const [node, receipt] of receiptsThatHold(receipts, header, chain.trust)) {
      await chain.recover();
      await store.putReceipt(height, node, receipt);
    }
    return new Set([proposer, ...(await store.holders(height))]).size;
  }

  /** What a node answers says itself what it is, and closing ends what is under way. */
  #tell(cause: unknown): void {
    const { log = silentLog } = this.#options;
    if (!this.#ended.signal.aborted) tellFault(cause, "distribute", log);
  }

  /** A chain that is held up to a height is held below it too. */
  #recount(own: bigint): void {
    const { quorum, chain } = this.#options;
    const heights = [own, ...this.#held.values()].map((height) => (height < own ? height : own));
    heights.sort((left, right) => Number(right - left));
    const final = heights[quorum - 1];
    if (final !== undefined && final <= chain.head.height) this.#advance(final);
  }

  #advance(height: bigint): void {
    this.final.advance(height);
    // A node that is its own quorum need not remember: what it holds is final.
    if (this.#options.quorum > 1) this.#options.store.noteFinal(height);
  }

  /** With a quorum beyond two nodes a follower learns from the proposer how far the quorum is, and asks for its receipts. */
  async #learnFinality(): Promise<void> {
    const { chain, peers, timeoutMs = TIMEOUT_MS, retryMs = RETRY_MS } = this.#options;
    const { signal } = this.#ended;
    let asked = 0n;
    let wait = retryMs;
    while (!signal.aborted) {
      try {
        await chain.height.beyond(this.final.height, signal);
        const proposer = peers.find(({ identity }) => identity === chain.proposer);
        if (proposer !== undefined && this.#proposed.height < chain.head.height) {
          const { finalHeight } = await proposer.ledger.getHead({}, { timeoutMs, signal });
          const beyond = (height: bigint): boolean => height > finalHeight || height > chain.head.height;
          if (asked < this.final.height) asked = this.final.height;
          for (; !beyond(asked + 1n); asked++) await this.#fetchReceipts(proposer, asked + 1n);
          // Those in between were asked for once; the newest again, until there are enough.
          if (this.final.height < asked) asked -= 1n;
        }
        wait = retryMs;
      } catch (cause) {
        this.#tell(cause);
        // The proposer is away: what is final stays what it was.
        wait = Math.min(wait * 2, retryMs * LONGEST_PAUSE);
      }
      await pause(wait, undefined, { signal }).catch(() => undefined);
    }
  }

  /** What is final here is what this node can show to be: the word of the proposer alone is none. */
  async #fetchReceipts({ ledger }: LedgerPeer, height: bigint): Promise<void> {
    const { chain, quorum, timeoutMs = TIMEOUT_MS } = this.#options;
    const { signal } = this.#ended;
    const block = await chain.block(height);
    const header = block?.header?.payload ?? new Uint8Array();
    let nodes = await this.#keep([], header);
    if (nodes < quorum) {
      const transactionId = transactionIdOf(decodeEnvelope(block?.transactions[0] ?? new Uint8Array()).payload);
      const { receipt } = await ledger.getTransaction({ transactionId }, { timeoutMs, signal });
      nodes = await this.#keep(receipt?.distribution ?? [], header);
    }
    if (nodes >= quorum) this.#advance(height);
  }
}
