// One node's chain: what it holds, and the only two ways to make it longer: propose a block, or accept one after full verification.
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { type Block, type ChangeProposer, RejectionReason, type SmartContract } from "../../gen/x1410/v1/ledger_pb.ts";
import { KeyedMutex } from "../communications/keyed-mutex.ts";
import { refusal } from "../communications/refusal.ts";
import type { Signer } from "../envelope/signer.ts";
import { REOPEN_RETRY_MS } from "../store/room.ts";
import { type ChainHead, decodeHeader, formBlock, headOf } from "./block.ts";
import {
  BlockFault,
  occasionOf,
  type Predecessor,
  type SubmittedTransaction,
  verifyBlock,
  verifyHeader,
} from "./block-verification.ts";
import { type BlockEvidence, type ChainStore, LedgerStoreFault } from "./chain-store.ts";
import { applyTransaction, takeoverOf } from "./contract-rules.ts";
import { HeightWatch } from "./height-watch.ts";
import { LedgerState, type TransactionPlace } from "./ledger-state.ts";
import { sha256 } from "./merkle.ts";
import type { TrustAtTime } from "./trust-at-time.ts";

export interface ChainOptions {
  readonly store: ChainStore;
  readonly networkId: string;
  /** Identity that proposes the first block. */
  readonly firstProposer: string;
  readonly trust: TrustAtTime;
  /** Whether a block of another node is final as soon as it is stored here. */
  readonly finalOnceStored?: boolean;
}

/** What became of one candidate. A rejection that depends on the blocks says up to which: it is as little final as they are. */
export type Placement = TransactionPlace | { readonly rejection: RejectionReason; readonly judgedAt?: bigint };

export class Chain {
  readonly networkId: string;
  readonly trust: TrustAtTime;
  /** Height of the newest durable block. */
  readonly height: HeightWatch;
  readonly #store: ChainStore;
  readonly #firstProposer: string;
  /** Who proposes, as the chain says; in memory, so that it is known while the database is being opened anew. */
  #named: ChangeProposer | undefined;
  readonly #finalOnceStored: boolean;
  /** One block at a time. */
  readonly #mutex = new KeyedMutex();
  #retry: NodeJS.Timeout | undefined;
  #closed = false;

  constructor({ store, networkId, firstProposer, trust, finalOnceStored = false }: ChainOptions) {
    this.#store = store;
    this.networkId = networkId;
    this.#firstProposer = firstProposer;
    this.trust = trust;
    this.#finalOnceStored = finalOnceStored;
    this.height = new HeightWatch(store.head.height);
    this.#named = new LedgerState(store).proposer();
  }

  get head(): ChainHead {
    return this.#store.head;
  }

  block(height: bigint): Promise<Block | undefined> {
    return this.#store.block(height);
  }

