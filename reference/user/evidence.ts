// What a user checks of the ledger by itself (S4): that a transaction is in a signed block, and what its commitments stand for. Needs the
// trust anchors and the network parameters, and no ledger node.
import { fromBinary } from "@bufbuild/protobuf";
import { SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import {
  BlockHeaderSchema,
  type Commitment,
  type CommitmentOpening,
  type InclusionProof,
  type NetworkParameters,
  type Transaction,
  TransactionSchema,
} from "../../gen/x1410/v1/ledger_pb.ts";
import { verifyEnvelope } from "../envelope/verify.ts";
import { decodeHeader } from "../ledger/block.ts";
import { checkOpening, commitmentsOf } from "../ledger/commitment.ts";
import { verifyInclusion } from "../ledger/merkle.ts";
import { type LedgerTrust, TrustAtTime } from "../ledger/trust-at-time.ts";

/** Evidence that does not hold; the message says which part. */
export class EvidenceError extends Error {
  override name = "EvidenceError";
}

export interface Evidence {
  readonly proof?: InclusionProof | undefined;
  readonly openings: readonly CommitmentOpening[];
}

export interface Recorded {
  readonly action: Transaction["action"];
  /** Values behind the commitments that were opened, by name. */
  readonly values: ReadonlyMap<string, Uint8Array>;
  readonly blockHeight: bigint;
  /** When its block was formed, as the proposer has signed it: milliseconds since 1970. */
  readonly timeUnixMs: bigint;
}

/**
 * Checks the proof and every opening. Signatures are judged at the time of their block, so that evidence outlives certificates.
 * @throws EvidenceError where a part is missing or does not hold
 */
export function checkEvidence(
  { proof, openings }: Evidence,
  known: { readonly trust: LedgerTrust; readonly network: NetworkParameters; readonly managementIdentity: string },
): Recorded {
  const signedHeader = proof?.header;
  if (proof === undefined || signedHeader === undefined)
    throw new EvidenceError("the management gave no proof that it is on the ledger");
  const atTime = new TrustAtTime(known.trust);
  const header = held("block header", () => {
    const whole = atTime.wholeAt(decodeHeader(signedHeader.payload).timeUnixMs);
    return verifyEnvelope(signedHeader, BlockHeaderSchema, whole);
  });
  const { proposer, networkId, transactionCount, transactionsRoot, height, timeUnixMs } = header.message;
  const isNode = known.network.ledgerNodes.some(({ entity }) => entity?.identity === proposer);
  if (header.signer.identity !== proposer || !isNode)
    throw new EvidenceError(`block ${height} is not signed by a ledger node of this network`);
  if (networkId !== known.network.networkId) throw new EvidenceError(`block ${height} is of network ${networkId}`);
  if (!verifyInclusion(proof.transaction, proof.index, transactionCount, proof.path, transactionsRoot))
    throw new EvidenceError(`the transaction is not in block ${height}`);
  const { message, signer } = held("transaction", () =>
    verifyEnvelope(fromBinary(SignedEnvelopeSchema, proof.transaction), TransactionSchema, atTime.at(timeUnixMs)),
  );
  if (signer.identity !== known.managementIdentity || message.signer !== signer.identity)
    throw new EvidenceError(`the transaction is signed by ${signer.identity}, not by ${known.managementIdentity}`);
  const values = new Map(openings.map((opening) => [opening.name, opened(opening, commitmentsOf(message.action))]));
  return { action: message.action, values, blockHeight: height, timeUnixMs };
}

function opened(opening: CommitmentOpening, commitments: readonly Commitment[]): Uint8Array {
  const commitment = commitments.find(({ name }) => name === opening.name);
  if (commitment === undefined || !checkOpening(commitment, opening))
    throw new EvidenceError(`the opening of "${opening.name}" does not open what is on the ledger`);
  return opening.value;
}

function held<T>(what: string, check: () => T): T {
  try {
    return check();
  } catch (cause) {
    throw new EvidenceError(`the ${what} does not verify`, { cause });
  }
}
