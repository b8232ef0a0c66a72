// Blocks (clause 6.1): canonical header bytes, their hash, the Merkle root over the transactions as stored, the proposer's signature.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type SignedEnvelope, SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import {
  type Block,
  type BlockHeader,
  BlockHeaderSchema,
  BlockSchema,
  type InclusionProof,
  InclusionProofSchema,
} from "../../gen/x1410/v1/ledger_pb.ts";
import { payloadTypeOf } from "../envelope/sign.ts";
import type { Signer } from "../envelope/signer.ts";
import { MerkleTree, merkleRoot, sha256 } from "./merkle.ts";

export const BLOCK_VERSION = 1;
/** What the first block links to. */
export const NO_BLOCK_HASH = new Uint8Array(32);

/** The newest block of a chain, or what stands before its first. */
export interface ChainHead {
  readonly height: bigint;
  readonly hash: Uint8Array;
  readonly timeUnixMs: bigint;
  /** Transactions in the block; 0 before the first. */
  readonly transactionCount: number;
}

export const beforeFirstBlock: ChainHead = { height: 0n, hash: NO_BLOCK_HASH, timeUnixMs: 0n, transactionCount: 0 };

/** The one encoding of a header that nodes accept: fields in ascending order, defaults left out, varints minimal, nothing unknown. */
export function encodeHeader(header: BlockHeader): Uint8Array {
  return toBinary(BlockHeaderSchema, header, { writeUnknownFields: false });
}

/** The header in these bytes. @throws SyntaxError where they are not its canonical encoding */
export function decodeHeader(bytes: Uint8Array): BlockHeader {
  let header: BlockHeader;
  try {
    header = fromBinary(BlockHeaderSchema, bytes);
  } catch (cause) {
    throw new SyntaxError("the header does not parse", { cause });
  }
  if (Buffer.compare(encodeHeader(header), bytes) !== 0)
    throw new SyntaxError("the header's encoding is not canonical");
  return header;
}

/** The one encoding of a block, likewise: no signature covers all of it, and yet nobody is to alter a byte unnoticed. */
export function encodeBlock(block: Block): Uint8Array {
  return toBinary(BlockSchema, block, { writeUnknownFields: false });
}

/** The block in these bytes. @throws SyntaxError where they are not its canonical encoding */
export function decodeBlock(bytes: Uint8Array): Block {
  let block: Block;
  try {
    block = fromBinary(BlockSchema, bytes);
  } catch (cause) {
    throw new SyntaxError("the block does not parse", { cause });
  }
  if (Buffer.compare(encodeBlock(block), bytes) !== 0) throw new SyntaxError("the block's encoding is not canonical");
  return block;
}

/** Whether a message that was received holds fields that the protocol does not know, in the block or around its header. */
export function holdsUnknownFields({ header, $unknown }: Block): boolean {
  if (($unknown ?? []).length > 0) return true;
  if (header === undefined) return false;
  const known = toBinary(SignedEnvelopeSchema, header, { writeUnknownFields: false });
  return known.length !== toBinary(SignedEnvelopeSchema, header).length;
}

/** SHA-256 of the canonical header bytes. */
export function blockHash(headerBytes: Uint8Array): Uint8Array {
  return sha256(headerBytes);
}

/** SHA-256, in lower-case hexadecimal, of the payload bytes of a transaction's envelope: identical bytes are one transaction. */
export function transactionIdOf(payload: Uint8Array): string {
  return Buffer.from(sha256(payload)).toString("hex");
}

/** The envelope in serialised bytes. @throws SyntaxError */
export function decodeEnvelope(bytes: Uint8Array): SignedEnvelope {
  try {
    return fromBinary(SignedEnvelopeSchema, bytes);
  } catch (cause) {
    throw new SyntaxError("the envelope does not parse", { cause });
  }
}

export interface NewBlock {
  readonly networkId: string;
  readonly previous: ChainHead;
  /** Serialised SignedEnvelopes. */
  readonly transactions: readonly Uint8Array[];
  /** Never before that of the previous block. */
  readonly timeUnixMs: bigint;
  readonly proposer: Signer;
}

/** Forms and signs the block after `previous`. */
export function formBlock({ networkId, previous, transactions, timeUnixMs, proposer }: NewBlock): {
  block: Block;
  head: ChainHead;
} {
  const header = create(BlockHeaderSchema, {
    version: BLOCK_VERSION,
    networkId,
    height: previous.height + 1n,
    previousHash: previous.hash,
    transactionsRoot: merkleRoot(transactions),
    transactionCount: transactions.length,
    timeUnixMs,
    proposer: proposer.identity,
  });
  const bytes = encodeHeader(header);
  const block = create(BlockSchema, {
    header: proposer.sign(payloadTypeOf(BlockHeaderSchema), bytes),
    transactions: [...transactions],
  });
  return { block, head: headOf(header, bytes) };
}

export function headOf(header: BlockHeader, headerBytes: Uint8Array): ChainHead {
  const { height, timeUnixMs, transactionCount } = header;
  return { height, hash: blockHash(headerBytes), timeUnixMs, transactionCount };
}

/** Answers proofs for a block's transactions; the tree is built once. */
export function proofsOf(block: Block): (index: number) => InclusionProof {
  const tree = new MerkleTree(block.transactions);
  return (index) => {
    const transaction = block.transactions[index];
    if (transaction === undefined || block.header === undefined) throw new RangeError(`no transaction ${index}`);
    return create(InclusionProofSchema, { header: block.header, transaction, index, path: tree.inclusionProof(index) });
  };
}
