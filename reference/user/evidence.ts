// What a user checks of the ledger by itself (S4): that a transaction is in a signed block, and what its commitments stand for. Needs the
// trust anchors and the network parameters, and no ledger node.
import type {
  Commitment,
  CommitmentOpening,
  InclusionProof,
  NetworkParameters,
  Transaction,
} from "../../gen/x1410/v1/ledger_pb.ts";
import { decodeEnvelope, transactionIdOf } from "../ledger/block.ts";
import { checkOpening, commitmentsOf } from "../ledger/commitment.ts";
import type { LedgerTrust } from "../ledger/trust-at-time.ts";
import { type Evidence as CommittedEvidence, verifyCommitted } from "../ledger/verify.ts";

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
  if (proof?.header === undefined) throw new EvidenceError("the management gave no proof that it is on the ledger");
  const verdict = verifyCommitted(evidenceOf(proof), known.trust, known.network.networkId);
  if (!verdict.valid)
    throw new EvidenceError(`the proof that it is on the ledger does not hold: ${verdict.fault}: ${verdict.detail}`);
  const { proposer, height, timeUnixMs } = verdict.header;
  const { action, signer } = verdict.transaction;
  if (!known.network.ledgerNodes.some(({ entity }) => entity?.identity === proposer))
    throw new EvidenceError(`block ${height} is not signed by a ledger node of this network`);
  if (signer !== known.managementIdentity)
    throw new EvidenceError(`the transaction is signed by ${signer}, not by ${known.managementIdentity}`);
  const values = new Map(openings.map((opening) => [opening.name, opened(opening, commitmentsOf(action))]));
  return { action, values, blockHeight: height, timeUnixMs };
}

function evidenceOf(proof: InclusionProof): CommittedEvidence {
  const { transaction: envelope } = proof;
  try {
    return { transactionId: transactionIdOf(decodeEnvelope(envelope).payload), envelope, proof };
  } catch (cause) {
    throw new EvidenceError("the proof has no transaction that can be read", { cause });
  }
}

function opened(opening: CommitmentOpening, commitments: readonly Commitment[]): Uint8Array {
  const commitment = commitments.find(({ name }) => name === opening.name);
  if (commitment === undefined || !checkOpening(commitment, opening))
    throw new EvidenceError(`the opening of "${opening.name}" does not open what is on the ledger`);
  return opening.value;
}
