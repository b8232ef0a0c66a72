// What anyone can check alone, with the trust anchors and no connection: one transaction with its evidence, or a whole chain, block by block
// (clause 6, S4). A fault names the place.
import { fromBinary } from "@bufbuild/protobuf";
import { SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import {
  type Block,
  type BlockHeader,
  BlockHeaderSchema,
  type InclusionProof,
  RejectionReason,
  type Transaction,
  TransactionOutcome,
  TransactionSchema,
} from "../../gen/x1410/v1/ledger_pb.ts";
import { payloadTypeOf } from "../envelope/sign.ts";
import { parsePayload, verifyEnvelope, verifySignature } from "../envelope/verify.ts";
import { beforeFirstBlock, blockHash, type ChainHead, decodeHeader, transactionIdOf } from "./block.ts";
import { verifyReceipt } from "./block-receipt.ts";
import { BlockFault, type Fault, verifyBlock, whyOf } from "./block-verification.ts";
import { LedgerStoreFault } from "./chain-store.ts";
import type { Committed } from "./engine.ts";
import type { StateReader } from "./ledger-state.ts";
import { verifyInclusion } from "./merkle.ts";
import { type LedgerTrust, TrustAtTime } from "./trust-at-time.ts";

/** What of a Committed is evidence; receipts without proof prove nothing. */
export type Evidence = Pick<Committed, "transactionId" | "envelope" | "proof"> & Partial<Pick<Committed, "receipt">>;

export type CommittedFault =
  | "transaction-id"
  | "transaction-signature"
  | "transaction-payload"
  | "proof-transaction"
  | "header-encoding"
  | "header-rules"
  | "header-signature"
  | "network"
  | "inclusion"
  | "receipt"
  | "distribution"
  | "quorum";

export type CommittedVerdict =
  | {
      readonly valid: true;
      readonly transaction: Transaction;
      readonly header: BlockHeader;
      /** Nodes that have signed for holding the block, the proposer first. */
      readonly nodes: readonly string[];
    }
  | { readonly valid: false; readonly fault: CommittedFault; readonly detail: string };

class EvidenceFault extends Error {
  readonly fault: CommittedFault;

  constructor(fault: CommittedFault, detail: string) {
    super(detail);
    this.fault = fault;
  }
}

/**
 * Judges one transaction by its evidence: envelope signature and id first, then that it is in a block which a ledger node of the network
 * signed, and that so many nodes as the quorum have signed for holding it, the proposer included. Signatures are judged at the block's time. Pure;
 * never throws for bad evidence.
 */
export function verifyCommitted(
  evidence: Evidence,
  trust: LedgerTrust,
  networkId?: string,
  quorum = 1,
): CommittedVerdict {
  try {
    return judge(evidence, new TrustAtTime(trust), networkId, quorum);
  } catch (cause) {
    if (cause instanceof EvidenceFault) return { valid: false, fault: cause.fault, detail: cause.message };
    throw cause;
  }
}

function judge(
  evidence: Evidence,
  trust: TrustAtTime,
  networkId: string | undefined,
  quorum: number,
): CommittedVerdict {
  const { proof } = evidence;
  const header = attempt("header-encoding", () => decodeHeader(proof.header?.payload ?? new Uint8Array()));
  attempt("header-rules", () => parsePayload(proof.header?.payload ?? new Uint8Array(), BlockHeaderSchema));
  const at = trust.at(header.timeUnixMs);
  const envelope = attempt("transaction-payload", () => fromBinary(SignedEnvelopeSchema, evidence.envelope));
  assert(
    "transaction-id",
    transactionIdOf(envelope.payload) === evidence.transactionId,
    "is not the hash of the payload",
  );
  attempt("transaction-signature", () => verifySignature(envelope, payloadTypeOf(TransactionSchema), at));
  const { message: transaction, signer } = attempt("transaction-payload", () =>
    verifyEnvelope(envelope, TransactionSchema, at),
  );
  assert("transaction-signature", transaction.signer === signer.identity, `signed by ${signer.identity}`);
  assert("proof-transaction", Buffer.compare(proof.transaction, evidence.envelope) === 0, "is another transaction");
  const proposer = attempt("header-signature", () => {
    if (proof.header === undefined) throw new TypeError("no header");
    return verifySignature(proof.header, payloadTypeOf(BlockHeaderSchema), trust.wholeAt(header.timeUnixMs));
  });
  assert("header-signature", proposer.identity === header.proposer, `signed by ${proposer.identity}`);
  assert("header-signature", header.proposer.startsWith("urn:x1410:entity:ledger:"), "not signed by a ledger node");
  const sameNetwork =
    transaction.networkId === header.networkId && header.networkId === (networkId ?? header.networkId);
  assert("network", sameNetwork, `${transaction.networkId} in a block of ${header.networkId}`);
  const { index, path } = proof;
  const included = verifyInclusion(proof.transaction, index, header.transactionCount, path, header.transactionsRoot);
  assert("inclusion", included, "the path does not lead to the block's root");
  const nodes = holders(evidence, proof, header, trust);
  assert("quorum", nodes.length >= quorum, `${nodes.length} of ${quorum} nodes have signed for holding it`);
  return { valid: true, transaction, header, nodes };
}

/** The receipt must say what the evidence shows; each node's signed word must be about this very block. */
function holders(
  { receipt, transactionId }: Evidence,
  { header: signed, index }: InclusionProof,
  header: BlockHeader,
  trust: TrustAtTime,
): string[] {
  const nodes = new Set([header.proposer]);
  if (receipt === undefined) return [...nodes];
  const hash = blockHash(signed?.payload ?? new Uint8Array());
  const consistent =
    receipt.transactionId === transactionId &&
    receipt.outcome === TransactionOutcome.ACCEPTED &&
    receipt.rejection === RejectionReason.UNSPECIFIED &&
    receipt.blockHeight === header.height &&
    receipt.index === index &&
    Buffer.compare(receipt.blockHash, hash) === 0;
  assert("receipt", consistent, "says something else than the proof");
  for (const envelope of receipt.distribution)
    nodes.add(attempt("distribution", () => verifyReceipt(envelope, signed?.payload ?? new Uint8Array(), trust)));
  return [...nodes];
}

function attempt<T>(fault: CommittedFault, check: () => T): T {
  try {
    return check();
  } catch (cause) {
    throw new EvidenceFault(fault, whyOf(cause));
  }
}

function assert(fault: CommittedFault, holds: boolean, detail: string): void {
  if (!holds) throw new EvidenceFault(fault, detail);
}

/** Where an audit keeps what the blocks add up to; for long chains something on disk. */
export interface AuditState extends StateReader {
  apply(changes: ReadonlyMap<string, Uint8Array>): void | Promise<void>;
}

export class MemoryState implements AuditState {
  readonly #values = new Map<string, Uint8Array>();

  get(key: string): Uint8Array | undefined {
    return this.#values.get(key);
  }

  apply(changes: ReadonlyMap<string, Uint8Array>): void {
    for (const [key, value] of changes) this.#values.set(key, value);
  }
}

export interface AuditOptions {
  readonly trust: LedgerTrust;
  /** Expected network; that of the first block where it is left out. */
  readonly networkId?: string;
  /** Expected proposer of the first block; whoever signed it where it is left out. */
  readonly firstProposer?: string;
  /** A head seen earlier: the chain must still contain it, or somebody rolled it back or forked it. */
  readonly remembered?: { readonly height: bigint; readonly hash: Uint8Array };
  readonly state?: AuditState;
  readonly onBlock?: (head: ChainHead) => void;
}

export type ChainVerdict =
  | { readonly intact: true; readonly head: ChainHead; readonly transactions: bigint }
  | {
      readonly intact: false;
      readonly fault: Fault;
      /** Height of the first block that is wrong or missing. */
      readonly height: bigint;
      readonly transactionIndex?: number;
      readonly detail: string;
      /** The last block up to which everything holds. */
      readonly head: ChainHead;
    };

/** Audits a chain from its first block, one block in memory at a time, and names the first place where something was altered. */
export async function verifyChain(
  blocks: AsyncIterable<Block> | Iterable<Block>,
  options: AuditOptions,
): Promise<ChainVerdict> {
  const { remembered, state = new MemoryState() } = options;
  const trust = new TrustAtTime(options.trust);
  let head = beforeFirstBlock;
  let transactions = 0n;
  let { networkId, firstProposer } = options;
  try {
    for await (const block of blocks) {
      if (head.height === 0n) ({ networkId, firstProposer } = expectationsOf(block, networkId, firstProposer));
      const before = { networkId: networkId ?? "", firstProposer: firstProposer ?? "", head, state, trust };
      const verified = verifyBlock(block, before);
      if (verified.head.height === remembered?.height && Buffer.compare(verified.head.hash, remembered.hash) !== 0) {
        throw new BlockFault("fork", verified.head.height, "not the block that was remembered");
      }
      await state.apply(verified.changes);
      head = verified.head;
      transactions += BigInt(head.transactionCount);
      options.onBlock?.(head);
    }
    if (remembered !== undefined && head.height < remembered.height) {
      throw new BlockFault("rollback", head.height + 1n, `block ${remembered.height} was remembered`);
    }
    return { intact: true, head, transactions };
  } catch (cause) {
    return altered(cause, head);
  }
}

function altered(cause: unknown, head: ChainHead): ChainVerdict {
  if (cause instanceof BlockFault) {
    const { fault, height, transactionIndex, message: detail } = cause;
    const place = transactionIndex === undefined ? {} : { transactionIndex };
    return { intact: false, fault, height, ...place, detail, head };
  }
  if (cause instanceof LedgerStoreFault || cause instanceof SyntaxError) {
    return { intact: false, fault: "unreadable", height: head.height + 1n, detail: cause.message, head };
  }
  throw cause;
}

function expectationsOf(first: Block, networkId: string | undefined, firstProposer: string | undefined) {
  try {
    const header = decodeHeader(first.header?.payload ?? new Uint8Array());
    return { networkId: networkId ?? header.networkId, firstProposer: firstProposer ?? header.proposer };
  } catch {
    // Whatever is wrong with the header, its verification says.
    return { networkId, firstProposer };
  }
}
