// A node's signed word that it holds a block durably: what makes a block final, and evidence of it for anyone (clause 6.1).
import { X509Certificate } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { BlockReceiptSchema } from "../../gen/x1410/v1/ledger_pb.ts";
import { signMessage } from "../envelope/sign.ts";
import type { Signer } from "../envelope/signer.ts";
import { type Trust, verifyEnvelope } from "../envelope/verify.ts";
import { blockHash, decodeHeader } from "./block.ts";
import type { TrustAtTime } from "./trust-at-time.ts";

/** More nodes than this have no network; nobody is made to check more receipts of one block. */
const MAX_RECEIPTS = 16;

/** The signer's word that it holds the block of this header. */
export function signReceipt(signer: Signer, header: Uint8Array): SignedEnvelope {
  const { networkId, height } = decodeHeader(header);
  const subject = { networkId, node: signer.identity, height, blockHash: new Uint8Array(blockHash(header)) };
  return signMessage(signer, BlockReceiptSchema, create(BlockReceiptSchema, subject));
}

/**
 * Verifies a node's word that it holds the block of this header, by the time of that, and answers which node.
 * @throws ConnectError of the signature, TypeError where it is for something else
 */
export function verifyReceipt(envelope: SignedEnvelope, header: Uint8Array, trust: TrustAtTime): string {
  return verifyReceiptBy(envelope, header, trust.at(timeOfReceipt(envelope, decodeHeader(header).timeUnixMs)));
}

/** Likewise, by another judge of certificates. */
export function verifyReceiptBy(envelope: SignedEnvelope, header: Uint8Array, judge: Trust): string {
  const { networkId, height } = decodeHeader(header);
  const { message, signer } = verifyEnvelope(envelope, BlockReceiptSchema, judge);
  const about =
    message.node === signer.identity &&
    signer.identity.startsWith("urn:x1410:entity:ledger:") &&
    message.networkId === networkId &&
    message.height === height &&
    Buffer.compare(message.blockHash, blockHash(header)) === 0;
  if (!about) throw new TypeError(`the receipt of ${signer.identity} is for something else`);
  return signer.identity;
}

/** By node, those receipts that everybody would believe. */
export function receiptsThatHold(
  envelopes: readonly SignedEnvelope[],
  header: Uint8Array,
  trust: TrustAtTime,
): Map<string, SignedEnvelope> {
  const holding = new Map<string, SignedEnvelope>();
  for (const envelope of envelopes.slice(0, MAX_RECEIPTS)) {
    try {
      holding.set(verifyReceipt(envelope, header, trust), envelope);
    } catch {
      // No evidence: of a node whose certificate had run out, or made up.
    }
  }
  return holding;
}

/**
 * A receipt has no time of its own. It is judged at that of its block; where the node was away, and signed later under a certificate that is
 * newer than the block, at the first moment of that.
 */
function timeOfReceipt({ signatures }: SignedEnvelope, blockTime: bigint): bigint {
  const leaf = signatures[0]?.certificate?.certificates[0];
  if (leaf === undefined) return blockTime;
  const from = BigInt(new X509Certificate(leaf).validFromDate.getTime());
  return from > blockTime ? from : blockTime;
}
