// What a provider has signed outlives its certificate (S4): where that has expired since, the signature is judged at the time of the block
// that holds the contract, which a ledger node shows with its proof. Asked for only then, so that nobody needs a ledger node otherwise.
import { ConnectError } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { LedgerService, SmartContractService } from "../../gen/x1410/v1/ledger_service_pb.ts";
import { parseContractAddress } from "../communications/address.ts";
import { reasonOf, subjectOf } from "../communications/refusal.ts";
import type { Trust } from "../envelope/verify.ts";
import { TrustAtTime } from "../ledger/trust-at-time.ts";
import type { ConnectedUser } from "./connected-user.ts";
import { checkEvidence, EvidenceError } from "./evidence.ts";

/**
 * The outcome of `check` by the trust of now or, where a signer's certificate has expired, by that of the time when the contract was
 * recorded: valid then, and not revoked by then.
 * @throws whatever `check` throws; EvidenceError, ConnectError where no ledger node shows the contract
 */
export async function asRecorded<T>(
  contractAddress: string,
  user: ConnectedUser,
  check: (trust: Trust) => T | Promise<T>,
): Promise<T> {
  try {
    return await check(user.trust);
  } catch (cause) {
    if (!isExpiry(cause)) throw cause;
  }
  // What a provider has signed is in no block itself: no node had to take it, so its revocation needs no grace.
  const trust = new TrustAtTime(user.trust, { revocationGraceMs: 0 });
  return await check(trust.at(await recordedAt(contractAddress, user)));
}

/** Milliseconds since 1970 in the block with the transaction that created the contract. */
async function recordedAt(contractAddress: string, user: ConnectedUser): Promise<bigint> {
  const { contractId } = parseContractAddress(contractAddress);
  let failure: unknown = new EvidenceError("the network has no ledger node that could show the contract");
  for (const { entity } of user.network.ledgerNodes) {
    if (entity === undefined) continue;
    try {
      const { contract } = await user.client(SmartContractService, entity.identity).getContract({ contractAddress });
      const transactionId = contract?.createdBy ?? "";
      const { proof } = await user.client(LedgerService, entity.identity).getTransaction({ transactionId });
      const { action, timeUnixMs } = checkEvidence({ proof, openings: [] }, user);
      if (action.case === "createContract" && action.value.contractId === contractId) return timeUnixMs;
      throw new EvidenceError(`the ledger node shows another transaction than that of ${contractAddress}`);
    } catch (cause) {
      failure = cause;
    }
  }
  throw failure;
}

/** Of a signature, or of what is refused because of it. */
function isExpiry(cause: unknown): boolean {
  if (!(cause instanceof Error)) return false;
  const expired =
    cause instanceof ConnectError &&
    reasonOf(cause) === ErrorReason.SIGNER_UNTRUSTED &&
    subjectOf(cause) === "certificate: expired";
  return expired || isExpiry(cause.cause);
}
