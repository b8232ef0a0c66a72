// What makes a block one of the chain. Proposer, followers and auditors run the same checks; a fault names the place.
import { fromBinary } from "@bufbuild/protobuf";
import { SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import {
  type Block,
  type BlockHeader,
  BlockHeaderSchema,
  type ChangeProposer,
  RejectionReason,
  RejectionReasonSchema,
  type Transaction,
  TransactionSchema,
} from "../../gen/x1410/v1/ledger_pb.ts";
import { reasonName, reasonOf, subjectOf } from "../communications/refusal.ts";
import { payloadTypeOf } from "../envelope/sign.ts";
import { parsePayload, type Trust, type VerifiedSigner, verifyEnvelope, verifySignature } from "../envelope/verify.ts";
import { type ChainHead, decodeHeader, headOf, holdsUnknownFields, transactionIdOf } from "./block.ts";
import { applyTransaction, takeoverOf } from "./contract-rules.ts";
import { LedgerState, type StateReader } from "./ledger-state.ts";
import { merkleRoot, sha256 } from "./merkle.ts";
import type { TrustAtTime } from "./trust-at-time.ts";

export type Fault =
  | "fork"
  | "rollback"
  | "unreadable"
  | "block-encoding"
  | "header-missing"
  | "header-encoding"
  | "header-signature"
  | "signer-revoked"
  | "header-rules"
  | "network"
  | "height"
  | "link"
  | "time"
  | "proposer"
  | "proposer-key"
  | "transaction-count"
  | "transactions-root"
  | "transaction-encoding"
  | "transaction-signature"
  | "transaction-rule"
  | "duplicate-transaction";

/** Why a block is none of the chain, and where. */
export class BlockFault extends Error {
  override readonly name = "BlockFault";
  readonly fault: Fault;
  /** Height that the block has or ought to have. */
  readonly height: bigint;
  readonly transactionIndex: number | undefined;

  constructor(fault: Fault, height: bigint, detail: string, transactionIndex?: number) {
    const place =
      transactionIndex === undefined ? `block ${height}` : `block ${height}, transaction ${transactionIndex}`;
    super(`${place}: ${fault}: ${detail}`);
    this.fault = fault;
    this.height = height;
    this.transactionIndex = transactionIndex;
  }
}

/** What a block is judged against. */
export interface Predecessor {
  readonly networkId: string;
  readonly head: ChainHead;
  readonly state: StateReader;
  /** Who proposes the first block. */
  readonly firstProposer: string;
  readonly trust: TrustAtTime;
}

export interface VerifiedBlock {
  readonly header: BlockHeader;
  readonly head: ChainHead;
  /** What the block changes of the state. */
  readonly changes: ReadonlyMap<string, Uint8Array>;
}

export interface SubmittedTransaction {
  readonly id: string;
  readonly bytes: Uint8Array;
  readonly transaction: Transaction;
  readonly signer: VerifiedSigner;
  /** The signer's certificate, then those on the way to its anchor, in DER. */
  readonly certificates: readonly Uint8Array[];
}

/** Verifies a block in full. @throws BlockFault */
export function verifyBlock(block: Block, before: Predecessor): VerifiedBlock {
  const { header, bytes } = verifyHeader(block, before);
  const height = header.height;
  if (block.transactions.length !== header.transactionCount) {
    throw new BlockFault("transaction-count", height, `${block.transactions.length} of ${header.transactionCount}`);
  }
  if (Buffer.compare(merkleRoot(block.transactions), header.transactionsRoot) !== 0) {
    throw new BlockFault("transactions-root", height, "the transactions are not those of the header");
  }
  const state = new LedgerState(before.state);
  pinFirstProposer(state, block, header, before);
  for (const [index, transaction] of block.transactions.entries()) {
    const opened = openInBlock(transaction, index, header, before.trust);
    if (state.placeOf(opened.id) !== undefined) {
      throw new BlockFault("duplicate-transaction", height, opened.id, index);
    }
    const broken = applyTransaction(opened.transaction, occasionOf(opened, header), state);
    if (broken !== undefined) throw new BlockFault("transaction-rule", height, rejectionName(broken), index);
    state.setPlaceOf(opened.id, { height, index });
  }
  return { header, head: headOf(header, bytes), changes: state.changes };
}

/** The header alone: who signed it, and that it follows. @throws BlockFault */
export function verifyHeader(block: Block, before: Predecessor): { header: BlockHeader; bytes: Uint8Array } {
  const expected = before.head.height + 1n;
  const fail = (fault: Fault, detail: string): never => {
    throw new BlockFault(fault, expected, detail);
  };
  const envelope = block.header;
  if (envelope === undefined) return fail("header-missing", "no header");
  if (holdsUnknownFields(block)) fail("block-encoding", "unknown fields");
  const header = headerOf(envelope.payload, fail);
  if (header.networkId !== before.networkId) fail("network", header.networkId);
  if (header.height !== expected) fail("height", `says ${header.height}`);
  if (Buffer.compare(header.previousHash, before.head.hash) !== 0) fail("link", "does not follow the block before");
  if (header.timeUnixMs < before.head.timeUnixMs) fail("time", "before the block before");
  // Two may sign it: the present proposer, whatever the block holds, and whoever an operator's order in it lets take over.
  const present = new LedgerState(before.state).proposer();
  const takeover = takeoverIn(block, before);
  const byPresent = header.proposer === (present?.proposer ?? before.firstProposer);
  if (!byPresent && header.proposer !== takeover?.proposer) fail("proposer", header.proposer);
  let signer: VerifiedSigner;
  try {
    const payloadType = payloadTypeOf(BlockHeaderSchema);
    signer = verifySignature(envelope, payloadType, before.trust.wholeAt(header.timeUnixMs));
  } catch (cause) {
    return fail(isRevoked(cause) ? "signer-revoked" : "header-signature", whyOf(cause));
  }
  if (signer.identity !== header.proposer) fail("header-signature", `signed by ${signer.identity}`);
  const key = sha256(signer.publicKey.spki);
  const isOf = (named: ChangeProposer): boolean =>
    named.proposer === header.proposer && Buffer.compare(named.publicKeySha256, key) === 0;
  const mayPresent = byPresent && (present === undefined || isOf(present));
  if (!mayPresent && (takeover === undefined || !isOf(takeover))) {
    fail("proposer-key", "not the key that the chain names");
  }
  return { header, bytes: envelope.payload };
}

/**
 * Who may propose this block because an operator says so in it, and under which key; undefined for every other block. The operator's signature
 * is verified, nothing else of the block. In a block of the present proposer the same order only says who comes next.
 */
export function takeoverIn(
  { header, transactions }: Block,
  { networkId, trust }: Pick<Predecessor, "networkId" | "trust">,
): ChangeProposer | undefined {
  const [bytes] = transactions;
  if (bytes === undefined || transactions.length > 1) return undefined;
  try {
    const { timeUnixMs, previousHash } = decodeHeader(header?.payload ?? new Uint8Array());
    const opened = openTransaction(bytes, trust.at(timeUnixMs));
    if ("rejection" in opened) return undefined;
    const { transaction, signer } = opened;
    const says = takeoverOf(transaction);
    const genuine = transaction.networkId === networkId && transaction.signer === signer.identity;
    if (says === undefined || !genuine || Buffer.compare(says.afterBlockHash, previousHash) !== 0) return undefined;
    return says;
  } catch {
    return undefined;
  }
}

/** Opens a submitted envelope, or answers why it can be no transaction. */
export function openTransaction(
  bytes: Uint8Array,
  trust: Trust,
): SubmittedTransaction | { readonly id: string; readonly rejection: RejectionReason; readonly cause: unknown } {
  let id = "";
  try {
    const envelope = fromBinary(SignedEnvelopeSchema, bytes);
    id = transactionIdOf(envelope.payload);
    const { message, signer } = verifyEnvelope(envelope, TransactionSchema, trust);
    const certificates = envelope.signatures[0]?.certificate?.certificates ?? [];
    return { id, bytes, transaction: message, signer, certificates };
  } catch (cause) {
    const signatureFails = notVerified.has(reasonOf(cause));
    return { id, rejection: signatureFails ? RejectionReason.SIGNATURE_INVALID : RejectionReason.MALFORMED, cause };
  }
}

/** What the contract rules look at when this transaction stands in a block of this time. */
export function occasionOf(
  { id, signer }: SubmittedTransaction,
  { networkId, timeUnixMs, previousHash }: Pick<BlockHeader, "networkId" | "timeUnixMs" | "previousHash">,
) {
  return {
    networkId,
    previousHash,
    transactionId: id,
    blockTimeUnixMs: timeUnixMs,
    signer: { identity: signer.identity, spki: signer.publicKey.spki },
  };
}

/** The stable name of a rule, e.g. `UNKNOWN_CONTRACT`. */
export function rejectionName(reason: RejectionReason): string {
  return RejectionReasonSchema.value[reason]?.name.replace("REJECTION_REASON_", "") ?? String(reason);
}

const notVerified: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.SIGNATURE_MISSING,
  ErrorReason.SIGNATURE_INVALID,
  ErrorReason.SIGNER_UNTRUSTED,
  ErrorReason.ALGORITHM_NOT_ALLOWED,
]);