  contract(contractId: string): SmartContract | undefined {
    return new LedgerState(this.#store).contract(contractId);
  }

  placeOf(transactionId: string): TransactionPlace | undefined {
    return new LedgerState(this.#store).placeOf(transactionId);
  }

  /** Identity that proposes the next block. */
  get proposer(): string {
    return this.#named?.proposer ?? this.#firstProposer;
  }

  /** Whether the chain lets this signer propose the next block: the identity and, from the first block on, the very key. */
  mayPropose({ identity, publicKey }: Pick<Signer, "identity" | "publicKey">): boolean {
    const named = this.#named;
    if (named === undefined) return identity === this.#firstProposer;
    return named.proposer === identity && Buffer.compare(named.publicKeySha256, sha256(publicKey.spki)) === 0;
  }

  /** Whether this signer may sign a block of that time: its certificate may have run out or been revoked, even if others would not know yet. */
  trusts({ certificate: { certificates } }: Signer, timeUnixMs: bigint): boolean {
    return this.#admits(certificates, timeUnixMs);
  }

  #admits([leaf = new Uint8Array(), ...intermediates]: readonly Uint8Array[], timeUnixMs: bigint): boolean {
    try {
      this.trust.admitting(timeUnixMs).verify(leaf, intermediates);
      return true;
    } catch {
      return false;
    }
  }

  /** Whether an operator orders this signer to propose the next block with this as its one transaction, whoever has proposed so far. */
  isTakeover({ transaction }: SubmittedTransaction, { identity, publicKey }: Signer): boolean {
    const says = takeoverOf(transaction);
    if (says === undefined || says.proposer !== identity) return false;
    return Buffer.compare(says.publicKeySha256, sha256(publicKey.spki)) === 0;
  }

  /**
   * Forms, signs and stores one block of those candidates that the rules allow, or none where they allow none; answers where each went.
   * @throws what the store throws; then `recover` says what became of them
   */
  propose(candidates: readonly SubmittedTransaction[], signer: Signer, now: Date): Promise<Placement[]> {
    return this.#mutex.run("append", async () => {
      if (this.#store.torn) throw refusal(ErrorReason.LEDGER_UNAVAILABLE, "store");
      const { head: previous } = this;
      const wall = BigInt(now.getTime());
      const timeUnixMs = wall > previous.timeUnixMs ? wall : previous.timeUnixMs;
      const height = previous.height + 1n;
      // A block under a certificate that has run out would be worth nothing to anybody else.
      if (!this.trusts(signer, timeUnixMs)) throw refusal(ErrorReason.LEDGER_UNAVAILABLE, "proposer certificate");
      const state = new LedgerState(this.#store);
      if (state.proposer() === undefined) state.setProposer(signer.identity, sha256(signer.publicKey.spki));
      // Certificates that were good at the submission may have run out since, or be known as revoked: one verdict for each.
      const verdicts = new Map<string, boolean>();
      const admits = ({ signer: { fingerprint }, certificates }: SubmittedTransaction): boolean => {
        const verdict = verdicts.get(fingerprint) ?? this.#admits(certificates, timeUnixMs);
        verdicts.set(fingerprint, verdict);
        return verdict;
      };
      const transactions: Uint8Array[] = [];
      const placements = candidates.map((candidate): Placement => {
        const known = state.placeOf(candidate.id);
        if (known !== undefined) return known;
        if (!admits(candidate)) return { rejection: RejectionReason.SIGNATURE_INVALID };
        const occasion = occasionOf(candidate, { networkId: this.networkId, timeUnixMs, previousHash: previous.hash });
        const rejection = applyTransaction(candidate.transaction, occasion, state);
        if (rejection === RejectionReason.MALFORMED) return { rejection };
        // Up to this very block: what stands in it may be why.
        if (rejection !== undefined) return { rejection, judgedAt: height };
        const place = { height, index: transactions.length };
        transactions.push(candidate.bytes);
        state.setPlaceOf(candidate.id, place);
        return place;
      });
      if (transactions.length > 0) {
        const { networkId } = this;
        const { block, head } = formBlock({ networkId, previous, transactions, timeUnixMs, proposer: signer });
        this.#assertOthersTake(block);
        await this.#append(block, head, state.changes);
      }
      // Without it, up to the one before.
      return placements.map((one) =>
        "judgedAt" in one && transactions.length === 0 ? { ...one, judgedAt: previous.height } : one,
      );
    });
  }

  /**
   * Verifies a block in full and stores it. Answers "behind" where blocks before it are missing here, "known" where it is held already.
   * What `receipts` answers for the verified block, by node, is stored with it.
   * @throws BlockFault where it fails, or another block of that height is held (a fork)
   */
  accept(
    block: Block,
    receipts: () => ReadonlyMap<string, SignedEnvelope> = () => new Map(),
  ): Promise<"stored" | "known" | "behind"> {
    return this.#mutex.run("append", async () => {
      if (this.#store.torn) throw refusal(ErrorReason.LEDGER_UNAVAILABLE, "store");
      const height = claimedHeight(block, this.head.height + 1n);
      if (height > this.head.height + 1n) return "behind";
      if (height <= this.head.height) {
        await this.#assertSame(block, height);
        return "known";
      }
      const verified = verifyBlock(block, this.#predecessor());
      const final = this.#finalOnceStored ? height : undefined;
      await this.#append(block, verified.head, verified.changes, { final, receipts: receipts() });
      return "stored";
    });
  }

  /**
   * Opens the store anew after a failed write, as soon as there is room for that. Afterwards it is known what the chain holds. Before anything
   * that writes to the store.
   */
  async recover(): Promise<void> {
    // Without its turn: who has nothing to mend does not wait for the block that is being written.
    if (!this.#store.torn) return;
    await this.#mutex.run("append", async () => {
      if (!this.#store.torn || this.#closed) return;
      try {
        await this.#store.reopen();
      } catch (cause) {
        // Reads need it too, and come back by themselves; not from a store that is damaged.
        if (this.#store.away && !(cause instanceof LedgerStoreFault)) this.#recoverLater();
        throw cause;
      }
      this.#named = new LedgerState(this.#store).proposer();
      this.height.advance(this.head.height);
    });
  }

  /** Ends waiting for its height, and its work on the store. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    this.height.close();
    await this.#mutex.run("append", () => undefined);
  }

  #recoverLater(): void {
    clearTimeout(this.#retry);
    if (!this.#closed) this.#retry = setTimeout(() => void this.recover().catch(() => undefined), REOPEN_RETRY_MS);
  }

  #predecessor(): Predecessor {
    const { networkId, trust, head } = this;
    return { networkId, head, state: this.#store, firstProposer: this.#firstProposer, trust };
  }

  /** A block of its own that nobody else takes would end the chain here, so none is stored. Its transactions were verified one by one. */
  #assertOthersTake(block: Block): void {
    try {
      verifyHeader(block, this.#predecessor());
    } catch (cause) {
      throw cause instanceof BlockFault ? refusal(ErrorReason.LEDGER_UNAVAILABLE, cause.fault) : cause;
    }
  }

  async #append(
    block: Block,
    head: ChainHead,
    changes: ReadonlyMap<string, Uint8Array>,
    evidence?: BlockEvidence,
  ): Promise<void> {
    await this.#store.append(block, head, changes, evidence);
    this.#named = new LedgerState(this.#store).proposer();
    this.height.advance(head.height);
  }

  async #assertSame(block: Block, height: bigint): Promise<void> {
    const held = await this.block(height);
    const [mine, theirs] = [held, block].map((one) => one?.header?.payload ?? new Uint8Array());
    if (Buffer.compare(mine as Uint8Array, theirs as Uint8Array) !== 0) {
      throw new BlockFault("fork", height, "another block of this height is held");
    }
  }
}

function claimedHeight(block: Block, expected: bigint): bigint {
  const bytes = block.header?.payload ?? new Uint8Array();
  try {
    return headOf(decodeHeader(bytes), bytes).height;
  } catch (cause) {
    throw new BlockFault("header-encoding", expected, cause instanceof Error ? cause.message : "");
  }
}