/** Nothing was altered: the signer's certificate, or one above it, was revoked too long before the block. */
function isRevoked(cause: unknown): boolean {
  return reasonOf(cause) === ErrorReason.SIGNER_UNTRUSTED && subjectOf(cause) === "certificate: revoked";
}

function headerOf(payload: Uint8Array, fail: (fault: Fault, detail: string) => never): BlockHeader {
  let header: BlockHeader;
  try {
    header = decodeHeader(payload);
  } catch (cause) {
    return fail("header-encoding", whyOf(cause));
  }
  try {
    parsePayload(payload, BlockHeaderSchema);
  } catch (cause) {
    return fail("header-rules", whyOf(cause));
  }
  return header;
}

function openInBlock(bytes: Uint8Array, index: number, header: BlockHeader, trust: TrustAtTime): SubmittedTransaction {
  const opened = openTransaction(bytes, trust.at(header.timeUnixMs));
  if (!("rejection" in opened)) return opened;
  const { rejection, cause } = opened;
  if (isRevoked(cause)) throw new BlockFault("signer-revoked", header.height, whyOf(cause), index);
  const fault = rejection === RejectionReason.MALFORMED ? "transaction-encoding" : "transaction-signature";
  throw new BlockFault(fault, header.height, `${rejectionName(rejection)}: ${whyOf(cause)}`, index);
}

/** The key that signs the first block is from then on the proposer's, until a transaction changes it. */
function pinFirstProposer(state: LedgerState, block: Block, header: BlockHeader, { trust }: Predecessor): void {
  if (state.proposer() !== undefined || block.header === undefined) return;
  const signer = verifySignature(block.header, payloadTypeOf(BlockHeaderSchema), trust.at(header.timeUnixMs));
  state.setProposer(header.proposer, sha256(signer.publicKey.spki));
}

/** Why something was refused, in words fit for a report: a stable reason where there is one, and what it is about in brackets. */
export function whyOf(cause: unknown): string {
  const reason = reasonOf(cause);
  const subject = subjectOf(cause);
  if (reason !== ErrorReason.UNSPECIFIED)
    return subject === "" ? reasonName(reason) : `${reasonName(reason)} [${subject}]`;
  return cause instanceof Error ? cause.message : String(cause);
}
